package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// ids returns the ids of a set, sorted; nil for none.
func ids(set KeySet) []string { return slices.Sorted(maps.Keys(set)) }

// keySetVectors returns the rows of key-sets.json.
func keySetVectors(t *testing.T) []keySetVector {
	public := func(algorithm Algorithm) string {
		text, err := testSigner(t, algorithm).Public().members()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ec, ed, rs := public(ES256), public(EdDSA), public(RS256)
	sets := []keySetVector{}
	add := func(verdict, id, name, jwks string, keys ...string) {
		sets = append(sets, keySetVector{Name: name, ID: id, JWKS: jwks, Verdict: verdict, Keys: keys})
	}
	one := func(members string) string { return `{"keys":[{` + members + `}]}` }
	const named = `,"kid":"a"`
	add("accept", "OD-3", "no keys", `{"keys":[]}`)
	add("accept", "OD-3", "usual", one(ec+named+`,"alg":"ES256","use":"sig"`), "a")
	add("accept", "OD-3", "without alg and use", `{"keys":[{`+ec+named+`},{`+ed+`,"kid":"b"},{`+rs+`,"kid":"c"}]}`, "a", "b", "c")
	add("accept", "OD-3", "other members", `{"x":{"y":[1]},`+one(ec + named + `,"x5t":"A","exp":1`)[1:], "a")
	add("accept", "OD-3", "key_ops with verify", one(ec+named+`,"key_ops":["verify"]`), "a")
	for name, members := range orderedPairs(
		"unknown kty", `"kty":"AKP","pub":"AA"`+named,
		"unknown curve", `"kty":"EC","crv":"P-384","x":"AA","y":"AA"`+named,
		"X25519", `"kty":"OKP","crv":"X25519","x":"AA"`+named,
		"unknown alg", ec+named+`,"alg":"ECDH-ES"`,
		"alg PS256", rs+named+`,"alg":"PS256"`,
		"alg none", ec+named+`,"alg":"none"`,
		"use enc", ec+named+`,"use":"enc"`,
		"key_ops without verify", ec+named+`,"key_ops":["sign",{}]`,
		"no kid", ec,
		"a kid that no token may name", ec+`,"kid":"../a"`,
	) {
		add("accept", "OD-3", "passed over: "+name, `{"keys":[{`+members+`},{`+ed+`,"kid":"b"}]}`, "b")
	}
	for name, member := range orderedPairs("d", `"d":"AA"`, "p", `"p":"AA"`, "q", `"q":"AA"`, "dp", `"dp":"AA"`, "dq", `"dq":"AA"`, "qi", `"qi":"AA"`, "oth", `"oth":[]`, "k", `"k":"AA"`) {
		add("refuse", "JCS-1", "private member "+name, one(ec+named+","+member))
	}
	add("refuse", "JCS-1", "secret key", one(`"kty":"oct","k":"AAAA","kid":"a"`))
	add("refuse", "JCS-1", "private member of an encryption key", one(ec+named+`,"use":"enc","d":"AA"`))
	add("refuse", "JBCP-10", "two keys of an id", `{"keys":[{`+ec+named+`},{`+ed+named+`}]}`)
	add("refuse", "JBCP-10", "member twice", one(ec+named+`,"kid":"b"`))
	add("refuse", "JBCP-10", "keys twice", `{"keys":[],"keys":[]}`)
	add("refuse", "JBCP-10", "lone surrogate", `{"keys":[],"x":"\ud800"}`)
	for name, set := range orderedPairs("empty text", "", "list", "[]", "null", "null", "no member keys", "{}", "keys null", `{"keys":null}`, "keys object", `{"keys":{}}`, "key that is a string", `{"keys":["a"]}`,
		"something follows", `{"keys":[]}{}`, "BOM", "\ufeff"+`{"keys":[]}`) {
		add("refuse", "V-13", "form: "+name, set)
	}
	for name, members := range orderedPairs(
		"no kty", `"kid":"a"`, "kty number", `"kty":1,"kid":"a"`, "kid number", ec+`,"kid":1`, "alg number", ec+named+`,"alg":1`, "use list", ec+named+`,"use":["sig"]`, "key_ops string", ec+named+`,"key_ops":"verify"`,
		"alg of another type", ec+named+`,"alg":"RS256"`, "RSA with ES256", rs+named+`,"alg":"ES256"`, "P-384 with ES256", `"kty":"EC","crv":"P-384","x":"AA","y":"AA","alg":"ES256"`+named,
		"no y", `"kty":"EC","crv":"P-256","x":"AA"`+named, "x too short", strings.Replace(ec, `"x":"`, `"x":"AA","u":"`, 1)+named, "x with padding", strings.Replace(ec, `","y"`, `=","y"`, 1)+named, "x with a line break", strings.Replace(ec, `","y"`, `\n","y"`, 1)+named,
		"Ed25519 too long", `"kty":"OKP","crv":"Ed25519","x":"`+encode(strings.Repeat("a", 33))+`"`+named, "RSA without e", `"kty":"RSA","n":"`+encode(strings.Repeat("\xff", 256))+`"`+named,
	) {
		add("refuse", "V-13", "key: "+name, one(members))
	}
	modulus := func(bytes int) string { return encode(strings.Repeat("\xff", bytes)) }
	rsaKey := func(n, e string) string { return one(`"kty":"RSA","n":"` + n + `","e":"` + e + `"` + named) }
	add("refuse", "JBCP-2", "point off the curve", one(`"kty":"EC","crv":"P-256","x":"`+encode(strings.Repeat("a", 32))+`","y":"`+encode(strings.Repeat("b", 32))+`"`+named))
	add("refuse", "JBCP-2", "point of zeros", one(`"kty":"EC","crv":"P-256","x":"`+encode(strings.Repeat("\x00", 32))+`","y":"`+encode(strings.Repeat("\x00", 32))+`"`+named))
	add("refuse", "V-06", "RSA of 1024 bits", rsaKey(modulus(128), "AQAB"))
	add("refuse", "V-06", "RSA of 16384 bits", rsaKey(modulus(2048), "AQAB"))
	add("refuse", "V-06", "RSA with a zero in front", rsaKey(encode("\x00"+strings.Repeat("\xff", 256)), "AQAB"))
	add("refuse", "V-06", "RSA that is even", rsaKey(encode(strings.Repeat("\xfe", 256)), "AQAB"))
	add("refuse", "V-06", "RSA with exponent 1", rsaKey(modulus(256), "AQ"))
	add("refuse", "V-06", "RSA with exponent 3", rsaKey(modulus(256), "Aw"))
	add("refuse", "V-06", "RSA with an even exponent", rsaKey(modulus(256), "AQAC"))
	add("refuse", "V-06", "RSA with exponent 2^32-1", rsaKey(modulus(256), "_____w"))
	add("refuse", "V-06", "RSA with a huge exponent", rsaKey(modulus(256), modulus(256)))
	return sets
}

// orderedPairs ranges over names and values in the order given.
func orderedPairs(pairs ...string) func(func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for i := 0; i+1 < len(pairs); i += 2 {
			if !yield(pairs[i], pairs[i+1]) {
				return
			}
		}
	}
}

