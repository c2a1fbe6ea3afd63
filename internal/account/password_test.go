package account

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// reason returns the detail of the only member at fault, or "" for nil.
func reason(t *testing.T, err error, member, code string) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var members fault.Members
	if !errors.As(err, &members) || len(members) != 1 || members[0].Member != member || members[0].Code != code {
		t.Fatalf("%v %v: want one member %s with the code %s", err, members, member, code)
	}
	return members[0].Detail
}

func TestPasswordsAccepted(t *testing.T) { // ASVS-6.2.5, ASVS-6.2.9, NIST-2
	p := PasswordPolicy{Context: []string{"Acme"}}
	for _, password := range []string{
		"correct horse battery staple",
		"kvjwqpzmxhtbrnfdsgyl", // one case, no digits
		"7409 3318 2265",
		"Tr0ub4dor&3",
		"zwölf boxkämpfer",
		"пароль из четырёх слов",
		"一二三四五六七八九十百千",
		"🦊🐻🐼🐨🐯🦁🐮🐷",
		" leading and trailing ",
		"tab\tand\x00control",
		"k7#wQ!2z",
		"correcthorsecorrecthorse", // repeats what is long enough by itself
		"purple-adapter-42",        // holds "ada", which is not most of it
		"my examples are fine",     // holds "example", which is not most of it
		"coatcheck forgets umbrellas",
		"ada9#ada!x2", // words of three letters count only alone
		"12yz89ab",    // two characters are no run
		strings.Repeat("correct horse ", 10)[:128],
		"mot de passe ne pas oublier " + strings.Repeat("é", 242),
	} {
		got, err := p.Check("/password", password, "ada@example.com", "Ada Lovelace")
		if err != nil {
			t.Errorf("%q is refused: %s", password, reason(t, err, "/password", "format"))
		}
		if got != password {
			t.Errorf("%q becomes %q", password, got)
		}
	}
}

func TestPasswordsRefused(t *testing.T) { // ASVS-6.1.2, ASVS-6.2.4, ASVS-6.2.11
	const short, common, known = "too short", "too common", "too close"
	p := PasswordPolicy{Context: []string{"Acme Widgets", "harbour"}}
	for want, passwords := range map[string][]string{
		short: {"k7#wQ!2", "a", "äöüäöüx", "🦊🐻🐼🐨🐯🦁🐮"},
		common: {
			"password", "PASSWORD", "pAsSwOrD", "ｐａｓｓｗｏｒｄ", "password1", "password123", "iloveyou2", "1qaz2wsx3edc", "trustno1",
			"aaaaaaaa", "\u0430\u0430\u0430\u0430\u0430\u0430\u0430\u0430", "abcabcabc", "abcabcab", "xyxyxyxy", "k7#k7#k7#k7#", "        ", "🦊🐻🦊🐻🦊🐻🦊🐻",
			"passwordpassword", "passwordpasswordpassword", "PasswordPASSWORD", "monkeymonkey", "k7#wq!2k7#wq!2",
			"12345678", "123456789", "87654321", "abcdefgh", "hgfedcba", "ABCDEFGHIJKL", "абвгдежз",
			"qwertyuiop", "poiuytrewq", "qwertzuiop", "azertyuiop", "asdfghjkl", "qwertasdfg", "йцукенгш", "ячсмитьб",
			"1234qwer", "qwer1234", "abc123xyz", "aaaa1111", "11112222", "1111qwer", "zxcvbnm123",
			"password12345678", "12345678password", "dragonmonkey", "baseballfootball", "password999", "qweriloveyou",
		},
		known: {
			"coatcheck", "CoatCheck!", "coatcheck2026", "c.o.a.t.c.h.e.c.k", "mycoatcheck", "ｃｏａｔｃｈｅｃｋ", "coat-check-1",
			"acmewidgets", "acme-widgets-77", "Harbour2026!", "widgets#1234", "theharbour", "acmeharbour",
			"ada.byron@example.com", "adabyron", "ada.byron1815", "ada_12345678", "byron-1815", "byronbyron!x", "a-lovelace", "Lovelace1815",
			"adalovelace!", "example.com", "example12345", "lovelacebyron", "lovelace.ada", "1.a.d.a.1815", "12ada34!56",
		},
	} {
		for _, password := range passwords {
			got, err := p.Check("/new_password", password, "Ada.Byron@Example.com", "Ada Lovelace")
			if detail := reason(t, err, "/new_password", "format"); !strings.Contains(detail, want) || got != "" {
				t.Errorf("%q: %q, %q; want it refused as %s", password, got, detail, want)
			}
		}
	}
}

func TestPasswordOwnWithoutLetters(t *testing.T) {
	_, err := PasswordPolicy{}.Check("/password", "4917640311", "4917640311@example.com", "")
	if detail := reason(t, err, "/password", "format"); !strings.Contains(detail, "too close") {
		t.Errorf("the digits of one's own address: %q", detail)
	}
}

