package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var endPromises = []promise{
	{"session.Store.End", "End ends what live things e names and returns how many records that were (for User, Client and All: 1).", []proof{
		{"one session", endSession},
		{"V-53 its neighbours stay as they were", endNeighbours},
		{"one session of a given user", endSessionOfUser},
		{"all sessions of a user but one", endOthers},
		{"a session whose tokens do not name it", endSessionOfPartner},
		{"one grant", endGrant},
		{"a user", endUser},
		{"a client", endClient},
		{"everyone", endEveryone},
		{"I-1 a verifier that has heard of it refuses the tokens", endTokens},
		{"I-1 and those stamped ahead, after another end or change in the same second", endTokensAhead},
		{"eight at once end it once", endRace},
		{"one that began in the very second that the end reaches", endBoundary},
		{"I-10 what is over stays over, and OverBefore never falls", overBeforeNeverFalls},
	}},
	{"session.Store.End", "Zero changes nothing, appends nothing, audits nothing and posts nothing.", []proof{
		{"a session that is over in any way", endOver},
		{"nothing of that name", endNothing},
	}},
}

func endSession(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	f.clock.Advance(10*time.Second + 300*time.Millisecond)
	last := len(f.audits(t))
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID, Reason: "sign_out"})
	f.wantLog(t, 0, f.entry(feed.Session, in.ID, "sign_out"))
	f.wantAudit(t, last, noted(audit.SessionsEnded))
	got := f.ofSession(t, in.ID).Session
	in.EndedAt, in.EndReason = f.clock.Now(), "sign_out"
	equal(t, "the session", got, in.Session)
	f.wantOver(t, in)
}

func endNeighbours(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	var others []signIn
	for _, in := range []signIn{f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, neighbour)} {
		f.attach(t, in.ID, `{"cart":1}`)
		others = append(others, in)
	}
	in := f.signIn(t, u)
	before := f.state(t)
	f.clock.Advance(time.Minute)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	after := f.state(t)
	for _, other := range others {
		equal(t, "a neighbour", after.Sessions[other.ID], before.Sessions[other.ID])
		equal(t, "a neighbour's grant", after.Grants[other.Grant.ID], before.Grants[other.Grant.ID])
		f.wantAlive(t, other)
		must(t, f.Sessions.Rotate(t.Context(), other.swap("refresh 2")))
	}
	equal(t, "the users", after.Users, before.Users)
}

func endSessionOfUser(t *testing.T, f *fixture) {
	u, stranger := f.user(t), f.user(t)
	in := f.signIn(t, u)
	f.signIn(t, stranger)
	for _, other := range []string{stranger.ID, credential.NewID(credential.User), in.ID} {
		f.unchanged(t, "an end by another user", func() {
			f.end(t, 0, session.Ending{Kind: feed.Session, ID: in.ID, UserID: other})
		})
	}
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID, UserID: u.ID})
	f.wantOver(t, in)
}

func endOthers(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	gone := f.signIn(t, u)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: gone.ID, Reason: "sign_out"})
	brief := f.draft(u.ID)
	brief.ExpiresAt = f.clock.Now().Add(time.Second)
	f.add(t, brief)
	f.clock.Advance(time.Minute)
	first, kept, third, theirs := f.signIn(t, u), f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, neighbour)
	n, last := len(f.log(t)), len(f.audits(t))
	f.end(t, 2, session.Ending{Kind: feed.Session, UserID: u.ID, Except: kept.ID, Reason: "ended"})
	f.wantLog(t, n, f.entry(feed.Session, first.ID, "ended"), f.entry(feed.Session, third.ID, "ended"), f.entry(feed.Grant, third.Grant.ID, ""))
	f.wantAudit(t, last, noted(audit.SessionsEnded))
	f.wantOver(t, first)
	f.wantOver(t, third)
	f.wantAlive(t, kept)
	f.wantAlive(t, theirs)
	equal(t, "EndReason of one ended before", f.ofSession(t, gone.ID).Session.EndReason, "sign_out")
	f.unchanged(t, "ending the others again", func() {
		f.end(t, 0, session.Ending{Kind: feed.Session, UserID: u.ID, Except: kept.ID})
	})
	f.end(t, 1, session.Ending{Kind: feed.Session, UserID: u.ID})
	f.wantOver(t, kept)
}

