package drill

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/daemon"
)

// A storeFault is what can happen to the database of a cluster.
type storeFault struct {
	name         string
	breaks, mend func(*testing.T, *cluster)
	small, full  time.Duration // how long it lasts
	// harmless means that nobody hears of it; else whoever needs the database hears 503.
	harmless bool
}

func eachLine(do func(*proxy)) func(*testing.T, *cluster) {
	return func(_ *testing.T, c *cluster) {
		for _, n := range c.Nodes {
			do(n.Line)
		}
	}
}

func stopDatabase(mode string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		if err := c.Database.Stop(mode); err != nil {
			t.Fatal(err)
		}
	}
}

func startDatabase(t *testing.T, c *cluster) {
	if err := c.Database.Start(); err != nil {
		t.Fatal(err)
	}
}

// delayed holds every question back, and every answer.
func delayed(each time.Duration) func(*testing.T, *cluster) {
	return eachLine(func(p *proxy) { p.Delay(each, each) })
}

var mendLines = eachLine((*proxy).Mend)

var storeFaults = []storeFault{
	{name: "D-04 stopped", breaks: stopDatabase(daemon.Fast), mend: startDatabase, small: 2500 * time.Millisecond, full: 30 * time.Second},
	{name: "D-04 slow by 200 ms", breaks: delayed(100 * time.Millisecond), mend: mendLines, small: time.Second, full: 30 * time.Second, harmless: true},
	{name: "D-04 slow by 2 s", breaks: delayed(time.Second), mend: mendLines, small: 3 * time.Second, full: 30 * time.Second},
	{name: "D-04 silent", breaks: eachLine((*proxy).Stall), mend: mendLines, small: 3 * time.Second, full: 30 * time.Second},
	{name: "D-05 crashed", breaks: stopDatabase(daemon.Immediate), mend: startDatabase, full: 2 * time.Second},
	{name: "D-05 restarted", breaks: stopDatabase(daemon.Fast), mend: startDatabase, full: 2 * time.Second},
	{name: "D-05 reset in the middle of a transaction", breaks: eachLine(resetting), mend: mendLines, small: 2 * time.Second, full: time.Minute},
}

// resets counts how often a connection was broken before a commit, and after it.
var resets [2]atomic.Int64

// resetting breaks connections at every moment there is, and commits most of all: half
// of them never arrive, and of the others the answer does not.
func resetting(p *proxy) {
	p.Meddle(func(there bool, chunk []byte) fate {
		often := 150
		if there && bytes.Contains(bytes.ToLower(chunk), []byte("commit")) {
			often = 6
		}
		if rand.IntN(often) > 0 {
			return passes
		}
		if rand.IntN(2) == 0 {
			resets[0].Add(1)
			return isLost
		}
		resets[1].Add(1)
		return isLast
	})
}

// D-04, D-05: the database of three nodes is stopped, slow, silent, restarted, and
// loses connections in the middle of transactions, while people and services go on.
// Nothing is accepted that was over, nobody is signed out, what was acknowledged is
// there, and nothing piles up. Who needs no database notices nothing. I-1, I-3..I-9
func TestDatabaseFaults(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: longLived})
	healthy := []*holder{c.mustSignUp(t, "token"), c.mustSignUp(t, "cookie")}
	over := []*holder{c.mustSignUp(t, "token"), c.mustSignUp(t, "cookie")}
	for _, h := range over {
		if a := c.end(t.Context(), h.SessionID); !a.OK() {
			t.Fatal(a)
		}
	}
	for _, s := range c.Services {
		for _, h := range over {
			until(t, 10*time.Second, "an end is known", func() bool { return s.status(c.URL, h) == http.StatusUnauthorized })
		}
	}
	calm := goroutines(t, c)
	crowd := startClusterCrowd(t, c, size(12, 64))
	for _, fault := range storeFaults {
		t.Run(fault.name, func(t *testing.T) {
			p := startProbe(t, c, fault, healthy, over)
			fault.breaks(t, c)
			p.brokenAt.Store(int64(time.Since(p.began)))
			if *long {
				elapse(t.Context(), fault.full)
			} else {
				elapse(t.Context(), fault.small)
			}
			busy := goroutines(t, c)
			fault.mend(t, c)
			p.recovered(t)
			p.stop(t)
			c.settle(t, crowd.recorder)
			for i, n := range c.Nodes {
				if most := n.Line.Most(); most > mostConnections {
					t.Errorf("I-9 node %d had %d connections to the database", i, most)
				}
				if busy[i] > calm[i]+1000 {
					t.Errorf("I-9 node %d had %g goroutines, and %g before", i, busy[i], calm[i])
				}
			}
			t.Logf("%v; goroutines %v", p, busy)
		})
	}
	if resets[0].Load() == 0 || resets[1].Load() == 0 {
		t.Error("no connection was reset before a commit, or none after one: the drill shows nothing")
	}
	crowd.leave(t)
	t.Log(crowd)
	c.forget()
	until(t, 30*time.Second, "I-9 as many goroutines as before the faults", func() bool {
		now := goroutines(t, c)
		for i := range now {
			if now[i] > calm[i]+100 { // connections of services and of this test
				return false
			}
		}
		return true
	})
	c.allServed(t)
	c.checkWhole(t)
}

