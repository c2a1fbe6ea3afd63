package drill

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
)

// D-16: the access tokens of thousands of sessions expire in the same second, and all
// renew at once, over three nodes; some from three tabs. Each token has one successor
// and one step of its generation, nobody is signed out, and the new tokens do not
// expire in the same second again. I-3, I-8
//
// D-17: all nodes start anew with nothing in memory, while everybody comes back and
// signs in: what is known to be good is accepted at once, whoever hashes a password
// waits in a bounded line, and services ask for the keys and about each cookie once.
func TestHerds(t *testing.T) {
	c := startCluster(t, clusterOptions{Settings: map[string]string{"hash.slots": "1"}, Connections: 256})
	people := c.populate(t, size(300, 20_000))
	t.Run("D-16 tokens expire together", func(t *testing.T) { c.renewTogether(t, people) })
	t.Run("D-17 cold nodes", func(t *testing.T) { c.comeBackCold(t, people) })
	t.Run("D-17 cold services", c.askTogether)
	c.allServed(t)
	c.checkWhole(t)
}

// populate signs in many people with tokens, by a server in this process on the same
// database whose password hashes cost nothing.
func (c *cluster) populate(t *testing.T, count int) []*holder {
	t.Helper()
	settings := map[string]string{
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms", "verify_email": "optional",
	}
	for name, value := range c.settings {
		settings[name] = value
	}
	config, err := app.Configure(settings)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Options{Config: config, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	here := newClient(c.URL)
	here.APIKey = c.APIKey
	here.http.Transport = inProcess{a.Handler()}
	people := make([]*holder, count)
	const each = 100 // sessions of a person
	for i := 0; i < count; i += each {
		email := newEmail()
		if a := here.addUser(t.Context(), email); !a.OK() {
			t.Fatal(a)
		}
		var all sync.WaitGroup
		for j := i; j < min(i+each, count); j++ {
			all.Go(func() {
				var a answer
				for range 20 { // it may be told to come again
					if people[j], a = here.signIn(t.Context(), email, password, "token"); a.OK() {
						return
					}
					elapse(t.Context(), 50*time.Millisecond)
				}
				t.Errorf("sign in: %v", a)
			})
		}
		all.Wait()
	}
	if t.Failed() {
		t.FailNow()
	}
	return people
}

// inProcess answers requests without a network.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.RemoteAddr = "127.0.0.1:1"
	r.Host = r.URL.Host
	if r.Body == nil {
		r.Body = http.NoBody
	}
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// tabs is how many of a person's tabs renew with the one token that they share.
func tabs(i int) int {
	if i%10 == 0 {
		return 3
	}
	return 1
}

func (c *cluster) renewTogether(t *testing.T, people []*holder) {
	ctx := t.Context()
	before := c.question(t, `SELECT sum(generation)::BIGINT FROM session_grant`)
	given := make([][]tokens, len(people))
	var retries atomic.Int64
	var slowest atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, h := range people {
		given[i] = make([]tokens, tabs(i))
		key := newKey() // shared by all tabs
		for tab := range given[i] {
			all.Go(func() {
				<-start
				began := time.Now()
				for {
					next, a := c.refresh(ctx, h.Refresh, key)
					if a.OK() {
						given[i][tab] = next
						break
					}
					retries.Add(1)
					if a.Err == nil && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusTooManyRequests || time.Since(began) > 2*time.Minute {
						t.Errorf("I-8 a renewal among thousands: %v", a)
						return
					}
					elapse(ctx, 100*time.Millisecond+rand.N(time.Second))
				}
				took := int64(time.Since(began))
				for at := slowest.Load(); took > at && !slowest.CompareAndSwap(at, took); at = slowest.Load() {
				}
			})
		}
	}
	began := time.Now()
	close(start)
	all.Wait()
	took := time.Since(began)
	for i, tabs := range given {
		for _, other := range tabs {
			if other.Refresh != tabs[0].Refresh {
				t.Errorf("I-3 two tabs of person %d hold two successors", i)
			}
		}
		people[i].Access, people[i].Refresh = tabs[0].Access, tabs[0].Refresh
	}
	if t.Failed() {
		return
	}
	if steps := c.question(t, `SELECT sum(generation)::BIGINT FROM session_grant`) - before; steps != int64(len(people)) {
		t.Errorf("I-3 %d sessions were renewed by %d steps", len(people), steps)
	}
	if over := c.question(t, `SELECT count(*) FROM session WHERE ended_at IS NOT NULL`); over != 0 {
		t.Errorf("I-8 %d sessions were ended", over)
	}
	t.Logf("%d sessions renewed in %v, the slowest in %v, %d tries more", len(people), took.Round(time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond), retries.Load())
	spread(t, people)
}

// spread holds the lifetimes of tokens to jitter: of tokens drawn in one second, no
// second sees three times as many expire as the mean of those in which they do.
func spread(t *testing.T, people []*holder) {
	t.Helper()
	expire := map[int64]int{}
	for _, h := range people {
		_, rest, _ := strings.Cut(h.Access, ".")
		payload, _, _ := strings.Cut(rest, ".")
		text, err := base64.RawURLEncoding.DecodeString(payload)
		var claims struct{ Iat, Exp int64 }
		if err == nil {
			err = json.Unmarshal(text, &claims)
		}
		if err != nil {
			t.Fatal(err)
		}
		expire[claims.Exp-claims.Iat]++
	}
	const window = 30 // seconds: 5 % of ten minutes
	most, mean := 0, float64(len(people))/window
	for life, n := range expire {
		if life < 600-window || life > 600 {
			t.Errorf("a token lives for %d s", life)
		}
		most = max(most, n)
	}
	if float64(most) >= 3*mean+5 { // of few, chance alone puts some more together
		t.Errorf("D-16 %d of %d tokens expire in one second, the mean is %.0f", most, len(people), mean)
	}
}

// comeBackCold kills all nodes and starts them again, while everybody checks, and many
// sign in.
func (c *cluster) comeBackCold(t *testing.T, people []*holder) {
	ctx := t.Context()
	for _, n := range c.Nodes {
		n.Kill(t)
	}
	for _, n := range c.Nodes {
		n.Launch(t)
	}
	for _, n := range c.Nodes {
		n.WaitReady(t, 30*time.Second)
	}
	email := newEmail()
	if a := c.addUser(ctx, email); !a.OK() {
		t.Fatal(a)
	}
	var all sync.WaitGroup
	var told, signedIn atomic.Int64
	for range size(24, 200) {
		all.Go(func() {
			for began := time.Now(); time.Since(began) < 2*time.Minute; {
				_, a := c.signIn(ctx, email, password, "cookie")
				if a.OK() {
					signedIn.Add(1)
					return
				}
				if a.Status != http.StatusServiceUnavailable && a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
					t.Errorf("I-8 a sign-in among many: %v, %v", a, a.Header)
					return
				}
				told.Add(1)
				elapse(ctx, 200*time.Millisecond)
			}
			t.Error("I-8 nobody let this one in for two minutes")
		})
	}
	took := make([]time.Duration, len(people))
	const callers = 64
	for from := range callers {
		all.Go(func() {
			for i := from; i < len(people); i += callers {
				began := time.Now()
				if a := c.session(ctx, people[i].as()); !a.OK() {
					t.Errorf("I-8 a cold node answers %v", a)
				}
				took[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	t.Logf("%d signed in, who were told %d times to come again; of %d first checks the median took %v, 99 of 100 less than %v",
		signedIn.Load(), told.Load(), len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond))
}

// askTogether starts services that nobody waits for, and shows each a thousand
// credentials at once.
func (c *cluster) askTogether(t *testing.T) {
	h, byCookie := c.mustSignUp(t, "token"), c.mustSignUp(t, "cookie")
	var asked sync.Map // requests by path
	for range 4 {
		calls := &counting{to: &http.Transport{DialContext: dialing(c.Nodes[0].Address)}, paths: &asked}
		v, err := coatcheck.NewVerifier(coatcheck.Config{
			Issuer: c.URL, Audience: c.URL, APIKey: c.APIKey,
			HTTPClient: &http.Client{Transport: calls}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		s := &service{Verifier: v}
		s.handler = v.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
		burst := func(h *holder, also int) {
			var all sync.WaitGroup
			for range 250 {
				all.Go(func() {
					if status := s.status(c.URL, h); status != http.StatusOK && status != also {
						t.Errorf("I-8 a cold service answers %d", status)
					}
				})
			}
			all.Wait()
		}
		burst(h, http.StatusServiceUnavailable) // it knows nothing yet
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := v.Ready(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		burst(h, http.StatusOK)
		burst(byCookie, http.StatusOK)
	}
	for path, most := range map[string]int64{"/.well-known/jwks.json": 8, "/oauth2/introspect": 8} {
		n, _ := asked.Load(path)
		if got, _ := n.(*atomic.Int64); got == nil || got.Load() > most {
			t.Errorf("D-17 four services asked for %s %v times", path, n)
		}
	}
}

// counting counts what is asked.
type counting struct {
	to    http.RoundTripper
	paths *sync.Map
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	n, _ := c.paths.LoadOrStore(r.URL.Path, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return c.to.RoundTrip(r)
}
