package credential

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// V-97: ids are unique and sort by when they were made.
func TestIDsAreUniqueAndSorted(t *testing.T) {
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = NewID(Session)
	}
	if !slices.IsSorted(ids) {
		t.Error("ids made later do not sort later")
	}
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("an id was made twice")
	}
	if len(ids[0]) != IDLength || !strings.HasPrefix(ids[0], "ses_0") {
		t.Errorf("an id looks like %s", ids[0])
	}
}

func TestIDsHaveOneSpelling(t *testing.T) {
	good := NewID(User)
	if !IsID(User, good) || IsID(Session, good) {
		t.Fatalf("%s is not taken for what it is", good)
	}
	for name, bad := range map[string]string{
		"empty": "", "short": good[:len(good)-1], "long": good + "0", "upper case": strings.ToUpper(good),
		"ambiguous": good[:10] + "o" + good[11:], "beyond 128 bits": "usr_8" + good[5:], "no prefix": good[4:],
		"newline": good[:29] + "\n", "not ASCII": good[:28] + "é",
	} {
		if IsID(User, bad) {
			t.Errorf("%s: %q was taken for an id", name, bad)
		}
	}
}

// V-97, ASVS-7.2.3: secrets are 256 bits of crypto/rand and never repeat.
func TestSecretsAreUnique(t *testing.T) {
	seen := map[Secret]bool{}
	var ones [256]int
	const draws = 100_000
	for range draws {
		s := NewSecret()
		if seen[s] {
			t.Fatal("a secret was drawn twice")
		}
		seen[s] = true
		for bit := range ones {
			ones[bit] += int(s[bit/8]>>(bit%8)) & 1
		}
	}
	for bit, n := range ones {
		if n < draws*48/100 || n > draws*52/100 {
			t.Errorf("bit %d is set in %d of %d secrets", bit, n, draws)
		}
	}
}

func TestSecretsAreReadStrictly(t *testing.T) {
	s := NewSecret()
	good := s.Encode()
	if got, ok := ParseSecret(good); !ok || got != s {
		t.Fatal("our own secret was not read")
	}
	for name, bad := range map[string]string{
		"empty": "", "short": good[:42], "padded": good + "=", "standard alphabet": "+" + good[1:],
		"newline": good[:20] + "\n" + good[21:], "not canonical": strings.Repeat("A", 42) + "B",
	} {
		if _, ok := ParseSecret(bad); ok {
			t.Errorf("%s: %q was read", name, bad)
		}
	}
}

// V-104: a secret that strays into a log shows nothing.
func TestSecretsHideThemselves(t *testing.T) {
	s := NewSecret()
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, s); got != "[secret]" {
			t.Errorf("%s shows %s", format, got)
		}
	}
}

func TestTheZeroHashOpensNothing(t *testing.T) {
	if NewSecret().Opens(Hash{}) || (Secret{}).Opens(Hash{}) {
		t.Error("a secret opens where there is none")
	}
	s := NewSecret()
	if !s.Opens(s.Hash()) || NewSecret().Opens(s.Hash()) {
		t.Error("a secret does not open its own hash, or another does")
	}
}

// An id and its number say the same.
func TestNumbersAreWhatIDsSay(t *testing.T) {
	for range 1000 {
		id := NewID(Session)
		n, ok := ParseID(Session, id)
		if !ok || n.ID(Session) != id || n.ID(User) != User+id[len(Session):] {
			t.Fatalf("%s is read as %x, which is written %s", id, n, n.ID(Session))
		}
	}
	for id, want := range map[string]Number{
		"ses_00000000000000000000000000": {},
		"ses_00000000000000000000000001": {15: 1},
		"ses_00000000000001000000000000": {8: 0x10},
		"ses_00000000000010000000000000": {7: 2},
		"ses_10000000000000000000000000": {0: 0x20},
		"ses_7zzzzzzzzzzzzzzzzzzzzzzzzz": Number(slices.Repeat([]byte{0xff}, 16)),
	} {
		if n, ok := ParseID(Session, id); !ok || n != want || n.ID(Session) != id {
			t.Errorf("%s is read as %x, %v, want %x", id, n, ok, want)
		}
	}
}
