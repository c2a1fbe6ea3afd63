package account

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
)

// FuzzCanonicalEmail: what is accepted is one line of visible characters of the
// length that mail has, is read as itself again, and has one key, which is the key
// of the key and of the same address in capitals.
func FuzzCanonicalEmail(f *testing.F) { // V-13, V-81, V-92
	for _, seed := range []string{
		"ada@example.com", "Ada@Example.com", " ada@example.com\r\n", "ada+tag@example.com", "\u212aate@example.com",
		"kate\uff20example.com", "rene\u0301@example.com", "ada@b\u00fccher.example", "ada@xn--bcher-kva.example", "l\u0131sa@example.com",
		"\u03a3\u039f\u03a6\u039f\u03a3@example.com", "stra\u00dfe@example.com", "ada@example\u3002com", "o\ufb03ce@example.com",
		"ada@localhost", "ada@[127.0.0.1]", `"a b"@example.com`, "a..b@example.com", "ada@@example.com", "", "@", "ada@example.com\nBcc: x@y.example",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "com", "\u1fb3@example.com", "x\u0130\u0307@example.com",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, key, err := CanonicalEmail(text)
		if err != nil {
			var members fault.Members
			if !errors.As(err, &members) || members[0].Member != "/email" || address+key != "" {
				t.Fatalf("%+q: %q, %q, %v", text, address, key, err)
			}
			return
		}
		for _, part := range []string{address, key} {
			if len(part) > maxEmail || !utf8.ValidString(part) || strings.Count(part, "@") != 1 ||
				strings.ContainsFunc(part, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
				t.Fatalf("%+q is read as %+q with the key %+q", text, address, key)
			}
		}
		local, domain, _ := strings.Cut(address, "@")
		for name, other := range map[string]string{"itself": address, "its key": key, "capitals": strings.ToUpper(local) + "@" + domain} {
			again, otherKey, err := CanonicalEmail(other)
			switch {
			case err != nil && name == "capitals": // a capital may take more bytes
			case err != nil:
				t.Errorf("%+q is accepted and %s, %+q, is not: %v", text, name, other, err)
			case otherKey != key:
				t.Errorf("%+q has the key %+q, %s the key %+q", text, key, name, otherKey)
			case name != "capitals" && again != other:
				t.Errorf("%+q: %s, %+q, is read as %+q", text, name, other, again)
			}
		}
	})
}

// FuzzCutAPIKey: what is cut as an API key is put together again to the same text.
func FuzzCutAPIKey(f *testing.F) { // V-13
	id, secret := credential.NewID(credential.APIKey), credential.NewSecret()
	good := apiKeyText(id, secret)
	for _, seed := range []string{good, good[:len(good)-1], good + "A", strings.ToUpper(good), "cka_", "", credential.APIKey + good[4:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, ok := cutAPIKey(text)
		if ok && (apiKeyText(id, secret) != text || !credential.IsID(credential.APIKey, id)) {
			t.Errorf("%q has a second spelling", text)
		}
	})
}

func apiKeyText(id string, secret credential.Secret) string {
	return "cka_" + strings.TrimPrefix(id, credential.APIKey) + secret.Encode()
}
