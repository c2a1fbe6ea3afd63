package jwt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the files of testdata/vectors anew")

// A vector is a token and what is to become of it.
type vector struct {
	ID      string          `json:"id"` // of the requirement in question
	Name    string          `json:"name"`
	Verdict string          `json:"verdict"`
	Token   string          `json:"token"`
	Claims  json.RawMessage `json:"claims,omitempty"` // of an accepted token
}

// A keySetVector is a key set and what is to become of it.
type keySetVector struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Verdict string   `json:"verdict"` // accept or refuse
	JWKS    string   `json:"jwks"`
	Keys    []string `json:"keys,omitempty"` // the ids that are left, sorted
}

// verdict returns what a reader of the files calls an outcome.
func verdict(err error) string {
	for _, v := range []struct {
		err  error
		name string
	}{
		{ErrMalformed, "malformed"},
		{ErrUnknownKey, "unknown_key"},
		{ErrSignature, "signature"},
		{ErrIssuer, "issuer"},
		{ErrAudience, "audience"},
		{ErrExpired, "expired"},
		{ErrNotYet, "not_yet"},
	} {
		if errors.Is(err, v.err) {
			return v.name
		}
	}
	if err != nil {
		return err.Error()
	}
	return "accept"
}

func TestVectors(t *testing.T) {
	var file struct {
		Now, Leeway      int64
		Issuer, Audience string
		Tokens           []vector
	}
	readVectors(t, "tokens.json", &file)
	expect := Expect{
		Issuer: file.Issuer, Audience: file.Audience,
		Now: time.Unix(file.Now, 0), Leeway: time.Duration(file.Leeway) * time.Second,
	}
	jwks, err := os.ReadFile(filepath.Join(vectorFolder, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeySet(jwks)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range file.Tokens {
		if names[v.Name] {
			t.Errorf("two vectors are called %q", v.Name)
		}
		names[v.Name] = true
		t.Run(v.ID+" "+v.Name, func(t *testing.T) {
			c, err := Parse(v.Token, find(keys))
			if err != nil && !reflect.DeepEqual(c, Claims{}) {
				t.Errorf("claims beside an error: %+v", c) // V-14
			}
			if err == nil {
				err = c.Check(expect)
			}
			if got := verdict(err); got != v.Verdict {
				t.Fatalf("verdict %s (%v), want %s", got, err, v.Verdict)
			}
			if err == nil {
				sameClaims(t, c, v.Claims)
			}
		})
	}
}

// sameClaims compares claims with their JSON as the standard library reads it.
func sameClaims(t *testing.T, c Claims, text []byte) {
	t.Helper()
	if c.ExpiresAt == 0 || c.IssuedAt == 0 {
		return // nobody signs these
	}
	e := encoder{}
	if err := e.claims(&c); err != nil {
		t.Fatal(err)
	}
	got, want := readClaimsLoosely(t, e.out), readClaimsLoosely(t, text)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
}

func readClaimsLoosely(t *testing.T, text []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if one, ok := all["aud"].(string); ok {
		all["aud"] = []any{one}
	}
	for _, name := range []string{"nbf", "auth_time", "gid", "sid", "scope", "acr", "amr"} {
		switch v := all[name]; {
		case v == "", v == 0.0, reflect.DeepEqual(v, []any{}):
			delete(all, name) // as good as absent
		}
	}
	return all
}

func TestKeySetVectors(t *testing.T) {
	var file struct {
		KeySets []keySetVector `json:"key_sets"`
	}
	readVectors(t, "key-sets.json", &file)
	for _, v := range file.KeySets {
		t.Run(v.ID+" "+v.Name, func(t *testing.T) {
			set, err := ParseKeySet([]byte(v.JWKS))
			if (err == nil) != (v.Verdict == "accept") {
				t.Fatalf("ParseKeySet: %v, want %s", err, v.Verdict)
			}
			if err != nil && set != nil {
				t.Error("keys beside an error")
			}
			if got := ids(set); !reflect.DeepEqual(got, v.Keys) {
				t.Errorf("keys %q, want %q", got, v.Keys)
			}
		})
	}
}

// vectorDocument writes a file with a row on each line, so that a change is easy
// to read.
func vectorDocument[T any](t *testing.T, name string, rows []T, settings ...any) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("{\n")
	for i := 0; i+1 < len(settings); i += 2 {
		fmt.Fprintf(&b, "  %q: %s,\n", settings[i], asJSON(t, settings[i+1]))
	}
	fmt.Fprintf(&b, "  %q: [", name)
	for i, row := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    " + asJSON(t, row))
	}
	b.WriteString("\n  ]\n}\n")
	return b.String()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// The stored files are what the generator makes: nobody edits them by hand.
func TestVectorsAreCurrent(t *testing.T) {
	if *update {
		writePrivateKeys(t)
	}
	jwks, err := testKeys(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var published struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(jwks, &published); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"keys.json": vectorDocument(t, "keys", published.Keys),
		"tokens.json": vectorDocument(t, "tokens", newForger(t).all(),
			"now", testNow, "leeway", int64(Leeway.Seconds()), "issuer", testIssuer, "audience", testAudience),
		"key-sets.json": vectorDocument(t, "key_sets", keySetVectors(t)),
	} {
		path := filepath.Join(vectorFolder, name)
		if *update {
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		stored, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(stored) != content {
			t.Errorf("%s is not what the generator makes: run this test with -update and look at the difference", name)
		}
	}
}

// writePrivateKeys writes the private keys once; the RSA key stays if there is
// one, so that the tokens stay the same.
func writePrivateKeys(t *testing.T) {
	path := filepath.Join(vectorFolder, "private-keys.json")
	key, err := readRSAKey()
	if err != nil {
		if key, err = rsa.GenerateKey(rand.Reader, minRSABits); err != nil {
			t.Fatal(err)
		}
	}
	ec := testECKey(t)
	scalar, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ed := testEdKey()
	number := func(n *big.Int) string { return encode(string(n.Bytes())) }
	text := fmt.Sprintf(`{"comment":"TEST KEYS. These private keys are public and protect nothing. They sign tokens.json.","keys":[
{"kty":"EC","crv":"P-256","kid":%q,"alg":"ES256","use":"sig","x":%q,"y":%q,"d":%q},
{"kty":"OKP","crv":"Ed25519","kid":%q,"alg":"EdDSA","use":"sig","x":%q,"d":%q},
{"kty":"RSA","kid":%q,"alg":"RS256","use":"sig","n":%q,"e":%q,"d":%q,"p":%q,"q":%q,"dp":%q,"dq":%q,"qi":%q}]}`,
		testKeyIDs[ES256], encode(string(point[1:33])), encode(string(point[33:])), encode(string(scalar)),
		testKeyIDs[EdDSA], encode(string(ed[32:])), encode(string(ed.Seed())),
		testKeyIDs[RS256], number(key.N), number(big.NewInt(int64(key.E))), number(key.D), number(key.Primes[0]),
		number(key.Primes[1]), number(key.Precomputed.Dp), number(key.Precomputed.Dq), number(key.Precomputed.Qinv))
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	readRSAKey = func() (*rsa.PrivateKey, error) { return key, nil }
}

func readVectors(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}
