package coatcheck

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

func TestBoundedIgnorance(t *testing.T) { // I-2, V-56
	s, v, clock := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	ended := s.Token("usr_ada", "ses_2")
	s.End("ses_2")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_2") })
	beat(t, s, v)
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness - time.Second)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("a second before the bound: %v", err)
	}
	clock.Add(time.Second)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
		t.Errorf("at the bound: %v, want ErrStale", err)
	}
	if got := v.Staleness(); got < defaultStaleness {
		t.Errorf("Staleness %v past the bound", got)
	}
	if _, err := v.Verify(t.Context(), ended); !errors.Is(err, ErrRevoked) {
		t.Errorf("what a stale set holds: %v, want ErrRevoked", err)
	}
	s.Cut(0)
	eventually(t, "it recovers", func() bool {
		_, err := v.Verify(t.Context(), token)
		return err == nil
	})
}

func TestStaleBeforeTheFirstSnapshot(t *testing.T) { // I-2
	clock := newTestClock()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	s.Cut(http.StatusServiceUnavailable)
	v := startVerifier(t, s, clock)
	eventually(t, "the keys are known", v.keys.known)
	if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1")); !errors.Is(err, ErrStale) {
		t.Errorf("error %v, want ErrStale", err)
	}
	if v.Staleness() < time.Hour {
		t.Errorf("Staleness %v before anything was heard", v.Staleness())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready: %v, want the context's error", err)
	}
}

func TestHeartbeatsAge(t *testing.T) {
	s, v, clock := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	s.BeatAs(func(h *feed.Heartbeat) { h.AgeMS = 9000 })
	eventually(t, "the old news are heard", func() bool { return v.Staleness() == 9*time.Second })
	clock.Add(time.Second)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
		t.Errorf("a second after news that were 9s old: %v, want ErrStale", err)
	}
}

func TestLateHeartbeatCountsAsOlder(t *testing.T) {
	s, v, clock := setUp(t)
	at := clock.Now().Unix()
	s.BeatAs(func(h *feed.Heartbeat) { h.AgeMS = 1000 })
	eventually(t, "one in time", func() bool { return v.Staleness() == time.Second })
	clock.Add(6 * time.Second)
	s.BeatAs(func(h *feed.Heartbeat) { h.At, h.AgeMS = at, 3000 })
	eventually(t, "one of six seconds ago, by its own time in whole seconds", func() bool { return v.Staleness() == 8*time.Second })
	opened := len(s.openings())
	clock.Add(time.Second)
	s.BeatAs(func(h *feed.Heartbeat) { h.At = at - 30 })
	eventually(t, "one that is too late makes it connect anew", func() bool { return len(s.openings()) > opened })
}

