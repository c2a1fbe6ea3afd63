package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// Patrons are people whose clients go to the nodes of a cluster in turn, and try once
// more, at the next node, what got no answer or 503. Whatever is not answered well
// then is a failure. All that they do is recorded.
type patrons struct {
	*recorder
	c       *cluster
	nodes   []witness // one for each node
	leaving context.CancelFunc
	gone    sync.WaitGroup

	calls, retried atomic.Int64

	mu      sync.Mutex
	holders []*holder
	failed  []string
}

// startPatrons lets them loose. They share the recorder with whoever else there is.
func startPatrons(t *testing.T, c *cluster, r *recorder, people int) *patrons {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &patrons{recorder: r, c: c, leaving: cancel}
	for _, n := range c.Nodes {
		p.nodes = append(p.nodes, witness{n.client, r})
	}
	t.Cleanup(func() {
		cancel()
		p.gone.Wait()
	})
	for i := range people {
		email := newEmail()
		var h *holder
		// Whoever else there is may keep all hashing slots busy.
		until(t, time.Minute, "there is an account", func() bool {
			a := p.nodes[0].addUser(ctx, email)
			return a.OK() || a.Code == "email_taken"
		})
		until(t, time.Minute, "a patron is signed in", func() (in bool) {
			var a answer
			h, a = p.nodes[i%len(p.nodes)].signIn(ctx, email, password, []string{"token", "cookie"}[i%2])
			return a.OK()
		})
		p.holders = append(p.holders, h)
		p.gone.Go(func() { p.live(ctx, h, rand.New(rand.NewPCG(uint64(i), 11))) })
	}
	return p
}

// twice makes a call at the next node, and once more at the one after it unless the
// first answered. What is carried out by then may be answered as done. To be told that
// all hashing slots are taken is an answer: that is the load of others, and no restart.
// Whoever hears it asks anew, and what they ask then has a retry of its own.
func (p *patrons) twice(what string, turn int, call func(w witness) answer, done ...string) answer {
	p.calls.Add(1)
	var met []string // the last tries
	at := func(turn int) answer {
		a := call(p.nodes[turn%len(p.nodes)])
		met = append(met[max(0, len(met)-3):], fmt.Sprintf("%v at node %d", a, turn%len(p.nodes)))
		return a
	}
	again := false
	for patience := 200; ; patience-- {
		a := at(turn)
		if a.Err != nil || a.Status == http.StatusServiceUnavailable && a.Code != "busy" {
			p.retried.Add(1)
			again = true
			turn++
			a = at(turn)
		}
		if a.Code == "busy" && patience > 0 {
			elapse(context.Background(), 50*time.Millisecond)
			continue
		}
		if !a.OK() && (!again || !slices.Contains(done, a.Code)) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = append(p.failed, fmt.Sprintf("%s: %s", what, strings.Join(met, ", then ")))
		}
		return a
	}
}

func (p *patrons) live(ctx context.Context, h *holder, chance *rand.Rand) {
	life := context.WithoutCancel(ctx) // what has begun is finished
	for turn := chance.IntN(3); ctx.Err() == nil; turn++ {
		elapse(ctx, time.Duration(chance.IntN(20))*time.Millisecond)
		switch what := chance.IntN(20); {
		case what < 10:
			p.twice("a check", turn, func(w witness) answer { return w.check(life, h) })
		case what < 13:
			p.consult(h, turn)
		case what < 19 && h.Refresh != "":
			p.renew(life, h, turn)
		case what == 19:
			p.visit(life, h, turn)
		}
	}
}

// renew exchanges the refresh token by one Idempotency-Key, wherever that is.
func (p *patrons) renew(ctx context.Context, h *holder, turn int) {
	key := newKey()
	var next tokens
	a := p.twice("a renewal", turn, func(w witness) (a answer) {
		next, a = w.spend(ctx, h, h.Refresh, key)
		return a
	})
	if a.OK() {
		h.Access, h.Refresh = next.Access, next.Refresh
	}
}

// consult shows the credential to a service. One that reaches a single node may not
// ask about a cookie while that node is away.
func (p *patrons) consult(h *holder, turn int) {
	services := p.c.Services
	if h.Cookie != "" {
		services = services[2:]
	}
	s := services[turn%len(services)]
	p.calls.Add(1)
	status := s.consult(p.nodes[0], h)
	if status == http.StatusServiceUnavailable {
		p.retried.Add(1)
		status = s.consult(p.nodes[0], h)
	}
	if status != http.StatusOK {
		p.Wrong("I-8 a service answers a patron %d", status)
	}
}

