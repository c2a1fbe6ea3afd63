package coatcheck

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

func tokenCaller(t *testing.T, s *StandIn, v *Verifier, session string) *Caller {
	t.Helper()
	c, err := v.Verify(t.Context(), s.Token("usr_ada", session))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cookieCaller(t *testing.T, s *StandIn, v *Verifier, session string) *Caller {
	t.Helper()
	c, err := v.checkCookie(t.Context(), s.Cookie("usr_ada", session))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (ws *watches) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.of) + len(ws.by)
}

func TestDone(t *testing.T) { // I-1
	now := newTestClock().Now().Unix()
	for _, entry := range []feed.Entry{
		{Kind: feed.Session, ID: "ses_1"},
		{Kind: feed.User, ID: "usr_ada", Before: now + 2},
		{Kind: feed.Client, ID: "first-party", Before: now + 2},
		{Kind: feed.All, Before: now + 2},
	} {
		t.Run(string(entry.Kind), func(t *testing.T) {
			s, v, _ := setUp(t)
			token, cookie := tokenCaller(t, s, v, "ses_1").Done(), cookieCaller(t, s, v, "ses_1").Done()
			other := tokenCaller(t, s, v, "ses_2").Done()
			s.Append(feed.Entry{Kind: feed.Session, ID: "ses_3"})
			s.Append(feed.Entry{Kind: feed.Changed, ID: "usr_ada", Before: now - 10})
			eventually(t, "others' entries are heard", func() bool { return v.set.Len() == 2 })
			if !isOpen(token) || !isOpen(cookie) {
				t.Fatal("closed by another's end")
			}
			s.Append(entry)
			closes(t, token)
			closes(t, cookie)
			if entry.Kind == feed.Session && !isOpen(other) {
				t.Error("V-53 the neighbour's is closed")
			}
		})
	}
	t.Run("grant and key", func(t *testing.T) {
		s, v, _ := setUp(t)
		one, two := tokenCaller(t, s, v, "ses_1").Done(), tokenCaller(t, s, v, "ses_2").Done()
		s.Append(feed.Entry{Kind: feed.Grant, ID: "grt_ses_1"})
		closes(t, one)
		if !isOpen(two) {
			t.Error("another grant's end closed it")
		}
		s.Append(feed.Entry{Kind: feed.Key, ID: "k1"})
		closes(t, two)
		if got := v.watches.count(); got != 0 {
			t.Errorf("%d left of the watches", got)
		}
	})
}

func TestDoneAfterTheEnd(t *testing.T) {
	s, v, _ := setUp(t)
	c := tokenCaller(t, s, v, "ses_1")
	s.End("ses_1")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	closes(t, c.Done())
}

// Registering comes before looking: wherever the end falls, Done closes.
func TestDoneRacesAnEnd(t *testing.T) {
	s, v, _ := setUp(t)
	for i := range 300 {
		session := "ses_" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		c := tokenCaller(t, s, v, session)
		go s.End(session)
		closes(t, c.Done())
	}
}

func TestDoneOfATokenEndsWithIt(t *testing.T) {
	s, v, clock := setUp(t)
	done := tokenCaller(t, s, v, "ses_1").Done()
	for range 59 {
		clock.Add(10 * time.Second)
		beat(t, s, v)
	}
	if !isOpen(done) {
		t.Fatal("closed before the token has expired")
	}
	clock.Add(9 * time.Second)
	beat(t, s, v)
	if !isOpen(done) {
		t.Fatal("closed a second before the token expires")
	}
	clock.Add(time.Second)
	closes(t, done)
}