// endSessionOfPartner: verifiers cannot tell from such a token which session it
// is of, so they are told of the grant.
func endSessionOfPartner(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, client := range []session.ClientTerms{partner, pairwise} {
		in := f.signIn(t, u, client.ID)
		n := len(f.log(t))
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID, Reason: "ended"})
		f.wantLog(t, n, f.entry(feed.Session, in.ID, "ended"), f.entry(feed.Grant, in.Grant.ID, ""))
	}
	in := f.signIn(t, u, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: in.Grant.ID})
	n := len(f.log(t))
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.wantLog(t, n, f.entry(feed.Session, in.ID, "")) // the grant was not alive
}

func endGrant(t *testing.T, f *fixture) {
	u := f.user(t)
	in, neighbour := f.signIn(t, u), f.signIn(t, u)
	f.clock.Advance(time.Minute)
	what := session.Ending{Kind: feed.Grant, ID: in.Grant.ID, Reason: "refresh_reused"}
	f.end(t, 1, what)
	f.wantLog(t, 0, f.entry(feed.Grant, in.Grant.ID, "refresh_reused"))
	st := f.ofSession(t, in.ID)
	in.Grant.EndedAt, in.Grant.EndReason = f.clock.Now(), "refresh_reused"
	equal(t, "the grant", st.Grant, in.Grant)
	equal(t, "its session", st.Session, in.Session)
	f.wantAlive(t, in)
	wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), in.swap("refresh 2")), session.ErrLost)
	must(t, f.Sessions.Rotate(t.Context(), neighbour.swap("refresh 2")))
	f.clock.Advance(time.Minute)
	f.unchanged(t, "ending the grant again", func() { f.end(t, 0, what) })
}

func endUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	named, hidden, unnamed := f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, u, pairwise.ID)
	theirs, theirsToo := f.signIn(t, neighbour), f.signIn(t, neighbour, pairwise.ID)
	n, last := len(f.log(t)), len(f.audits(t))
	f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID, Reason: "reset"})
	f.wantLog(t, n, f.entry(feed.User, u.ID, "reset"), f.entry(feed.Grant, unnamed.Grant.ID, ""))
	f.wantAudit(t, last, noted(audit.SessionsEnded))
	for _, in := range []signIn{named, hidden, unnamed} {
		f.wantOver(t, in)
		equal(t, "OverBefore", f.ofSession(t, in.ID).User.OverBefore, f.reach(t, feed.User))
	}
	f.wantAlive(t, theirs)
	f.wantAlive(t, theirsToo)
	f.clock.Advance(5 * time.Second)
	f.wantAlive(t, f.signIn(t, u))
}

func endClient(t *testing.T, f *fixture) {
	u := f.user(t)
	theirs, mine := f.signIn(t, u, partner.ID), f.signIn(t, u)
	n := len(f.log(t))
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: partner.ID, Reason: "removed"})
	f.wantLog(t, n, f.entry(feed.Client, partner.ID, "removed"))
	st, err := f.Sessions.OfGrant(t.Context(), theirs.Grant.ID)
	must(t, err)
	equal(t, "OverBefore", st.Client.OverBefore, f.reach(t, feed.Client))
	wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), theirs.swap("refresh 2")), session.ErrLost)
	f.wantAlive(t, mine)
	must(t, f.Sessions.Rotate(t.Context(), mine.swap("refresh 2")))
	f.clock.Advance(5 * time.Second)
	again := f.signIn(t, u, partner.ID)
	must(t, f.Sessions.Rotate(t.Context(), again.swap("refresh 2")))
}

func endEveryone(t *testing.T, f *fixture) {
	var all []signIn
	for range 3 {
		u := f.user(t)
		all = append(all, f.signIn(t, u), f.signIn(t, u, pairwise.ID))
	}
	n := len(f.log(t))
	f.end(t, 1, session.Ending{Kind: feed.All, Reason: "leak"})
	f.wantLog(t, n, f.entry(feed.All, "", "leak"))
	equal(t, "the number of live sessions", f.count(t), 0)
	for _, in := range all {
		f.wantOver(t, in)
		equal(t, "OverBefore", f.ofSession(t, in.ID).OverBefore, f.reach(t, feed.All))
	}
	f.clock.Advance(5 * time.Second)
	f.wantAlive(t, f.signIn(t, f.user(t)))
}

