package session_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

const (
	key1 = "AAAAAAAAAAAAAAAAAAAAAA"
	key2 = "BBBBBBBBBBBBBBBBBBBBBB"
)

// V-45, V-48: of any number of racers one wins, and all hold the same successor.
func TestRacersHoldOneSuccessor(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	got := make([]session.Tokens, 64)
	errs := make([]error, len(got))
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i], errs[i] = w.refresh(opened.Tokens.Refresh) })
	}
	all.Wait()
	for i := range got {
		if errs[i] != nil || got[i].Refresh != got[0].Refresh || got[i].Refresh == opened.Tokens.Refresh {
			t.Fatalf("racer %d: %v, another successor %v", i, errs[i], got[i].Refresh != got[0].Refresh)
		}
	}
	st, err := w.db.OfSession(t.Context(), opened.Standing.Session.ID)
	w.must(err)
	if st.Grant.Generation != 2 {
		t.Errorf("the grant is at generation %d, want one step to 2", st.Grant.Generation)
	}
	for name, err := range w.channels(session.Opened{Cookie: opened.Cookie, Tokens: got[0]}) {
		if err != nil {
			t.Errorf("%s: %v: somebody was signed out", name, err)
		}
	}
}

func TestASpentTokenByItsAge(t *testing.T) {
	type step struct {
		after time.Duration // since the rotation
		key   string
		want  error // nil: the same successor
	}
	for name, c := range map[string]struct {
		rotatedWith string
		again       step
	}{
		"within the grace, a duplicate":            {"", step{10 * time.Second, "", nil}},
		"after the grace, theft":                   {"", step{10*time.Second + time.Millisecond, "", session.ErrRefreshReused}},
		"long after, with the key that rotated it": {key1, step{time.Hour, key1, nil}},
		"long after, with another key, theft":      {key1, step{time.Hour, key2, session.ErrRefreshReused}},
		"a thief has no key":                       {key1, step{time.Hour, "", session.ErrRefreshReused}},
		"a short key is ignored":                   {"short", step{time.Hour, "short", session.ErrRefreshReused}},
		"no key matches no key":                    {"", step{time.Hour, "", session.ErrRefreshReused}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			opened := w.begin("ada@example.com")
			next, err := w.refresh(opened.Tokens.Refresh, withKey(c.rotatedWith))
			w.must(err)
			w.pass(c.again.after)
			again, err := w.refresh(opened.Tokens.Refresh, withKey(c.again.key))
			if !errors.Is(err, c.again.want) {
				t.Fatalf("answered %v, want %v", err, c.again.want)
			}
			if c.again.want == nil {
				if again.Refresh != next.Refresh {
					t.Error("another successor: the family has forked")
				}
				return
			}
			// V-47: what was drawn on the session is dead with it.
			for channel, err := range w.channels(session.Opened{Cookie: opened.Cookie, Tokens: next}) {
				if channel == "access token" && errors.Is(err, session.ErrTokenExpired) {
					continue // over by its own time
				}
				if !errors.Is(err, session.ErrEnded) {
					t.Errorf("%s answers %v after a theft", channel, err)
				}
			}
			if got := w.entries(audit.RefreshReused); len(got) != 1 || got[0].SessionID != opened.Standing.Session.ID {
				t.Errorf("the theft is in the audit %d times", len(got))
			}
		})
	}
}

func TestGraceIsMeasuredToTheArrivalAndNeverExtended(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	_, err := w.refresh(opened.Tokens.Refresh)
	w.must(err)
	arrived := w.now().Add(9 * time.Second)
	w.pass(9 * time.Second)
	if _, err := w.refresh(opened.Tokens.Refresh); err != nil {
		t.Fatalf("within the grace: %v", err)
	}
	w.pass(9 * time.Second) // it waited in a queue; using the grace has not extended it
	if _, err := w.refresh(opened.Tokens.Refresh, func(r *session.RefreshRequest) { r.Arrived = arrived }); err != nil {
		t.Errorf("arrived within the grace, answered %v", err)
	}
	if _, err := w.refresh(opened.Tokens.Refresh); !errors.Is(err, session.ErrRefreshReused) {
		t.Errorf("arrived after the grace, answered %v", err)
	}
}

