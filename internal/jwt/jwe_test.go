package jwt

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// Encrypted tokens are not of the profile: there is no code that would decrypt,
// derive or inflate, whatever a header asks for. So what they cost is reading them.
func TestEncryptedTokensCostNothing(t *testing.T) {
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 8<<20)) // a buffer takes everything
	_ = w.Close()
	for name, c := range map[string]struct{ header, body string }{
		"V-08 a padding oracle":         {`{"alg":"RSA1_5","enc":"A128CBC-HS256","kid":"test-rs256"}`, "ciphertext"},
		"V-08 a curve of their own":     {`{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`, "ciphertext"},
		"V-09 two billion rounds":       {`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":"AA","p2c":2147483648}`, "ciphertext"},
		"V-10 eight megabytes of zeros": {`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, bomb.String()},
	} {
		t.Run(name, func(t *testing.T) {
			token := fmt.Sprintf("%s.%s.%s.%s.%s", encode(c.header), encode("key"), encode("iv"), encode(c.body), encode("tag"))
			asked := func(string) (PublicKey, bool) {
				t.Error("a key was looked up")
				return PublicKey{}, false
			}
			if _, err := Parse(token, asked); !errors.Is(err, ErrMalformed) {
				t.Errorf("answered %v", err)
			}
			if allocated := testing.AllocsPerRun(10, func() { _, _ = Parse(token, asked) }); allocated > 10 {
				t.Errorf("%v allocations", allocated)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = Parse(token, asked)
			runtime.ReadMemStats(&after)
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 1<<20 { // others may run meanwhile
				t.Errorf("%d bytes allocated", bytes)
			}
		})
	}
}
