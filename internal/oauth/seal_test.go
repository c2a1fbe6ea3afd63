package oauth

import (
	"strings"
	"testing"
)

func newSeal(t *testing.T, secret string) sealer {
	t.Helper()
	s, err := newSealer([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What travels is read where it was sealed, by whoever has the secret, and nowhere changed.
func TestSealsAreOpenedAsTheyWereMade(t *testing.T) {
	here, sameSecret, elsewhere := newSeal(t, strings.Repeat("s", 32)), newSeal(t, strings.Repeat("s", 32)), newSeal(t, strings.Repeat("x", 32))
	text, err := here.seal([]byte("login_hint=ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := here.seal([]byte("login_hint=ada@example.com")); err != nil || again == text {
		t.Errorf("the same is sealed alike twice, %v", err)
	}
	if plain, err := sameSecret.open(text); err != nil || string(plain) != "login_hint=ada@example.com" {
		t.Errorf("another node opens %q, %v", plain, err)
	}
	if _, err := elsewhere.open(text); err == nil {
		t.Error("another secret opens it")
	}
	for i := range text {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if _, err := here.open(text[:i] + string(other) + text[i+1:]); err == nil {
			t.Errorf("it opens with its character %d changed", i)
		}
		if _, err := here.open(text[:i]); err == nil {
			t.Errorf("its first %d characters open", i)
		}
	}
	for _, other := range []string{"", text + "A", text + "=", " " + text, strings.Repeat("A", MaxSealed), strings.Repeat("A", MaxSealed+1)} {
		if _, err := here.open(other); err == nil {
			t.Errorf("%.40q opens", other)
		}
	}
}

// The longest request that is taken fits, sealed, into what is taken back.
func TestLongestRequestFits(t *testing.T) {
	text, err := newSeal(t, strings.Repeat("s", 32)).seal(make([]byte, maxParameters+400)) // 400 for all but the parameters
	if err != nil || len(text) > MaxSealed {
		t.Errorf("it has %d characters, %v", len(text), err)
	}
}

func FuzzOpenSeal(f *testing.F) { // V-13
	s, err := newSealer([]byte(strings.Repeat("s", 32)))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.seal([]byte(`{"i":"x","b":1,"p":"client_id=cli_x"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add(strings.Repeat("A", 60))
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := s.open(text); err == nil && text != good {
			t.Errorf("%q was not sealed here, and opens", text)
		}
	})
}
