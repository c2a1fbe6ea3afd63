package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestSignAndParse(t *testing.T) {
	full := usualClaims()
	full.NotBefore, full.KeyID = testNow, "not written"
	full.Extra = map[string]any{
		"email": "\"ada\\\"@example.com\n\x01é😀", "verified": true, "n": 7, "big": int64(1) << 40,
		"f": -1.5e-9, "g": 1e300, "none": nil, "roles": []string{"a", "b"}, "deep": map[string]any{"z": []any{}, "a": map[string]any{}},
	}
	for algorithm := range testKeyIDs {
		signer := testSigner(t, algorithm)
		for name, c := range map[string]Claims{"usual": usualClaims(), "least": leastClaims(), "full": full} {
			t.Run(string(algorithm)+" "+name, func(t *testing.T) {
				got, err := Parse(sign(t, signer, c), only(signer.Public()))
				if err != nil {
					t.Fatal(err)
				}
				want := c
				want.KeyID = testKeyIDs[algorithm]
				if name == "full" {
					want.Extra = map[string]any{
						"email": full.Extra["email"], "verified": true, "n": 7.0, "big": float64(1 << 40),
						"f": -1.5e-9, "g": 1e300, "none": nil, "roles": []any{"a", "b"}, "deep": map[string]any{"z": []any{}, "a": map[string]any{}},
					}
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("claims\n%+v, want\n%+v", got, want)
				}
			})
		}
	}
}

// A token says what it is in the way that RFC 9068 wants.
func TestSignForm(t *testing.T) { // AT-1
	token := sign(t, testSigner(t, ES256), leastClaims())
	parts := strings.Split(token, ".")
	header, err := encoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	claims, err := encoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(header), `{"alg":"ES256","kid":"test-es256","typ":"at+jwt"}`; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	const want = `{"iss":"https://auth.example.com","sub":"usr_1","aud":"orders","exp":1800000600,"iat":1800000000,"jti":"t1","client_id":"shop"}`
	if string(claims) != want {
		t.Errorf("claims %s, want %s", claims, want)
	}
	if len(parts[2]) != 86 {
		t.Errorf("signature of %d characters, want 86", len(parts[2]))
	}
}

func TestSignRefuses(t *testing.T) {
	signer := testSigner(t, EdDSA)
	with := func(name string, v any) func(*Claims) {
		return func(c *Claims) { c.Extra = map[string]any{name: v} }
	}
	deep := any("x")
	for range 16 {
		deep = []any{deep}
	}
	many := map[string]any{}
	for i := range 94 {
		many[strings.Repeat("m", i+1)] = true
	}
	tests := map[string]func(*Claims){
		"AT-1 no issuer":           func(c *Claims) { c.Issuer = "" },
		"AT-1 no subject":          func(c *Claims) { c.Subject = "" },
		"V-15 no audience":         func(c *Claims) { c.Audience = nil },
		"V-15 an empty audience":   func(c *Claims) { c.Audience = []string{"a", ""} },
		"AT-1 no expiry":           func(c *Claims) { c.ExpiresAt = 0 },
		"AT-1 no issue time":       func(c *Claims) { c.IssuedAt = 0 },
		"AT-1 no id":               func(c *Claims) { c.ID = "" },
		"AT-1 no client":           func(c *Claims) { c.ClientID = "" },
		"V-16 negative time":       func(c *Claims) { c.NotBefore = -1 },
		"V-16 time too large":      func(c *Claims) { c.ExpiresAt = maxSeconds + 1 },
		"JBCP-10 not UTF-8":        func(c *Claims) { c.Scope = "\xff" },
		"JBCP-10 name not UTF-8":   with("\xff", 1),
		"JBCP-10 deep not UTF-8":   with("x", map[string]any{"y": []string{"\xc0"}}),
		"NaN":                      with("x", math.NaN()),
		"infinity":                 with("x", math.Inf(-1)),
		"a type that JSON has not": with("x", struct{}{}),
		"bytes":                    with("x", []byte("a")),
		"V-17 nested too deeply":   with("x", deep),
		"V-17 too many members":    func(c *Claims) { c.Extra = many },
		"V-12 too long":            with("x", strings.Repeat("x", MaxLength)),
	}
	for _, name := range strings.Fields("iss sub aud exp iat nbf jti sid gid scope client_id auth_time acr amr cnf typ") {
		tests["V-70 extra claim "+name] = with(name, "x")
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := leastClaims()
			change(&c)
			token, err := signer.Sign(c)
			if err == nil || token != "" {
				t.Errorf("Sign: %q, %v; want an error", token, err)
			}
		})
	}
	t.Run("the most members there may be", func(t *testing.T) {
		delete(many, "m")
		c := leastClaims()
		c.Extra = many
		if _, err := Parse(sign(t, signer, c), only(signer.Public())); err != nil {
			t.Error(err)
		}
	})
}

