// Package credential knows the forms of what travels: ids, which name a thing
// and are no secret, and secrets, which open one.
//
// It never decides whether a credential is good. It cuts by position and parses
// strictly, so that one credential has exactly one spelling.
package credential

import "github.com/google/uuid"

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
	Link    = "lnk_"
)

// IDLength is the length of every id, prefix included.
const IDLength = 4 + idDigits

const idDigits = 26

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID returns a fresh id with the given prefix. It is safe for concurrent use
// and fails only where the system has no randomness, which Go makes fatal.
func NewID(prefix string) string {
	return prefix + NewOrdinal()
}

// NewOrdinal returns the 26 characters of a fresh id without a prefix.
func NewOrdinal() string { return Number(uuid.Must(uuid.NewV7())).ID("") }

// IsID reports whether s is an id with the given prefix: exact length, exact
// alphabet, and no more than the 128 bits that 26 characters must hold.
func IsID(prefix, s string) bool {
	_, ok := ParseID(prefix, s)
	return ok
}
