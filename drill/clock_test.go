package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
)

// A hand is a clock that the test sets.
type hand struct{ at atomic.Int64 }

func (h *hand) now() time.Time       { return time.Unix(0, h.at.Load()) }
func (h *hand) move(d time.Duration) { h.at.Add(int64(d)) }
func (h *hand) set(t time.Time)      { h.at.Store(t.UnixNano()) }

// A clockwork is a server in this process and a verifier beside it, both by one
// clock. Either can be started anew.
type clockwork struct {
	witness

	t        *testing.T
	clock    *hand
	address  string
	database string
	stop     func()
	verifier *coatcheck.Verifier
	lives    int // of verifiers: a new one knows the time from its clock alone
}

// startClockwork has sessions that are over after an hour without use or three in
// all, and tokens of ten minutes.
func startClockwork(t *testing.T) *clockwork {
	t.Helper()
	c := &clockwork{
		t: t, clock: &hand{}, address: freeAddress(t),
		database: "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"),
	}
	c.clock.set(time.Now())
	c.witness = witness{newClient("http://" + c.address), newRecorder()}
	c.startServer()
	c.startVerifier()
	t.Cleanup(func() {
		c.verifier.Close()
		c.stop()
		c.client.close()
	})
	return c
}

func (c *clockwork) startServer() {
	c.t.Helper()
	config, err := app.Configure(map[string]string{
		"public_url": c.URL, "listen": c.address, "database": c.database, "revocation.heartbeat": "100ms",
		"session.idle": "1h", "session.absolute": "3h", "token.access": "10m",
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
	})
	if err != nil {
		c.t.Fatal(err)
	}
	life, end := context.WithCancel(context.Background())
	a, err := app.New(life, app.Options{
		Config: config, Now: c.clock.now, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1},
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		end()
		c.t.Fatal(err)
	}
	if c.APIKey == "" {
		if _, c.APIKey, err = a.Accounts.AddAPIKey(life, "drill", account.Scopes, "system", app.Origin); err != nil {
			c.t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(life, l, nil) }()
	c.stop = func() {
		end()
		if err := <-served; err != nil {
			c.t.Errorf("stop: %v", err)
		}
		c.client.forget()
	}
}

func (c *clockwork) startVerifier() {
	c.t.Helper()
	v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: c.URL, Audience: c.URL, APIKey: c.APIKey, Now: c.clock.now})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := v.Ready(ctx); err != nil {
		c.t.Fatalf("the verifier: %v", err)
	}
	c.verifier = v
	c.lives++
}

// look shows every credential to the server, and every token to the verifier, and
// records what they say. A credential is a subject of its own: once it was refused as
// over or expired it is so for ever, whoever asks. What is stamped in a future that
// the clock has left again is invalid for now, which says nothing. A verifier that was
// started anew has no memory of what the one before it refused.
func (c *clockwork) look(h *holder) {
	c.t.Helper()
	ctx := c.t.Context()
	server := func(name string, credential with) {
		call := c.now()
		a := c.session(ctx, credential)
		switch {
		case a.OK():
			c.shown(name, true, call)
		case a.Code == "token_expired" || a.Code == "session_ended":
			c.shown(name, false, call)
		case a.Status != http.StatusServiceUnavailable && a.Code != "invalid_token":
			c.t.Errorf("%s: %v", name, a)
		}
	}
	if h.Cookie != "" {
		server("cookie of "+h.SessionID, cookie(h.Cookie))
		return
	}
	name := "token …" + h.Access[len(h.Access)-8:] + " of " + h.SessionID
	server(name, bearer(h.Access))
	call, there := c.now(), fmt.Sprintf(" at verifier %d", c.lives)
	_, err := c.verifier.Verify(ctx, h.Access)
	switch {
	case err == nil:
		c.shown(name+there, true, call)
	case errors.Is(err, coatcheck.ErrExpired) || errors.Is(err, coatcheck.ErrRevoked):
		c.shown(name+there, false, call)
	case !errors.Is(err, coatcheck.ErrStale) && !errors.Is(err, coatcheck.ErrInvalid):
		c.t.Errorf("%s: %v", name, err)
	}
}

// shown records one look. What is refused has ended by then, and does not come back.
func (c *clockwork) shown(credential string, accepted bool, call int64) {
	c.mu.Lock()
	_, known := c.owners[credential]
	c.owners[credential] = credential
	c.mu.Unlock()
	if !known {
		c.add(operation{kind: begin, subject: credential, outcome: ok}, 0)
	}
	if !accepted {
		c.Ended(credential, true, call)
	}
	c.Used(credential, accepted, call, 0)
}

