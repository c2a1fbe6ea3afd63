package drill

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
)

// D-18: the keys are distrusted on one of three nodes, while another is behind by the
// delay of its way to the database. What they signed is refused at once there, within
// two seconds at the other nodes, and by every service as soon as it hears. Whoever
// renews goes on everywhere at once: nobody is signed out, and no fresh token is taken
// for a false one, by services that have never seen its key. I-7, I-8
func TestEmergencyKeyRemoval(t *testing.T) {
	c := startCluster(t, clusterOptions{})
	var people []*holder
	for i := range size(6, 30) {
		email := newEmail()
		if a := c.addUser(t.Context(), email); !a.OK() {
			t.Fatal(a)
		}
		h, a := c.Nodes[i%3].signIn(t.Context(), email, password, "token")
		if !a.OK() {
			t.Fatal(a)
		}
		people = append(people, h)
	}
	for round := range size(1, 12) {
		if round > 0 { // a service looks for unknown keys once in ten seconds, or when it has heard of a removal
			elapse(t.Context(), 11*time.Second)
		}
		e := &emergency{cluster: c, t: t, people: people}
		e.strike(c.Nodes[round%3], c.Nodes[(round+1)%3])
	}
	c.allServed(t)
	c.checkWhole(t)
}

// An emergency is one removal of all keys.
type emergency struct {
	*cluster
	t      *testing.T
	people []*holder
	struck time.Time
}

func (e *emergency) strike(at, behind *clusterNode) {
	t, ctx := e.t, e.t.Context()
	for _, h := range e.people {
		for i, n := range e.Nodes {
			if a := n.session(ctx, bearer(h.Access)); !a.OK() {
				t.Errorf("before: node %d: %v", i, a)
			}
		}
		for i, s := range e.Services {
			if status := s.status(e.URL, h); status != http.StatusOK {
				t.Errorf("before: service %d: %d", i, status)
			}
		}
	}
	old := make([]holder, len(e.people))
	for i, h := range e.people {
		old[i] = *h
	}
	behind.Line.Delay(50*time.Millisecond, 50*time.Millisecond)
	defer behind.Line.Mend()
	a := at.call(ctx, http.MethodPost, "/v1/admin/keys/rotate", map[string]any{"now": true}, bearer(e.APIKey))
	if !a.OK() {
		t.Fatalf("remove the keys: %v", a)
	}
	e.struck = time.Now()
	var all sync.WaitGroup
	for i := range old {
		all.Go(func() { e.refused(at, &old[i]) })
	}
	for i, h := range e.people {
		all.Go(func() { e.goesOn(at, h, i) })
	}
	all.Wait()
}

// refused watches a token of a removed key until all have refused it.
func (e *emergency) refused(at *clusterNode, h *holder) {
	ctx := e.t.Context()
	if a := at.session(ctx, bearer(h.Access)); a.Code != "token_expired" {
		e.t.Errorf("I-7 the node that removed the keys answers %v", a)
	}
	over := map[any]bool{}
	until(e.t, 20*time.Second, "I-7 what a removed key has signed is refused by all", func() bool {
		for i, n := range e.Nodes {
			asked := time.Since(e.struck)
			a := n.session(ctx, bearer(h.Access))
			e.look(over, n, a.OK(), asked, "node", i)
			if !a.OK() && a.Code != "token_expired" && a.Status != http.StatusServiceUnavailable {
				e.t.Errorf("I-8 node %d answers the bearer of a removed key %v", i, a)
			}
		}
		for i, s := range e.Services {
			asked := time.Since(e.struck)
			_, err := s.Verify(ctx, h.Access)
			e.look(over, s, err == nil, asked, "service", i)
			if err != nil && !errors.Is(err, coatcheck.ErrExpired) && !errors.Is(err, coatcheck.ErrStale) {
				e.t.Errorf("I-8 service %d answers the bearer of a removed key %v", i, err)
			}
		}
		return len(over) == len(e.Nodes)+len(e.Services)
	})
}

// look notes an answer. Nobody accepts again what they have refused, or later than
// nodes and then services may.
func (e *emergency) look(over map[any]bool, who any, accepted bool, asked time.Duration, what string, i int) {
	const nodes, services = 2 * time.Second, 5 * time.Second // half of the staleness
	bound := nodes
	if what == "service" {
		bound = services
	}
	switch {
	case accepted && (over[who] || asked > bound):
		e.t.Errorf("I-7 %s %d accepts a token of a removed key %v after the removal, having refused it: %t", what, i, asked, over[who])
	case !accepted:
		over[who] = true
	}
}