func TestPasswordBounds(t *testing.T) { // V-93
	for _, c := range []struct {
		name, password, code string
	}{
		{"empty", "", "required"},
		{"513 bytes", strings.Repeat("kv7#", 128) + "x", "too_long"},
		{"a megabyte", strings.Repeat("k7#wQ!2z", 1<<17), "too_long"},
		{"too long once composed", strings.Repeat("\U0001d160", 128), "too_long"},
		{"invalid UTF-8", "k7#wQ!2z\xff", "format"},
		{"a surrogate in UTF-8", "k7#wQ!2z\xed\xa0\x80", "format"},
	} {
		if _, err := (PasswordPolicy{}).Check("/password", c.password); err == nil {
			t.Errorf("%s: accepted", c.name)
		} else {
			reason(t, err, "/password", c.code)
		}
	}
	long := strings.Repeat("correct horse battery staple", 19)[:512]
	if _, err := (PasswordPolicy{}).Check("/password", long); err != nil {
		t.Errorf("512 bytes are refused: %v", err)
	}
}

func TestPasswordMinLength(t *testing.T) { // ASVS-6.2.1, NIST-1: characters, not bytes
	for least, password := range map[int]string{0: "k7#wQ!2z", 8: "ä7#wÖ!2ü", 15: "k7#wQ!2zm(4xv5c"} {
		p := PasswordPolicy{MinLength: least}
		if _, err := p.Check("/password", password); err != nil {
			t.Errorf("%q under a least length of %d is refused", password, least)
		}
		_, size := utf8.DecodeLastRuneInString(password)
		if _, err := p.Check("/password", password[:len(password)-size]); err == nil {
			t.Errorf("one less than %q under a least length of %d is accepted", password, least)
		}
	}
}

func TestNormalisePassword(t *testing.T) {
	for typed, want := range map[string]string{
		"cafe\u0301 noir":        "caf\u00e9 noir",
		"caf\u00e9 noir":         "caf\u00e9 noir",
		" Case and Space ":       " Case and Space ",
		"ｆｕｌｌ":                   "ｆｕｌｌ",
		"bad\xff":                "",
		strings.Repeat("x", 513): "",
		strings.Repeat("x", 512): strings.Repeat("x", 512),
	} {
		if got := normalisePassword(typed); got != want {
			t.Errorf("%+q becomes %+q, want %+q", typed, got, want)
		}
	}
}

func TestPasswordIsTheSameAtSignIn(t *testing.T) {
	p := PasswordPolicy{}
	rapid.Check(t, func(t *rapid.T) {
		typed := rapid.StringN(0, 40, 600).Draw(t, "password")
		chosen, err := p.Check("/password", typed)
		if err == nil && (normalisePassword(typed) != chosen || normalisePassword(chosen) != chosen || !hashable(chosen)) {
			t.Fatalf("%+q is stored as %+q and signed in with as %+q", typed, chosen, normalisePassword(typed))
		}
	})
}

func TestBlocklist(t *testing.T) { // ASVS-6.2.4: all of it, so any sample
	lines := strings.Split(strings.TrimSuffix(blocklist, "\n"), "\n")
	if len(lines) < 20_000 {
		t.Fatalf("only %d passwords on the list", len(lines))
	}
	eight := 0
	for i, line := range lines {
		if i > 0 && lines[i-1] >= line {
			t.Fatalf("line %d, %q, is out of order", i+1, line)
		}
		if fold(line) != line || len(line) < 6 {
			t.Fatalf("line %d, %q, can never match", i+1, line)
		}
		if !isListed(line) || isListed(line+"\x01") || isListed(line[:len(line)-1]+"\x01") {
			t.Fatalf("line %d, %q, is not found, or something beside it is", i+1, line)
		}
		if len(line) < 8 {
			continue
		}
		eight++
		for _, typed := range []string{line, strings.ToUpper(line), line + line} {
			_, err := PasswordPolicy{}.Check("/password", typed)
			if detail := reason(t, err, "/password", "format"); !strings.Contains(detail, "too common") {
				t.Fatalf("%q is not refused as common: %q", typed, detail)
			}
		}
	}
	if eight < 17_000 {
		t.Errorf("only %d of them can be chosen at all", eight)
	}
	for _, other := range []string{"", "\n", lines[0] + "\n" + lines[1], "\x00", "\xff", "~~~~~~~~~~", lines[0][:5]} {
		if isListed(other) {
			t.Errorf("%q is found on the list", other)
		}
	}
}

func BenchmarkPasswordCheck(b *testing.B) {
	long := strings.Repeat("correct horse battery staple, ", 18)[:500] + "x7#"
	for name, password := range map[string]string{"usual": "correct horse battery", "longest": long} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = PasswordPolicy{}.Check("/password", password, "ada@example.com", "Ada Lovelace")
			}
		})
	}
}
