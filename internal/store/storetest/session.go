package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var sessionPromises = []promise{
	{"session.Store", "Every method is one atomic step, durable when it returns; what ends or changes something appends to the revocation log in the same step.", []proof{
		{"each change has its audit entry when it returns", sessionStepsAudited},
		{"I-1 nobody sees an end without its entry, nor the entry without the end", sessionEndIsOneStep},
	}},
	{"session.Store.Terms", "Terms returns the standing of a user with a client before there is a session: User, Client, OverBefore and Now.", []proof{
		{"as they are now", terms},
		{"of those who are disabled, too", termsDisabled},
	}},
	{"session.Store.Terms", "ErrNone if either is missing.", []proof{{"either, or both", termsMissing}}},
	{"session.Store.Add", "Add adds a session with its first grant, and ends the oldest live sessions of the user beyond max (0: no limit), reason \"max\".", []proof{
		{"all of it is read back", addRoundTrip},
		{"V-41 control characters change no other member", addControls},
		{"V-42 the oldest that live, and no others", addEvicts},
		{"V-42 eight at once never exceed it", addEvictsRace},
		{"no limit", addUnlimited},
	}},
	{"session.Store.Add", "ErrLost, and nothing added, unless user and client are alive and every OverBefore lies before s.CreatedAt.", []proof{
		{"V-33 a user or client that is not alive", addLost},
		{"to the second", addOverBefore},
	}},
	{"session.Store.OfSession", "OfSession reads a session with its first-party grant; ended ones too.", []proof{
		{"as it is now", ofSession},
		{"one without such a grant", ofSessionOfPartner},
		{"ended ones", ofEnded},
	}},
	{"session.Store.OfSession", "ErrNone if there is no such record.", []proof{{"by the exact id", ofNoSession}}},
	{"session.Store.OfGrant", "OfGrant reads a grant with its session; ended ones too.", []proof{
		{"of any client", ofGrant},
		{"ended ones", ofEnded},
	}},
	{"session.Store.OfGrant", "ErrNone likewise.", []proof{{"by the exact id", ofNoGrant}}},
}

func terms(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, client := range []session.ClientTerms{firstParty, partner, pairwise} {
		st, err := f.Sessions.Terms(t.Context(), u.ID, client.ID)
		must(t, err)
		equal(t, "the standing", st, session.Standing{User: u, Client: client, Now: f.clock.Now()})
	}
	f.clock.Advance(time.Minute)
	for _, what := range []session.Ending{{Kind: feed.User, ID: u.ID}, {Kind: feed.Client, ID: partner.ID}, {Kind: feed.All}} {
		f.end(t, 1, what)
	}
	u.OverBefore = f.reach(t, feed.User)
	client := partner
	client.OverBefore = f.reach(t, feed.Client)
	st, err := f.Sessions.Terms(t.Context(), u.ID, client.ID)
	must(t, err)
	want := session.Standing{User: u, Client: client, OverBefore: f.reach(t, feed.All), Now: f.clock.Now()}
	equal(t, "the standing", st, want)
}

func termsDisabled(t *testing.T, f *fixture) {
	client := session.ClientTerms{ID: "cli_disabled", Access: lifetime, Disabled: true}
	must(t, f.Upkeep.SetTerms(t.Context(), client))
	u := f.disable(t, f.user(t).ID)
	st, err := f.Sessions.Terms(t.Context(), u.ID, client.ID)
	must(t, err)
	equal(t, "the standing", st, session.Standing{User: u, Client: client, Now: f.clock.Now()})
}

func termsMissing(t *testing.T, f *fixture) {
	u, nobody := f.user(t), credential.NewID(credential.User)
	for _, c := range [][2]string{{u.ID, "cli_none"}, {nobody, session.FirstParty}, {nobody, "cli_none"}, {"", ""}, {u.ID, "First-Party"}} {
		_, err := f.Sessions.Terms(t.Context(), c[0], c[1])
		wantErr(t, fmt.Sprintf("Terms(%q, %q)", c[0], c[1]), err, session.ErrNone)
	}
}

// wantStanding wants the sign-in to be read back, by session and by grant.
func (f *fixture) wantStanding(t *testing.T, in signIn, u account.User) {
	t.Helper()
	want := session.Standing{Session: in.Session, Grant: in.Grant, User: u, Client: firstParty, Now: f.clock.Now()}
	equal(t, "OfSession", f.ofSession(t, in.ID), want)
	st, err := f.Sessions.OfGrant(t.Context(), in.Grant.ID)
	must(t, err)
	equal(t, "OfGrant", st, want)
}

