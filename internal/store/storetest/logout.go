package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

var logoutPromises = []promise{
	{"oauth.NoticeStore", "The steps that end grants make them, of every grant whose client wants to be told.", []proof{
		{"BCL-3 whatever ends it", noticeOfEveryEnd},
		{"once, whatever else ends it afterwards", noticeOnce},
		{"all of it is read back", noticeRoundTrip},
		{"not for a client that does not want to be told", noticeOfNobodyElse},
		{"eight at once make one", noticeRace},
		{"a thousand at once", noticeThousand},
	}},
	{"oauth.NoticeStore.Lapse", "Lapse makes notices of grants that are over without a step that named them: by their session's time, or because everything or everything of their client was ended.", []proof{
		{"BCL-3 the absolute end, to the millisecond", lapseAbsolute},
		{"BCL-3 everyone", lapseAll},
		{"BCL-3 a client", lapseClient},
		{"what is alive stays", lapseNothing},
	}},
	{"oauth.NoticeStore.Lapse", "A session counts as unused only when that is so for unwritten longer than it may be.", []proof{
		{"BCL-3 used or not", lapseIdle},
	}},
	{"oauth.NoticeStore.Lapse", "It returns how many it made, and whether there may be more.", []proof{
		{"five hundred", lapseMany},
	}},
}

// Clients that want to be told of sign-outs.
var (
	told      = session.ClientTerms{ID: "cli_told", Told: true, Access: lifetime}
	toldOther = session.ClientTerms{ID: "cli_told_pairwise", Told: true, Pairwise: true, Access: lifetime}
)

const unwritten = time.Minute

// tellClients adds the clients that want to be told.
func (f *fixture) tellClients(t *testing.T) {
	t.Helper()
	for _, terms := range []session.ClientTerms{told, toldOther} {
		must(t, f.Upkeep.SetTerms(t.Context(), terms))
	}
}

// noticed takes all notices that are due and returns whose they are, in the order of
// their ids.
func (f *fixture) noticed(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, client := range []string{told.ID, toldOther.ID, partner.ID} {
		for _, n := range f.claimNotices(t, client, "reader", 1000) {
			must(t, f.Notices.NoticeSent(t.Context(), n.GrantID, "reader"))
			ids = append(ids, n.GrantID)
		}
	}
	slices.Sort(ids)
	return ids
}

// wantNotices fails unless exactly the grants of these sign-ins have got notices since it
// was last asked.
func (f *fixture) wantNotices(t *testing.T, what string, want ...signIn) {
	t.Helper()
	ids := make([]string, len(want))
	for i, in := range want {
		ids[i] = in.Grant.ID
	}
	slices.Sort(ids)
	equal(t, what, f.noticed(t), ids)
}

func (f *fixture) claimNotices(t *testing.T, client, lease string, limit int) []oauth.Notice {
	t.Helper()
	notices, _, err := f.Notices.ClaimNotices(t.Context(), client, lease, leased, limit)
	must(t, err)
	return notices
}

// lapse fails unless so many notices are made.
func (f *fixture) lapse(t *testing.T, want int) {
	t.Helper()
	n, _, err := f.Notices.Lapse(t.Context(), unwritten)
	must(t, err)
	if n != want {
		t.Errorf("Lapse made %d notices, want %d", n, want)
	}
}

// A cause ends the sign-in of the client told, and with all also that of another client of
// the same user.
type cause struct {
	name string
	all  bool
	end  func(ctx context.Context, f *fixture, u account.User, in signIn) error
}

func causeOf(name string, all bool, what func(u account.User, in signIn) session.Ending) cause {
	return cause{name, all, func(ctx context.Context, f *fixture, u account.User, in signIn) error {
		_, err := f.Sessions.End(ctx, what(u, in), noted(audit.SessionsEnded))
		return err
	}}
}

