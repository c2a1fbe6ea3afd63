package drill

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A crowd are people who use a node or a cluster, and services that check them,
// while the drill breaks it. All that they do is recorded.
type crowd struct {
	witness
	services []*service
	people   int

	reachable func() bool        // whether it makes sense to try again
	rest      func(t testing.TB) // what was called by now is done or never will be, and the server serves

	leaving context.CancelFunc
	gone    sync.WaitGroup

	mu      sync.Mutex
	holders []*holder // of sessions that were not ended
	ended   []*holder // of sessions whose end was acknowledged

	unavailable map[string]int // answers 503, by code

	arrived, answered, unanswered, ends, renewals, retries atomic.Int64
}

// startCrowd lets that many people and services loose on a node.
func startCrowd(t *testing.T, n *node, people, services int) *crowd {
	t.Helper()
	c := &crowd{witness: witness{n.client, newRecorder()}, people: people}
	c.reachable = func() bool {
		conn, err := net.Dial("tcp", n.Address)
		if err == nil {
			_ = conn.Close() // nothing was said
		}
		return err == nil
	}
	c.rest = func(t testing.TB) {
		n.Kill(t)
		c.settle()
		n.Restart(t)
	}
	for range services {
		c.services = append(c.services, startService(t, n, n.Address))
	}
	c.come(t, &follower{client: n.client, name: "one"}, &follower{client: n.client, name: "two"})
	return c
}

