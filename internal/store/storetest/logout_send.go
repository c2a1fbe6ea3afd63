package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

var logoutSendPromises = []promise{
	{"oauth.NoticeStore.DueNotices", "DueNotices returns the clients that have notices that are due, by ascending id.", []proof{
		{"due, claimed, put off, dead", dueNotices},
	}},
	{"oauth.NoticeStore.ClaimNotices", "ClaimNotices gives up to limit notices of a client that are due to the caller, the longest due first, under a lease that keeps them from everyone else until it is over.", []proof{
		{"limit, order and client", claimNoticeOrder},
		{"nobody else before the lease is over", claimNoticeLease},
		{"eight at once share what is due", claimNoticeRace},
	}},
	{"oauth.NoticeStore.ClaimNotices", "It also returns the time of the store.", []proof{
		{"the injected clock", claimNoticeTime},
	}},
	{"oauth.NoticeStore.NoticeSent", "NoticeSent removes a notice that the lease still holds; else [ErrLease].", []proof{
		{"once", noticeSentOnce},
		{"not under another's lease, nor when dead", noticeGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Notices.NoticeSent(t.Context(), id, lease)
		})},
	}},
	{"oauth.NoticeStore.PostponeNotice", "PostponeNotice makes a notice that the lease still holds due after a while, and keeps why; else [ErrLease].", []proof{
		{"not before", noticePostponed},
		{"not under another's lease, nor when dead", noticeGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Notices.PostponeNotice(t.Context(), id, lease, time.Second, "why")
		})},
	}},
	{"oauth.NoticeStore.BuryNotice", "BuryNotice makes a notice that the lease still holds a dead letter, and keeps why; else [ErrLease].", []proof{
		{"for good", noticeBuried},
		{"not under another's lease, nor when dead", noticeGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Notices.BuryNotice(t.Context(), id, lease, "why")
		})},
	}},
	{"oauth.NoticeStore.CountNotices", "CountNotices counts what waits and what is dead of a client, or of all if it is empty.", []proof{
		{"claimed ones too, and the oldest", noticeCounts},
	}},
	{"oauth.NoticeStore.ForgetNotices", "ForgetNotices removes dead letters that died longer ago than keep, and says how many.", []proof{
		{"those and no others", forgetNotices},
	}},
}

// endTold makes n notices of the client told, each a second after the one before, and
// returns their ids.
func (f *fixture) endTold(t *testing.T, n int) []string {
	t.Helper()
	f.tellClients(t)
	u := f.user(t)
	ids := make([]string, n)
	for i := range ids {
		in := f.signIn(t, u, told.ID)
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
		ids[i] = in.Grant.ID
		f.clock.Advance(time.Second)
	}
	return ids
}

// wantClaimed fails unless exactly these notices can be claimed now.
func (f *fixture) wantClaimed(t *testing.T, lease string, limit int, want ...string) {
	t.Helper()
	var ids []string
	for _, n := range f.claimNotices(t, told.ID, lease, limit) {
		ids = append(ids, n.GrantID)
	}
	equal(t, "what is claimed", ids, want)
}

func dueNotices(t *testing.T, f *fixture) {
	want := func(want ...string) {
		t.Helper()
		due, err := f.Notices.DueNotices(t.Context())
		must(t, err)
		equal(t, "whose are due", due, want)
	}
	want()
	ids := f.endTold(t, 2)
	in := f.signIn(t, f.user(t), toldOther.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	want(told.ID, toldOther.ID)
	f.wantClaimed(t, "one", 2, ids...)
	want(toldOther.ID)
	must(t, f.Notices.BuryNotice(t.Context(), ids[0], "one", "why"))
	must(t, f.Notices.PostponeNotice(t.Context(), ids[1], "one", time.Minute, "why"))
	want(toldOther.ID)
	f.clock.Advance(time.Minute)
	want(told.ID, toldOther.ID)
	f.noticed(t)
	want()
}

func claimNoticeOrder(t *testing.T, f *fixture) {
	ids := f.endTold(t, 5)
	in := f.signIn(t, f.user(t), toldOther.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.wantClaimed(t, "one", 2, ids[:2]...)
	f.wantClaimed(t, "one", 2, ids[2:4]...)
	f.wantClaimed(t, "one", 2, ids[4])
	f.wantClaimed(t, "one", 2)
}

func claimNoticeLease(t *testing.T, f *fixture) {
	ids := f.endTold(t, 1)
	f.wantClaimed(t, "one", 1, ids...)
	f.clock.Advance(leased - time.Millisecond)
	f.wantClaimed(t, "two", 1)
	f.clock.Advance(time.Millisecond)
	again := f.claimNotices(t, told.ID, "two", 1)
	if len(again) != 1 || again[0].Attempts != 2 {
		t.Fatalf("after the lease %v can be claimed", again)
	}
	wantErr(t, "NoticeSent under the first lease", f.Notices.NoticeSent(t.Context(), ids[0], "one"), oauth.ErrLease)
	must(t, f.Notices.NoticeSent(t.Context(), ids[0], "two"))
}

func claimNoticeRace(t *testing.T, f *fixture) {
	const each = 3
	ids := f.endTold(t, racers*each-each)
	claimed := make([][]oauth.Notice, racers)
	allWon(t, race(racers, func(i int) (err error) {
		claimed[i], _, err = f.Notices.ClaimNotices(t.Context(), told.ID, fmt.Sprint("racer ", i), leased, each)
		return err
	}))
	for range racers {
		claimed = append(claimed, f.claimNotices(t, told.ID, "late", each))
	}
	var all []string
	for _, n := range slices.Concat(claimed...) {
		all = append(all, n.GrantID)
	}
	slices.Sort(all)
	slices.Sort(ids)
	equal(t, "what all have claimed", all, ids)
}

func claimNoticeTime(t *testing.T, f *fixture) {
	f.clock.Advance(time.Hour)
	_, now, err := f.Notices.ClaimNotices(t.Context(), told.ID, "one", leased, 1)
	must(t, err)
	equal(t, "the time", now, f.clock.Now())
}

func noticeSentOnce(t *testing.T, f *fixture) {
	ids := f.endTold(t, 1)
	f.wantClaimed(t, "one", 1, ids...)
	must(t, f.Notices.NoticeSent(t.Context(), ids[0], "one"))
	wantErr(t, "NoticeSent again", f.Notices.NoticeSent(t.Context(), ids[0], "one"), oauth.ErrLease)
	f.clock.Advance(2 * leased)
	f.wantClaimed(t, "one", 1)
}

// noticeGuards returns a proof that a change needs the lease.
func noticeGuards(change func(t *testing.T, f *fixture, id, lease string) error) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		ids := f.endTold(t, 1)
		for _, lease := range []string{"", "one"} {
			f.unchanged(t, "a change without a claim", func() {
				wantErr(t, "the change", change(t, f, ids[0], lease), oauth.ErrLease)
			})
		}
		f.wantClaimed(t, "one", 1, ids...)
		for _, lease := range []string{"", "two", "ONE"} {
			wantErr(t, "the change under another lease", change(t, f, ids[0], lease), oauth.ErrLease)
		}
		wantErr(t, "the change of another", change(t, f, "another", "one"), oauth.ErrLease)
		must(t, f.Notices.BuryNotice(t.Context(), ids[0], "one", "why"))
		f.unchanged(t, "a change of a dead letter", func() {
			wantErr(t, "the change", change(t, f, ids[0], "one"), oauth.ErrLease)
		})
	}
}