func TestMissedEntryMakesItConnectAnew(t *testing.T) { // I-6
	for name, send := range map[string]func(*StandIn){
		"a heartbeat ahead": func(s *StandIn) { s.BeatAs(func(h *feed.Heartbeat) { h.Seq++ }) },
		"a heartbeat of another epoch": func(s *StandIn) {
			s.BeatAs(func(h *feed.Heartbeat) { h.Epoch = "e0" })
		},
		"a gap in the numbers": func(s *StandIn) {
			s.Send(frame(feed.EventRevocation, "e1:7:beef", feed.Entry{Seq: 7, Kind: feed.Session, ID: "x", Until: 1e12}))
		},
		"an event that cannot be read": func(s *StandIn) { s.Send([]byte("event: revocation\ndata: {\"seq\":\n\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			s, v, clock := setUp(t)
			clock.Add(time.Second)
			before := v.heard.Load()
			s.set(func() { s.silent = true })
			send(s)
			eventually(t, "it asks for a whole snapshot", func() bool {
				o := s.openings()
				return len(o) == 2 && o[1] == ""
			})
			if now := v.heard.Load(); now != before && now.old != snapshotAge {
				t.Error("the heartbeat counted although an entry was missed")
			}
		})
	}
}

func TestDisconnectedMeanwhileEnded(t *testing.T) { // D-09
	for _, gap := range []time.Duration{time.Second, 9 * time.Second, 60 * time.Second} {
		t.Run(gap.String(), func(t *testing.T) {
			s, v, clock := setUp(t)
			s.Append(feed.Entry{Kind: feed.Session, ID: "ses_0"}) // so that there is a position
			eventually(t, "a position", func() bool { return v.set.Holds(feed.Session, "ses_0") })
			token := s.Token("usr_ada", "ses_1")
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			s.Cut(http.StatusServiceUnavailable)
			s.End("ses_1")
			clock.Add(gap)
			var wrong error
			s.Cut(0)
			eventually(t, "it is heard again", func() bool {
				heard := v.Staleness() < time.Second // looked at before the verdict
				_, err := v.Verify(t.Context(), token)
				if heard && err == nil {
					wrong = errors.New("accepted after the log was heard again")
				}
				return wrong != nil || errors.Is(err, ErrRevoked)
			})
			if wrong != nil {
				t.Error(wrong)
			}
			if o := s.openings(); !slices.Contains(o, "e1:1:beef") {
				t.Errorf("streams were opened after %q, want a resumption after e1:1:beef", o)
			}
		})
	}
}

func TestSnapshotInPartsThatBreaks(t *testing.T) {
	s, v, clock := setUp(t)
	s.set(func() { s.silent = true })
	s.Send(frame(feed.EventResync, "", feed.Resync{Reason: "epoch"}))
	s.Send(frame(feed.EventSnapshot, "", feed.Snapshot{
		Epoch: "e2", Seq: 9, More: true,
		Entries: []feed.Entry{{Seq: 1, Kind: feed.Session, ID: "ses_1", Until: clock.Now().Unix() + 600}},
	}))
	eventually(t, "the first part counts at once", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	before := v.heard.Load()
	clock.Add(5 * time.Second)
	s.Send(frame(feed.EventHeartbeat, "", feed.Heartbeat{Epoch: "e2", Seq: 9, At: clock.Now().Unix()}))
	s.set(func() { s.epoch, s.seq = "e2", 9 })
	s.Cut(0)
	eventually(t, "it begins anew", func() bool { return len(s.openings()) == 2 })
	eventually(t, "it is whole", func() bool { return v.heard.Load() != before })
	if got := v.heard.Load().old; got != snapshotAge {
		t.Errorf("the last sign of life is %v old when it came, want it to be the second snapshot", got)
	}
	if !v.set.Holds(feed.Session, "ses_1") {
		t.Error("a snapshot took something away")
	}
}

func TestResyncWithoutSnapshotThenResumption(t *testing.T) {
	s, v, _ := setUp(t)
	s.Append(feed.Entry{Kind: feed.Session, ID: "ses_1"})
	eventually(t, "a position", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	s.Send(frame(feed.EventResync, "", feed.Resync{Reason: "slow"}))
	s.Cut(0)
	eventually(t, "it resumes", func() bool { return slices.Contains(s.openings(), "e1:1:beef") })
	before := v.heard.Load()
	s.Beat()
	eventually(t, "and heartbeats count again", func() bool { return v.heard.Load() != before })
}

func TestSetNeverShrinks(t *testing.T) { // I-1: a lagging node, a restored database
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	s.End("ses_1")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	s.set(func() { s.log, s.epoch, s.seq = nil, "e2", 0 })
	s.Cut(0)
	eventually(t, "the new epoch is heard", func() bool {
		return len(s.openings()) == 2 && v.Staleness() < time.Second
	})
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrRevoked) {
		t.Errorf("after a snapshot without the end: %v, want ErrRevoked", err)
	}
}

func TestUnknownKindAsksTheIssuer(t *testing.T) { // I-12
	s, v, _ := setUp(t)
	active, inactive := s.Token("usr_ada", "ses_1"), s.Token("usr_ada", "ses_2")
	s.answer(active, "usr_ada", "ses_1")
	for _, token := range []string{active, inactive} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	s.Append(feed.Entry{Kind: "planet", ID: "earth"})
	eventually(t, "the entry is heard", func() bool { return v.set.Version() > 0 })
	if _, err := v.Verify(t.Context(), active); err != nil {
		t.Errorf("a token that the issuer confirms: %v", err)
	}
	for range 3 {
		if _, err := v.Verify(t.Context(), inactive); !errors.Is(err, ErrExpired) {
			t.Errorf("a token that the issuer does not confirm: %v, want ErrExpired", err)
		}
	}
	if got := len(s.questions()); got != 2 {
		t.Errorf("%d questions, want one for each token", got)
	}
	s.set(func() { s.askFail = http.StatusInternalServerError })
	if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_3")); !errors.Is(err, ErrStale) {
		t.Errorf("with no answer: %v, want ErrStale", err)
	}
}

func TestAskPolicy(t *testing.T) { // V-56
	s, v, clock := setUp(t, func(c *Config) { c.WhenStale = Ask })
	token, gone := s.Token("usr_ada", "ses_1"), s.Token("usr_ada", "ses_2")
	s.answer(token, "usr_ada", "ses_1")
	if _, err := v.Verify(t.Context(), token); err != nil || len(s.questions()) != 0 {
		t.Fatalf("while the log is heard: %v, %d questions", err, len(s.questions()))
	}
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness)
	for range 5 {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("confirmed by the issuer: %v", err)
		}
	}
	if got := s.questions(); len(got) != 1 || got[0].Hint != "access_token" {
		t.Errorf("questions %v, want one about an access token within the second", got)
	}
	clock.Add(time.Second)
	s.set(func() { delete(s.cookies, token) })
	for range 3 {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrExpired) {
			t.Errorf("ended meanwhile: %v, want ErrExpired", err)
		}
	}
	if _, err := v.Verify(t.Context(), gone); !errors.Is(err, ErrExpired) {
		t.Errorf("not confirmed by the issuer: %v, want ErrExpired", err)
	}
	s.Cut(0)
	eventually(t, "heard", func() bool { return v.Staleness() < time.Second })
	if _, err := v.Verify(t.Context(), gone); err == nil {
		t.Error("what the issuer has called inactive is good again")
	}
}