func endRace(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, kind := range []feed.Kind{feed.Session, feed.Grant} {
		in := f.signIn(t, u)
		what := session.Ending{Kind: kind, ID: in.ID}
		if kind == feed.Grant {
			what.ID = in.Grant.ID
		}
		n, last := len(f.log(t)), len(f.audits(t))
		var ended [racers]int
		allWon(t, race(racers, func(i int) (err error) {
			ended[i], err = f.Sessions.End(t.Context(), what, noted(audit.SessionEnded))
			return err
		}))
		sum := 0
		for _, n := range ended {
			sum += n
		}
		equal(t, "the number of records ended", sum, 1)
		equal(t, "the number of entries", len(f.log(t)), n+1)
		equal(t, "the number of audit entries", len(f.audits(t)), last+1)
	}
}

// endBoundary: what is stamped in the second of Before is over, to its last
// millisecond.
func endBoundary(t *testing.T, f *fixture) {
	for _, kind := range []feed.Kind{feed.User, feed.Client, feed.All} {
		t.Run(string(kind), func(t *testing.T) {
			f := f.again(t)
			in := f.draft(f.user(t).ID)
			in.CreatedAt = time.Unix(f.entry(kind, "", "").Before, 0).UTC().Add(999 * time.Millisecond)
			in.LastSeenAt, in.Grant.CreatedAt = in.CreatedAt, in.CreatedAt
			f.add(t, in)
			id := map[feed.Kind]string{feed.User: in.UserID, feed.Client: in.Grant.ClientID}[kind]
			f.end(t, 1, session.Ending{Kind: kind, ID: id})
			wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), in.swap("refresh 2")), session.ErrLost)
			if kind != feed.Client {
				f.wantOver(t, in)
			}
		})
	}
}

// overBeforeNeverFalls ends user, client and everyone again by a clock that was
// set back, and does whatever else touches their rows.
func overBeforeNeverFalls(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	f.clock.Advance(time.Minute)
	ends := func() {
		for _, what := range []session.Ending{{Kind: feed.User, ID: u.ID}, {Kind: feed.Client, ID: session.FirstParty}, {Kind: feed.All}} {
			f.end(t, 1, what)
		}
	}
	ends()
	high := f.entry(feed.All, "", "").Before
	f.clock.Advance(-10 * time.Minute)
	ends()
	f.change(t, u.ID, account.UserChange{Disabled: ptr(true)})
	f.change(t, u.ID, account.UserChange{Disabled: ptr(false), Name: ptr("Ada")})
	f.setPassword(t, account.PasswordChange{UserID: u.ID, New: "new", EndAll: true})
	must(t, f.Upkeep.SetTerms(t.Context(), firstParty))
	st := f.ofSession(t, in.ID)
	for what, got := range map[string]int64{"user": st.User.OverBefore, "client": st.Client.OverBefore, "issuer": st.OverBefore} {
		if got < high {
			t.Errorf("OverBefore of the %s fell from %d to %d", what, high, got)
		}
	}
	f.wantOver(t, in)
}

func endOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		f.unchanged(t, "an end", func() {
			for _, what := range []session.Ending{
				{Kind: feed.Session, ID: in.ID, Reason: "late"},
				{Kind: feed.Session, ID: in.ID, UserID: in.UserID, Reason: "late"},
				{Kind: feed.Session, UserID: in.UserID, Reason: "late"},
			} {
				f.end(t, 0, what)
			}
		})
	})
}

func endNothing(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	for _, what := range []session.Ending{
		{Kind: feed.Session, ID: credential.NewID(credential.Session)},
		{Kind: feed.Session, ID: in.Grant.ID},
		{Kind: feed.Session, UserID: credential.NewID(credential.User)},
		{Kind: feed.Session, UserID: u.ID, Except: in.ID},
		{Kind: feed.Grant, ID: credential.NewID(credential.Grant)},
		{Kind: feed.Grant, ID: in.ID},
		{Kind: feed.User, ID: credential.NewID(credential.User)},
		{Kind: feed.Client, ID: "cli_none"},
	} {
		f.unchanged(t, fmt.Sprintf("End(%+v)", what), func() { f.end(t, 0, what) })
	}
	for _, what := range []session.Ending{{}, {Kind: feed.Session}, {Kind: feed.Grant}, {Kind: feed.User}, {Kind: feed.Client}, {Kind: feed.Key, ID: in.ID}} {
		f.unchanged(t, fmt.Sprintf("End(%+v)", what), func() {
			if n, err := f.Sessions.End(t.Context(), what, noted(audit.SessionsEnded)); err == nil && n != 0 {
				t.Errorf("End(%+v), which names nothing, ended %d records", what, n)
			}
		})
	}
}
