package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A way is one of those in which a session can be over.
type way struct {
	name   string
	happen func(t *testing.T, f *fixture, in signIn)
}

// ways are all of them. After each, nothing may be done with the session.
var ways = []way{
	{"ended", func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	}},
	{"ended among the others", func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.Session, UserID: in.UserID})
	}},
	{"evicted", func(t *testing.T, f *fixture, in signIn) {
		f.clock.Advance(time.Second)
		next := f.draft(in.UserID)
		must(t, f.Sessions.Add(t.Context(), next.Session, next.Grant, 1, noted(audit.SignedIn)))
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: next.ID})
	}},
	{"its user ended", func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.User, ID: in.UserID})
	}},
	{"its user disabled", func(t *testing.T, f *fixture, in signIn) { f.disable(t, in.UserID) }},
	{"its user disabled and enabled", func(t *testing.T, f *fixture, in signIn) {
		f.disable(t, in.UserID)
		f.change(t, in.UserID, account.UserChange{Disabled: ptr(false)})
	}},
	{"its user's password reset", func(t *testing.T, f *fixture, in signIn) {
		f.setPassword(t, account.PasswordChange{UserID: in.UserID, New: "new", EndAll: true})
	}},
	{"its user deleted", func(t *testing.T, f *fixture, in signIn) {
		must(t, f.Users.DeleteUser(t.Context(), in.UserID, noted(audit.UserDeleted)))
	}},
	{"everyone ended", func(t *testing.T, f *fixture, _ signIn) {
		f.end(t, 1, session.Ending{Kind: feed.All})
	}},
	{"not seen for too long", func(_ *testing.T, f *fixture, in signIn) { f.clock.Set(in.LastSeenAt.Add(in.Idle)) }},
	{"at its absolute end", func(t *testing.T, f *fixture, in signIn) {
		f.clock.Advance(idle - time.Minute)
		f.touch(t, in.ID)
		f.clock.Set(in.ExpiresAt)
	}},
	{"expired before the clock was set back", func(t *testing.T, f *fixture, in signIn) {
		f.clock.Set(in.LastSeenAt.Add(in.Idle))
		must(t, f.Revocation.Hold(t.Context(), lifetime))
		f.clock.Advance(-time.Minute)
	}},
}

// eachWay runs check on a session that is over in each way, on a store of its own.
func (f *fixture) eachWay(t *testing.T, check func(t *testing.T, f *fixture, in signIn)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			f := f.again(t)
			in := f.signIn(t, f.user(t))
			w.happen(t, f, in)
			check(t, f, in)
		})
	}
}

// touch says that a session is seen now.
func (f *fixture) touch(t *testing.T, id string) {
	t.Helper()
	must(t, f.Upkeep.Touch(t.Context(), []session.Seen{{SessionID: id, At: f.clock.Now()}}))
}

// renewal is what would renew the sign-in.
func (in signIn) renewal(next string) session.Renewal {
	return session.Renewal{
		SessionID: in.ID, Presented: in.SecretHash, Next: hashOf(next), AMR: []string{"pwd", "otp"}, ACR: "aal2",
	}
}

// listed returns whether the session is in the listings of its user and of all.
func (f *fixture) listed(t *testing.T, in signIn) bool {
	t.Helper()
	mine := slices.Contains(f.list(t, in.UserID), in.ID)
	if all := slices.Contains(f.list(t, ""), in.ID); all != mine {
		t.Errorf("session %s: listed with its user is %t, listed with all is %t", in.ID, mine, all)
	}
	return mine
}

// wantAlive fails unless the session is alive, and changes nothing.
func (f *fixture) wantAlive(t *testing.T, in signIn) {
	t.Helper()
	st, err := f.Sessions.OfSession(t.Context(), in.ID)
	must(t, err)
	created := st.Session.CreatedAt.Unix()
	if !st.Session.EndedAt.IsZero() || st.User.Disabled || created <= st.User.OverBefore || created <= st.OverBefore ||
		!st.Now.Before(st.Session.ExpiresAt) || !st.Now.Before(st.Session.LastSeenAt.Add(st.Session.Idle)) {
		t.Errorf("a session that should live is over: %+v", st)
	}
	if !f.listed(t, in) {
		t.Error("a session that should live is not listed")
	}
}

// wantOver fails unless nothing can be done with the session any more.
func (f *fixture) wantOver(t *testing.T, in signIn) {
	t.Helper()
	ctx := t.Context()
	if f.listed(t, in) {
		t.Error("a session that is over is listed")
	}
	wantErr(t, "Rotate", f.Sessions.Rotate(ctx, in.swap("after the end")), session.ErrLost)
	wantErr(t, "Renew", f.Sessions.Renew(ctx, in.renewal("after the end"), noted(audit.Reauthenticated)), session.ErrLost)
	_, version, err := f.Attachments.Attachment(ctx, in.ID)
	must(t, err)
	_, err = f.Attachments.SwapAttachment(ctx, in.ID, []byte(`{}`), version)
	wantErr(t, "SwapAttachment", err, session.ErrNone)
}
