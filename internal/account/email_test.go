package account

import (
	"errors"
	"net/mail"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/idna"
	"pgregory.net/rapid"

	"github.com/coatcheck/coatcheck/internal/fault"
)

func TestCanonicalEmailOneAccount(t *testing.T) { // V-92, V-81
	for key, spellings := range map[string][]string{
		"kate@example.com": {
			"kate@example.com", "Kate@Example.COM", "  kate@example.com\r\n", "KATE@EXAMPLE.COM",
			"\u212aate@example.com",                                    // Kelvin sign
			"kate\uff20example.com",                                    // fullwidth @
			"kate\ufe6bexample.com",                                    // small @
			"\uff4b\uff41\uff54\uff45@example.com",                     // fullwidth letters
			"kate@\uff45xample.com",                                    // fullwidth in the domain
			"kate@example\u3002com",                                    // ideographic full stop
			"kate@example\uff0ecom",                                    // fullwidth full stop
			"\U0001d424\U0001d41a\U0001d42d\U0001d41e@example.com",     // mathematical bold
			"\u24da\u24d0\u24e3\u24d4@\u24d4\u24e7ample\u3002\u24d2om", // circled
		},
		"lisa@example.com": {
			"lisa@example.com", "l\u0131sa@example.com", // dotless i
			"L\u0130SA@example.com", // dotted capital I
			"li\u017fa@example.com", // long s
			"LISA@example.com",
		},
		"rené@example.com":          {"rené@example.com", "rene\u0301@example.com", "RENÉ@example.com", "RENE\u0301@example.com"},
		"ada@xn--bcher-kva.example": {"ada@bücher.example", "ada@BÜCHER.example", "ada@bu\u0308cher.example", "ada@xn--bcher-kva.example", "ada@XN--BCHER-KVA.example"},
		"σοφοσ@example.com":         {"σοφος@example.com", "ΣΟΦΟΣ@example.com", "σοφοσ@example.com"},
		"office@example.com":        {"office@example.com", "o\ufb03ce@example.com"}, // ligature
		"ada+tag@example.com":       {"ada+tag@example.com", "Ada+Tag@example.com"},
		"o'hara_{x}@example.com":    {"o'hara_{x}@example.com"},
		"ada@localhost":             {"ada@localhost", "ada@LOCALHOST"},
	} {
		for _, s := range spellings {
			if _, got, err := CanonicalEmail(s); err != nil || got != key {
				t.Errorf("%+q has the key %q, %v; want %q", s, got, err, key)
			}
		}
	}
}

func TestCanonicalEmailApart(t *testing.T) {
	apart := []string{"ada@example.com", "ada@example.org", "ada+x@example.com", "a.da@example.com", "аda@example.com" /* Cyrillic a */, "adá@example.com"}
	seen := map[string]string{}
	for _, s := range apart {
		_, key, err := CanonicalEmail(s)
		if err != nil || seen[key] != "" {
			t.Errorf("%q: %v, and shares its key with %q", s, err, seen[key])
		}
		seen[key] = s
	}
}

func TestCanonicalEmailAddress(t *testing.T) { // V-92: mail goes to what was typed
	for typed, want := range map[string]string{
		" Ada@Example.com ":       "Ada@Example.com",
		"\u0130lker@example.com":  "\u0130lker@example.com",
		"rene\u0301@example.com":  "rené@example.com",
		"ada\uff20example.com":    "ada@example.com",
		"Ada@bücher.example":      "Ada@bücher.example",
		"ada@BÜCHER.example":      "ada@bücher.example",
		"ada@example\u3002com":    "ada@example.com",
		"ada@xn--bcher-kva.COM":   "ada@xn--bcher-kva.COM",
		"\uff21\uff24a@localhost": "\uff21\uff24a@localhost",
	} {
		if got, _, err := CanonicalEmail(typed); err != nil || got != want {
			t.Errorf("%+q is mailed to as %+q, %v; want %+q", typed, got, err, want)
		}
	}
}

