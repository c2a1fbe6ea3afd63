package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// SecretLength is the length of a [Secret] as text.
const SecretLength = 43

// A Secret is 256 random bits. Its formatted form hides it, so that one that
// strays into a log or an error shows nothing; [Secret.Encode] gives the text.
type Secret [32]byte

// A Hash is the SHA-256 of a secret: what a store keeps. The zero Hash matches
// no secret.
type Hash [32]byte

// encoding has one text for each secret.
var encoding = base64.RawURLEncoding.Strict()

// NewSecret returns a fresh secret from crypto/rand.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails: crypto/rand.Read ends the program instead
	return s
}

// ParseSecret reads the base64url text of a secret: exact length, exact
// alphabet, no padding, canonical last character.
func ParseSecret(text string) (Secret, bool) {
	var s Secret
	if len(text) != SecretLength {
		return Secret{}, false
	}
	var characters [SecretLength]byte // of fixed length, so that it is no allocation
	copy(characters[:], text)
	n, err := encoding.Decode(s[:], characters[:])
	if err != nil || n != len(s) {
		return Secret{}, false
	}
	return s, true
}

// Encode returns the secret as 43 characters of base64url without padding.
func (s Secret) Encode() string { return encoding.EncodeToString(s[:]) }

// Hash returns what a store keeps of the secret.
func (s Secret) Hash() Hash { return sha256.Sum256(s[:]) }

// String hides the secret.
func (s Secret) String() string { return "[secret]" }

// GoString hides the secret.
func (s Secret) GoString() string { return "[secret]" }

// Opens reports, in constant time, whether s is the secret that h was made of.
func (s Secret) Opens(h Hash) bool {
	sum := s.Hash()
	return subtle.ConstantTimeCompare(sum[:], h[:]) == 1 && h != Hash{}
}
