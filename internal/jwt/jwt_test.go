package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// vectorFolder holds what every SDK reads.
const vectorFolder = "../../testdata/vectors"

// The test keys are fixed, so that stored tokens stay as they are. Their private
// halves are public, and protect nothing.

func testECKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed("es256"))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func testEdKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed("eddsa")) }

// seed returns 32 bytes that anybody can make again.
func seed(name string) []byte { return digest([]byte("coatcheck test key " + name)) }

// A privateJWK is a private RSA key in private-keys.json.
type privateJWK struct {
	ID string `json:"kid"`
	N  string `json:"n"`
	E  string `json:"e"`
	D  string `json:"d"`
	P  string `json:"p"`
	Q  string `json:"q"`
}

var readRSAKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(vectorFolder, "private-keys.json"))
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []privateJWK }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	for _, k := range set.Keys {
		if k.ID != testKeyIDs[RS256] {
			continue
		}
		number := func(text string) *big.Int {
			b, _ := encoding.DecodeString(text) // Validate finds what is wrong
			return new(big.Int).SetBytes(b)
		}
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())},
			D:         number(k.D), Primes: []*big.Int{number(k.P), number(k.Q)},
		}
		key.Precompute()
		return key, key.Validate()
	}
	return nil, errors.New("private-keys.json has no RSA key")
})

func testRSAKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := readRSAKey()
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// testKeyIDs are the ids of the test keys.
var testKeyIDs = map[Algorithm]string{ES256: "test-es256", EdDSA: "test-eddsa", RS256: "test-rs256"}

// A repeatable key signs the same with the same signature (RFC 6979), so that
// stored tokens can be made again.
type repeatable struct{ *ecdsa.PrivateKey }

func (k repeatable) Sign(_ io.Reader, sum []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, sum, opts)
}

func testSigner(tb testing.TB, algorithm Algorithm) *Signer {
	tb.Helper()
	var key crypto.Signer
	switch algorithm {
	case ES256:
		key = testECKey(tb)
	case EdDSA:
		key = testEdKey()
	case RS256:
		key = testRSAKey(tb)
	}
	return newTestSigner(tb, testKeyIDs[algorithm], key)
}

func newTestSigner(tb testing.TB, id string, key crypto.Signer) *Signer {
	tb.Helper()
	signer, err := NewSigner(id, key)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

// testKeys returns the public halves of all test keys.
func testKeys(tb testing.TB) KeySet {
	tb.Helper()
	set := KeySet{}
	for algorithm, id := range testKeyIDs {
		set[id] = testSigner(tb, algorithm).Public()
	}
	return set
}

func find(set KeySet) func(string) (PublicKey, bool) {
	return func(id string) (PublicKey, bool) {
		k, found := set[id]
		return k, found
	}
}

func only(k PublicKey) func(string) (PublicKey, bool) { return find(KeySet{k.ID: k}) }

func sign(tb testing.TB, s *Signer, c Claims) string {
	tb.Helper()
	signed, err := s.Sign(c)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

// forge signs any header and claims, as a hostile or careless holder of the key
// would.
func forge(tb testing.TB, s *Signer, header, claims string) string {
	tb.Helper()
	signed := encode(header) + "." + encode(claims)
	signature, err := s.sign(nil, []byte(signed))
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + encode(string(signature))
}

func encode(text string) string { return encoding.EncodeToString([]byte(text)) }

func headerOf(algorithm Algorithm) string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, algorithm, testKeyIDs[algorithm])
}

const (
	testIssuer   = "https://auth.example.com"
	testAudience = "orders"
	testNow      = 1_800_000_000
)

func expected() Expect {
	return Expect{Issuer: testIssuer, Audience: testAudience, Now: time.Unix(testNow, 0), Leeway: Leeway}
}

func usualClaims() Claims {
	return Claims{
		Issuer: testIssuer, Subject: "usr_01k9zd8h3sfnvb2e5w7q4m6xyt", Audience: []string{testAudience},
		ExpiresAt: testNow + 600, IssuedAt: testNow, AuthTime: testNow - 60,
		ID: "9pS1u2KfT0mZ4v8cQd3xWg", ClientID: "first-party",
		GrantID: "grt_01k9zd8h3sfnvb2e5w7q4m6xyv", SessionID: "ses_01k9zd8h3sfnvb2e5w7q4m6xyz",
		Scope: "read write", ACR: "aal1", AMR: []string{"pwd"},
	}
}

