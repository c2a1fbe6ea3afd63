package drill

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/daemon"
	"github.com/coatcheck/coatcheck/internal/wakeup"
)

// An affliction is something that happens to the Redis beside a cluster.
type affliction struct {
	name   string
	strike func(a *afflicted) error
	heal   func(a *afflicted) error // nil: it passes by itself
}

// afflicted is the Redis, and the way to it.
type afflicted struct {
	*daemon.Redis
	road *proxy
	c    *cluster
	t    *testing.T
}

// must carries out commands that Redis has to take.
func (a *afflicted) must(commands ...[]string) error {
	for _, command := range commands {
		if _, err := a.Do(command...); err != nil {
			return fmt.Errorf("%v: %w", command, err)
		}
	}
	return nil
}

func (a *afflicted) mend() error { a.road.Mend(); return nil }

var afflictions = []affliction{
	{"it is gone", func(a *afflicted) error { return a.Kill() }, func(a *afflicted) error { return a.Start() }},
	{"it fails over, and has lost what it was told", func(a *afflicted) error {
		if err := a.Kill(); err != nil {
			return err
		}
		return a.Start()
	}, nil},
	{"it is flushed", func(a *afflicted) error { return a.must([]string{"FLUSHALL"}) }, nil},
	{"it is a read-only replica of nobody", func(a *afflicted) error {
		return a.must([]string{"REPLICAOF", "127.0.0.1", "1"})
	}, func(a *afflicted) error { return a.must([]string{"REPLICAOF", "NO", "ONE"}) }},
	{"others use its names for other things", (*afflicted).misuse, func(a *afflicted) error { return a.must([]string{"FLUSHALL"}) }},
	{"it is slow by five seconds", func(a *afflicted) error {
		a.road.Delay(2500*time.Millisecond, 2500*time.Millisecond)
		return nil
	}, (*afflicted).mend},
	{"nothing comes through", func(a *afflicted) error { a.road.Stall(); return nil }, (*afflicted).mend},
	{"it cannot be reached", func(a *afflicted) error { a.road.Cut(); return nil }, (*afflicted).mend},
	{"its connections are reset", func(a *afflicted) error { a.road.Reset(); return nil }, nil},
	{"it takes connections and answers nothing", func(a *afflicted) error { return a.Freeze() }, func(a *afflicted) error { return a.Thaw() }},
	{"it allows nothing any more", func(a *afflicted) error {
		return a.must([]string{"ACL", "SETUSER", "default", "-publish", "-subscribe"}, []string{"CLIENT", "KILL", "TYPE", "pubsub"})
	}, func(a *afflicted) error {
		return a.must([]string{"ACL", "SETUSER", "default", "+publish", "+subscribe"})
	}},
}

// misuse keeps values of other types by our names, and says strange things on our
// channel.
func (a *afflicted) misuse() error {
	var epoch string
	if err := a.c.Admin.QueryRowContext(a.t.Context(), `SELECT epoch FROM revocation_head`).Scan(&epoch); err != nil {
		return err
	}
	name := wakeup.Prefix + epoch
	for range 200 {
		if err := a.must([]string{"PUBLISH", name, "\x00 nobody says this \xff"}); err != nil {
			return err
		}
	}
	return a.must([]string{"HSET", name, "a", "b"}, []string{"LPUSH", wakeup.Prefix, "c"}, []string{"PUBLISH", name, ""})
}

// D-07, D-08: under load everything that can happen to Redis happens to it. Nothing
// changes but how soon nodes hear of each other: every call is answered at the first
// try, ends hold within their bound, nobody is signed out, and a guesser who goes from
// node to node gets no more guesses than there are. I-1, I-3, I-4, I-7, I-8
func TestRedisIsNoMoreThanAnAccelerator(t *testing.T) {
	redis, err := daemon.StartRedis(daemon.RedisOptions{TCP: true})
	if err != nil {
		t.Fatalf("Redis could not be started; \"make test\" installs what is missing: %v", err)
	}
	t.Cleanup(func() {
		if err := redis.Close(); err != nil {
			t.Error(err)
		}
	})
	road := startProxy(t, redis.Address())
	const guesses = 6
	c := startCluster(t, clusterOptions{Settings: map[string]string{
		"token.access": "1h", "redis": redis.URLAt(road.Address()), "throttle.pair": fmt.Sprintf("%d/1h", guesses),
	}})
	crowd := startClusterCrowd(t, c, size(6, 24))
	p := startPatrons(t, c, crowd.recorder, size(4, 16))
	victim := newEmail()
	if a := p.nodes[0].addUser(t.Context(), victim); !a.OK() {
		t.Fatal(a)
	}
	guessed, turn := 0, 0
	guess := func() {
		for range c.Nodes {
			turn++
			_, a := c.Nodes[turn%len(c.Nodes)].signIn(t.Context(), victim, fmt.Sprintf("a guess, the %dth", turn), "cookie")
			switch {
			case a.Code == "invalid_credentials":
				guessed++
			case a.Status != http.StatusTooManyRequests && a.Status != http.StatusServiceUnavailable:
				t.Errorf("I-7 a guess is answered %v", a)
			}
		}
	}
	sick := &afflicted{Redis: redis, road: road, c: c, t: t}
	for _, what := range afflictions {
		if err := what.strike(sick); err != nil {
			t.Fatalf("%s: %v", what.name, err)
		}
		guess()
		elapse(t.Context(), time.Duration(size(300, 10_000))*time.Millisecond)
		if what.heal != nil {
			if err := what.heal(sick); err != nil {
				t.Fatalf("no longer: %s: %v", what.name, err)
			}
			elapse(t.Context(), time.Duration(size(100, 3000))*time.Millisecond)
		}
		if took := c.heardWithin(t, crowd.witness); took > 2*time.Second {
			t.Errorf("I-1 after %q an end took %v to be felt", what.name, took)
		}
	}
	if guessed == 0 || guessed > guesses {
		t.Errorf("D-07 a guesser has had %d of %d guesses, want at most %d", guessed, turn, guesses)
	}
	p.leave(t)
	crowd.leave(t)
	t.Log(crowd)
	c.allServed(t)
	c.checkWhole(t)
}

// heardWithin ends a session at one node, and returns how long it took until all nodes
// had refused it.
func (c *cluster) heardWithin(t *testing.T, w witness) time.Duration {
	t.Helper()
	email := newEmail()
	if a := w.addUser(t.Context(), email); !a.OK() {
		t.Fatalf("add a user: %v", a)
	}
	h, a := w.signIn(t.Context(), email, password, "cookie")
	if !a.OK() {
		t.Fatalf("sign in: %v", a)
	}
	for _, n := range c.Nodes { // so that it is remembered
		witness{n.client, w.recorder}.check(t.Context(), h)
	}
	if a := (witness{c.Nodes[0].client, w.recorder}).end(t.Context(), h); !a.OK() {
		t.Fatalf("end: %v", a)
	}
	ended := time.Now()
	var last time.Duration
	for _, n := range c.Nodes {
		until(t, 20*time.Second, "I-1 an end is felt by every node", func() bool {
			last = time.Since(ended)
			return !witness{n.client, w.recorder}.check(t.Context(), h).OK()
		})
	}
	return last
}
