package credential

import (
	"math/big"
	"strings"
	"testing"
)

// alphabet is written out here, so that the one of the code is held to it.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// FuzzIsID holds ids to what they stand for, by slow arithmetic: 26 digits of base
// 32 that make a number below 2^128, and no second spelling of it.
func FuzzIsID(f *testing.F) { // V-13, V-97
	for _, prefix := range []string{User, Session, Grant, Client, Key, APIKey} {
		f.Add(NewID(prefix))
	}
	for _, seed := range []string{"", "ses_", Session + strings.Repeat("0", 26), Session + "7" + strings.Repeat("z", 25), Session + "8" + strings.Repeat("0", 25)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := IsID(Session, text), isNumber(text); got != want {
			t.Errorf("IsID(%q) = %v, want %v", text, got, want)
		}
	})
}

func isNumber(text string) bool {
	digits, ok := strings.CutPrefix(text, Session)
	if !ok || len(digits) != 26 {
		return false
	}
	n := new(big.Int)
	for _, c := range []byte(digits) {
		at := strings.IndexByte(alphabet, c)
		if at < 0 {
			return false
		}
		n.Add(n.Lsh(n, 5), big.NewInt(int64(at)))
	}
	return n.BitLen() <= 128
}

// FuzzParseSecret: a secret that is read has exactly the spelling that it is
// written in, and opens exactly its own hash.
func FuzzParseSecret(f *testing.F) { // V-13
	good := NewSecret().Encode()
	for _, seed := range []string{good, good + "=", good[1:], "+" + good[1:], good[:20] + "\n" + good[21:], strings.Repeat("A", 42) + "B", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := ParseSecret(text)
		switch {
		case ok && s.Encode() != text:
			t.Errorf("%q has a second spelling, %q", text, s.Encode())
		case ok && !s.Opens(s.Hash()):
			t.Errorf("%q does not open its own hash", text)
		case !ok && s != Secret{}:
			t.Errorf("a secret beside the refusal of %q", text)
		}
	})
}