func noticePostponed(t *testing.T, f *fixture) {
	ids := f.endTold(t, 1)
	f.wantClaimed(t, "one", 1, ids...)
	must(t, f.Notices.PostponeNotice(t.Context(), ids[0], "one", time.Minute, "away"))
	f.clock.Advance(time.Minute - time.Millisecond)
	f.wantClaimed(t, "one", 1)
	f.clock.Advance(time.Millisecond)
	again := f.claimNotices(t, told.ID, "one", 1)
	if len(again) != 1 || again[0].Failure != "away" {
		t.Errorf("after a while %v can be claimed", again)
	}
}

func noticeBuried(t *testing.T, f *fixture) {
	ids := f.endTold(t, 1)
	f.wantClaimed(t, "one", 1, ids...)
	must(t, f.Notices.BuryNotice(t.Context(), ids[0], "one", "refused"))
	f.clock.Advance(2 * leased)
	f.wantClaimed(t, "two", 1)
	counts, err := f.Notices.CountNotices(t.Context(), told.ID)
	must(t, err)
	equal(t, "the counts", counts, oauth.NoticeCounts{Dead: 1, ClientID: told.ID, Failure: "refused"})
}

func noticeCounts(t *testing.T, f *fixture) {
	want := func(client string, want oauth.NoticeCounts) {
		t.Helper()
		counts, err := f.Notices.CountNotices(t.Context(), client)
		must(t, err)
		equal(t, "the counts of "+client, counts, want)
	}
	want("", oauth.NoticeCounts{})
	ids := f.endTold(t, 3)
	want("", oauth.NoticeCounts{Waiting: 3, Oldest: start})
	want(told.ID, oauth.NoticeCounts{Waiting: 3, Oldest: start})
	want(toldOther.ID, oauth.NoticeCounts{})
	f.wantClaimed(t, "one", 2, ids[:2]...)
	must(t, f.Notices.NoticeSent(t.Context(), ids[0], "one"))
	must(t, f.Notices.BuryNotice(t.Context(), ids[1], "one", "refused"))
	want(told.ID, oauth.NoticeCounts{Waiting: 1, Oldest: start.Add(2 * time.Second), Dead: 1, ClientID: told.ID, Failure: "refused"})
	want("", oauth.NoticeCounts{Waiting: 1, Oldest: start.Add(2 * time.Second), Dead: 1, ClientID: told.ID, Failure: "refused"})
	want(toldOther.ID, oauth.NoticeCounts{})
}

func forgetNotices(t *testing.T, f *fixture) {
	const keep = time.Hour
	ids := f.endTold(t, 3)
	f.wantClaimed(t, "one", 3, ids...)
	must(t, f.Notices.BuryNotice(t.Context(), ids[0], "one", "why"))
	f.clock.Advance(time.Second)
	must(t, f.Notices.BuryNotice(t.Context(), ids[1], "one", "why"))
	f.clock.Advance(keep)
	n, err := f.Notices.ForgetNotices(t.Context(), keep)
	must(t, err)
	equal(t, "how many are forgotten", n, 1)
	counts, err := f.Notices.CountNotices(t.Context(), "")
	must(t, err)
	if counts.Waiting != 1 || counts.Dead != 1 {
		t.Errorf("%+v", counts)
	}
}
