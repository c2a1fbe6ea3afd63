package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	peer "github.com/golang-jwt/jwt/v5"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// credentialsInTurn is how many different credentials come one after the other: more
// than the processor's nearest caches hold.
const credentialsInTurn = 10_000

// A verifierBench measures what a verifier costs a service, in process.
type verifierBench struct {
	issuer *signingIssuer
	ecdsa  *ecdsa.PrivateKey
	eddsa  ed25519.PrivateKey
	turns  int // of each side within a round
	n      int // credentials in turn
}

// runVerifier measures credentials that a verifier has seen, those it has not, and
// what a token costs to make.
func runVerifier(ctx context.Context, r *rig) ([]figure, error) {
	b := &verifierBench{turns: 2000, n: credentialsInTurn}
	if r.Quick {
		b.turns = 500
	}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	defer b.issuer.close()
	var all []figure
	for _, part := range []func(context.Context, *rig) ([]figure, error){b.seenToken, b.knownCookie, b.remembered, b.newTokens, b.mint} {
		figures, err := part(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, figures...)
	}
	return all, nil
}

// prepare makes the keys and starts the issuer that signs with them.
func (b *verifierBench) prepare() (err error) {
	if b.ecdsa, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	if _, b.eddsa, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	b.issuer, err = startIssuer(map[jwt.Algorithm]crypto.Signer{jwt.ES256: b.ecdsa, jwt.EdDSA: b.eddsa})
	return err
}

// alternate runs the sides in turn, and returns the median time of each for one of
// the things it does at a time, in nanoseconds: a busy machine slows all sides, and a
// pause in one turn counts for nothing.
func alternate(turns int, sides ...side) ([]float64, error) {
	times := make([][]float64, len(sides))
	for range turns {
		for i, s := range sides {
			if s.prepare != nil {
				if err := s.prepare(); err != nil {
					return nil, err
				}
			}
			start := time.Now()
			if err := s.work(); err != nil {
				return nil, err
			}
			times[i] = append(times[i], float64(time.Since(start))/float64(s.times))
		}
	}
	medians := make([]float64, len(sides))
	for i := range times {
		medians[i] = median(times[i])
	}
	return medians, nil
}

// A side is one of the things that are compared.
type side struct {
	times   int          // that work does it
	prepare func() error // what is not counted; may be nil
	work    func() error
}

// rounds measures the sides in each round, and returns the values of each side.
func (b *verifierBench) rounds(r *rig, name string, sides ...side) ([][]float64, error) {
	values := make([][]float64, len(sides))
	for round := range r.Rounds {
		r.Note("%s, round %d of %d", name, round+1, r.Rounds)
		medians, err := alternate(b.turns, sides...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, m := range medians {
			values[i] = append(values[i], m)
		}
	}
	return values, nil
}

// clones returns equal strings elsewhere in memory: what a request brings is never
// the very string that is remembered.
func clones(all []string) []string {
	others := make([]string, len(all))
	for i, one := range all {
		others[i] = strings.Clone(one)
	}
	return others
}

// inTurn returns a side that does something with so many of all at a time, one after
// the other and from the beginning again.
func inTurn[T any](all []T, atOnce int, do func(T) error) side {
	next := 0
	return side{times: atOnce, work: func() error {
		for range atOnce {
			if err := do(all[next]); err != nil {
				return err
			}
			if next++; next == len(all) {
				next = 0
			}
		}
		return nil
	}}
}

// seenToken measures tokens that the verifier has seen before, in turn, beside the
// parser of golang-jwt, which remembers none.
func (b *verifierBench) seenToken(ctx context.Context, r *rig) ([]figure, error) {
	v, err := b.issuer.verifier(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	tokens, err := b.issuer.tokens(b.n, jwt.ES256)
	if err != nil {
		return nil, err
	}
	verify := func(token string) error {
		_, err := v.Verify(ctx, token)
		return err
	}
	for _, token := range tokens {
		if err := verify(token); err != nil {
			return nil, err
		}
	}
	tokens = clones(tokens)
	parser := peer.NewParser(peer.WithValidMethods([]string{"ES256"}), peer.WithIssuer(b.issuer.url), peer.WithAudience(benchAudience), peer.WithExpirationRequired())
	key := func(*peer.Token) (any, error) { return &b.ecdsa.PublicKey, nil }
	values, err := b.rounds(r, "a token seen before", inTurn(tokens, 2000, verify), inTurn(tokens, 2, func(token string) error {
		_, err := parser.Parse(token, key)
		return err
	}))
	if err != nil {
		return nil, err
	}
	again := inTurn(tokens, 1, verify)
	allocations := testing.AllocsPerRun(len(tokens), func() { _ = again.work() }) // good each time, as before
	const name = "access token seen before"
	return []figure{
		{Name: name, Unit: "ns", Ours: values[0], Bar: bar{Limit: 250}},
		{Name: name + ", beside golang-jwt", Unit: "ns", Ours: values[0], Against: "golang-jwt, ES256", Reference: values[1], Bar: bar{Ratio: true, Limit: 1.0 / 300}},
		{Name: name + ", allocations", Unit: "allocs", Ours: []float64{allocations}, Bar: bar{Nothing: true}},
	}, nil
}

// knownCookie measures requests with a session cookie that was asked about before.
// What a handler costs that merely gets a context is taken off.
func (b *verifierBench) knownCookie(ctx context.Context, r *rig) ([]figure, error) {
	v, err := b.issuer.verifier(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	lines := make([][]string, b.n)
	for i, cookie := range cookieValues(b.n) {
		lines[i] = []string{"theme=dark; __Host-coatcheck=" + cookie}
	}
	served := 0
	inner := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
	type contextKey struct{}
	serve := func(h http.Handler) side {
		request, w := httptest.NewRequest(http.MethodGet, "http://orders.example/", nil), httptest.NewRecorder()
		return inTurn(lines, 500, func(line []string) error {
			request.Header["Cookie"] = line
			before := served
			if h.ServeHTTP(w, request); served == before {
				return errors.New("a request was refused")
			}
			return nil
		})
	}
	checked := serve(v.Require(inner))
	plain := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, r)))
	}))
	for range len(lines) / checked.times { // each is asked about, once
		if err := checked.work(); err != nil {
			return nil, err
		}
	}
	values, err := b.rounds(r, "a known cookie", checked, plain)
	if err != nil {
		return nil, err
	}
	for i := range values[0] {
		values[0][i] -= values[1][i]
	}
	return []figure{{Name: "known session cookie, in Require beyond a bare handler", Unit: "ns", Ours: values[0], Bar: bar{Limit: 600}}}, nil
}

