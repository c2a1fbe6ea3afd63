package drill

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/revocation"
)

// D-12: a service hears one node, that node loses the database, and a session is ended
// at another. Meanwhile the service goes on for its staleness at most, and so does the
// node for its own; the others refuse at once. Healed, the end is known before anything
// is accepted again. I-1, I-2, I-8
func TestSplitFeed(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	ways := map[string]func(*proxy){"cut": (*proxy).Cut, "silent": (*proxy).Stall}
	for name, split := range ways {
		t.Run(name, func(t *testing.T) { c.splitFrom(t, split) })
	}
	t.Run("a service moves to another node meanwhile", c.moveMeanwhile)
	t.Run("a node is suspended", c.suspend)
	c.allServed(t)
	c.checkWhole(t)
}

// splitFrom cuts node 0 off the database, which service 0 follows.
func (c *cluster) splitFrom(t *testing.T, split func(*proxy)) {
	ctx := t.Context()
	alone, other := c.Nodes[0], c.Nodes[1]
	deaf, hears := c.Services[0], c.Services[1]
	w := witness{alone.client, newRecorder()}
	w.Late = revocation.FreshFor
	var holders []*holder // two that live, and two that are ended
	for _, transport := range []string{"token", "cookie", "token", "cookie"} {
		h, a := w.signUp(ctx, newEmail(), transport)
		if !a.OK() {
			t.Fatal(a)
		}
		holders = append(holders, h)
		for _, s := range []*service{deaf, hears} {
			if status := s.status(c.URL, h); status != http.StatusOK {
				t.Fatalf("before: %d", status)
			}
		}
		w.check(ctx, h) // so that the node remembers it
	}
	lives, over := holders[:2], holders[2:]

	split(alone.Line)
	at := time.Now()
	there := witness{other.client, w.recorder}
	for _, h := range over {
		if a := there.end(ctx, h); !a.OK() {
			t.Fatalf("end at the other node: %v", a)
		}
		if a := there.check(ctx, h); !a.Refused() {
			t.Errorf("I-1 the node that ended it answers %v", a)
		}
		until(t, 10*time.Second, "a service of the other node refuses", func() bool { return hears.consult(there, h) == http.StatusUnauthorized })
	}
	var asking sync.WaitGroup
	var mended atomic.Bool
	deadline := time.Duration(size(3, 14)) * time.Second
	for time.Since(at) < deadline {
		for i, h := range holders {
			deaf.consult(w, h)
			asking.Go(func() {
				begun := time.Since(at)
				a := w.check(ctx, h)
				late := begun > revocation.FreshFor && (i >= 2 || !mended.Load()) // it may have waited until it was healed
				if a.OK() && late || a.Refused() && i < 2 {
					t.Errorf("I-7 I-8 a node that lost the database %v ago answers %v", begun, a)
				}
			})
		}
		elapse(ctx, 100*time.Millisecond)
	}
	if alone.Ready() {
		t.Error("I-7 a node without a database says that it is ready")
	}
	deaf.ahead.Add(int64(14*time.Second - deadline))
	for _, h := range holders {
		if status := deaf.status(c.URL, h); status != http.StatusServiceUnavailable {
			t.Errorf("I-2 a service that has heard nothing for 14 s answers %d", status)
		}
	}
	mended.Store(true)
	alone.Line.Mend()
	deaf.ahead.Store(0)
	trusted := func(h *holder) bool { return deaf.consult(w, h) == http.StatusOK }
	until(t, 20*time.Second, "the service trusts itself again", func() bool {
		again := trusted(lives[0])
		for _, h := range over {
			if status := deaf.consult(w, h); again && status != http.StatusUnauthorized {
				t.Errorf("I-1 healed, a service answers %d of what was ended", status)
			}
		}
		return again
	})
	asking.Wait()
	until(t, 20*time.Second, "the node is ready", alone.Ready)
	for i, h := range holders {
		until(t, 10*time.Second, "the node answers", func() bool {
			a := w.check(ctx, h)
			return a.OK() && i < 2 || a.Refused() && i >= 2
		})
	}
	w.verify(t)
}

// moveMeanwhile has a service find another node while the one that it follows is cut
// off the database: it goes on exactly where it was.
func (c *cluster) moveMeanwhile(t *testing.T) {
	ctx := t.Context()
	deaf, road := c.Services[0], c.Roads[0]
	h, lives := c.Nodes[1].mustSignUp(t, "token"), c.Nodes[1].mustSignUp(t, "token")
	c.Nodes[0].Line.Cut()
	if a := c.Nodes[1].end(ctx, h.SessionID); !a.OK() {
		t.Fatal(a)
	}
	road.Route(c.Nodes[2].Address)
	until(t, 10*time.Second, "I-1 the end is heard at the other node", func() bool { return deaf.status(c.URL, h) == http.StatusUnauthorized })
	if status := deaf.status(c.URL, lives); status != http.StatusOK {
		t.Errorf("I-8 a healthy session: %d", status)
	}
	c.Nodes[0].Line.Mend()
	road.Route(c.Nodes[0].Address)
	c.ready(t, 20*time.Second)
}

// suspend stops a node as a virtual machine is that is moved: its very first answer
// afterwards knows what was ended meanwhile. D-20, I-7
func (c *cluster) suspend(t *testing.T) {
	ctx := t.Context()
	asleep := c.Nodes[2]
	for _, transport := range []string{"cookie", "token"}[:size(1, 2)] {
		h, lives := asleep.mustSignUp(t, transport), asleep.mustSignUp(t, transport)
		for _, h := range []*holder{h, lives} {
			if a := asleep.session(ctx, h.as()); !a.OK() { // and remembered from now on
				t.Fatal(a)
			}
		}
		if err := syscall.Kill(-asleep.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if a := c.Nodes[1].end(ctx, h.SessionID); !a.OK() {
			t.Fatal(a)
		}
		answers := make(chan answer)
		for range 8 {
			go func() { answers <- asleep.session(context.WithoutCancel(ctx), h.as()) }()
		}
		elapse(ctx, revocation.FreshFor+time.Duration(size(200, 30_000))*time.Millisecond)
		if err := syscall.Kill(-asleep.PID(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if a := <-answers; a.Err != nil || a.OK() {
				t.Errorf("I-7 a node that slept while a session was ended answers %v", a)
			}
		}
		until(t, 10*time.Second, "I-8 a healthy session is accepted", func() bool { return asleep.session(ctx, lives.as()).OK() })
	}
}
