package account

import (
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/credential"
)

func testKey(t testing.TB, secret string) linkKey {
	t.Helper()
	key, err := newLinkKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A token opens the link of its id and kind, and no other; V-13: it has one spelling.
func TestLinkTokens(t *testing.T) {
	key, other := testKey(t, strings.Repeat("a", 32)), testKey(t, strings.Repeat("b", 32))
	id := credential.NewID(credential.Link)
	seen := map[string]bool{}
	for _, kind := range linkKinds {
		token := key.token(kind, id)
		if gotKind, gotID, ok := key.parse(token); !ok || gotKind != kind || gotID != id {
			t.Errorf("%s: parsed as %q, %q, %v", kind, gotKind, gotID, ok)
		}
		if seen[token] || seen[key.code(kind, id)] {
			t.Errorf("%s: what opens it opens another kind", kind)
		}
		seen[token], seen[key.code(kind, id)] = true, true
		for name, bad := range map[string]string{
			"of another secret": other.token(kind, id), "shorter": token[:len(token)-1], "longer": token + "A", "in capitals": strings.ToUpper(token),
			"with the proof of another id": token[:len(tokenPrefix)+26] + key.token(kind, credential.NewID(credential.Link))[len(tokenPrefix)+26:],
			"of a kind that there is not":  key.token("any", id), "with a space": " " + token[1:], "with another last character": token[:len(token)-1] + "_",
		} {
			if _, _, ok := key.parse(bad); ok && bad != token {
				t.Errorf("a token %s is taken", name)
			}
		}
	}
}

func TestCodesAreSixDigits(t *testing.T) {
	key := testKey(t, strings.Repeat("a", 32))
	firsts := map[byte]int{}
	for range 2000 {
		l := Link{ID: credential.NewID(credential.Link), Kind: LinkSignUp}
		code := key.code(l.Kind, l.ID)
		if typed, ok := readCode(code[:3] + " " + code[3:]); !ok || typed != code || !key.opens(l, typed) {
			t.Fatalf("the code %q is read as %q, %v", code, typed, ok)
		}
		firsts[code[0]]++
	}
	for digit := byte('0'); digit <= '9'; digit++ {
		if n := firsts[digit]; n < 100 || n > 320 { // 200 expected; more than eight deviations off
			t.Errorf("%d of 2000 codes begin with %c", n, digit)
		}
	}
	for _, bad := range []string{"", "12345", "1234567", "12345a", "１２３４５６", "-12345", "+12345", "12 34 5", strings.Repeat(" ", 100) + "123456"} {
		if code, ok := readCode(bad); ok {
			t.Errorf("%q is read as %q", bad, code)
		}
	}
}

// FuzzLinkToken: what is taken as a token is, character for character, one that the
// key has made.
func FuzzLinkToken(f *testing.F) { // V-13
	key := testKey(f, strings.Repeat("a", 32))
	id := credential.NewID(credential.Link)
	for _, kind := range linkKinds {
		token := key.token(kind, id)
		for _, seed := range []string{token, token[:len(token)-1], token + "A", strings.ToUpper(token), tokenPrefix + token, token[4:]} {
			f.Add(seed)
		}
	}
	f.Add("")
	f.Add(strings.Repeat("_", tokenLength))
	f.Fuzz(func(t *testing.T, text string) {
		kind, id, ok := key.parse(text)
		if ok && (key.token(kind, id) != text || !credential.IsID(credential.Link, id)) {
			t.Errorf("%q has a second spelling", text)
		}
		if code, ok := readCode(text); ok && (len(code) != codeDigits || strings.Trim(code, "0123456789") != "") {
			t.Errorf("%q is read as the code %q", text, code)
		}
	})
}
