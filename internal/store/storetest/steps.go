package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A step is one change of a store, for proofs that hold of every one.
type step struct {
	name string
	logs feed.Kind // what it appends; empty: nothing
	take func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error
}

// changeBy and passwordBy make steps of one change.
func changeBy(c account.UserChange) func(context.Context, *fixture, signIn, audit.Entry) error {
	return func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		_, err := f.Users.ChangeUser(ctx, in.UserID, c, e)
		return err
	}
}

func passwordBy(c account.PasswordChange) func(context.Context, *fixture, signIn, audit.Entry) error {
	return func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		c.UserID = in.UserID
		return f.Users.SetPassword(ctx, c, e)
	}
}

func endBy(what func(in signIn) session.Ending) func(context.Context, *fixture, signIn, audit.Entry) error {
	return func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		_, err := f.Sessions.End(ctx, what(in), e)
		return err
	}
}

var userSteps = []step{
	{"AddUser", "", func(ctx context.Context, f *fixture, _ signIn, e audit.Entry) error {
		_, err := f.Users.AddUser(ctx, draftUser("new@example.com"), "", e)
		return err
	}},
	{"ClaimSetup", "", func(ctx context.Context, f *fixture, _ signIn, e audit.Entry) error {
		_, err := f.Users.ClaimSetup(ctx, link, draftUser("admin@example.com"), "", e)
		return err
	}},
	{"ChangeUser, a name", feed.Changed, changeBy(account.UserChange{Name: ptr("Countess")})},
	{"ChangeUser, disabled", feed.User, changeBy(account.UserChange{Disabled: ptr(true)})},
	{"SetPassword", "", passwordBy(account.PasswordChange{New: "new"})},
	{"SetPassword, ending others", feed.Session, passwordBy(account.PasswordChange{New: "new", EndOthers: true})},
	{"SetPassword, ending all", feed.User, passwordBy(account.PasswordChange{New: "new", EndAll: true})},
	{"DeleteUser", feed.User, func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		return f.Users.DeleteUser(ctx, in.UserID, e)
	}},
}

var sessionSteps = []step{
	{"Add", "", func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		next := f.draft(in.UserID)
		return f.Sessions.Add(ctx, next.Session, next.Grant, 0, e)
	}},
	{"Add beyond the limit", feed.Session, func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		next := f.draft(in.UserID)
		return f.Sessions.Add(ctx, next.Session, next.Grant, 1, e)
	}},
	{"Renew", feed.Changed, func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
		return f.Sessions.Renew(ctx, in.renewal("renewed"), e)
	}},
	{"End of a session", feed.Session, endBy(func(in signIn) session.Ending { return session.Ending{Kind: feed.Session, ID: in.ID} })},
	{"End of a grant", feed.Grant, endBy(func(in signIn) session.Ending { return session.Ending{Kind: feed.Grant, ID: in.Grant.ID} })},
	{"End of a user", feed.User, endBy(func(in signIn) session.Ending { return session.Ending{Kind: feed.User, ID: in.UserID} })},
	{"End of a client", feed.Client, endBy(func(signIn) session.Ending { return session.Ending{Kind: feed.Client, ID: session.FirstParty} })},
	{"End of everyone", feed.All, endBy(func(signIn) session.Ending { return session.Ending{Kind: feed.All} })},
}

// stepsAudited wants each step to have written its audit entry, once, when it
// returns. Of what it ended besides it may say more.
func (f *fixture) stepsAudited(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			f := f.again(t)
			f.offer(t, link, true)
			in := f.signIn(t, f.user(t))
			n := len(f.audits(t))
			e := fullAudit()
			must(t, s.take(t.Context(), f, in, e))
			got := slices.DeleteFunc(f.audits(t)[n:], func(other audit.Entry) bool { return other.Event == audit.SessionEnded })
			e.Seq, e.At = int64(n+1), f.clock.Now()
			equal(t, "what was audited", got, []audit.Entry{e})
		})
	}
}