// remembered measures how much memory one credential takes beyond its own length.
func (b *verifierBench) remembered(ctx context.Context, r *rig) ([]figure, error) {
	tokens, err := b.issuer.tokens(b.n, jwt.ES256)
	if err != nil {
		return nil, err
	}
	cookies := cookieValues(b.n)
	var ofTokens, ofCookies []float64
	for round := range r.Rounds {
		r.Note("memory, round %d of %d", round+1, r.Rounds)
		v, err := b.issuer.verifier(ctx, 0)
		if err != nil {
			return nil, err
		}
		token, err := grown(tokens, func(token string) error {
			_, err := v.Verify(ctx, token)
			return err
		})
		if err != nil {
			return nil, err
		}
		cookie, err := grown(cookies, b.asker(v))
		if err != nil {
			return nil, err
		}
		v.Close()
		ofTokens, ofCookies = append(ofTokens, token), append(ofCookies, cookie)
	}
	return []figure{
		{Name: "memory of a remembered access token, beyond its length", Unit: "B", Ours: ofTokens, Bar: bar{Limit: 300}},
		{Name: "memory of a remembered session cookie with e-mail address, beyond its length", Unit: "B", Ours: ofCookies, Bar: bar{Limit: 300}},
	}, nil
}

// asker returns what lets a verifier learn a cookie.
func (b *verifierBench) asker(v *coatcheck.Verifier) func(cookie string) error {
	served := false
	h := v.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
	return func(cookie string) error {
		request := httptest.NewRequest(http.MethodGet, "http://orders.example/", nil)
		request.Header.Set("Cookie", "__Host-coatcheck="+cookie)
		served = false
		if h.ServeHTTP(httptest.NewRecorder(), request); !served {
			return errors.New("a cookie was refused")
		}
		return nil
	}
}

// grown returns by how much the heap grows for each credential that is shown, beyond
// its length. The first warms up what is there once.
func grown(credentials []string, show func(string) error) (float64, error) {
	if err := show(strings.Clone(credentials[0])); err != nil {
		return 0, err
	}
	before, length := liveHeap(), 0
	for _, credential := range credentials[1:] {
		length += len(credential)
		if err := show(strings.Clone(credential)); err != nil {
			return 0, err
		}
	}
	after := liveHeap()
	runtime.KeepAlive(credentials)
	return (after - before - float64(length)) / float64(len(credentials)-1), nil
}