func TestQuestionsAboutOneTokenAreOne(t *testing.T) {
	s, v, clock := setUp(t, func(c *Config) { c.WhenStale = Ask })
	token := s.Token("usr_ada", "ses_1")
	s.answer(token, "usr_ada", "ses_1")
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness)
	gone, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 32 {
		ctx := t.Context()
		if i == 0 {
			ctx = gone
		}
		group.Go(func() {
			if _, err := v.Verify(ctx, token); err != nil && ctx != gone {
				t.Errorf("one of many: %v", err)
			}
		})
	}
	<-s.arrived
	cancel() // one caller leaves, and takes nothing from the others
	close(hold)
	group.Wait()
	if got := len(s.questions()); got != 1 {
		t.Errorf("%d questions, want 1", got)
	}
}

func TestEndWhileTheAnswerAboutATokenTravels(t *testing.T) { // I-1
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	s.answer(token, "usr_ada", "ses_1")
	s.Append(feed.Entry{Kind: "planet", ID: "earth"})
	eventually(t, "the entry is heard", func() bool { return v.set.Version() > 0 })
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	result := make(chan error, 1)
	go func() {
		_, err := v.Verify(t.Context(), token)
		result <- err
	}()
	<-s.arrived
	s.End("ses_1")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	close(hold)
	if err := <-result; !errors.Is(err, ErrRevoked) {
		t.Errorf("error %v, want ErrRevoked", err)
	}
}