func TestCanonicalEmailRefused(t *testing.T) {
	long := strings.Repeat("a", 64)
	for code, typed := range map[string][]string{
		"required": {"", " ", "\t\r\n"},
		"too_long": {
			long + "a@example.com",
			strings.Repeat("a", 243) + "@example.com",
			strings.Repeat("\u3316", 4) + "@example.com", // six letters each in the key
		},
		"format": {
			"ada", "@", "@example.com", "ada@", "ada@@example.com", "ada@b@example.com",
			"ada@b\uff20example.com", "a\uff20da@example.com",
			"a da@example.com", "ada @example.com", "ada@ example.com", "ada@exam ple.com",
			"a\u00a0da@example.com", "a\u3000da@example.com", "a\u2003da@example.com", "\u00b4ada@example.com",
			"a\x00da@example.com", "a\nda@example.com", "ada@example.com\x00", "a\x7fda@example.com", "a\u0085da@example.com",
			"a\u200bda@example.com", "a\u200dda@example.com", "a\ufeffda@example.com", "\u202eada@example.com",
			"a\u00adda@example.com", "a\ufe0fda@example.com", "a\u3164da@example.com", "a\u034fda@example.com", "a\ue000da@example.com",
			`"ada"@example.com`, `"a b"@example.com`, `a"b@example.com`, `a\b@example.com`,
			"ada(comment)@example.com", "<ada@example.com>", "Ada <ada@example.com>",
			"ada,bob@example.com", "ada@example.com,bob@example.com", "ada;bob@example.com", "a:b@example.com", "a[b]@example.com",
			"a\uff0cb@example.com", "a\uff1cb@example.com", "a\uff02b@example.com", // fullwidth , < "
			".ada@example.com", "ada.@example.com", "a..da@example.com", "a\u2026da@example.com",
			"ada@example", "ada@.com", "ada@example.", "ada@example..com", "ada@example.com.", "ada@-example.com", "ada@example-.com",
			"ada@exa_mple.com", "ada@exa!mple.com", "ada@127.0.0.1", "ada@[127.0.0.1]", "ada@[IPv6:::1]", "ada@example.123",
			"ada@" + long + ".com", "ada@xn--a.com", "ada@xn--zzzzzz.com", "ada@example\u200b.com\u200b@",
			"ad\xffa@example.com", "ada@ex\xc3.com", "ada@a/b.com", "ada@example.com/", "ada@example.com?x",
		},
	} {
		for _, s := range typed {
			address, key, err := CanonicalEmail(s)
			var members fault.Members
			if !errors.As(err, &members) || members[0].Member != "/email" || members[0].Code != code {
				t.Errorf("%+q: %v %v, want the code %s", s, err, members, code)
			}
			if address != "" || key != "" {
				t.Errorf("%+q is refused, yet gives %q and %q", s, address, key)
			}
		}
	}
}

// drawEmail draws texts that are often addresses.
func drawEmail(t *rapid.T) string {
	part := rapid.StringOfN(rapid.OneOf(
		rapid.RuneFrom([]rune("abckKzßſıİςΣ.+-'@é\u0301\u212a\uff20\ufb03\u00df\u1e9e ")),
		rapid.RuneFrom(nil, unicode.L, unicode.N, unicode.M, unicode.P),
	), 1, 12, -1)
	return part.Draw(t, "local") + "@" + part.Draw(t, "domain") + rapid.SampledFrom([]string{"", ".com", ".example"}).Draw(t, "end")
}

func TestCanonicalEmailIsStable(t *testing.T) { // V-92
	rapid.Check(t, func(t *rapid.T) {
		typed := drawEmail(t)
		address, key, err := CanonicalEmail(typed)
		if err != nil {
			return
		}
		local, domain, _ := strings.Cut(address, "@") // a domain is what DNS says: letters that DNS tells apart stay apart
		for _, s := range []string{address, key, strings.ToUpper(local) + "@" + domain, strings.ToLower(local) + "@" + domain, " " + typed} {
			again, sameKey, err := CanonicalEmail(s)
			if err != nil || sameKey != key {
				t.Fatalf("%+q has the key %+q, but %+q of it has %+q, %v", typed, key, s, sameKey, err)
			}
			if s == address && again != address {
				t.Fatalf("the address %+q becomes %+q", address, again)
			}
		}
		if sent, err := idna.Lookup.ToASCII(domain); err != nil || !strings.HasSuffix(key, "@"+sent) {
			t.Fatalf("mail to %+q would go to the domain %q, %v; the key is %q", address, sent, err, key)
		}
		parsed, err := mail.ParseAddress(local + "@" + domain)
		if err != nil || parsed.Address != address {
			t.Fatalf("mail cannot be addressed to %+q: %v", address, err)
		}
	})
}