// goesOn renews a person's tokens and uses them everywhere at once.
func (e *emergency) goesOn(at *clusterNode, h *holder, turn int) {
	ctx := e.t.Context()
	n := at // whose fresh keys the others may not know yet
	if turn%2 == 1 {
		n = e.Nodes[turn%3]
	}
	next, a := n.refresh(ctx, h.Refresh, newKey())
	if !a.OK() {
		e.t.Errorf("I-8 renewing: %v", a)
		return
	}
	h.Access, h.Refresh = next.Access, next.Refresh
	// A node that is behind may itself have signed with a key that is gone.
	if a := at.session(ctx, bearer(h.Access)); a.Code == "token_expired" {
		if n == at {
			e.t.Error("I-7 the node that removed the keys signs with one of them")
		}
		next, a = at.refresh(ctx, h.Refresh, newKey())
		if !a.OK() {
			e.t.Errorf("I-8 renewing once more: %v", a)
			return
		}
		h.Access, h.Refresh = next.Access, next.Refresh
	}
	for i, n := range e.Nodes {
		until(e.t, 10*time.Second, "I-8 a fresh token is accepted by every node", func() bool {
			a := n.session(ctx, bearer(h.Access))
			if !a.OK() && a.Status != http.StatusServiceUnavailable {
				e.t.Errorf("I-8 node %d answers a fresh token %v", i, a)
			}
			return a.Status != http.StatusServiceUnavailable
		})
	}
	for i, s := range e.Services {
		until(e.t, 10*time.Second, "I-8 a fresh token is accepted by every service", func() bool {
			_, err := s.Verify(ctx, h.Access)
			if err != nil && !errors.Is(err, coatcheck.ErrStale) {
				e.t.Errorf("I-8 service %d answers a fresh token %v", i, err)
			}
			return !errors.Is(err, coatcheck.ErrStale)
		})
	}
}

// D-18: keys are rotated three times, as planned, on three nodes that share a clock
// which the test moves, while people renew and are checked, and services hold key sets
// that are as old as the rotation before. Nothing is refused. I-8
func TestPlannedKeyRotation(t *testing.T) {
	t.Parallel()
	clock := &hand{}
	clock.set(time.Now())
	p := &planned{
		trio: startTrio(t, trioOptions{Now: clock.now, Settings: map[string]string{"revocation.heartbeat": "100ms"}}),
		t:    t, clock: clock,
	}
	p.begin(size(3, 20))
	p.step()
	steps := size(6, 60)
	for round := range 3 {
		from, err := p.nodes[round].Ring.Rotate(t.Context(), audit.New(audit.KeyRotated, audit.OK, app.Origin))
		if err != nil {
			t.Fatal(err)
		}
		if wait := from.Sub(clock.now()); wait > 12*time.Minute {
			t.Fatalf("the next key signs only in %v", wait)
		}
		before := len(p.signed)
		for range steps {
			clock.move(12 * time.Minute / time.Duration(steps))
			p.step()
		}
		if len(p.signed) != before+1 {
			t.Errorf("after rotation %d %d keys have signed, want %d", round+1, len(p.signed), before+1)
		}
	}
	t.Logf("%d checks, by %d keys", p.checks, len(p.signed))
}

// planned is a rotation as people and services see it.
type planned struct {
	*trio
	t         *testing.T
	clock     *hand
	people    []*holder
	verifiers []*coatcheck.Verifier
	signed    []string // the ids of the keys that signed so far
	steps     int
	checks    int
}

func (p *planned) begin(people int) {
	t := p.t
	for i := range people {
		h, a := p.clients[i%3].signIn(t.Context(), p.person(t).Email, password, "token")
		if !a.OK() {
			t.Fatal(a)
		}
		p.people = append(p.people, h)
	}
	for i := range 4 {
		v, err := coatcheck.NewVerifier(coatcheck.Config{
			Issuer: p.public, Audience: p.public, APIKey: p.clients[0].APIKey, Now: p.clock.now,
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialing(p.addresses[i%3])}},
			Logger:     slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		p.verifiers = append(p.verifiers, v)
	}
}

// step renews the tokens, each at another node than before, and shows them to
// everybody. While the clock moves, whoever has not heard since may have to ask for
// patience, but nothing else.
func (p *planned) step() {
	ctx := p.t.Context()
	p.steps++
	for i, h := range p.people {
		p.fine("renewing", i, func() (answer, error) {
			next, a := p.clients[(p.steps+i)%3].refresh(ctx, h.Refresh, newKey())
			if a.OK() {
				h.Access, h.Refresh = next.Access, next.Refresh
			}
			return a, nil
		})
		var header struct{ Kid string }
		text, _, _ := strings.Cut(h.Access, ".")
		if plain, err := base64.RawURLEncoding.DecodeString(text); err != nil || json.Unmarshal(plain, &header) != nil {
			p.t.Fatalf("%q is no token", h.Access)
		}
		if !slices.Contains(p.signed, header.Kid) {
			p.signed = append(p.signed, header.Kid)
		}
		for j, n := range p.clients {
			p.fine("node", j, func() (answer, error) { return n.session(ctx, bearer(h.Access)), nil })
		}
		for j, v := range p.verifiers {
			p.fine("service", j, func() (answer, error) {
				_, err := v.Verify(ctx, h.Access)
				return answer{Status: http.StatusOK}, err
			})
		}
	}
}

// fine asks until the answer is not to come again, and holds that it is good.
func (p *planned) fine(what string, i int, ask func() (answer, error)) {
	p.t.Helper()
	p.checks++
	until(p.t, 20*time.Second, what+" answers", func() bool {
		a, err := ask()
		if a.Status == http.StatusServiceUnavailable || errors.Is(err, coatcheck.ErrStale) {
			return false
		}
		if !a.OK() || err != nil {
			p.t.Errorf("I-8 step %d, %s %d: %v, %v", p.steps, what, i, a, err)
		}
		return true
	})
}