func TestKeySetLimits(t *testing.T) { // V-13
	ed, err := testSigner(t, EdDSA).Public().members()
	if err != nil {
		t.Fatal(err)
	}
	set := func(n int) []byte {
		var b bytes.Buffer
		b.WriteString(`{"keys":[`)
		for i := range n {
			fmt.Fprintf(&b, `{%s,"kid":"k%d"},`, ed, i)
		}
		return append(bytes.TrimSuffix(b.Bytes(), []byte(",")), "]}"...)
	}
	padded := func(n int) []byte { return append(set(1), bytes.Repeat([]byte(" "), n-len(set(1)))...) }
	for name, test := range map[string]struct {
		jwks []byte
		keys int // -1 for refused
	}{
		"64 keys":              {set(64), 64},
		"65 keys":              {set(65), -1},
		"64 KiB":               {padded(64 << 10), 1},
		"over 64 KiB":          {padded(64<<10 + 1), -1},
		"nested too deeply":    {[]byte(`{"keys":[],"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + "}"), -1},
		"2049 members":         {[]byte(`{"keys":[],"x":` + members(2047) + "}"), -1},
		"not UTF-8 (JBCP-10)":  {[]byte("{\"keys\":[],\"x\":\"\xff\"}"), -1},
		"NUL after everything": {append(set(1), 0), -1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKeySet(test.jwks)
			if (err != nil) != (test.keys < 0) || len(got) != max(test.keys, 0) {
				t.Errorf("ParseKeySet: %d keys, %v; want %d", len(got), err, test.keys)
			}
		})
	}
}

func TestKeySetMarshal(t *testing.T) { // JCS-1, OD-3
	set := testKeys(t)
	jwks, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKeySet(jwks)
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(set) {
		t.Fatalf("%d keys, want %d", len(again), len(set))
	}
	for id, k := range set {
		if !k.Equal(again[id]) {
			t.Errorf("key %s does not come back", id)
		}
	}
	var read struct{ Keys []map[string]string }
	if err := json.Unmarshal(jwks, &read); err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"alg", "crv", "kid", "kty", "use", "x"},
		{"alg", "crv", "kid", "kty", "use", "x", "y"},
		{"alg", "e", "kid", "kty", "n", "use"},
	}
	var got [][]string
	var order []string
	for _, k := range read.Keys {
		got = append(got, slices.Sorted(maps.Keys(k)))
		order = append(order, k["kid"])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	if !slices.IsSorted(order) {
		t.Errorf("keys are in the order %q", order)
	}
	if empty, err := (KeySet{}).Marshal(); err != nil || string(empty) != `{"keys":[]}` {
		t.Errorf("empty set: %s, %v", empty, err)
	}
	if _, err := (KeySet{"a": PublicKey{ID: "a"}}).Marshal(); err == nil {
		t.Error("an empty key is written")
	}
	if _, err := (KeySet{"b": set["test-es256"]}).Marshal(); err == nil {
		t.Error("a key is written under another id")
	}
}

func TestNewPublicKey(t *testing.T) { // JBCP-1, JBCP-2, JBCP-6, V-06
	ec, ed, rs := testECKey(t).Public(), testEdKey().Public(), testRSAKey(t).Public()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		id        string
		algorithm Algorithm
		key       crypto.PublicKey
		ok        bool
	}{
		{"ES256", "a", ES256, ec, true},
		{"EdDSA", "a", EdDSA, ed, true},
		{"RS256", "a", RS256, rs, true},
		{"id of 128 characters", strings.Repeat("~", 128), ES256, ec, true},
		{"id of 129 characters", strings.Repeat("a", 129), ES256, ec, false},
		{"no id", "", ES256, ec, false},
		{"id with a slash", "a/b", ES256, ec, false},
		{"EC key for EdDSA", "a", EdDSA, ec, false},
		{"EC key for RS256", "a", RS256, ec, false},
		{"Ed25519 key for ES256", "a", ES256, ed, false},
		{"RSA key for ES256", "a", ES256, rs, false},
		{"RSA key for PS256", "a", "PS256", rs, false},
		{"no algorithm", "a", "", ec, false},
		{"P-384", "a", ES256, p384.Public(), false},
		{"private key", "a", ES256, p384, false},
		{"no key", "a", ES256, nil, false},
		{"empty EC key", "a", ES256, &ecdsa.PublicKey{}, false},
		{"short Ed25519 key", "a", EdDSA, ed25519.PublicKey("abc"), false},
		{"empty RSA key", "a", RS256, &rsa.PublicKey{}, false},
		{"small RSA key", "a", RS256, &rsa.PublicKey{N: big.NewInt(15), E: 65537}, false},
		{"secret", "a", "HS256", []byte("secret"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := NewPublicKey(test.id, test.algorithm, test.key)
			if (err == nil) != test.ok {
				t.Fatalf("NewPublicKey: %v, want ok %v", err, test.ok)
			}
			if !test.ok && k != (PublicKey{}) {
				t.Error("a key beside an error")
			}
		})
	}
}

func TestPublicKeyEqual(t *testing.T) {
	ec := testSigner(t, ES256).Public()
	renamed := ec
	renamed.ID = "other"
	same, err := NewPublicKey(ec.ID, ES256, testECKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		other PublicKey
		want  bool
	}{
		"itself":      {ec, true},
		"a copy":      {same, true},
		"another id":  {renamed, false},
		"another key": {testSigner(t, EdDSA).Public(), false},
		"nothing":     {PublicKey{}, false},
	} {
		if got := ec.Equal(test.other); got != test.want {
			t.Errorf("Equal to %s: %v, want %v", name, got, test.want)
		}
	}
	if (PublicKey{}).Equal(PublicKey{}) {
		t.Error("empty keys are equal")
	}
}
