package jwt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzParse gives the parser texts and, well signed, claims. It must not panic,
// must say nothing beside an error, and must read claims as the standard library
// does.
func FuzzParse(f *testing.F) { // V-13
	var file struct{ Tokens []vector }
	text, err := os.ReadFile(filepath.Join(vectorFolder, "tokens.json"))
	if err != nil {
		f.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		f.Fatal(err)
	}
	for _, v := range file.Tokens {
		claims := []byte("{}")
		if p, err := split(v.Token); err == nil {
			claims, _ = encoding.DecodeString(v.Token[p.first+1 : p.second])
		}
		f.Add(v.Token, string(claims), headerOf(EdDSA))
	}
	keys := find(testKeys(f))
	signer := testSigner(f, EdDSA)
	f.Fuzz(func(t *testing.T, token, claims, header string) {
		for _, text := range []string{token, forge(t, signer, header, claims)} {
			c, err := Parse(text, keys)
			if err == nil && text != token {
				sameClaims(t, c, []byte(claims))
			}
			if err != nil && !reflect.DeepEqual(c, Claims{}) {
				t.Errorf("claims beside %v", err)
			}
		}
	})
}

// FuzzParseKeySet gives key sets. What is accepted must be writable, and come
// back the same.
func FuzzParseKeySet(f *testing.F) { // V-13
	var file struct {
		KeySets []keySetVector `json:"key_sets"`
	}
	text, err := os.ReadFile(filepath.Join(vectorFolder, "key-sets.json"))
	if err != nil {
		f.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		f.Fatal(err)
	}
	for _, v := range file.KeySets {
		f.Add([]byte(v.JWKS))
	}
	f.Fuzz(func(t *testing.T, jwks []byte) {
		set, err := ParseKeySet(jwks)
		if err != nil {
			return
		}
		written, err := set.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKeySet(written)
		if err != nil || len(again) != len(set) {
			t.Fatalf("%d keys of %d come back: %v", len(again), len(set), err)
		}
		for id, k := range set {
			if !k.Equal(again[id]) {
				t.Errorf("key %s does not come back", id)
			}
		}
	})
}