// someone signs in with tokens and with a cookie.
func (c *clockwork) someone(email string) []*holder {
	c.t.Helper()
	var both []*holder
	for _, transport := range []string{"token", "cookie"} {
		h, a := c.client.signIn(c.t.Context(), email, password, transport)
		if !a.OK() {
			if a.Status == http.StatusServiceUnavailable {
				continue // no key signs so long before it was made
			}
			c.t.Fatalf("sign in: %v", a)
		}
		both = append(both, h)
	}
	return both
}

// I-10, D-20: the clock is set back to before a token ran out, a session was idle for
// too long, and a session was ended. All stay refused, by the server and a verifier,
// however often the clock goes back and forth.
func TestClockBackAndForth(t *testing.T) {
	c := startClockwork(t)
	email := newEmail()
	if a := c.client.addUser(t.Context(), email); !a.OK() {
		t.Fatal(a)
	}
	expect := func(h *holder, want bool, when string) {
		t.Helper()
		before := c.now()
		c.look(h)
		for _, o := range c.operations {
			if o.kind == use && o.call >= before && (o.outcome == ok) != want {
				t.Errorf("%s: %v", when, o)
			}
		}
	}
	ended := c.someone(email)
	expired := c.someone(email)
	for _, h := range append(slices.Clone(ended), expired...) {
		expect(h, true, "at first")
	}
	for _, h := range ended {
		if a := c.client.end(t.Context(), h.SessionID); !a.OK() {
			t.Fatal(a)
		}
		until(t, 20*time.Second, "the verifier has heard of the end", func() bool {
			_, err := c.verifier.Verify(t.Context(), h.Access)
			return h.Access == "" || errors.Is(err, coatcheck.ErrRevoked)
		})
	}
	sequence := []time.Duration{
		11 * time.Minute, -11 * time.Minute, -3 * time.Hour, 3*time.Hour + 70*time.Minute, -2 * time.Hour,
		-5 * time.Hour, 24 * time.Hour, -24 * time.Hour,
	}
	expect(ended[0], false, "ended")
	expect(ended[1], false, "ended")
	for i, d := range sequence {
		c.clock.move(d)
		when := fmt.Sprintf("after move %d by %v", i, d)
		expect(ended[0], false, when)
		expect(ended[1], false, when)
		if a := c.session(t.Context(), bearer(expired[0].Access)); a.OK() {
			t.Errorf("%s an expired token: %v", when, a)
		}
		if i >= 3 { // more than an hour has passed once
			expect(expired[1], false, when)
		}
	}
	c.verify(t)
}

// I-10, D-20: the clock takes a walk of hours at random, while people come, renew and
// go, and the server and the verifier are started anew now and then. Nothing that was
// refused once is accepted again.
func TestClockTakesAWalk(t *testing.T) {
	for seed := range size(4, 60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := startClockwork(t)
			walk(c, rand.New(rand.NewPCG(uint64(seed), 1)), size(60, 400))
			c.verify(t)
		})
	}
}

func walk(c *clockwork, dice *rand.Rand, steps int) {
	ctx := c.t.Context()
	email := newEmail()
	if a := c.client.addUser(ctx, email); !a.OK() {
		c.t.Fatal(a)
	}
	people := c.someone(email)
	for range steps {
		h := people[dice.IntN(len(people))]
		switch dice.IntN(12) {
		case 0, 1, 2:
			c.clock.move(time.Duration(dice.IntN(30)-10) * time.Minute)
		case 3:
			c.clock.move(time.Duration(dice.IntN(10)-5) * time.Hour)
		case 4:
			if len(people) < 12 {
				people = append(people, c.someone(email)...)
			}
		case 5:
			if a := c.client.end(ctx, h.SessionID); a.OK() {
				c.look(h)
			}
		case 6, 7:
			if h.Refresh != "" {
				if next, a := c.refresh(ctx, h.Refresh, newKey()); a.OK() {
					renewed := *h
					renewed.Access, renewed.Refresh = next.Access, next.Refresh
					people = append(people, &renewed)
				}
			}
		case 8:
			c.stop()
			c.startServer()
		case 9:
			c.verifier.Close()
			c.startVerifier()
		default:
		}
		for _, h := range people {
			c.look(h)
		}
	}
}
