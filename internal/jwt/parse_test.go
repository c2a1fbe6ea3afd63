package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Nothing that a header says makes the parser ask for a key unless the header is
// of the profile, and it asks once.
func TestKeysAreAskedOnce(t *testing.T) { // V-01, V-03, V-04
	asked := 0
	keys := testKeys(t)
	count := func(id string) (PublicKey, bool) {
		asked++
		k, found := keys[id]
		return k, found
	}
	ofHeaders := strings.Fields("V-01 V-02 V-03 V-04 V-05 V-11 V-18 JBCP-3 JBCP-9")
	for _, v := range newForger(t).all() {
		asked = 0
		_, err := Parse(v.Token, count)
		if asked > 1 {
			t.Errorf("%s: asked %d times", v.Name, asked)
		}
		if errors.Is(err, ErrMalformed) && slices.Contains(ofHeaders, v.ID) && asked > 0 {
			t.Errorf("%s: asked for a key, then %v", v.Name, err)
		}
	}
}

func TestHostileKeyIDs(t *testing.T) { // V-04, JBCP-6
	signer := testSigner(t, ES256)
	parts := []string{"../", "/etc/passwd", "' OR '1'='1", "; DROP TABLE key; --", "$(id)", "`id`", "|id", "\x00", "\r\nX: y", "%2e%2e%2f", "é", "\u202e", "http://x/", "{{7*7}}", "${jndi:x}", "a b", "<a>", "*", "?", "#"}
	tried := 0
	for _, a := range parts {
		for _, b := range []string{"", "test-es256", "/", "dev/null", "=", "\"", "key", "k.pem", "1", "@x"} {
			kid, err := json.Marshal(a + b)
			if err != nil {
				t.Fatal(err)
			}
			tried++
			token := forge(t, signer, `{"alg":"ES256","kid":`+string(kid)+`,"typ":"at+jwt"}`, claimsJSON("", ""))
			_, err = Parse(token, func(id string) (PublicKey, bool) {
				t.Errorf("asked for %q", id)
				return PublicKey{}, false
			})
			if !errors.Is(err, errKeyID) {
				t.Errorf("kid %s: %v, want %v", kid, err, errKeyID)
			}
		}
	}
	if tried < 200 {
		t.Errorf("%d ids tried, want 200", tried)
	}
}

func TestParseAllocations(t *testing.T) { // V-12
	keys := testKeys(t)
	tokenOf := func(a Algorithm) string { return sign(t, testSigner(t, a), usualClaims()) }
	for _, test := range []struct {
		name  string
		token string
		most  float64
	}{
		{"usual ES256", tokenOf(ES256), 20},
		{"usual EdDSA", tokenOf(EdDSA), 20},
		{"usual RS256", tokenOf(RS256), 30},
		{"1 MiB of dots", strings.Repeat(".", 1<<20), 2},
		{"16 KiB of dots", strings.Repeat(".", MaxLength), 2},
		{"1 MiB of letters", strings.Repeat("A", 1<<20), 2},
		{"unknown key", forge(t, testSigner(t, ES256), `{"alg":"ES256","kid":"x","typ":"at+jwt"}`, claimsJSON("", "")), 2},
	} {
		got := testing.AllocsPerRun(20, func() { _, _ = Parse(test.token, find(keys)) })
		if got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}

func TestParseLength(t *testing.T) { // V-12
	signer := testSigner(t, EdDSA)
	keys := only(signer.Public())
	c := usualClaims()
	filled := func(n int) string {
		c.Extra = map[string]any{"fill": strings.Repeat("x", n)}
		token, err := signer.Sign(c)
		if err != nil {
			return ""
		}
		return token
	}
	n := 10_000
	for n < MaxLength && filled(n+1) != "" {
		n++
	}
	longest := filled(n)
	if len(longest) < MaxLength-1 || len(longest) > MaxLength {
		t.Fatalf("the longest token has %d bytes", len(longest))
	}
	if _, err := Parse(longest, keys); err != nil {
		t.Errorf("a token of %d bytes: %v", len(longest), err)
	}
	refused(t, longest+strings.Repeat("A", MaxLength+1-len(longest)), keys, errLong)
}

// A token is a string that cannot be changed anywhere: every mutant is refused.
func TestMutants(t *testing.T) { // V-17
	keys := find(testKeys(t))
	made := 0
	for algorithm := range testKeyIDs {
		signer := newForger(t).signers[algorithm]
		token := sign(t, signer, leastClaims())
		for i := range len(token) {
			for kind, mutant := range mutants(token, i) {
				if mutant == token {
					continue
				}
				made++
				c, err := Parse(mutant, keys)
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrUnknownKey) {
					t.Errorf("%s, %s at %d: %v", algorithm, kind, i, err)
				}
				if !reflect.DeepEqual(c, Claims{}) {
					t.Errorf("%s, %s at %d: claims beside an error", algorithm, kind, i)
				}
			}
		}
	}
	if made < 500 {
		t.Errorf("%d mutants, want at least 500", made)
	}
}