func TestAKeyThatDoesNotChangeIsIgnored(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	second, err := w.refresh(opened.Tokens.Refresh, withKey(key1))
	w.must(err)
	_, err = w.refresh(second.Refresh, withKey(key1))
	w.must(err)
	w.pass(time.Hour)
	if _, err := w.refresh(second.Refresh, withKey(key1)); !errors.Is(err, session.ErrRefreshReused) {
		t.Errorf("a constant key turned a theft into %v", err)
	}
}

func TestOlderTokens(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	tokens := []string{opened.Tokens.Refresh}
	keys := []string{}
	for i := range 12 {
		keys = append(keys, strings.Repeat(string(rune('a'+i)), 22))
		next, err := w.refresh(tokens[i], withKey(keys[i]))
		w.must(err)
		tokens = append(tokens, next.Refresh)
	}
	// Rotations younger than the grace: duplicates, and no alarm.
	if _, err := w.refresh(tokens[len(tokens)-4]); !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("an older one within its grace: %v", err)
	}
	w.pass(time.Hour)
	if _, err := w.refresh(tokens[len(tokens)-4], withKey(keys[len(tokens)-4])); !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("an older one with its own key: %v", err)
	}
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); err != nil {
		t.Errorf("a duplicate ended the session: %v", err)
	}
	if _, err := w.refresh(tokens[0], withKey(keys[0])); !errors.Is(err, session.ErrRefreshReused) {
		t.Errorf("one older than the last eight: %v", err)
	}
}

// The database was restored: what is not in it is not a theft.
func TestARestoredDatabaseRaisesNoAlarm(t *testing.T) {
	for name, restored := range map[string]func(*session.Grant){
		"a generation above the record's": func(g *session.Grant) { g.Generation = 1 },
		"the same generation with another secret": func(g *session.Grant) {
			g.RefreshHash = credential.NewSecret().Hash()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			next, err := w.refresh(w.begin("ada@example.com").Tokens.Refresh)
			w.must(err)
			w.faults.restored = restored
			if _, err := w.refresh(next.Refresh); !errors.Is(err, session.ErrEnded) {
				t.Errorf("answered %v", err)
			}
			if len(w.entries(audit.RefreshReused)) != 0 {
				t.Error("a restore was taken for a theft")
			}
		})
	}
}

// A stranger who knows a grant's id can neither end it nor raise an alarm.
func TestAStrangerRaisesNoAlarm(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	good := opened.Tokens.Refresh
	w.faults.before = errors.New("the store was asked")
	for _, forged := range []string{good[:len(good)-22] + strings.Repeat("A", 22), good[:40] + strings.Repeat("B", len(good)-40), "ckr_" + opened.Standing.Grant.ID} {
		if _, err := w.refresh(forged); !errors.Is(err, session.ErrInvalidToken) {
			t.Errorf("answered %v", err)
		}
	}
	w.faults.before = nil
	if _, err := w.refresh(good); err != nil {
		t.Errorf("the person was disturbed: %v", err)
	}
}

// V-46: a refresh whose store failed spent nothing, or can be tried again.
func TestARefreshThatFailedCanBeTriedAgain(t *testing.T) {
	for name, set := range map[string]func(*faultyStore){
		"before it was written": func(f *faultyStore) { f.before = errors.New("disk") },
		"after it was written":  func(f *faultyStore) { f.after = errors.New("connection") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			opened := w.begin("ada@example.com")
			set(w.faults)
			if _, err := w.refresh(opened.Tokens.Refresh, withKey(key1)); !errors.Is(err, fault.ErrUnavailable) {
				t.Fatalf("answered %v", err)
			}
			w.faults.before, w.faults.after = nil, nil
			w.pass(time.Hour)
			if _, err := w.refresh(opened.Tokens.Refresh, withKey(key1)); err != nil {
				t.Errorf("the retry with the same key: %v", err)
			}
		})
	}
}