func TestRefusedAPIKeyIsSaidAloud(t *testing.T) {
	clock := newTestClock()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	var out lockedBuffer
	v := startVerifier(t, s, clock, func(c *Config) {
		c.APIKey, c.Logger = "cka_wrong", slog.New(slog.NewTextHandler(&out, nil))
	})
	err := v.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "APIKey") {
		t.Errorf("Ready: %v, want an error that names APIKey", err)
	}
	eventually(t, "an error is logged", func() bool { return strings.Contains(out.String(), "level=ERROR") })
	if strings.Contains(out.String()+err.Error(), "cka_wrong") {
		t.Error("V-104 the API key was shown")
	}
	if got := pause(0, &statusError{status: http.StatusUnauthorized, keyed: true}); got < refusedPause {
		t.Errorf("the next attempt comes after %v, want it slow", got)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPause(t *testing.T) { // D-14
	for failures := range 40 {
		limit := min(longestPause, firstPause<<min(failures, 20))
		differ := map[time.Duration]bool{}
		for range 50 {
			got := pause(failures, errors.New("x"))
			differ[got] = true
			if got < limit/10 || got >= limit {
				t.Fatalf("after %d failures: %v, want it from %v to %v", failures, got, limit/10, limit)
			}
		}
		if len(differ) < 25 {
			t.Errorf("after %d failures: %d different pauses of 50", failures, len(differ))
		}
	}
	busy := &statusError{status: http.StatusServiceUnavailable, retry: 7 * time.Second}
	if got := pause(0, busy); got < 7*time.Second || got > 8*time.Second {
		t.Errorf("told to wait 7s: %v", got)
	}
	for range 50 { // D-04: told to wait a second each time, it tries at least every three
		busy.retry = time.Second
		if got := pause(39, busy); got < time.Second || got >= 3*time.Second {
			t.Errorf("told to wait 1s, after many failures: %v", got)
		}
	}
	busy.retry = time.Hour
	if got := pause(0, busy); got > longestRetry+firstPause {
		t.Errorf("told to wait an hour: %v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Unix(1_763_000_000, 0).UTC()
	for value, want := range map[string]time.Duration{
		"3": 3 * time.Second, "": 0, "-1": 0, "soon": 0, "999999999": 0,
		now.Add(5 * time.Second).Format(http.TimeFormat): 5 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
	} {
		res := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {value}}}
		if got := newStatusError(res, now).retry; got != want {
			t.Errorf("Retry-After %q: %v, want %v", value, got, want)
		}
	}
}

func TestSilentConnectionIsCut(t *testing.T) {
	s, _, clock := setUp(t)
	for range 3 {
		clock.Add(time.Second)
		s.Beat()
	}
	s.set(func() { s.silent = true })
	eventually(t, "it connects anew", func() bool {
		clock.Add(100 * time.Millisecond)
		return len(s.openings()) > 1
	})
}

func TestStreamOfAnotherTypeIsNone(t *testing.T) {
	clock := newTestClock()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	served := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/revocations" {
			_, _ = w.Write(frame(feed.EventSnapshot, "x", feed.Snapshot{Epoch: "e1"}))
			return
		}
		served.ServeHTTP(w, r)
	})
	v := startVerifier(t, s, clock)
	eventually(t, "the stream was refused", func() bool {
		_, _, err := v.progress.look()
		return err != nil && strings.Contains(err.Error(), "event stream")
	})
	if v.heard.Load() != nil {
		t.Error("a page that is no event stream was taken for the log")
	}
}

func TestCloseWaitsAndRefuses(t *testing.T) { // I-9
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	c, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	done := c.Done()
	v.Close()
	v.Close()
	if isOpen(done) {
		t.Error("Done is open after Close")
	}
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
		t.Errorf("after Close: %v, want ErrStale", err)
	}
	if _, err := v.checkCookie(t.Context(), s.Cookie("usr_ada", "ses_1")); !errors.Is(err, ErrStale) {
		t.Errorf("a cookie after Close: %v, want ErrStale", err)
	}
	eventually(t, "the stream is closed", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.streams) == 0
	})
	if err := v.Ready(t.Context()); err == nil {
		t.Error("Ready after Close")
	}
}
