package config

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strings"
)

// A Secret is bytes that no log, error or table shows.
type Secret []byte

const hidden = "hidden"

// String hides the secret.
func (s Secret) String() string { return hidden }

// GoString hides the secret.
func (s Secret) GoString() string { return hidden }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// The mistakes in a secret. None of them repeats it.
var (
	errShortSecret = errors.New("a secret is at least 32 random bytes: make one with \"openssl rand -hex 32\"")
	errKnownSecret = errors.New("this secret can be guessed (an example, a pattern, or published somewhere): make one with \"openssl rand -hex 32\"")
)

// minSecret is the shortest secret, in bytes: the length of the hash it keys.
const minSecret = 32

// ParseSecret reads a secret: 64 or more hexadecimal digits; or base64, in either
// alphabet, of 32 or more bytes; or else the bytes of the text itself, 32 or more.
// Space around it is not part of it. It refuses a secret that is short, known or
// plainly not random, with an error that does not repeat it.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	if raw, err := hex.DecodeString(text); err == nil {
		return strong(raw)
	}
	plain := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	if slices.Contains(published, plain) {
		return nil, errKnownSecret
	}
	if raw, err := base64.RawURLEncoding.DecodeString(plain); err == nil && len(raw) >= minSecret && !readable(text) {
		return strong(raw)
	}
	if readable(text) {
		return nil, errKnownSecret
	}
	return strong([]byte(text))
}

// strong returns raw unless it is too short or shows a pattern that random bytes
// do not: few different ones, one block over and over, or a run.
func strong(raw []byte) (Secret, error) {
	if len(raw) < minSecret {
		return nil, errShortSecret
	}
	different, runs := map[byte]bool{}, 0
	for i, b := range raw {
		different[b] = true
		if i > 0 && (b == raw[i-1]+1 || b == raw[i-1]-1) {
			runs++
		}
	}
	if len(different) < 10 || runs > len(raw)/2 {
		return nil, errKnownSecret
	}
	for period := 1; period <= len(raw)/2; period++ {
		if slices.Equal(raw[period:], raw[:len(raw)-period]) {
			return nil, errKnownSecret
		}
	}
	return raw, nil
}

// readable reports whether text is made of the words that examples are made of.
// None of them is likely to come up by chance in a random text.
func readable(text string) bool {
	letters := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(text))
	return slices.ContainsFunc(exampleWords, func(word string) bool { return strings.Contains(letters, word) })
}

var exampleWords = []string{
	"secret", "changeme", "changethis", "replaceme", "replacethis", "password", "example", "insecure",
	"default", "yourkey", "256bit", "32character", "32chars", "32bytes", "masterkey", "coatcheck", "keyboardcat",
	"qwertz", "qwerty", "abcdefgh", "12345678", "loremipsum", "letmein", "correcthorse",
}

// published are keys that stand in specifications and guides, without padding.
var published = []string{
	"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", // RFC 7515 A.1
	"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",                                            // RFC 7520 §3.5
}

func secret(p *Secret) value {
	return single("32 or more bytes", func(text string) error {
		raw, err := ParseSecret(text)
		if err == nil {
			*p = raw
		}
		return err
	}, func() string {
		if len(*p) == 0 {
			return ""
		}
		return hidden
	})
}
