package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var rotatePromises = []promise{
	{"session.Store.Rotate", "Rotate applies s, or returns ErrLost.", []proof{
		{"what was swapped is what is read", rotateApplies},
		{"eight rotations are kept", rotateKeepsEight},
		{"Seen, and not seen", rotateSeen},
		{"another generation, another hash, no such grant", rotateLost},
		{"a session that is over in any way", rotateOver},
		{"V-33 a grant or a client that is over", rotateGrantOver},
		{"to the millisecond", rotateToTheMillisecond},
		{"V-45 of eight on one generation one wins", rotateRace},
		{"I-1 none after End has returned", rotateAgainstEnd},
	}},
}

var renewPromises = []promise{
	{"session.Store.Renew", "Renew applies r to a live session, stamps AuthTime, raises ChangedBefore and appends a changed entry, or returns ErrLost.", []proof{
		{"V-30 another secret, the same session", renewApplies},
		{"of a session without a cookie", renewWithoutCookie},
		{"another hash, no such session", renewLost},
		{"a session that is over in any way", renewOver},
		{"of eight on one secret one wins", renewRace},
	}},
}

func rotateApplies(t *testing.T, f *fixture) {
	u := f.user(t)
	in, neighbour := f.signIn(t, u), f.signIn(t, u)
	f.clock.Advance(90*time.Second + 7*time.Millisecond)
	must(t, f.Sessions.Rotate(t.Context(), in.swap("refresh 2")))
	in.Grant.Generation, in.Grant.RefreshHash, in.Grant.Salt = 2, hashOf("refresh 2"), [16]byte{1, 2, 3}
	in.Grant.RotatedAt = f.clock.Now()
	in.Grant.Rotations = []session.Rotation{{Key: hashOf("key of refresh 2"), At: f.clock.Now()}}
	f.wantStanding(t, in, u)
	f.wantStanding(t, neighbour, u)
	f.wantLog(t, 0)
}

func rotateKeepsEight(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	for i := range 12 {
		f.clock.Advance(time.Second + time.Millisecond)
		s := in.swap(fmt.Sprint("refresh ", i))
		if i%2 == 1 {
			s.Rotations[0].Key = credential.Hash{}
		}
		s.Rotations = append(s.Rotations, in.Grant.Rotations...)
		s.Rotations = s.Rotations[:min(8, len(s.Rotations))]
		s.Salt = [16]byte{byte(i), 0xff}
		must(t, f.Sessions.Rotate(t.Context(), s))
		in.Grant.Generation++
		in.Grant.RefreshHash, in.Grant.Salt, in.Grant.RotatedAt = s.Next, s.Salt, f.clock.Now()
		in.Grant.Rotations = append([]session.Rotation{{Key: s.Rotations[0].Key, At: f.clock.Now()}}, s.Rotations[1:]...)
		f.wantStanding(t, in, u)
	}
}

func rotateSeen(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	f.clock.Advance(time.Minute)
	s := in.swap("refresh 2")
	s.Seen = true
	must(t, f.Sessions.Rotate(t.Context(), s))
	seen := f.clock.Now()
	equal(t, "LastSeenAt", f.ofSession(t, in.ID).Session.LastSeenAt, seen)
	f.clock.Advance(time.Minute)
	s.Generation, s.Presented, s.Next, s.Seen = 2, s.Next, hashOf("refresh 3"), false
	must(t, f.Sessions.Rotate(t.Context(), s))
	equal(t, "LastSeenAt when not seen", f.ofSession(t, in.ID).Session.LastSeenAt, seen)
	f.clock.Advance(-time.Hour)
	s.Generation, s.Presented, s.Next, s.Seen = 3, s.Next, hashOf("refresh 4"), true
	must(t, f.Sessions.Rotate(t.Context(), s))
	if at := f.ofSession(t, in.ID).Session.LastSeenAt; at.Before(seen) {
		t.Errorf("LastSeenAt fell from %s to %s", seen, at)
	}
}