// come lets everybody begin.
func (c *crowd) come(t *testing.T, followers ...*follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.leaving, c.unavailable = cancel, map[string]int{}
	t.Cleanup(func() {
		cancel()
		c.gone.Wait()
	})
	for _, f := range followers {
		f.r = c.recorder
		c.gone.Go(func() { f.follow(ctx) })
	}
	for i := range c.people {
		c.gone.Go(func() { c.live(ctx, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
}

// live is one person's life: sign up, and then do what people do.
func (c *crowd) live(ctx context.Context, chance *rand.Rand) {
	transport := []string{"token", "token", "cookie"}[chance.IntN(3)]
	secret := password
	email := newEmail()
	var h *holder
	for h == nil && ctx.Err() == nil {
		var a answer
		if h, a = c.signUp(ctx, email, transport); !c.heard(ctx, a) {
			continue
		}
		if a.Status == http.StatusTooManyRequests { // one address may sign up thirty people
			a = c.addUser(ctx, email)
			c.heard(ctx, a)
		}
		if h == nil && (a.OK() || a.Code == "email_taken") {
			h, a = c.signIn(ctx, email, secret, transport)
			c.heard(ctx, a)
		}
	}
	c.arrived.Add(1)
	for ctx.Err() == nil {
		elapse(ctx, time.Duration(chance.IntN(20))*time.Millisecond)
		switch what := chance.IntN(100); {
		case what < 35:
			c.heard(ctx, c.check(ctx, h))
		case what < 75:
			c.services[chance.IntN(len(c.services))].consult(c.witness, h)
		case what < 92:
			c.renewOnce(ctx, h)
		case what < 95:
			secret = c.change(ctx, h, chance)
		default:
			h = c.endAndReturn(ctx, h, chance, secret, transport)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h != nil {
		c.holders = append(c.holders, h)
	}
}

// heard counts an answer, and reports whether there was one. While the server is
// away there is none, or 503; a healthy user never hears anything else.
func (c *crowd) heard(ctx context.Context, a answer, expected ...string) bool {
	if a.Err != nil {
		c.unanswered.Add(1)
		c.reach(ctx)
		return false
	}
	if a.Status == http.StatusServiceUnavailable {
		c.mu.Lock()
		c.unavailable[a.Code]++
		c.mu.Unlock()
		elapse(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond)) // with more patience nobody would meet the next crash
		return false
	}
	c.answered.Add(1)
	if a.Status >= 500 || a.Status == http.StatusUnauthorized && !slices.Contains(append(expected, overCodes...), a.Code) {
		c.Wrong("I-8 a healthy user is answered %v", a)
	}
	return true
}

// reach waits until the server can be connected to. What is tried without that tells
// nothing, and makes the history hard to check.
func (c *crowd) reach(ctx context.Context) {
	for ctx.Err() == nil {
		elapse(ctx, 20*time.Millisecond)
		if c.reachable() {
			return
		}
	}
}

// renewOnce renews as an SDK does: with the same key again, until there is an
// answer.
func (c *crowd) renewOnce(ctx context.Context, h *holder) {
	if h.Refresh == "" {
		return
	}
	key := newKey()
	for try := 0; ctx.Err() == nil; try++ {
		next, a := c.spend(ctx, h, h.Refresh, key)
		if c.heard(ctx, a) {
			if a.OK() {
				h.Access, h.Refresh = next.Access, next.Refresh
				c.renewals.Add(1)
				c.retries.Add(int64(min(try, 1)))
			}
			return
		}
	}
}

// change changes the password, and returns the one in force as far as is known:
// where there was no answer it tries both.
func (c *crowd) change(ctx context.Context, h *holder, chance *rand.Rand) string {
	old, fresh := h.Password, password+" "+newKey()[:chance.IntN(8)+8]
	if c.heard(ctx, c.changePassword(ctx, h, fresh)) {
		return h.Password
	}
	for ctx.Err() == nil {
		for _, try := range []string{fresh, old} {
			signedIn, a := c.signIn(ctx, h.Email, try, "token")
			if c.heard(ctx, a, "invalid_credentials") && signedIn != nil {
				h.Password = try
				c.mu.Lock()
				c.holders = append(c.holders, signedIn)
				c.mu.Unlock()
				return try
			}
		}
	}
	return old
}

// endAndReturn ends the session until that is acknowledged, looks whether it is
// over, and signs in again.
func (c *crowd) endAndReturn(ctx context.Context, h *holder, chance *rand.Rand, secret, transport string) *holder {
	for ctx.Err() == nil {
		var a answer
		if chance.IntN(2) == 0 {
			a = c.signOut(ctx, h)
		} else {
			a = c.end(ctx, h)
		}
		if c.heard(ctx, a) && (a.OK() || a.Refused()) {
			c.ends.Add(1)
			c.mu.Lock()
			c.ended = append(c.ended, h)
			c.mu.Unlock()
			break
		}
	}
	c.heard(ctx, c.check(ctx, h))
	c.services[chance.IntN(len(c.services))].consult(c.witness, h)
	for ctx.Err() == nil {
		again, a := c.signIn(ctx, h.Email, secret, transport)
		if c.heard(ctx, a) && again != nil {
			return again
		}
	}
	return h
}

// leave lets everybody go, has the server come to rest, and holds what is there
// afterwards to what was recorded: every end is known everywhere, every other
// session is alive.
func (c *crowd) leave(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	c.leaving()
	c.gone.Wait()
	c.rest(t)
	for _, h := range slices.Concat(c.holders, c.ended) {
		c.check(ctx, h)
		if h.Refresh != "" {
			c.renew(ctx, h)
		}
	}
	for i, s := range c.services {
		if err := s.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		for _, h := range c.ended {
			until(t, 30*time.Second, "an end is known to a service", func() bool { return s.consult(c.witness, h) == http.StatusUnauthorized })
		}
		for _, h := range c.holders {
			s.consult(c.witness, h)
		}
		if i == 0 && len(c.ended) == 0 {
			t.Error("nothing was ended: the drill shows nothing")
		}
	}
	c.verify(t)
}

// patient is a node whose tokens outlive the longest drill.
var patient = nodeOptions{Settings: map[string]string{"token.access": "1h"}}

// D-24: a node that is killed again and again, while people and services go on,
// breaks no promise.
func TestChaosSoak(t *testing.T) {
	n := startNode(t, patient)
	c := startCrowd(t, n, size(16, 64), size(3, 20))
	length, every := 9*time.Second, 2*time.Second
	if *long {
		length, every = 10*time.Minute, 20*time.Second
	}
	chance := rand.New(rand.NewPCG(uint64(n.PID()), 2))
	for began := time.Now(); time.Since(began) < length; {
		elapse(t.Context(), every/2+rand.N(every))
		n.Kill(t)
		c.settle()
		elapse(t.Context(), time.Duration(chance.IntN(300))*time.Millisecond)
		n.Restart(t)
	}
	c.leave(t)
	t.Log(c)
}