func addRoundTrip(t *testing.T, f *fixture) {
	u := f.user(t)
	full := f.draft(u.ID)
	full.CreatedAt = full.CreatedAt.Add(1750 * time.Millisecond) // as after an end in this second
	full.LastSeenAt, full.ExpiresAt = full.CreatedAt.Add(time.Millisecond), full.CreatedAt.AddDate(100, 0, 0).Add(time.Millisecond)
	full.Idle = 7*24*time.Hour + time.Millisecond
	full.AMR, full.ACR, full.IP, full.Remember = []string{"pwd", "otp", "mfa"}, "aal2", "2001:db8:1:2:3:4:5:6", true
	full.UserAgent, full.Device = "Ünïcode 李 🧥 "+string(slices.Repeat([]byte("x"), 230)), "Zoë's e\u0301"
	full.AuthTime, full.ChangedBefore = 1<<33, 0
	full.Grant.Audience, full.Grant.Scope = "https://api.example/"+string(slices.Repeat([]byte("a"), 500)), "a:b c/d"
	full.Grant.Generation, full.Grant.Salt = 1<<32-1, [16]byte{0xff, 0, 0x80, '\n'}
	full.Grant.CreatedAt = full.CreatedAt
	bare := f.draft(u.ID)
	bare.SecretHash, bare.AMR, bare.ACR, bare.IP, bare.UserAgent, bare.Device = credential.Hash{}, []string{}, "", "", "", ""
	bare.Grant.Audience, bare.Grant.Scope, bare.Grant.Generation, bare.Grant.RefreshHash = "", "", 0, credential.Hash{}
	for _, in := range []signIn{full, bare} {
		f.add(t, in)
		f.wantStanding(t, in, u)
	}
	f.wantLog(t, 0)
}

func addControls(t *testing.T, f *fixture) {
	u := f.user(t)
	for i, text := range slices.Concat(forgeries, unkeepable) {
		in := f.draft(u.ID)
		in.UserAgent, in.Device, in.IP, in.Grant.Audience, in.Grant.Scope = text, text, text, text, text
		err := f.Sessions.Add(t.Context(), in.Session, in.Grant, 0, noted(audit.SignedIn))
		if err == nil {
			f.wantStanding(t, in, u)
		} else if i < len(forgeries) {
			t.Errorf("a user agent %q was refused: %v", text, err)
		}
		in = f.draft(u.ID)
		in.AMR = []string{"pwd", text}
		if err := f.Sessions.Add(t.Context(), in.Session, in.Grant, 0, noted(audit.SignedIn)); err == nil {
			f.wantStanding(t, in, u)
		}
	}
}

func addEvicts(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	theirs := f.signIn(t, neighbour)
	brief := f.draft(u.ID)
	brief.ExpiresAt = f.clock.Now().Add(time.Second)
	f.add(t, brief)
	gone := f.signIn(t, u)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: gone.ID, Reason: "ended"})
	var mine []signIn
	for range 4 {
		f.clock.Advance(time.Minute)
		mine = append(mine, f.signIn(t, u))
	}
	f.touch(t, mine[0].ID) // the oldest is the one that began first, however lately seen
	f.clock.Advance(time.Minute)
	n, last, next := len(f.log(t)), len(f.audits(t)), f.draft(u.ID)
	must(t, f.Sessions.Add(t.Context(), next.Session, next.Grant, 3, noted(audit.SignedIn)))
	f.wantLog(t, n, f.entry(feed.Session, mine[0].ID, "max"), f.entry(feed.Session, mine[1].ID, "max"))
	equal(t, "the audit entry", f.audits(t)[last].Event, audit.SignedIn)
	for _, in := range mine[:2] {
		st := f.ofSession(t, in.ID)
		equal(t, "EndReason", st.Session.EndReason, "max")
		equal(t, "EndedAt", st.Session.EndedAt, f.clock.Now())
		f.wantOver(t, in)
	}
	equal(t, "EndReason of one ended before", f.ofSession(t, gone.ID).Session.EndReason, "ended")
	equal(t, "EndReason of one expired before", f.ofSession(t, brief.ID).Session.EndReason, "")
	for _, in := range []signIn{mine[2], mine[3], next, theirs} {
		f.wantAlive(t, in)
	}
}

func addEvictsRace(t *testing.T, f *fixture) {
	const limit = 3
	u := f.user(t)
	ins := make([]signIn, racers)
	for i := range ins {
		f.clock.Advance(time.Second)
		ins[i] = f.draft(u.ID)
	}
	allWon(t, race(racers, func(i int) error {
		if err := f.Sessions.Add(t.Context(), ins[i].Session, ins[i].Grant, limit, noted(audit.SignedIn)); err != nil {
			return err
		}
		rows, err := f.Sessions.List(t.Context(), u.ID, "", 100)
		if err == nil && len(rows) > limit {
			return fmt.Errorf("%d sessions are alive, and %d may be", len(rows), limit)
		}
		return err
	}))
	equal(t, "the number of live sessions", f.count(t), limit)
	equal(t, "the number of entries", len(f.log(t)), racers-limit)
}

func addUnlimited(t *testing.T, f *fixture) {
	u := f.user(t)
	for range 12 {
		f.clock.Advance(time.Second)
		f.signIn(t, u)
	}
	equal(t, "the number of live sessions", f.count(t), 12)
	f.wantLog(t, 0)
}

