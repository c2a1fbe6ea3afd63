package jwt

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse gives the parser texts and, well signed, claims. It must not panic,
// must say nothing beside an error, must read claims as the standard library does,
// and accepts no text that is not the only way to write what it says.
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
			if err == nil {
				sameClaims(t, c, claimsOf(t, text))
			}
			if err != nil && !reflect.DeepEqual(c, Claims{}) {
				t.Errorf("claims beside %v", err)
			}
		}
	})
}

// claimsOf returns the claims of a token that was accepted.
func claimsOf(t *testing.T, token string) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is accepted", token)
	}
	for _, part := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != part {
			t.Fatalf("%q is accepted, and %q is not the only way to write it: %v", token, part, err)
		}
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return raw
}

// FuzzParseKeySet gives key sets. What is accepted must be writable, and come
// back the same, and has no two keys of one id.
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
		var listed struct {
			Keys []struct {
				ID string `json:"kid"`
			}
		}
		ids := map[string]bool{"": true}
		if err := json.Unmarshal(jwks, &listed); err != nil {
			t.Fatalf("%s is accepted: %v", jwks, err)
		}
		for _, k := range listed.Keys {
			if k.ID != "" && ids[k.ID] {
				t.Errorf("%s is accepted, with two keys called %s", jwks, k.ID)
			}
			ids[k.ID] = true
		}
		for id := range set {
			if !ids[id] {
				t.Errorf("key %s is in no key set", id)
			}
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

// FuzzDER: the way from a token's signature to DER and back is the one that
// encoding/asn1 and plain numbers take, and there is no other DER of the same.
func FuzzDER(f *testing.F) { // V-07
	one, high := make([]byte, 64), bytes.Repeat([]byte{0xff}, 64)
	one[31], one[63] = 1, 1
	for _, seed := range [][]byte{one, high, make([]byte, 64), append(make([]byte, 32), high[:32]...), {}, one[:63], {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, signature []byte) {
		if scalars, ok := appendScalars(nil, signature); ok {
			if again, ok := appendDER(nil, scalars); !ok || !bytes.Equal(again, signature) {
				t.Errorf("%x is taken for %x, whose DER is %x", signature, scalars, again)
			}
		}
		der, ok := appendDER(nil, signature)
		r, s := new(big.Int), new(big.Int)
		if len(signature) == 64 {
			r.SetBytes(signature[:32])
			s.SetBytes(signature[32:])
		}
		if good := r.Sign() > 0 && s.Sign() > 0; ok != good {
			t.Fatalf("appendDER of %x: %v, want %v", signature, ok, good)
		}
		if !ok {
			return
		}
		want, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil || !bytes.Equal(der, want) || len(der) > maxDER {
			t.Errorf("appendDER of %x = %x, want %x, %v", signature, der, want, err)
		}
		if again, ok := appendScalars(nil, der); !ok || !bytes.Equal(again, signature) {
			t.Errorf("%x comes back as %x", signature, again)
		}
	})
}