func TestDoneOfACookieOutlivesTheAnswer(t *testing.T) {
	s, v, clock := setUp(t)
	start := clock.Now().Unix()
	c := cookieCaller(t, s, v, "ses_1")
	done := c.Done()
	pass := func(d time.Duration) {
		for ; d > 0; d -= 5 * time.Second {
			clock.Add(5 * time.Second)
			beat(t, s, v)
		}
	}
	pass(10 * time.Minute)
	eventually(t, "it is asked about again", func() bool { return len(s.questions()) == 2 })
	if got := s.questions()[1].Seen; got != itoa(start) {
		t.Errorf("seen %s, want %d: an open socket is no use of the session", got, start)
	}
	pass(10 * time.Minute)
	eventually(t, "and again", func() bool { return len(s.questions()) == 3 })
	if !isOpen(done) {
		t.Fatal("closed although the session goes on")
	}
	s.set(func() { clear(s.cookies) }) // idle for too long, which the log does not say
	pass(10 * time.Minute)
	closes(t, done)
	if got := v.watches.count(); got != 0 {
		t.Errorf("%d left of the watches", got)
	}
}

func TestDoneWhenStale(t *testing.T) { // I-2
	s, v, clock := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	c, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	cookie := s.Cookie("usr_ada", "ses_2")
	other, err := v.checkCookie(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	done, otherDone := c.Done(), other.Done()
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness)
	closes(t, done)
	closes(t, otherDone)
	s.Cut(0)
	eventually(t, "heard", func() bool { return v.Staleness() < time.Second })
	again, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	other, err = v.checkCookie(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	if !isOpen(again.Done()) || !isOpen(other.Done()) {
		t.Error("who comes again with the same credential finds Done closed")
	}
	s.End("ses_1")
	closes(t, again.Done())
}

func TestDoneWhenStaleUnderAsk(t *testing.T) {
	s, v, clock := setUp(t, func(c *Config) { c.WhenStale = Ask })
	kept, ended := cookieCaller(t, s, v, "ses_1").Done(), cookieCaller(t, s, v, "ses_2").Done()
	s.Cut(http.StatusServiceUnavailable)
	s.End("ses_2") // unheard
	clock.Add(defaultStaleness)
	closes(t, ended)
	eventually(t, "both were asked about", func() bool { return len(s.questions()) == 4 })
	if !isOpen(kept) {
		t.Error("closed although the issuer confirms it")
	}
	s.set(func() { s.askFail = http.StatusInternalServerError })
	eventually(t, "the issuer fails to answer", func() bool {
		clock.Add(time.Second)
		return len(s.questions()) > 4
	})
	clock.Add(defaultStaleness)
	closes(t, kept)
}

func TestDoneAfterAnInterruption(t *testing.T) { // an end that came and went unheard
	s, v, _ := setUp(t)
	long := func(c *jwt.Claims) { c.ExpiresAt += 36_000 }
	kept, gone := s.Token("usr_ada", "ses_1", long), s.Token("usr_ada", "ses_2", long)
	s.answer(kept, "usr_ada", "ses_1")
	var dones []<-chan struct{}
	for _, token := range []string{kept, gone} {
		c, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		dones = append(dones, c.Done())
	}
	s.set(func() { s.from, s.seq = 5, 5 }) // what a resumption would need is gone
	s.Cut(0)
	closes(t, dones[1])
	eventually(t, "both were asked about", func() bool { return len(s.questions()) == 2 })
	if !isOpen(dones[0]) {
		t.Error("closed although the issuer confirms it")
	}
	if _, err := v.Verify(t.Context(), gone); err == nil {
		t.Error("the token that the issuer called inactive is accepted")
	}
}

func TestInactiveCookieIsRememberedNoMore(t *testing.T) {
	s, v, clock := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	c, err := v.checkCookie(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	done := c.Done()
	s.set(func() { s.from, s.seq = 5, 5; clear(s.cookies) })
	s.Cut(0)
	closes(t, done)
	clock.Add(3 * time.Second)
	beat(t, s, v)
	if _, err := v.checkCookie(t.Context(), cookie); !errors.Is(err, ErrRevoked) {
		t.Errorf("error %v, want ErrRevoked", err)
	}
}

func TestManyWaitersShareOneWatch(t *testing.T) {
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	for range 100 {
		c, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		c.Done()
		v.tokens.Clear() // as if it had been forgotten: the next caller is another
	}
	v.watches.mu.Lock()
	got := len(v.watches.of)
	v.watches.mu.Unlock()
	if got != 1 {
		t.Errorf("%d watches for one credential", got)
	}
}