func addLost(t *testing.T, f *fixture) {
	must(t, f.Upkeep.SetTerms(t.Context(), session.ClientTerms{ID: "cli_disabled", Access: lifetime, Disabled: true}))
	u, disabled, deleted := f.user(t), f.user(t), f.user(t)
	f.signIn(t, u)
	f.disable(t, disabled.ID)
	must(t, f.Users.DeleteUser(t.Context(), deleted.ID, noted(audit.UserDeleted)))
	f.clock.Advance(time.Minute)
	for name, c := range map[string]struct{ user, client string }{
		"a disabled user": {disabled.ID, session.FirstParty}, "a deleted user": {deleted.ID, session.FirstParty},
		"no user":           {credential.NewID(credential.User), session.FirstParty},
		"a disabled client": {u.ID, "cli_disabled"}, "no client": {u.ID, "cli_none"},
	} {
		in := f.draft(c.user)
		in.Grant.ClientID = c.client
		f.unchanged(t, "a session of "+name, func() {
			err := f.Sessions.Add(t.Context(), in.Session, in.Grant, 1, noted(audit.SignedIn))
			wantErr(t, "Add for "+name, err, session.ErrLost)
		})
	}
}

func addOverBefore(t *testing.T, f *fixture) {
	for _, what := range []session.Ending{{Kind: feed.User}, {Kind: feed.Client, ID: partner.ID}, {Kind: feed.All}} {
		t.Run(string(what.Kind), func(t *testing.T) {
			f := f.again(t)
			u := f.user(t)
			if what.Kind == feed.User {
				what.ID = u.ID
			}
			f.end(t, 1, what)
			over := time.Unix(f.reach(t, what.Kind), 0).UTC()
			for _, c := range []struct {
				created time.Time
				want    error
			}{
				{f.clock.Now(), session.ErrLost}, {over, session.ErrLost}, {over.Add(999 * time.Millisecond), session.ErrLost}, {over.Add(time.Second), nil},
			} {
				in := f.draft(u.ID)
				in.CreatedAt, in.LastSeenAt, in.Grant.CreatedAt, in.Grant.ClientID = c.created, c.created, c.created, partner.ID
				err := f.Sessions.Add(t.Context(), in.Session, in.Grant, 0, noted(audit.SignedIn))
				wantErr(t, "Add at "+c.created.Format(time.StampMilli), err, c.want)
				if _, err := f.Sessions.OfSession(t.Context(), in.ID); errors.Is(err, session.ErrNone) != (c.want != nil) {
					t.Errorf("OfSession returned %v after Add returned %v", err, c.want)
				}
			}
		})
	}
}

func ofSession(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	f.wantStanding(t, in, u)
	f.clock.Advance(time.Minute)
	u = f.change(t, u.ID, account.UserChange{Roles: &[]string{"admin"}, Disabled: ptr(true)})
	terms := firstParty
	terms.Scopes, terms.Access = []string{"read"}, time.Minute
	must(t, f.Upkeep.SetTerms(t.Context(), terms))
	f.end(t, 1, session.Ending{Kind: feed.All})
	over := f.reach(t, feed.All)
	got := f.ofSession(t, in.ID)
	// Whether a store marks each session that is over with everyone is its own affair.
	got.Session.EndedAt, got.Session.EndReason = in.EndedAt, in.EndReason
	equal(t, "the standing", got, session.Standing{
		Session: in.Session, Grant: in.Grant, User: u, Client: terms, OverBefore: over, Now: f.clock.Now(),
	})
}

func ofSessionOfPartner(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u, partner.ID)
	st := f.ofSession(t, in.ID)
	equal(t, "the session", st.Session, in.Session)
	equal(t, "the user", st.User, u)
	equal(t, "the grant", st.Grant, session.Grant{})
}

func ofEnded(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	f.clock.Advance(time.Minute)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID, Reason: "sign_out"})
	in.EndedAt, in.EndReason = f.clock.Now(), "sign_out"
	f.clock.Advance(24 * time.Hour)
	equal(t, "the session", f.ofSession(t, in.ID).Session, in.Session)
	st, err := f.Sessions.OfGrant(t.Context(), in.Grant.ID)
	must(t, err)
	equal(t, "the session by its grant", st.Session, in.Session)
	equal(t, "the grant's refresh token", st.Grant.RefreshHash, in.Grant.RefreshHash)
}

func ofNoSession(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	for _, id := range []string{"", credential.NewID(credential.Session), in.ID + " ", in.Grant.ID, "%"} {
		_, err := f.Sessions.OfSession(t.Context(), id)
		wantErr(t, fmt.Sprintf("OfSession(%q)", id), err, session.ErrNone)
	}
}

func ofGrant(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, client := range []session.ClientTerms{firstParty, partner, pairwise} {
		in := f.signIn(t, u, client.ID)
		st, err := f.Sessions.OfGrant(t.Context(), in.Grant.ID)
		must(t, err)
		want := session.Standing{Session: in.Session, Grant: in.Grant, User: u, Client: client, Now: f.clock.Now()}
		equal(t, "the standing", st, want)
	}
}

func ofNoGrant(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	for _, id := range []string{"", credential.NewID(credential.Grant), in.Grant.ID + " ", in.ID, "%"} {
		_, err := f.Sessions.OfGrant(t.Context(), id)
		wantErr(t, fmt.Sprintf("OfGrant(%q)", id), err, session.ErrNone)
	}
}