func TestNewSigner(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		id  string
		key crypto.Signer
	}{
		"V-06 RSA of 1024 bits": {"a", small},
		"P-384":                 {"a", p384},
		"JBCP-6 no id":          {"", testECKey(t)},
		"JBCP-6 id with a path": {"../a", testECKey(t)},
		"no key":                {"a", nil},
		"key of another kind":   {"a", oddKey{}},
	} {
		if s, err := NewSigner(test.id, test.key); err == nil || s != nil {
			t.Errorf("%s: NewSigner accepts it", name)
		}
	}
	for algorithm, id := range testKeyIDs {
		public := testSigner(t, algorithm).Public()
		if public.ID != id || public.Algorithm != algorithm {
			t.Errorf("public key %s %s, want %s %s", public.ID, public.Algorithm, id, algorithm)
		}
	}
}

// An oddKey is a key that lives elsewhere and does not do its work.
type oddKey struct {
	public    crypto.PublicKey
	signature []byte
	err       error
}

func (k oddKey) Public() crypto.PublicKey { return k.public }

func (k oddKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return k.signature, k.err }

func TestSignerThatFails(t *testing.T) {
	broken := errors.New("the device is gone")
	public := testECKey(t).Public()
	for name, key := range map[string]oddKey{
		"an error":      {public, nil, broken},
		"nothing":       {public, nil, nil},
		"raw numbers":   {public, make([]byte, 64), nil},
		"zeros":         {public, []byte{0x30, 6, 2, 1, 0, 2, 1, 0}, nil},
		"too much":      {public, []byte{0x30, 8, 2, 1, 1, 2, 1, 1, 0, 0}, nil},
		"a wrong tag":   {public, []byte{0x31, 6, 2, 1, 1, 2, 1, 1}, nil},
		"a wrong size":  {public, []byte{0x30, 6, 2, 9, 1, 2, 1, 1}, nil},
		"below zero":    {public, []byte{0x30, 6, 2, 1, 1, 2, 1, 0x9d}, nil},
		"a zero before": {public, []byte{0x30, 7, 2, 2, 0, 1, 2, 1, 1}, nil},
		"one number":    {public, []byte{0x30, 3, 2, 1, 1}, nil},
		"large numbers": {public, append([]byte{0x30, 38, 2, 33}, append(fill(33), 2, 1, 1)...), nil},
	} {
		token, err := newTestSigner(t, "a", key).Sign(leastClaims())
		if err == nil || token != "" {
			t.Errorf("%s: %q, %v", name, token, err)
		}
		if key.err != nil && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func fill(n int) []byte { return []byte(strings.Repeat("\x7f", n)) }

func TestSignConcurrently(t *testing.T) {
	for algorithm := range testKeyIDs {
		signer := testSigner(t, algorithm)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				token, err := signer.Sign(usualClaims())
				if err == nil {
					_, err = Parse(token, only(signer.Public()))
				}
				if err != nil {
					t.Errorf("%s: %v", algorithm, err)
				}
			})
		}
		all.Wait()
	}
}

// ECDSA numbers of all lengths go to DER and back.
func TestDER(t *testing.T) { // V-07
	n := new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1))
	for bits := 256; bits > 0; bits-- {
		r := new(big.Int).Rsh(n, uint(256-bits))
		raw := make([]byte, 64)
		r.FillBytes(raw[:32])
		raw[63] = byte(bits | 1)
		der, ok := appendDER(nil, raw)
		if !ok || len(der) > maxDER {
			t.Fatalf("%x: DER %x", raw, der)
		}
		again, ok := appendScalars(nil, der)
		if !ok || string(again) != string(raw) {
			t.Fatalf("%x: %x from DER %x", raw, again, der)
		}
	}
}

func TestLargest(t *testing.T) {
	c := usualClaims()
	c.Extra = map[string]any{"roles": []string{strings.Repeat("r", 300)}, "name": strings.Repeat("n", 200), "x": 1, "bad": math.NaN()}
	for n, want := range map[int][]string{
		0:  {},
		-1: {},
		1:  {"roles"},
		3:  {"roles", "name", "sub"},
	} {
		if got := c.Largest(n); !reflect.DeepEqual(got, want) {
			t.Errorf("Largest(%d): %q, want %q", n, got, want)
		}
	}
	if got := c.Largest(100); len(got) != 16 {
		t.Errorf("%d claims, want 16: %q", len(got), got)
	}
	if got := (Claims{}).Largest(3); len(got) != 0 {
		t.Errorf("no claims, but %q", got)
	}
}
