package sqlstore

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A world is a store with a clock, a user and the first-party client.
type world struct {
	*DB
	ms   atomic.Int64
	user account.User
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	w := &world{}
	w.ms.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	w.DB = open(t, Options{URL: url, Now: w.now})
	must(t, w.SetTerms(t.Context(), session.ClientTerms{ID: session.FirstParty, FirstParty: true, Access: 10 * time.Minute}))
	w.user = w.add(t, "ada@example.com")
	return w
}

func (w *world) now() time.Time { return instant(w.ms.Load()) }

func (w *world) pass(d time.Duration) { w.ms.Add(d.Milliseconds()) }

func (w *world) add(t *testing.T, email string) account.User {
	t.Helper()
	u := account.User{ID: credential.NewID(credential.User), Email: email, EmailKey: email}
	u, err := w.AddUser(t.Context(), u, "", audit.New(audit.UserAdded, audit.OK, audit.Origin{}))
	must(t, err)
	return u
}

func (w *world) signIn(t *testing.T) session.Session {
	t.Helper()
	st, err := w.Terms(t.Context(), w.user.ID, session.FirstParty)
	must(t, err)
	began := st.Now
	if floor := time.Unix(max(st.User.OverBefore, st.OverBefore)+1, 0); began.Before(floor) {
		began = floor
	}
	s := session.Session{
		ID: credential.NewID(credential.Session), UserID: w.user.ID, CreatedAt: began, LastSeenAt: began,
		Idle: time.Hour, ExpiresAt: began.Add(24 * time.Hour), AMR: []string{"pwd"}, ACR: "aal1",
	}
	g := session.Grant{ID: credential.NewID(credential.Grant), SessionID: s.ID, ClientID: session.FirstParty, Generation: 1, CreatedAt: began}
	must(t, w.Add(t.Context(), s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})))
	return s
}

// A clock that is set back moves no time of the store; only the tail is told. I-10
func TestTimeNeverRunsBackwards(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		must(t, w.Hold(t.Context(), time.Minute))
		mark := w.now()
		w.pass(-time.Hour)
		if u := w.add(t, "bob@example.com"); !u.CreatedAt.Equal(mark) {
			t.Errorf("a user was added at %v, before the mark %v", u.CreatedAt, mark)
		}
		st, err := w.Terms(t.Context(), w.user.ID, session.FirstParty)
		must(t, err)
		if !st.Now.Equal(mark) {
			t.Errorf("the terms were read at %v, want %v", st.Now, mark)
		}
		page, err := w.Since(t.Context(), 0, 1)
		must(t, err)
		if !page.Now.Equal(w.now()) || !page.Mark.Equal(mark) {
			t.Errorf("the tail read the clock %v and the mark %v", page.Now, page.Mark)
		}
	})
}

// A clock that once ran far ahead does not brick the database.
func TestAcceptClock(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		before := w.signIn(t)
		const leap = 365 * 24 * time.Hour
		w.pass(leap)
		ahead := w.signIn(t)
		_, err := w.End(t.Context(), session.Ending{Kind: feed.User, ID: w.user.ID}, audit.Entry{})
		must(t, err)
		far := w.signIn(t)
		w.pass(-leap)
		old, err := w.Since(t.Context(), 0, 10)
		must(t, err)

		must(t, w.AcceptClock(t.Context(), audit.New("clock_accepted", audit.OK, audit.Origin{})))
		page, err := w.Since(t.Context(), 0, 10)
		must(t, err)
		if !page.Mark.Equal(w.now()) || page.Head.Epoch == old.Head.Epoch {
			t.Errorf("the mark is %v and the epoch %s", page.Mark, page.Head.Epoch)
		}
		last := page.Rows[len(page.Rows)-1]
		if last.Kind != feed.All || last.Before != revocation.Before(w.now()) || page.Rows[0].Before > last.Before {
			t.Errorf("the log is %+v", page.Rows)
		}
		for _, s := range []session.Session{before, ahead, far} {
			st, err := w.OfSession(t.Context(), s.ID)
			must(t, err)
			if st.Session.EndedAt.IsZero() || max(st.User.OverBefore, st.OverBefore) > revocation.Before(w.now()) {
				t.Errorf("the standing is %+v", st)
			}
		}
		w.pass(2 * time.Second)
		w.signIn(t)
		if n, err := w.Count(t.Context()); n != 1 || err != nil {
			t.Errorf("%d sessions live, %v, want the new one", n, err)
		}
	})
}

// A commit that took longer than an entry reaches is made good before its answer.
func TestSlowCommitIsLoggedOnceMore(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.slow = 0 // whatever it takes is too long
		disabled := true
		if _, err := w.ChangeUser(t.Context(), w.user.ID, account.UserChange{Disabled: &disabled}, audit.Entry{Event: audit.UserDisabled}); err == nil {
			t.Error("a database that is always too slow acknowledged an end")
		}
		w.slow = time.Hour
		page, err := w.Since(t.Context(), 0, 10)
		must(t, err)
		if len(page.Rows) != 3 || page.Rows[1].Kind != feed.User || page.Rows[1].ID != w.user.ID {
			t.Errorf("the log is %+v, want the same entry three times", page.Rows)
		}
		audits, err := w.Entries(t.Context(), audit.Filter{Event: audit.UserDisabled}, 0, 10)
		must(t, err)
		if len(audits) != 1 {
			t.Errorf("audited %d times, want once", len(audits))
		}
	})
}

