package wycheproof

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A file is one file of vectors.
type file struct {
	Groups []group `json:"testGroups"`
}

// A group is the vectors of one key.
type group struct {
	Key    json.RawMessage `json:"keyDer"` // hex of a SubjectPublicKeyInfo
	JWK    map[string]any  `json:"jwk"`
	RSAJWK map[string]any  `json:"keyJwk"`
	Hash   string          `json:"sha"`
	Tests  []struct {
		ID        int    `json:"tcId"`
		Comment   string `json:"comment"`
		Message   string `json:"msg"` // hex
		Signature string `json:"sig"` // hex, as a JWS carries it
		Result    string `json:"result"`
	} `json:"tests"`
}

// The files whose signatures are those of a JWS, and what each must come to: how
// many keys fit the profile, how many do not and are refused as keys, and how many
// signatures are accepted and refused under those that fit. A file that lost its
// vectors would pass by itself.
var files = []struct {
	name                          string
	algorithm                     jwt.Algorithm
	keys, others, accept, refused int
}{
	{"ecdsa_secp256r1_sha256_p1363_test.json", jwt.ES256, 80, 0, 146, 73},
	{"ecdsa_webcrypto_test.json", jwt.ES256, 80, 9, 146, 73},
	{"eddsa_test.json", jwt.EdDSA, 51, 0, 84, 61},
	{"rsa_signature_2048_sha256_test.json", jwt.RS256, 1, 2, 7, 231},
	{"rsa_signature_3072_sha256_test.json", jwt.RS256, 1, 1, 7, 231},
	{"rsa_signature_test.json", jwt.RS256, 12, 12, 84, 231},
}

// V-07, JBCP-1: what the vectors call valid is accepted and nothing else is, also
// not what they would let pass for the sake of old signers. Keys of other curves,
// sizes and exponents are no keys here.
func TestSignatures(t *testing.T) {
	folder := download(t)
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			var keys, others, accepted, refused int
			for _, g := range read(t, filepath.Join(folder, f.name)).Groups {
				if g.Hash != "" && g.Hash != "SHA-256" {
					continue // of an algorithm that we have not
				}
				key, ok := keyOf(t, f.algorithm, g)
				if !ok {
					others++
					continue
				}
				keys++
				for _, v := range g.Tests {
					good := key.Verify(unhex(t, v.Message), unhex(t, v.Signature))
					if good != (v.Result == "valid") {
						t.Errorf("%d (%s) is %s, and Verify says %v", v.ID, v.Comment, v.Result, good)
					}
					if good {
						accepted++
					} else {
						refused++
					}
				}
			}
			if keys != f.keys || others != f.others || accepted != f.accept || refused != f.refused {
				t.Errorf("%d keys and %d others, %d signatures accepted and %d refused; want %d, %d, %d, %d",
					keys, others, accepted, refused, f.keys, f.others, f.accept, f.refused)
			}
		})
	}
}

// keyOf makes the key of a group. Where the group has the key as a JWK, too, a key
// set with it must come to the same, key or no key.
func keyOf(t *testing.T, algorithm jwt.Algorithm, g group) (jwt.PublicKey, bool) {
	t.Helper()
	const id = "wycheproof"
	var text string
	if err := json.Unmarshal(g.Key, &text); err != nil {
		t.Fatal(err)
	}
	var key jwt.PublicKey
	public, err := x509.ParsePKIXPublicKey(unhex(t, text))
	if err == nil {
		key, err = jwt.NewPublicKey(id, algorithm, public)
	}
	members := maps.Clone(g.JWK)
	if members == nil {
		members = maps.Clone(g.RSAJWK)
	}
	if members == nil {
		return key, err == nil
	}
	delete(members, "d")
	members["kid"] = id
	set, setErr := jwt.ParseKeySet(encode(t, map[string]any{"keys": []any{members}}))
	inSet, found := set[id]
	if found != (err == nil) || found && !inSet.Equal(key) {
		t.Errorf("the key set of %v holds %v, %v, and the key alone is %v, %v", members, set, setErr, key, err)
	}
	return key, err == nil
}

// download has the go command fetch the vectors, unless it has them already, and
// check them against go.sum.
func download(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/google/wycheproof").Output()
	var module struct{ Dir, Error string }
	if unread := json.Unmarshal(out, &module); err != nil || unread != nil || module.Dir == "" {
		t.Fatalf("the vectors cannot be fetched: %v %v %s", err, unread, module.Error)
	}
	return filepath.Join(module.Dir, "testvectors")
}

func read(t *testing.T, path string) (f file) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
