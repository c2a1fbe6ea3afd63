package coatcheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

const (
	benchCredentials = 10_000
	benchKey         = "key_01jd0000000000000000000000" // as long as those of a server
)

// benchVerifier returns a verifier by the real clock, whose log stays fresh and
// holds a number of ends, and its issuer.
func benchVerifier(b *testing.B, ends int) (*StandIn, *Verifier) {
	b.Helper()
	s := NewStandIn(time.Now)
	s.AddKey(benchKey)
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

// realToken signs a token as a server mints them: about 600 bytes.
func realToken(s *StandIn, i int) string {
	id := fmt.Sprintf("01jd00000000000000000%05d", i)
	return s.TokenBy(benchKey, "usr_"+id, "ses_"+id, func(c *jwt.Claims) {
		c.GrantID, c.ID, c.Extra = "grt_"+id, "AAAAAAAAAAAAAAAAA"+fmt.Sprintf("%05d", i), nil
	})
}

// copies returns equal strings elsewhere: what a request brings is never the very
// string that is remembered.
func copies(all []string) []string {
	other := make([]string, len(all))
	for i, one := range all {
		other[i] = strings.Clone(one)
	}
	return other
}

// BenchmarkSeenToken compares a token that was seen before with what cannot be
// done without: reading the clock, and looking the token up in a map. Many tokens
// come in turn, so both depend on how much of them the processor's cache holds.
func BenchmarkSeenToken(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	tokens := make([]string, benchCredentials)
	known := make(map[string]*Caller, benchCredentials)
	for i := range tokens {
		tokens[i] = realToken(s, i)
		c, err := v.Verify(b.Context(), tokens[i])
		if err != nil {
			b.Fatal(err)
		}
		known[tokens[i]] = c
	}
	tokens = copies(tokens)
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
	inTurn("clock alone", func(string) bool { return !time.Now().IsZero() })
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
		token := realToken(s, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
			v.tokens.Forget(token)
		}
	})
}

// BenchmarkRequire compares a request with a credential that is known with one that
// a handler merely gives a context of its own.
func BenchmarkRequire(b *testing.B) {
	s, v := benchVerifier(b, 1000)
	var inner http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := v.Require(inner)
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, r)))
	})
	for name, header := range map[string]http.Header{
		"token":  {"Authorization": {"Bearer " + realToken(s, 1)}},
		"cookie": {"Cookie": {"theme=dark; __Host-coatcheck=" + s.Cookie("usr_ada", "ses_1")}},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://orders.example/", nil)
		r.Header = header
		w := httptest.NewRecorder()
		for what, handler := range map[string]http.Handler{name: h, name + " not looked at": plain} {
			b.Run(what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					handler.ServeHTTP(w, r)
				}
			})
		}
	}
}

// BenchmarkMemory tells how much one remembered credential takes beyond its own
// length: with the copy of it that is kept, and without what the request brought.
func BenchmarkMemory(b *testing.B) {
	s, v := benchVerifier(b, 0)
	measure := func(name string, make1 func(i int) string, see func(credential string) error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v.tokens.Clear()
				v.sessions.Clear()
				own := 0
				credentials := make([]string, benchCredentials)
				for i := range credentials {
					credentials[i] = make1(i)
					own += len(credentials[i])
				}
				before := heap()
				for _, credential := range credentials {
					if err := see(strings.Clone(credential)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heap()-before-int64(own))/benchCredentials, "B/credential")
				b.ReportMetric(float64(own)/benchCredentials, "B-long")
				runtime.KeepAlive(credentials)
			}
		})
	}
	ctx := b.Context()
	measure("token", func(i int) string { return realToken(s, i) }, func(token string) error {
		_, err := v.Verify(ctx, token)
		return err
	})
	answer := answer{Active: true, Client: "first-party", Issued: time.Now().Unix(), Expires: time.Now().Unix() + 600, ACR: "aal1", AMR: []string{"pwd"}, AuthTime: 5}
	cookie := func(i int) string { return fmt.Sprintf("cks_01jd00000000000000000%05d%043d", i, i) }
	remember := func(others map[string]any) func(string) error {
		return func(cookie string) error {
			a := answer
			a.Subject, a.Session, a.others = strings.Clone("usr_"+cookie[4:30]), strings.Clone("ses_"+cookie[4:30]), maps.Clone(others)
			k := v.knownOfCookie(cookie, &a, 5)
			v.sessions.Put(cookie, k, k.Expires())
			return nil
		}
	}
	measure("cookie", cookie, remember(nil))
	measure("cookie with claims", cookie, remember(map[string]any{"email": "ada@example.com", "email_verified": true}))
}

// heap returns the bytes of live objects.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
