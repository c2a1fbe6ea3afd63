// Package credential knows the forms of what travels: ids, which name a thing
// and are no secret, and secrets, which open one.
//
// It never decides whether a credential is good. It cuts by position and parses
// strictly, so that one credential has exactly one spelling.
package credential

import (
	"encoding/base32"

	"github.com/google/uuid"
)

// The prefixes of ids. An id is its prefix and 26 characters of lower-case
// Crockford base32 that hold a UUIDv7 (RFC 9562 §5.7): ids made later sort later,
// and none is ever made twice.
const (
	User    = "usr_"
	Session = "ses_"
	Grant   = "grt_"
	Client  = "cli_"
	Key     = "key_"
	APIKey  = "api_"
)

// IDLength is the length of every id, prefix included.
const IDLength = 4 + idDigits

const (
	idDigits  = 26
	crockford = "0123456789abcdefghjkmnpqrstvwxyz"
)

var idEncoding = base32.NewEncoding(crockford).WithPadding(base32.NoPadding)

// NewID returns a fresh id with the given prefix. It is safe for concurrent use
// and fails only where the system has no randomness, which Go makes fatal.
func NewID(prefix string) string {
	return prefix + NewOrdinal()
}

// NewOrdinal returns the 26 characters of a fresh id without a prefix.
func NewOrdinal() string {
	id := uuid.Must(uuid.NewV7())
	return idEncoding.EncodeToString(id[:])
}

// IsID reports whether s is an id with the given prefix: exact length, exact
// alphabet, canonical last character.
func IsID(prefix, s string) bool {
	return len(s) == len(prefix)+idDigits && s[:len(prefix)] == prefix && isOrdinal(s[len(prefix):])
}

func isOrdinal(s string) bool {
	var raw [16]byte
	n, err := idEncoding.Decode(raw[:], []byte(s))
	return err == nil && n == len(raw) && idEncoding.EncodeToString(raw[:]) == s
}