// mutants returns the changes of text at a position, by name. Which of them are
// made depends on the position, so that there are some of each.
func mutants(text string, i int) map[string]string {
	const alphabet = "AZaz09-_.=+/ \n\r\x00\"{\xff\\"
	inserted := alphabet[i%len(alphabet)]
	switch i % 5 {
	case 0:
		return map[string]string{"left out": text[:i] + text[i+1:], "inserted": text[:i] + string(inserted) + text[i:]}
	case 1:
		return map[string]string{"replaced": text[:i] + string([]byte{inserted}) + text[i+1:]}
	case 2:
		return map[string]string{"cut off": text[:i], "begins": text[i+1:]}
	case 3:
		return map[string]string{"twice": text[:i+1] + text[i:], "a bit changed": text[:i] + string([]byte{text[i] ^ 1<<(i%7)}) + text[i+1:]}
	}
	if i+1 < len(text) {
		return map[string]string{"exchanged": text[:i] + text[i+1:i+2] + text[i:i+1] + text[i+2:]}
	}
	return nil
}

// Whatever claims are accepted, the standard library reads them in the same way.
func TestClaimMutants(t *testing.T) { // V-17
	signer := testSigner(t, EdDSA)
	keys := only(signer.Public())
	text := claimsJSON("x", `{"a":[1,-2.5e3,true,null],"b":"\u00e9\ud83d\ude00é","c":{"d":[]}}`)
	accepted, made := 0, 0
	for i := range len(text) {
		for kind, mutant := range mutants(text, i) {
			made++
			c, err := Parse(forge(t, signer, headerOf(EdDSA), mutant), keys)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("%s at %d: %v", kind, i, err)
				}
				continue
			}
			accepted++
			t.Run(fmt.Sprintf("%s at %d", kind, i), func(t *testing.T) { sameClaims(t, c, []byte(mutant)) })
		}
	}
	if made < 300 || accepted < 30 || accepted > made*2/3 {
		t.Errorf("%d of %d mutants are accepted", accepted, made)
	}
}

// A kind of token is told by its typ, and each kind opens its own door alone.
func TestKinds(t *testing.T) { // V-18, JBCP-4, JBCP-5, SSF-6
	signer := testSigner(t, ES256)
	for kind, ok := range map[string]bool{
		"at+jwt": true, "JWT": false, "logout+jwt": false, "rt+jwt": false,
		"dpop+jwt": false, "client-authentication+jwt": false, "secevent+jwt": false,
	} {
		token := forge(t, signer, fmt.Sprintf(`{"alg":"ES256","kid":"test-es256","typ":%q}`, kind), claimsJSON("", ""))
		if _, err := Parse(token, only(signer.Public())); (err == nil) != ok {
			t.Errorf("typ %s: %v", kind, err)
		}
	}
}

// The key decides by which algorithm a signature is checked.
func TestEmptyKey(t *testing.T) { // JBCP-1
	token := sign(t, testSigner(t, ES256), usualClaims())
	refused(t, token, func(string) (PublicKey, bool) { return PublicKey{}, true }, errOtherKind)
	ed := testSigner(t, EdDSA).Public()
	ed.Algorithm = ES256 // which no constructor does
	refused(t, token, func(string) (PublicKey, bool) { return ed, true }, ErrSignature)
	own := forge(t, testSigner(t, EdDSA), headerOf(ES256), claimsJSON("", ""))
	refused(t, own, func(string) (PublicKey, bool) { return ed, true }, ErrSignature)
	ec := testSigner(t, ES256).Public()
	ec.Algorithm = RS256
	own = forge(t, testSigner(t, ES256), headerOf(RS256), claimsJSON("", ""))
	refused(t, own, func(string) (PublicKey, bool) { return ec, true }, ErrSignature)
	rs := testSigner(t, RS256).Public()
	rs.Algorithm = EdDSA
	own = forge(t, testSigner(t, RS256), headerOf(EdDSA), claimsJSON("", ""))
	refused(t, own, func(string) (PublicKey, bool) { return rs, true }, ErrSignature)
	refused(t, token, func(string) (PublicKey, bool) { return PublicKey{Algorithm: ES256}, true }, ErrSignature)
}

// Errors are constant, so nothing of a token gets into a log.
func TestErrorsAreConstant(t *testing.T) { // V-104, V-105
	const canary = "canary-6f1d"
	signer := testSigner(t, ES256)
	for _, token := range []string{
		canary, canary + "." + canary + "." + canary,
		forge(t, signer, `{"alg":"`+canary+`","kid":"a","typ":"at+jwt"}`, "{}"),
		forge(t, signer, `{"alg":"ES256","kid":"`+canary+`","typ":"at+jwt"}`, "{}"),
		forge(t, signer, headerOf(ES256), claimsJSON("exp", `"`+canary+`"`)),
		forge(t, signer, headerOf(ES256), claimsJSON(canary, `nul`)),
	} {
		_, err := Parse(token, only(signer.Public()))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%.40s: %v", token, err)
		}
	}
}
