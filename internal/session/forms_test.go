package session

import (
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/credential"
)

func testKeys(t testing.TB) *refreshKeys {
	t.Helper()
	keys, err := newRefreshKeys([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// V-39: one credential has one spelling; whatever else is refused, without a look
// at the store.
func TestCookiesAreCutByPosition(t *testing.T) {
	id, secret := credential.NewID(credential.Session), credential.NewSecret()
	good := cookieValue(id, secret)
	if got, s, ok := cutCookie(good); !ok || credential.Session+got != id || s != secret {
		t.Fatalf("our own cookie was not read")
	}
	for name, bad := range mutants(good) {
		if _, _, ok := cutCookie(bad); ok {
			t.Errorf("%s: %q was read as a cookie", name, bad)
		}
	}
}

func TestRefreshTokensAreGenuineOrNothing(t *testing.T) {
	keys := testKeys(t)
	token := refreshToken{grantID: credential.NewID(credential.Grant), generation: 7, secret: credential.NewSecret()}
	good := keys.encode(token)
	if got, ok := keys.parse(good); !ok || got != token {
		t.Fatalf("our own token was not read: %v", got)
	}
	for name, bad := range mutants(good) {
		if _, ok := keys.parse(bad); ok {
			t.Errorf("%s: taken for genuine", name)
		}
	}
	for i := range good {
		flipped := []byte(good)
		flipped[i] ^= 1
		if _, ok := keys.parse(string(flipped)); ok {
			t.Errorf("genuine with another character %d", i)
		}
	}
	others, err := newRefreshKeys([]byte(strings.Repeat("x", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := others.parse(good); ok {
		t.Error("genuine under another secret")
	}
}

func TestASuccessorFollowsFromTokenAndSalt(t *testing.T) {
	keys := testKeys(t)
	token := refreshToken{grantID: credential.NewID(credential.Grant), generation: 1, secret: credential.NewSecret()}
	first, again := keys.successor(token, [16]byte{1}), keys.successor(token, [16]byte{1})
	if first != again || first.generation != 2 {
		t.Error("the same token and salt give another successor")
	}
	if keys.successor(token, [16]byte{2}).secret == first.secret {
		t.Error("another salt gives the same successor")
	}
}

// mutants returns spellings near a good one, none of which may pass.
func mutants(good string) map[string]string {
	return map[string]string{
		"empty": "", "truncated": good[:len(good)-1], "extended": good + "A", "space before": " " + good[1:],
		"upper case prefix": strings.ToUpper(good[:4]) + good[4:], "another prefix": "cka_" + good[4:],
		"padded": good[:len(good)-1] + "=", "percent encoded": strings.Replace(good, good[4:5], "%41", 1),
		"not canonical": good[:len(good)-1] + lastBitFlipped(good[len(good)-1]), "upper case id": good[:4] + strings.ToUpper(good[4:10]) + good[10:],
		"ambiguous letter": good[:4] + "l" + good[5:], "newline": good[:40] + "\n" + good[41:], "not UTF-8": good[:40] + "\xff" + good[41:],
		"doubled": good + good, "huge": strings.Repeat(good, 1000),
	}
}

func lastBitFlipped(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}
