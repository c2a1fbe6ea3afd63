package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// watched has the partner of the cast be told of its end.
func watched(t *testing.T, f *fixture, c *cast) {
	t.Helper()
	f.tellClients(t)
	in := c.partners
	in.ID, in.Grant.ID, in.Grant.ClientID = c.partners.ID+"t", c.partners.Grant.ID+"t", told.ID
	in.Grant.SessionID = in.ID
	f.add(t, in)
}

// claimed ends it, and claims its notice.
func claimed(t *testing.T, f *fixture, c *cast) {
	t.Helper()
	watched(t, f, c)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: c.partners.ID + "t"})
	f.clock.Advance(time.Second)
	if len(f.claimNotices(t, told.ID, lease, 10)) != 1 {
		t.Fatal("there is no notice")
	}
}

// toldOf is an end of which a client is told.
func toldOf(name string, what func(c *cast) session.Ending) faultyStep {
	step := ending(name, what)
	step.name, step.ready = ", of which a client is told: "+name, watched
	return step
}

// noticeSteps are those of notices of sign-outs, and the ends that make them.
var noticeSteps = []faultyStep{
	toldOf("session", func(c *cast) session.Ending { return session.Ending{Kind: feed.Session, ID: c.partners.ID + "t"} }),
	toldOf("grant", func(c *cast) session.Ending { return session.Ending{Kind: feed.Grant, ID: c.partners.Grant.ID + "t"} }),
	toldOf("user", func(c *cast) session.Ending { return session.Ending{Kind: feed.User, ID: c.user.ID} }),
	{method: "account.Store.DeleteUser", name: ", of which a client is told", again: account.ErrNoUser, ready: watched, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Users.DeleteUser(ctx, c.user.ID, noted(audit.UserDeleted))
	}},
	{method: "oauth.NoticeStore.Lapse", ready: func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		watched(t, f, c)
		f.clock.Advance(2 * absolute)
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Notices.Lapse(ctx, unwritten)
		return err
	}},
	{method: "oauth.NoticeStore.Lapse", name: ", all that is over", ready: func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		watched(t, f, c)
		f.end(t, 1, session.Ending{Kind: feed.All})
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Notices.Lapse(ctx, unwritten)
		return err
	}},
	{method: "oauth.NoticeStore.ClaimNotices", ready: func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		claimed(t, f, c)
		f.clock.Advance(time.Hour)
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Notices.ClaimNotices(ctx, told.ID, "another", time.Minute, 10)
		return err
	}},
	{method: "oauth.NoticeStore.NoticeSent", again: oauth.ErrLease, ready: claimed, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Notices.NoticeSent(ctx, c.partners.Grant.ID+"t", lease)
	}},
	{method: "oauth.NoticeStore.PostponeNotice", again: oauth.ErrLease, ready: claimed, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Notices.PostponeNotice(ctx, c.partners.Grant.ID+"t", lease, time.Hour, "busy")
	}},
	{method: "oauth.NoticeStore.BuryNotice", again: oauth.ErrLease, ready: claimed, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Notices.BuryNotice(ctx, c.partners.Grant.ID+"t", lease, "refused")
	}},
	{method: "oauth.NoticeStore.ForgetNotices", ready: func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		claimed(t, f, c)
		must(t, f.Notices.BuryNotice(t.Context(), c.partners.Grant.ID+"t", lease, "refused"))
		f.clock.Advance(time.Hour)
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Notices.ForgetNotices(ctx, time.Minute)
		return err
	}},
}

var noticeReads = []faultyRead{
	{"oauth.NoticeStore.DueNotices", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Notices.DueNotices(ctx)
		return err
	}},
	{"oauth.NoticeStore.CountNotices", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Notices.CountNotices(ctx, "")
		return err
	}},
}