// I-1, V-48: after an end has answered, nothing that was drawn on the session passes,
// ever: not what was held before, nor what a refresh on its way has drawn.
func TestRefreshAgainstEnd(t *testing.T) {
	w := newWorld(t, defaults())
	proof := w.person("ada@example.com")
	for round := range 500 {
		opened := w.beginFor(proof)
		if round%2 == 0 { // what is remembered must not outlive it either
			w.mustPass(opened)
		}
		var renewed [2]session.Tokens
		var all sync.WaitGroup
		for i := range renewed {
			all.Go(func() { renewed[i], _ = w.refresh(opened.Tokens.Refresh) })
		}
		all.Go(func() {
			_, err := w.End(t.Context(), session.Ending{Kind: feed.Session, ID: opened.Standing.Session.ID, Reason: "test"}, "cli", here)
			if err != nil {
				t.Error(err)
			}
			w.mustBeOver(round, opened) // at once, while the refreshes may still be on their way
		})
		all.Wait()
		w.mustBeOver(round, opened)
		for _, tokens := range renewed {
			if tokens.Refresh != "" {
				w.mustBeOver(round, session.Opened{Cookie: opened.Cookie, Tokens: tokens})
			}
		}
		if t.Failed() {
			return
		}
	}
}

// mustPass fails the test unless everything that was drawn on the session is good.
func (w *world) mustPass(opened session.Opened) {
	w.t.Helper()
	for name, check := range map[string]func() error{
		"cookie":       func() error { _, err := w.CheckCookie(w.t.Context(), opened.Cookie); return err },
		"access token": func() error { _, err := w.CheckToken(w.t.Context(), opened.Tokens.Access); return err },
	} {
		if err := check(); err != nil {
			w.t.Errorf("%s of a live session: %v", name, err)
		}
	}
}

// mustBeOver fails the test if anything that was drawn on the session passes.
func (w *world) mustBeOver(round int, opened session.Opened) {
	w.t.Helper()
	for name, err := range w.channels(opened) {
		if !errors.Is(err, session.ErrEnded) {
			w.t.Errorf("round %d: %s after the end answers %v", round, name, err)
		}
	}
}

// V-49: eight tabs, each of twenty requests with one expired token, sign nobody out;
// nor do they after an answer was lost.
func TestTabsThatRaceSignNobodyOut(t *testing.T) {
	const tabs, requests = 8, 20
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	current := opened.Tokens
	for round := range 200 {
		w.pass(11 * time.Minute)
		if round%2 == 1 {
			_, err := w.refresh(current.Refresh) // whose answer never arrives
			w.must(err)
		}
		next := make([]session.Tokens, tabs)
		var all sync.WaitGroup
		for tab := range next {
			all.Go(func() {
				for range requests {
					if _, err := w.CheckToken(t.Context(), current.Access); !errors.Is(err, session.ErrTokenExpired) {
						t.Errorf("round %d: the expired token answers %v", round, err)
					}
					var err error
					if next[tab], err = w.refresh(current.Refresh); err == nil {
						_, err = w.CheckToken(t.Context(), next[tab].Access)
					}
					if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
				}
			})
		}
		all.Wait()
		for tab := range next {
			if next[tab].Refresh != next[0].Refresh {
				t.Errorf("round %d: the family has forked", round)
			}
		}
		if t.Failed() {
			return
		}
		current = next[0]
	}
	if over := w.entries(audit.RefreshReused); len(over) != 0 {
		t.Errorf("%d false alarms", len(over))
	}
	w.mustPass(session.Opened{Cookie: opened.Cookie, Tokens: current})
}

// V-51: a token presented by another client is refused, and spends nothing.
func TestATokenOfAnotherClient(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	_, err := w.refresh(opened.Tokens.Refresh, func(r *session.RefreshRequest) { r.ClientID = "cli_other" })
	if !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("answered %v", err)
	}
	if _, err := w.refresh(opened.Tokens.Refresh); err != nil {
		t.Errorf("its own client: %v", err)
	}
}