func rotateLost(t *testing.T, f *fixture) {
	u := f.user(t)
	in, neighbour := f.signIn(t, u), f.signIn(t, u)
	must(t, f.Sessions.Rotate(t.Context(), in.swap("refresh 2")))
	good := in.swap("refresh 3")
	good.Generation, good.Presented = 2, hashOf("refresh 2")
	for name, spoil := range map[string]func(*session.Swap){
		"the generation before":  func(s *session.Swap) { s.Generation = 1 },
		"the next generation":    func(s *session.Swap) { s.Generation = 3 },
		"the hash before":        func(s *session.Swap) { s.Presented = in.Grant.RefreshHash },
		"the token before":       func(s *session.Swap) { s.Generation, s.Presented = 1, in.Grant.RefreshHash },
		"no hash":                func(s *session.Swap) { s.Presented = credential.Hash{} },
		"a neighbour's grant":    func(s *session.Swap) { s.GrantID = neighbour.Grant.ID },
		"a grant that is not":    func(s *session.Swap) { s.GrantID = credential.NewID(credential.Grant) },
		"a session in its place": func(s *session.Swap) { s.GrantID = in.ID },
	} {
		s := good
		spoil(&s)
		f.unchanged(t, "a swap with "+name, func() {
			wantErr(t, "Rotate with "+name, f.Sessions.Rotate(t.Context(), s), session.ErrLost)
		})
	}
	must(t, f.Sessions.Rotate(t.Context(), good))
}

func rotateOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		f.unchanged(t, "a swap", func() {
			s := in.swap("refresh 2")
			s.Seen = true
			wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), s), session.ErrLost)
		})
	})
}

func rotateGrantOver(t *testing.T, f *fixture) {
	u := f.user(t)
	ended, theirs, others := f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, u)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: ended.Grant.ID})
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: partner.ID})
	for _, in := range []signIn{ended, theirs} {
		f.unchanged(t, "a swap", func() {
			wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), in.swap("refresh 2")), session.ErrLost)
		})
	}
	must(t, f.Sessions.Rotate(t.Context(), others.swap("refresh 2")))
}

func rotateToTheMillisecond(t *testing.T, f *fixture) {
	for name, c := range map[string]struct {
		over func(in signIn) time.Time
		seen bool // shortly before
	}{
		"idle":     {func(in signIn) time.Time { return in.LastSeenAt.Add(in.Idle) }, false},
		"absolute": {func(in signIn) time.Time { return in.ExpiresAt }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.again(t)
			u := f.user(t)
			early, late := f.signIn(t, u), f.signIn(t, u)
			if c.seen {
				f.clock.Advance(idle - time.Minute)
				f.touch(t, early.ID)
				f.touch(t, late.ID)
			}
			f.clock.Set(c.over(early).Add(-time.Millisecond))
			must(t, f.Sessions.Rotate(t.Context(), early.swap("refresh 2")))
			f.clock.Advance(time.Millisecond)
			wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), late.swap("refresh 2")), session.ErrLost)
		})
	}
}

func rotateRace(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	next := func(i int) string { return fmt.Sprint("racer ", i) }
	errs := race(racers, func(i int) error { return f.Sessions.Rotate(t.Context(), in.swap(next(i))) })
	oneWinner(t, errs, session.ErrLost)
	st := f.ofSession(t, in.ID)
	equal(t, "the generation", st.Grant.Generation, uint32(2))
	for i, err := range errs {
		if (st.Grant.RefreshHash == hashOf(next(i))) != (err == nil) {
			t.Errorf("racer %d was told %v, which is not what the store holds", i, err)
		}
	}
}

// rotateAgainstEnd has one rotate as fast as it can while another ends the
// session: what is stored when End returns is the last there will be.
func rotateAgainstEnd(t *testing.T, f *fixture) {
	u := f.user(t)
	for round := range 50 {
		in := f.signIn(t, u)
		what := session.Ending{Kind: feed.Session, ID: in.ID}
		if round%2 == 1 {
			what = session.Ending{Kind: feed.User, ID: u.ID}
		}
		ended := make(chan uint32, 1)
		errs := race(2, func(i int) error {
			if i == 0 {
				return rotateUntilLost(t, f, in)
			}
			if _, err := f.Sessions.End(t.Context(), what, noted(audit.SessionEnded)); err != nil {
				return err
			}
			st, err := f.Sessions.OfGrant(t.Context(), in.Grant.ID)
			ended <- st.Grant.Generation
			return err
		})
		allWon(t, errs)
		if t.Failed() {
			return
		}
		st := f.ofSession(t, in.ID)
		equal(t, "the generation after the end of a "+string(what.Kind), st.Grant.Generation, <-ended)
		in.Grant.Generation, in.Grant.RefreshHash = st.Grant.Generation, st.Grant.RefreshHash
		f.wantOver(t, in)
		f.clock.Advance(5 * time.Second)
	}
}

