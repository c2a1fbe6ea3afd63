package drill

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// A service is a program with a verifier of its own, whose clock can be moved.
type service struct {
	*coatcheck.Verifier
	handler http.Handler
	ahead   atomic.Int64
}

// startService starts a service that reaches the node through the given address,
// and waits until it is ready.
func startService(t testing.TB, n *node, address string) *service {
	t.Helper()
	s := &service{}
	transport := &http.Transport{DialContext: dialing(address)}
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer: n.URL, Audience: n.URL, APIKey: n.APIKey,
		HTTPClient: &http.Client{Transport: transport}, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	s.Verifier = v
	s.handler = v.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// status is what the service answers a holder.
func (s *service) status(issuer string, h *holder) int {
	r := httptest.NewRequest(http.MethodGet, issuer+"/orders", nil)
	h.as()(r)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code
}

// consult has a service check a holder, and records what came of it. What it
// accepts was live when its knowledge was of that age: its own word is in whole
// seconds, hence one more.
func (s *service) consult(w witness, h *holder) int {
	age := s.Staleness()
	call := w.now()
	status := s.status(w.URL, h)
	switch status {
	case http.StatusOK, http.StatusUnauthorized:
		w.Used(h.SessionID, status == http.StatusOK, call, min(age, 10*time.Second)+time.Second)
	case http.StatusServiceUnavailable: // it does not trust itself
	default:
		w.Wrong("a service answers %d", status)
	}
	return status
}

// elapse lets time pass.
func elapse(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// D-09: a verifier that was cut off accepts nothing that was ended meanwhile, once
// it hears again (I-1, I-6); stops by itself when it was deaf for too long (I-2);
// and signs nobody out (I-8).
func TestVerifierComesBack(t *testing.T) {
	n := startNode(t, nodeOptions{})
	for _, gap := range []time.Duration{time.Second, 9 * time.Second, 60 * time.Second} {
		t.Run(gap.String(), func(t *testing.T) {
			t.Parallel()
			comeBack(t, n, gap)
		})
	}
}

func comeBack(t *testing.T, n *node, gap time.Duration) {
	ctx := t.Context()
	line := startProxy(t, n.Address)
	s := startService(t, n, line.Address())
	healthy := []*holder{n.mustSignUp(t, "token"), n.mustSignUp(t, "cookie")}
	marker := n.mustSignUp(t, "token")
	ended, ends := manyEnds(t, n)
	for _, h := range slices.Concat(healthy, ended, []*holder{marker}) {
		if status := s.status(n.URL, h); status != http.StatusOK {
			t.Fatalf("before: %d", status)
		}
	}
	goesOn, comesToEnd := s.socket(t, healthy[0]), s.socket(t, ended[0])

	line.Cut()
	ends()
	if *long {
		elapse(ctx, gap)
	} else {
		s.ahead.Add(int64(gap))
	}
	if age := s.Staleness(); age < gap {
		t.Errorf("I-2 after %v it takes its knowledge for %v old", gap, age)
	}
	stale := false
	seen := make([]int, len(ended))
	look := func() {
		for i, h := range ended {
			stale = stale || s.Staleness() >= 10*time.Second
			status := s.status(n.URL, h)
			if status == http.StatusOK && (stale || seen[i] == http.StatusUnauthorized) {
				t.Errorf("I-1 I-2 accepted: %d, after %v, stale: %t, and after %d", i, gap, stale, seen[i])
			}
			seen[i] = status
		}
		for _, h := range healthy {
			if status := s.status(n.URL, h); status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("I-8 a healthy session: %d", status)
			}
		}
	}
	look()
	if stale {
		until(t, 30*time.Second, "I-2 a socket is closed when nobody vouches for its session", func() bool { return isClosed(goesOn) })
	}

	line.Mend()
	if a := n.end(ctx, marker.SessionID); !a.OK() {
		t.Fatalf("end: %v", a)
	}
	until(t, 30*time.Second, "the end that came last is heard", func() bool {
		look()
		return s.status(n.URL, marker) == http.StatusUnauthorized
	})
	for i, h := range ended {
		if status := s.status(n.URL, h); status != http.StatusUnauthorized {
			t.Errorf("I-6 a later end is heard and not this one: %d answers %d", i, status)
		}
	}
	for _, h := range healthy {
		until(t, 30*time.Second, "a healthy session is accepted", func() bool { return s.status(n.URL, h) == http.StatusOK })
	}
	until(t, 30*time.Second, "a socket of an ended session is closed", func() bool { return isClosed(comesToEnd) })
	if gap < 5*time.Second && isClosed(goesOn) {
		t.Error("I-8 a socket of a healthy session is closed")
	}
}

// socket returns what tells a long-lived connection of the holder to close.
func (s *service) socket(t *testing.T, h *holder) <-chan struct{} {
	t.Helper()
	caller, err := s.Verify(t.Context(), h.Access)
	if err != nil {
		t.Fatal(err)
	}
	return caller.Done()
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// manyEnds returns holders, and what ends each in its own way.
func manyEnds(t *testing.T, n *node) ([]*holder, func()) {
	t.Helper()
	ctx := t.Context()
	byAdmin, bySelf, byCookie := n.mustSignUp(t, "token"), n.mustSignUp(t, "token"), n.mustSignUp(t, "cookie")
	byPassword, byCommand := n.mustSignUp(t, "token"), n.mustSignUp(t, "cookie")
	other, a := n.signIn(ctx, byPassword.Email, password, "token")
	if !a.OK() {
		t.Fatalf("sign in: %v", a)
	}
	return []*holder{byAdmin, bySelf, byCookie, byPassword, byCommand}, func() {
		for _, a := range []answer{
			n.end(ctx, byAdmin.SessionID), n.signOut(ctx, bySelf.as()), n.signOut(ctx, byCookie.as()),
			n.changePassword(ctx, other.as(), password, "another tin roof in the rain"),
		} {
			if !a.OK() {
				t.Fatalf("end: %v", a)
			}
		}
		n.Run(t, "session", "end", "--user", byCommand.UserID)
	}
}

// A follower reads the stream as an SDK of another make would, resumes where it
// was, and has the recorder hold every event to the contract.
type follower struct {
	*client
	r       *recorder
	name    string
	last    string
	through string // where it connects to; empty is the client's URL
}

// follow reads until ctx is done, and connects again whenever the stream ends.
func (f *follower) follow(ctx context.Context) {
	for ctx.Err() == nil {
		f.connect(ctx)
		elapse(ctx, 50*time.Millisecond)
	}
}

func (f *follower) connect(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+"/v1/revocations", nil)
	if err != nil {
		f.r.Wrong("%v", err)
		return
	}
	bearer(f.APIKey)(r)
	if f.last != "" {
		r.Header.Set("Last-Event-ID", f.last)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if f.through != "" {
		transport.DialContext = dialing(f.through)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return // the server is down
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		if response.StatusCode != http.StatusServiceUnavailable {
			f.r.Wrong("the stream is answered %d", response.StatusCode)
		}
		return
	}
	f.r.Connected(f.name, f.last != "")
	for events := feed.NewReader(response.Body); ; {
		e, err := events.Next()
		if err != nil {
			return
		}
		f.r.Heard(f.name, e)
		if e.ID != "" {
			f.last = e.ID
		}
	}
}

// D-11: a server that is killed and stopped again and again under load forgets no
// end, skips none (I-1, I-6), and signs nobody out (I-8): while it is away a client
// hears nothing or 503, never 401.
func TestRestartsUnderLoad(t *testing.T) {
	n := startNode(t, patient)
	c := startCrowd(t, n, size(12, 64), size(4, 100))
	for i := range size(4, 40) {
		elapse(t.Context(), time.Duration(size(800, 5000))*time.Millisecond)
		if i%2 == 0 {
			n.Kill(t)
		} else if err := n.Stop(t); err != nil {
			t.Errorf("stop: %v", err)
		}
		c.settle()
		n.Restart(t)
	}
	c.leave(t)
	t.Log(c)
}

func (c *crowd) String() string {
	return fmt.Sprintf("%d people, %d services: %d calls answered, %d not, %v with 503, %d ends, %d renewals, of which %d on a second try",
		c.people, len(c.services), c.answered.Load(), c.unanswered.Load(), c.unavailable, c.ends.Load(), c.renewals.Load(), c.retries.Load())
}