// leastClaims are those that a token must have, briefly.
func leastClaims() Claims {
	return Claims{
		Issuer: testIssuer, Subject: "usr_1", Audience: []string{testAudience},
		ExpiresAt: testNow + 600, IssuedAt: testNow, ID: "t1", ClientID: "shop",
	}
}

// claimsJSON returns the claims of leastClaims with one member replaced, or
// added, or left out if the value is empty. Values are JSON.
func claimsJSON(name, value string) string {
	e := encoder{}
	c := leastClaims()
	_ = e.claims(&c)
	var members map[string]json.RawMessage
	_ = json.Unmarshal(e.out, &members)
	delete(members, name)
	kept, _ := json.Marshal(members) // sorted by name
	if value == "" {
		return string(kept)
	}
	return fmt.Sprintf(`{%q:%s,%s`, name, value, kept[1:])
}

// refused fails the test unless the token is refused for the reason, with
// nothing beside the error.
func refused(t *testing.T, token string, keys func(string) (PublicKey, bool), reason error) {
	t.Helper()
	c, err := Parse(token, keys)
	if !errors.Is(err, reason) {
		t.Errorf("Parse: %v, want %v", err, reason)
	}
	if !reflect.DeepEqual(c, Claims{}) {
		t.Errorf("Parse returns claims beside an error: %+v", c) // V-14
	}
}

func TestCheck(t *testing.T) {
	now := time.Unix(testNow, 0)
	for _, test := range []struct {
		name   string
		change func(*Claims, *Expect)
		want   error
	}{
		{"as expected", func(*Claims, *Expect) {}, nil},
		{"AT-3 issuer with a slash", func(_ *Claims, e *Expect) { e.Issuer += "/" }, ErrIssuer},
		{"V-15 no issuer expected", func(c *Claims, e *Expect) { c.Issuer, e.Issuer = "", "" }, ErrIssuer},
		{"AT-3 other audience", func(_ *Claims, e *Expect) { e.Audience = "order" }, ErrAudience},
		{"V-15 no audience expected", func(c *Claims, e *Expect) { c.Audience, e.Audience = []string{""}, "" }, ErrAudience},
		{"V-15 no audience at all", func(c *Claims, _ *Expect) { c.Audience = nil }, ErrAudience},
		{"one audience of several", func(c *Claims, _ *Expect) { c.Audience = []string{"a", testAudience} }, nil},
		{"last moment", func(c *Claims, e *Expect) { e.Now = time.Unix(c.ExpiresAt, -1) }, nil},
		{"exp is over, leeway or not", func(c *Claims, e *Expect) { e.Now = time.Unix(c.ExpiresAt, 0) }, ErrExpired},
		{"no exp", func(c *Claims, _ *Expect) { c.ExpiresAt = 0 }, ErrExpired},
		{"iat within the leeway", func(c *Claims, _ *Expect) { c.IssuedAt = now.Add(Leeway).Unix() }, nil},
		{"V-16 iat beyond the leeway", func(c *Claims, _ *Expect) { c.IssuedAt = now.Add(Leeway).Unix() + 1 }, ErrNotYet},
		{"nbf within the leeway", func(c *Claims, _ *Expect) { c.NotBefore = now.Add(Leeway).Unix() }, nil},
		{"V-16 nbf beyond the leeway", func(c *Claims, _ *Expect) { c.NotBefore = now.Add(Leeway).Unix() + 1 }, ErrNotYet},
		{"no leeway", func(c *Claims, e *Expect) { e.Leeway, c.IssuedAt = 0, testNow+1 }, ErrNotYet},
		{"far ahead", func(c *Claims, _ *Expect) { c.ExpiresAt, c.NotBefore = maxSeconds, maxSeconds }, ErrNotYet},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, e := usualClaims(), expected()
			test.change(&c, &e)
			if err := c.Check(e); !errors.Is(err, test.want) {
				t.Errorf("Check: %v, want %v", err, test.want)
			}
		})
	}
}

// The parser cannot call anybody if it cannot name the packages that could.
func TestNoNetwork(t *testing.T) { // V-03, V-04, V-05
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if path == "net" || strings.HasPrefix(path, "net/") || strings.HasPrefix(path, "os") ||
				strings.Contains(path, ".") || path == "crypto/x509" || path == "unsafe" {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func compact(tb testing.TB, text string) json.RawMessage {
	tb.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