// rotateUntilLost rotates until it loses, as it must one day.
func rotateUntilLost(t *testing.T, f *fixture, in signIn) error {
	for range 100_000 {
		s := in.swap(fmt.Sprint("refresh ", in.Grant.Generation))
		err := f.Sessions.Rotate(t.Context(), s)
		if errors.Is(err, session.ErrLost) {
			return nil
		}
		if err != nil {
			return err
		}
		in.Grant.Generation++
		in.Grant.RefreshHash = s.Next
	}
	return errors.New("the session was ended and still rotates")
}

func renewApplies(t *testing.T, f *fixture) {
	u := f.user(t)
	in, neighbour := f.signIn(t, u), f.signIn(t, u)
	f.clock.Advance(time.Minute)
	n, last := len(f.log(t)), len(f.audits(t))
	must(t, f.Sessions.Renew(t.Context(), in.renewal("renewed"), noted(audit.Reauthenticated)))
	changed := f.entry(feed.Changed, in.ID, "")
	f.wantLog(t, n, changed)
	f.wantAudit(t, last, noted(audit.Reauthenticated))
	got := f.ofSession(t, in.ID).Session
	in.SecretHash, in.AMR, in.ACR = hashOf("renewed"), []string{"pwd", "otp"}, "aal2"
	in.AuthTime, in.ChangedBefore = f.clock.Now().Unix(), changed.Before
	in.LastSeenAt = got.LastSeenAt // whether a renewal is a visit is the manager's to say
	f.wantStanding(t, in, u)
	f.wantStanding(t, neighbour, u)
	f.clock.Advance(-time.Hour)
	must(t, f.Sessions.Renew(t.Context(), in.renewal("again"), noted(audit.Reauthenticated)))
	if fell := f.ofSession(t, in.ID).Session.ChangedBefore; fell < changed.Before {
		t.Errorf("ChangedBefore fell from %d to %d", changed.Before, fell)
	}
}

func renewWithoutCookie(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.draft(u.ID)
	in.SecretHash = credential.Hash{}
	f.add(t, in)
	r := in.renewal("")
	r.Next = credential.Hash{}
	must(t, f.Sessions.Renew(t.Context(), r, noted(audit.Reauthenticated)))
	st := f.ofSession(t, in.ID)
	equal(t, "SecretHash", st.Session.SecretHash, credential.Hash{})
	equal(t, "ACR", st.Session.ACR, "aal2")
}

func renewLost(t *testing.T, f *fixture) {
	u := f.user(t)
	in, neighbour := f.signIn(t, u), f.signIn(t, u)
	for name, spoil := range map[string]func(*session.Renewal){
		"another hash":            func(r *session.Renewal) { r.Presented = neighbour.SecretHash },
		"no hash":                 func(r *session.Renewal) { r.Presented = credential.Hash{} },
		"a neighbour's session":   func(r *session.Renewal) { r.SessionID = neighbour.ID },
		"a session that is not":   func(r *session.Renewal) { r.SessionID = credential.NewID(credential.Session) },
		"a user in its place":     func(r *session.Renewal) { r.SessionID = u.ID },
		"its grant in its place":  func(r *session.Renewal) { r.SessionID = in.Grant.ID },
		"no session in its place": func(r *session.Renewal) { r.SessionID = "" },
	} {
		r := in.renewal("renewed")
		spoil(&r)
		f.unchanged(t, "a renewal with "+name, func() {
			err := f.Sessions.Renew(t.Context(), r, noted(audit.Reauthenticated))
			wantErr(t, "Renew with "+name, err, session.ErrLost)
		})
	}
}

func renewOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		f.unchanged(t, "a renewal", func() {
			err := f.Sessions.Renew(t.Context(), in.renewal("renewed"), noted(audit.Reauthenticated))
			wantErr(t, "Renew", err, session.ErrLost)
		})
	})
}

func renewRace(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	oneWinner(t, race(racers, func(i int) error {
		return f.Sessions.Renew(t.Context(), in.renewal(fmt.Sprint("racer ", i)), noted(audit.Reauthenticated))
	}), session.ErrLost)
	equal(t, "the number of entries", len(f.log(t)), 1)
}