// causes are those that make their notices in their own step: sign-out, an end by the
// person or an administrator, reuse of a refresh token and of a code, the limit of
// sessions, and everything that is done to a user.
var causes = []cause{
	causeOf("a session", false, func(_ account.User, in signIn) session.Ending {
		return session.Ending{Kind: feed.Session, ID: in.ID}
	}),
	causeOf("all others", true, func(u account.User, in signIn) session.Ending {
		return session.Ending{Kind: feed.Session, UserID: u.ID, Except: "ses_another"}
	}),
	causeOf("a grant", false, func(_ account.User, in signIn) session.Ending {
		return session.Ending{Kind: feed.Grant, ID: in.Grant.ID}
	}),
	causeOf("a client of a user", false, func(u account.User, _ signIn) session.Ending {
		return session.Ending{Kind: feed.Grant, UserID: u.ID, ClientID: told.ID}
	}),
	causeOf("a user", true, func(u account.User, _ signIn) session.Ending { return session.Ending{Kind: feed.User, ID: u.ID} }),
	{"disabled", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		_, err := f.Users.ChangeUser(ctx, u.ID, account.UserChange{Disabled: ptr(true)}, noted(audit.UserChanged))
		return err
	}},
	{"deleted", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		return f.Users.DeleteUser(ctx, u.ID, noted(audit.UserDeleted))
	}},
	{"password set", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		return f.Users.SetPassword(ctx, account.PasswordChange{UserID: u.ID, Old: "old", New: "new", EndAll: true}, noted(audit.PasswordChanged))
	}},
	{"password changed", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		return f.Users.SetPassword(ctx, account.PasswordChange{UserID: u.ID, Old: "old", New: "new", EndOthers: true, Keep: "ses_another"}, noted(audit.PasswordChanged))
	}},
	{"password reset", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		l, err := f.Links.AddLink(ctx, account.Link{ID: "lnk_reset", Kind: account.LinkReset, UserID: u.ID, Email: u.Email, EmailKey: u.EmailKey, ExpiresAt: f.clock.Now().Add(time.Hour)}, audit.Entry{})
		if err != nil {
			return err
		}
		return f.Links.ResetByLink(ctx, l.ID, "new", noted(audit.PasswordChanged))
	}},
	{"beyond the limit", true, func(ctx context.Context, f *fixture, u account.User, _ signIn) error {
		f.clock.Advance(time.Second)
		next := f.draft(u.ID)
		return f.Sessions.Add(ctx, next.Session, next.Grant, 1, noted(audit.SignedIn))
	}},
}

func noticeOfEveryEnd(t *testing.T, f *fixture) {
	for _, c := range causes {
		f := f.again(t)
		f.tellClients(t)
		u, neighbour := f.user(t), f.user(t)
		in, other := f.signIn(t, u, told.ID), f.signIn(t, u, toldOther.ID)
		f.signIn(t, u, partner.ID)
		f.signIn(t, neighbour, told.ID)
		f.clock.Advance(time.Second)
		must(t, c.end(t.Context(), f, u, in))
		want := []signIn{in}
		if c.all {
			want = append(want, other)
		}
		f.wantNotices(t, c.name, want...)
		f.lapse(t, 0)
	}
}

func noticeOnce(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	in := f.signIn(t, u, told.ID)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: in.Grant.ID})
	f.wantNotices(t, "the grant", in)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID})
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: told.ID})
	f.end(t, 1, session.Ending{Kind: feed.All})
	f.clock.Advance(2 * absolute)
	f.lapse(t, 0)
	f.wantNotices(t, "all that came later")
}

func noticeRoundTrip(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	in := f.signIn(t, u, told.ID)
	f.clock.Advance(time.Minute)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	made := f.clock.Now()
	f.clock.Advance(time.Minute)
	equal(t, "the notice", f.claimNotices(t, told.ID, "one", 10), []oauth.Notice{{
		GrantID: in.Grant.ID, ClientID: told.ID, UserID: u.ID, Created: made, Expires: made.Add(oauth.NoticeWorth), Attempts: 1,
	}})
}

func noticeOfNobodyElse(t *testing.T, f *fixture) {
	u := f.user(t)
	f.signIn(t, u)
	in := f.signIn(t, u, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID})
	counts, err := f.Notices.CountNotices(t.Context(), "")
	must(t, err)
	equal(t, "what waits", counts, oauth.NoticeCounts{})
}