// mostConnections of a node: 16 of its pool, and those that it gave up within the last
// 15 s because nothing came, each with one that asks the database to let it go.
const mostConnections = 16 + 2*3*16

func goroutines(t *testing.T, c *cluster) (each []float64) {
	t.Helper()
	for _, n := range c.Nodes {
		each = append(each, n.gaugesOf(t, "go_goroutines")[""])
	}
	return each
}

// A probe looks, as long as a fault lasts, at what everybody is answered.
type probe struct {
	c             *cluster
	fault         storeFault
	healthy, over []*holder
	began         time.Time
	brokenAt      atomic.Int64 // after began
	cancel        context.CancelFunc
	all           sync.WaitGroup
	took          time.Duration // until everything was answered again

	mu      sync.Mutex
	slowest time.Duration
	seen    map[string]int
	wrong   []string
}

// soon is for how long after the beginning of a fault no service is stale: a heartbeat
// came at most two seconds before, from a node whose tail was at most as old, and ten
// seconds are allowed. The rest is for a busy machine.
const soon = 5 * time.Second

func startProbe(t *testing.T, c *cluster, fault storeFault, healthy, over []*holder) *probe {
	ctx, cancel := context.WithCancel(t.Context())
	p := &probe{c: c, fault: fault, healthy: healthy, over: over, began: time.Now(), cancel: cancel, seen: map[string]int{}}
	t.Cleanup(func() {
		cancel()
		p.all.Wait()
	})
	p.all.Go(func() {
		for ctx.Err() == nil {
			for _, n := range c.Nodes {
				p.all.Go(func() { p.askNode(ctx, n) })
			}
			p.askServices()
			elapse(ctx, 100*time.Millisecond)
		}
	})
	return p
}

func (p *probe) noted(what string, took time.Duration, wrong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[what]++
	p.slowest = max(p.slowest, took)
	if wrong && len(p.wrong) < 10 {
		p.wrong = append(p.wrong, fmt.Sprintf("%v after it began: %s", time.Since(p.began).Round(time.Millisecond), what))
	}
}

// askNode shows one node a credential of each kind. I-7, I-8
func (p *probe) askNode(ctx context.Context, n *clusterNode) {
	for _, h := range slices.Concat(p.healthy, p.over) {
		alive := slices.Contains(p.healthy, h)
		began := time.Now()
		a := n.session(context.WithoutCancel(ctx), h.as())
		wrong := a.Err != nil || a.Status != http.StatusServiceUnavailable && a.OK() != alive ||
			p.fault.harmless && alive && !a.OK()
		p.noted(fmt.Sprintf("node answers a session that lives (%t) %v", alive, a), time.Since(began), wrong)
	}
}

// askServices shows all services all tokens: those need no database. I-7, I-8
func (p *probe) askServices() {
	for _, s := range p.c.Services {
		for _, h := range []*holder{p.healthy[0], p.over[0]} {
			alive := h == p.healthy[0]
			at := p.brokenAt.Load()
			began := time.Now()
			status := s.status(p.c.URL, h)
			unaffected := p.fault.harmless || at == 0 || time.Since(p.began)-time.Duration(at) < soon
			wrong := alive && status != http.StatusOK && (unaffected || status != http.StatusServiceUnavailable) ||
				!alive && status == http.StatusOK
			p.noted(fmt.Sprintf("service answers a session that lives (%t) %d", alive, status), time.Since(began), wrong)
		}
	}
}

// recovered waits until everything works again, everywhere.
func (p *probe) recovered(t *testing.T) {
	t.Helper()
	began := time.Now()
	within := 20 * time.Second // of a machine that has other things to do
	if *long {
		within = 5 * time.Second
	}
	var all sync.WaitGroup
	for i, n := range p.c.Nodes {
		all.Go(func() {
			for time.Since(began) < within {
				h, a := n.signIn(t.Context(), p.healthy[0].Email, password, "token")
				if a.OK() {
					_, a = n.refresh(t.Context(), h.Refresh, newKey())
				}
				if a.OK() && n.Ready() && n.session(t.Context(), p.healthy[1].as()).OK() && n.end(t.Context(), h.SessionID).OK() {
					return
				}
				elapse(t.Context(), 20*time.Millisecond)
			}
			t.Errorf("D-04 node %d does not work %v after the database does", i, within)
		})
	}
	for i, s := range p.c.Services {
		all.Go(func() {
			for time.Since(began) < within {
				if s.status(p.c.URL, p.healthy[0]) == http.StatusOK && s.status(p.c.URL, p.healthy[1]) == http.StatusOK {
					return
				}
				elapse(t.Context(), 20*time.Millisecond)
			}
			t.Errorf("D-04 service %d does not trust itself %v after the database works", i, within)
		})
	}
	all.Wait()
	p.took = time.Since(began)
}

// stop ends the probe, and fails the test for what nobody may be answered.
func (p *probe) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	p.all.Wait()
	for _, wrong := range p.wrong {
		t.Errorf("I-7 I-8 %s", wrong)
	}
	if p.slowest > 15*time.Second {
		t.Errorf("I-9 somebody waited for %v", p.slowest)
	}
}

func (p *probe) String() string {
	return fmt.Sprintf("works again after %v, the slowest answer took %v, %v", p.took.Round(time.Millisecond), p.slowest.Round(time.Millisecond), p.seen)
}