func userStepsAudited(t *testing.T, f *fixture)    { f.stepsAudited(t, userSteps) }
func sessionStepsAudited(t *testing.T, f *fixture) { f.stepsAudited(t, sessionSteps) }

func userStepsLogged(t *testing.T, f *fixture) {
	for _, s := range userSteps {
		t.Run(s.name, func(t *testing.T) {
			f := f.again(t)
			f.offer(t, link, true)
			in := f.signIn(t, f.user(t))
			must(t, s.take(t.Context(), f, in, noted(audit.UserChanged)))
			if s.logs == "" {
				f.wantLog(t, 0)
				return
			}
			id := in.UserID
			if s.logs == feed.Session {
				id = in.ID
			}
			f.wantLog(t, 0, f.entry(s.logs, id, ""))
			if !f.ear.heard(s.logs, id) {
				t.Error("the step was answered before its entry was heard")
			}
		})
	}
}

// endIsOneStep watches record and log while take ends a session. Whatever order
// they are read in, what was true of the first is true of the second.
func (f *fixture) endIsOneStep(t *testing.T, kind feed.Kind, id func(signIn) string, over func(session.Standing) bool, take func(context.Context, *fixture, signIn, audit.Entry) error) {
	t.Helper()
	for range 10 {
		in := f.signIn(t, f.user(t))
		from := uint64(len(f.log(t))) + 1
		begun, done := make(chan struct{}), make(chan struct{})
		errs := race(2, func(i int) error {
			if i == 0 {
				defer close(done)
				<-begun // the watcher has looked once
				return take(t.Context(), f, in, noted(audit.SessionsEnded))
			}
			logged := func() (bool, error) {
				page, err := f.Revocation.Since(t.Context(), from, 10)
				for _, row := range page.Rows {
					if row.Kind == kind && row.ID == id(in) {
						return true, err
					}
				}
				return false, err
			}
			ended := func() (bool, error) {
				st, err := f.Sessions.OfSession(t.Context(), in.ID)
				if errors.Is(err, session.ErrNone) {
					return true, nil
				}
				return over(st), err
			}
			return watch(begun, done, ended, logged)
		})
		allWon(t, errs)
	}
}

// watch reads record and log in both orders until both have changed.
func watch(begun chan<- struct{}, done <-chan struct{}, ended, logged func() (bool, error)) error {
	looked := sync.OnceFunc(func() { close(begun) })
	defer looked()
	for last := false; ; looked() {
		select {
		case <-done:
			last = true
		default:
		}
		e, err := ended()
		if err != nil {
			return err
		}
		l, err := logged()
		if err != nil {
			return err
		}
		if e && !l {
			return errors.New("the record is over and the log does not say so")
		}
		again, err := ended()
		if err != nil {
			return err
		}
		if l && !again {
			return errors.New("the log says that it is over and the record does not")
		}
		if last {
			if !e {
				return errors.New("the step has returned and nothing is over")
			}
			return nil
		}
	}
}

func sessionEndIsOneStep(t *testing.T, f *fixture) {
	f.endIsOneStep(t, feed.Session, func(in signIn) string { return in.ID },
		func(st session.Standing) bool { return !st.Session.EndedAt.IsZero() },
		endBy(func(in signIn) session.Ending { return session.Ending{Kind: feed.Session, ID: in.ID} }))
}

func userEndIsOneStep(t *testing.T, f *fixture) {
	user := func(in signIn) string { return in.UserID }
	f.endIsOneStep(t, feed.User, user,
		func(st session.Standing) bool { return st.User.Disabled && st.User.OverBefore > 0 },
		changeBy(account.UserChange{Disabled: ptr(true)}))
	f.endIsOneStep(t, feed.User, user,
		func(session.Standing) bool { return false }, // removed, not marked
		func(ctx context.Context, f *fixture, in signIn, e audit.Entry) error {
			return f.Users.DeleteUser(ctx, in.UserID, e)
		})
}