func noticeRace(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	ins := []signIn{f.signIn(t, u, told.ID), f.signIn(t, u, told.ID), f.signIn(t, u, toldOther.ID)}
	f.clock.Advance(absolute - time.Millisecond)
	endings := []session.Ending{
		{Kind: feed.Session, ID: ins[0].ID},
		{Kind: feed.Grant, ID: ins[0].Grant.ID},
		{Kind: feed.User, ID: u.ID},
		{Kind: feed.Session, UserID: u.ID},
		{Kind: feed.All},
		{Kind: feed.Client, ID: told.ID},
	}
	allWon(t, race(racers, func(i int) error {
		if i >= len(endings) {
			_, _, err := f.Notices.Lapse(t.Context(), unwritten)
			return err
		}
		_, err := f.Sessions.End(t.Context(), endings[i], noted(audit.SessionsEnded))
		return err
	}))
	_, _, err := f.Notices.Lapse(t.Context(), unwritten)
	must(t, err)
	f.wantNotices(t, "after the race", ins...)
}

func noticeThousand(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	var ins []signIn
	for range 100 { // as many statements of each length as there are
		ins = append(ins, f.signIn(t, u, told.ID))
	}
	f.end(t, 100, session.Ending{Kind: feed.Session, UserID: u.ID})
	f.wantNotices(t, "all of them", ins...)
}

func lapseAbsolute(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	in := f.signIn(t, u, told.ID)
	f.clock.Advance(idle - time.Minute)
	must(t, f.Upkeep.Touch(t.Context(), []session.Seen{{SessionID: in.ID, At: f.clock.Now()}}))
	f.clock.Set(in.ExpiresAt.Add(-time.Millisecond))
	f.lapse(t, 0)
	f.clock.Advance(time.Millisecond)
	f.lapse(t, 1)
	f.lapse(t, 0)
	f.wantNotices(t, "at its end", in)
}

func lapseIdle(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	used, unused := f.signIn(t, u, told.ID), f.signIn(t, u, told.ID)
	f.clock.Advance(idle - time.Second)
	f.lapse(t, 0)
	must(t, f.Upkeep.Touch(t.Context(), []session.Seen{{SessionID: used.ID, At: f.clock.Now()}}))
	f.clock.Set(unused.LastSeenAt.Add(idle + unwritten - time.Millisecond))
	f.lapse(t, 0)
	f.clock.Advance(time.Millisecond)
	f.lapse(t, 1)
	f.wantNotices(t, "what nobody used", unused)
}

func lapseAll(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	before := f.signIn(t, u, told.ID)
	f.end(t, 1, session.Ending{Kind: feed.All})
	f.clock.Advance(10 * time.Second)
	f.signIn(t, u, told.ID)
	f.lapse(t, 1)
	f.lapse(t, 0)
	f.wantNotices(t, "what was before", before)
}

func lapseClient(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	before := f.signIn(t, u, told.ID)
	f.signIn(t, u, toldOther.ID)
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: told.ID})
	f.clock.Advance(10 * time.Second)
	f.signIn(t, u, told.ID)
	f.lapse(t, 1)
	f.lapse(t, 0)
	f.wantNotices(t, "what was before", before)
}

func lapseNothing(t *testing.T, f *fixture) {
	f.tellClients(t)
	f.lapse(t, 0)
	u := f.user(t)
	f.signIn(t, u, told.ID)
	f.signIn(t, u)
	f.signIn(t, u, partner.ID)
	for range 50 { // the sign-ins of others lapse, too, and nobody is told
		f.clock.Advance(time.Minute)
		f.unchanged(t, "a look at what is alive", func() { f.lapse(t, 0) })
	}
	f.wantNotices(t, "what is alive")
}

func lapseMany(t *testing.T, f *fixture) {
	f.tellClients(t)
	u := f.user(t)
	for range 500 {
		f.signIn(t, u, told.ID)
	}
	f.end(t, 1, session.Ending{Kind: feed.All})
	sum, looks := 0, 0
	for more := true; more; looks++ {
		n, again, err := f.Notices.Lapse(t.Context(), unwritten)
		must(t, err)
		sum, more = sum+n, again
	}
	if sum != 500 || looks < 2 {
		t.Errorf("%d notices in %d looks, want 500 in several", sum, looks)
	}
	equal(t, "how many are due", len(f.noticed(t)), 500)
}
