package coatcheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

const benchCredentials = 10_000

// benchVerifier returns a verifier by the real clock, whose log stays fresh and
// holds a number of ends, and its issuer.
func benchVerifier(b *testing.B, ends int) (*StandIn, *Verifier) {
	b.Helper()
	s := NewStandIn(time.Now)
	b.Cleanup(s.Stop)
	v, err := NewVerifier(Config{Issuer: s.URL, Audience: "orders", APIKey: apiKey, Staleness: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	if err := v.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	until := time.Now().Add(time.Hour).Unix()
	for i := range ends {
		v.set.Add(feed.Entry{Seq: uint64(i), Kind: feed.Session, ID: fmt.Sprintf("ses_over_%d", i), Until: until})
	}
	return s, v
}

// BenchmarkSeenToken compares a token that was seen before with what cannot be
// done without: reading the clock, and looking the token up in a map. Many tokens
// come in turn, so both depend on how much of them the processor's cache holds.
func BenchmarkSeenToken(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	tokens := make([]string, benchCredentials)
	known := make(map[string]*Caller, benchCredentials)
	for i := range tokens {
		tokens[i] = s.Token("usr_01jd0000000000000000000000", fmt.Sprintf("ses_01jd00000000000000000%05d", i))
		c, err := v.Verify(b.Context(), tokens[i])
		if err != nil {
			b.Fatal(err)
		}
		known[tokens[i]] = c
	}
	inTurn := func(name string, check func(token string) bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if !check(tokens[i]) {
					b.Fatal("refused")
				}
				if i++; i == len(tokens) {
					i = 0
				}
			}
		})
	}
	inTurn("map and clock alone", func(token string) bool { return !time.Now().IsZero() && known[token] != nil })
	inTurn("Verify", func(token string) bool {
		_, err := v.Verify(b.Context(), token)
		return err == nil
	})
}

func BenchmarkSeenTokenParallel(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	token := s.Token("usr_ada", "ses_1")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkKnownCookie(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	headers := make([]http.Header, 1000)
	for i := range headers {
		headers[i] = http.Header{"Cookie": {"theme=dark; __Host-coatcheck=" + s.Cookie("usr_ada", fmt.Sprintf("ses_01jd00000000000000000%05d", i))}}
	}
	check := func(h http.Header) {
		kind, value, err := v.credentialOf(h)
		if err != nil || kind != sessionCookie {
			b.Fatal(kind, err)
		}
		if _, err := v.checkCookie(b.Context(), value); err != nil {
			b.Fatal(err)
		}
	}
	for _, h := range headers {
		check(h)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		check(headers[i])
		if i++; i == len(headers) {
			i = 0
		}
	}
}

// BenchmarkNewToken compares the first sight of a token with the signature check
// that it cannot do without.
func BenchmarkNewToken(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("raw ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
				b.Fatal("bad signature")
			}
		}
	})
	b.Run("Verify", func(b *testing.B) {
		s, v := benchVerifier(b, 1000)
		token := s.Token("usr_01jd0000000000000000000000", "ses_01jd0000000000000000000001", func(c *jwt.Claims) { c.Extra = nil })
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
			v.tokens.Forget(token)
		}
	})
}

func BenchmarkRequire(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	h := v.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest(http.MethodGet, "http://orders.example/", nil)
	r.Header.Set("Authorization", "Bearer "+s.Token("usr_ada", "ses_1"))
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// BenchmarkMemory tells how much one remembered token takes beside the token
// itself, which the benchmark holds.
func BenchmarkMemory(b *testing.B) {
	s, v := benchVerifier(b, 0)
	for b.Loop() {
		v.tokens.Clear()
		tokens := make([]string, benchCredentials)
		for i := range tokens {
			tokens[i] = s.Token("usr_01jd0000000000000000000000", fmt.Sprintf("ses_01jd00000000000000000%05d", i), func(c *jwt.Claims) { c.Extra = nil })
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, token := range tokens {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := float64(after.HeapAlloc-before.HeapAlloc) / benchCredentials
		b.ReportMetric(each, "B/credential")
		runtime.KeepAlive(tokens)
	}
}