// What is given out in the second after an end is stamped after that. A second end
// in the same second reaches further; and who ends in a loop pushes nothing into
// the future. V-32
func TestEndsInOneSecond(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.pass(200 * time.Millisecond)
		at := revocation.Before(w.now())
		for i, want := range []int64{at, at + 1, at + 2, at + 2, at + 2} {
			_, err := w.End(t.Context(), session.Ending{Kind: feed.User, ID: w.user.ID}, audit.Entry{})
			must(t, err)
			st, err := w.Terms(t.Context(), w.user.ID, session.FirstParty)
			must(t, err)
			page, err := w.Since(t.Context(), uint64(i+1), 1)
			must(t, err)
			if page.Rows[0].Before != want || st.User.OverBefore != want {
				t.Errorf("the end %d reaches to %d and the record to %d, want %d", i, page.Rows[0].Before, st.User.OverBefore, want)
			}
			w.signIn(t)
		}
		last := w.signIn(t)
		_, err := w.End(t.Context(), session.Ending{Kind: feed.User, ID: w.user.ID}, audit.Entry{})
		must(t, err)
		if n, err := w.Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d sessions live, %v", n, err)
		}
		if st, err := w.OfSession(t.Context(), last.ID); st.Session.EndedAt.IsZero() || err != nil {
			t.Errorf("a session that no OverBefore reaches is not said to be over: %+v, %v", st.Session, err)
		}
	})
}

// Many sightings are written in chunks.
func TestTouchMany(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		var seen []session.Seen
		for range touchChunk + 3 {
			seen = append(seen, session.Seen{SessionID: w.signIn(t).ID, At: w.now().Add(time.Minute)})
		}
		w.pass(time.Minute)
		must(t, w.Touch(t.Context(), seen))
		for _, one := range seen {
			st, err := w.OfSession(t.Context(), one.SessionID)
			must(t, err)
			if !st.Session.LastSeenAt.Equal(one.At) {
				t.Fatalf("last seen at %v, want %v", st.Session.LastSeenAt, one.At)
			}
		}
	})
}

// What is alive is put off by the sweep, and found again when its time has come.
func TestSweepFindsAgainWhatItPutOff(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		for range 5 {
			w.signIn(t)
		}
		alive := w.signIn(t)
		w.pass(50 * time.Minute)
		must(t, w.Touch(t.Context(), []session.Seen{{SessionID: alive.ID, At: w.now()}}))
		w.pass(50 * time.Minute)
		for _, want := range []int{4, 1, 0} {
			if n, _, err := w.Sweep(t.Context(), 10*time.Minute, 4); n != want || err != nil {
				t.Errorf("swept %d, %v, want %d", n, err, want)
			}
		}
		w.pass(20 * time.Minute)
		if n, _, err := w.Sweep(t.Context(), 10*time.Minute, 4); n != 1 || err != nil {
			t.Errorf("swept %d, %v, want the last one", n, err)
		}
	})
}

func TestSealCheck(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		db := open(t, Options{URL: url, Now: time.Now})
		ctx := t.Context()
		isNew := func(want bool) {
			t.Helper()
			if got, err := db.IsNew(ctx); got != want || err != nil {
				t.Errorf("IsNew is %v, %v, want %v", got, err, want)
			}
		}
		isNew(true)
		for _, test := range []struct {
			check        byte
			known, match bool
		}{{1, false, true}, {1, true, true}, {2, true, false}, {1, true, true}} {
			known, match, err := db.SealCheck(ctx, [32]byte{test.check})
			if known != test.known || match != test.match || err != nil {
				t.Errorf("check %d: known %v, match %v, %v", test.check, known, match, err)
			}
		}
		isNew(false)
	})
}

func TestRotationsArePacked(t *testing.T) {
	var rotations []session.Rotation
	for i := range 8 {
		rotations = append(rotations, session.Rotation{Key: credential.Hash{byte(i)}, At: instant(int64(1000 * i))})
	}
	packed := packRotations(rotations)
	if len(packed) != 320 {
		t.Errorf("packed to %d bytes", len(packed))
	}
	again, err := unpackRotations(packed)
	must(t, err)
	if fmt.Sprint(again) != fmt.Sprint(rotations) {
		t.Errorf("unpacked %v, want %v", again, rotations)
	}
	if _, err := unpackRotations(packed[:41]); err == nil {
		t.Error("damaged rotations were read")
	}
}

func TestListsKeepTheirWords(t *testing.T) {
	for _, list := range [][]string{{"admin\nowner"}, {""}, {"a", "\x00"}} {
		if _, err := joinList(list); err == nil {
			t.Errorf("%q was written", list)
		}
	}
}