// visit begins a session and ends it.
func (p *patrons) visit(ctx context.Context, h *holder, turn int) {
	var guest *holder
	a := p.twice("a sign-in", turn, func(w witness) (a answer) {
		guest, a = w.signIn(ctx, h.Email, password, "token")
		return a
	})
	if a.OK() {
		p.twice("a sign-out", turn+1, func(w witness) answer { return w.signOut(ctx, guest) }, overCodes...)
	}
}

// leave lets them go, and holds that all that they asked was answered well, at once or
// at the second try, and that all of them are still signed in.
func (p *patrons) leave(t *testing.T) {
	t.Helper()
	p.leaving()
	p.gone.Wait()
	for i, wrong := range p.failed {
		if i == 10 {
			t.Errorf("and %d more", len(p.failed)-i)
			break
		}
		t.Errorf("D-11 one retry does not cure %s", wrong)
	}
	if p.calls.Load() == 0 {
		t.Error("the patrons have done nothing")
	}
	for i, h := range p.holders {
		if a := p.nodes[i%len(p.nodes)].check(t.Context(), h); !a.OK() {
			t.Errorf("I-8 a patron is signed out: %v", a)
		}
	}
	t.Logf("%d patrons made %d calls, of which %d needed another try", len(p.holders), p.calls.Load(), p.retried.Load())
}

// D-11: the three nodes are restarted one after the other under load. One retry at
// another node cures every request, nobody is signed out, no stream has a gap, and a
// stream of one node goes on at another by its position alone. Then each is killed,
// which nobody is spared, but which breaks no promise. I-1, I-6, I-8
func TestRollingRestart(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	crowd := startClusterCrowd(t, c, size(6, 40))
	p := startPatrons(t, c, crowd.recorder, size(6, 30))
	stop := func(n *clusterNode) {
		if err := n.Stop(t); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	for range size(1, 10) {
		c.roll(t, crowd.recorder, stop)
	}
	p.leave(t)
	for range size(1, 5) {
		c.roll(t, crowd.recorder, func(n *clusterNode) { n.Kill(t) })
	}
	crowd.leave(t)
	t.Log(crowd)
	c.allServed(t)
	c.checkWhole(t)
}

// roll takes the nodes away and starts them again, one after the other.
func (c *cluster) roll(t *testing.T, r *recorder, away func(*clusterNode)) {
	t.Helper()
	for i, n := range c.Nodes {
		elapse(t.Context(), time.Duration(size(200, 1000))*time.Millisecond)
		last := c.position(t, c.Nodes[(i+1)%len(c.Nodes)])
		away(n)
		c.settle(t, r)
		n.Restart(t)
		c.goOn(t, n, last)
	}
}

// D-25: one node of three is told to stop while it has requests in flight and
// streams. It stops as it does alone, and the others take over: nobody else notices.
// I-5, I-8
func TestGracefulStopInACluster(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	r := newRecorder()
	r.Late = 2 * time.Second
	p := startPatrons(t, c, r, size(4, 20))
	stopWatched(t, c.Nodes[1].watchedNode, 0)
	p.leave(t)
	c.ready(t, 30*time.Second)
	r.verify(t)
	c.allServed(t)
	c.checkWhole(t)
}

// position returns the event id by which a stream of the node resumes.
func (c *cluster) position(t *testing.T, n *clusterNode) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for e := range n.events(ctx, t, "") {
		if e.ID != "" {
			return e.ID
		}
	}
	t.Fatal("a stream has told no position")
	return ""
}

// goOn has a node that has just started resume at a position that another one gave:
// what follows are the entries since then, and no snapshot.
func (c *cluster) goOn(t *testing.T, n *clusterNode, last string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for e := range n.events(ctx, t, last) {
		switch e.Name {
		case feed.EventHeartbeat: // it is up to date
			return
		case feed.EventSnapshot, feed.EventResync:
			t.Errorf("I-6 a stream that moves to another node is answered with %s %s", e.Name, e.Data)
			return
		}
	}
	t.Error("I-6 a stream that moves to another node hears nothing")
}

// events reads a stream of a node until the caller has enough.
func (n *clusterNode) events(ctx context.Context, t *testing.T, last string) func(func(feed.Event) bool) {
	return func(yield func(feed.Event) bool) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/v1/revocations", nil)
		if err != nil {
			t.Error(err)
			return
		}
		bearer(n.APIKey)(r)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		response, err := (&http.Client{Transport: &http.Transport{DialContext: dialing(n.Address), DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Errorf("open a stream: %v", err)
			return
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("open a stream: %s", response.Status)
			return
		}
		for events := feed.NewReader(response.Body); ; {
			e, err := events.Next()
			if err != nil || !yield(e) {
				return
			}
		}
	}
}
