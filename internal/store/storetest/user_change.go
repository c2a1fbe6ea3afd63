package storetest

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var userChangePromises = []promise{
	{"account.Store.ChangeUser", "ChangeUser applies c.", []proof{{"and leaves alone what c does not name", changeUser}}},
	{"account.Store.ChangeUser", "Disabling appends a user entry and raises OverBefore; enabling lowers nothing; a new role, name or verified mark appends a changed entry and raises ChangedBefore.", []proof{
		{"V-33 disabling", disableUser},
		{"V-33 disabling while sessions are added", disableAgainstAdd},
		{"enabling", enableUser},
		{"a role, a name, a verified mark", changedUser},
	}},
	{"account.Store.ChangeUser", "[ErrNoUser] if there is none.", []proof{{"without a trace", changeNoUser}}},
	{"account.Store.SetPassword", "SetPassword applies c, or returns [ErrLost] if the stored hash is not c.Old.", []proof{
		{"without a trace when it lost", setPasswordLost},
		{"of eight one wins", setPasswordRace},
		{"ending the others, an entry each", setPasswordEndOthers},
		{"ending all, by one user entry", setPasswordEndAll},
		{"whatever the hash was", setPasswordAnyOld},
	}},
	{"account.Store.SetPassword", "With an empty Keep, EndOthers and EndAll it ends nothing and, when e.Event is empty, audits nothing: that is the upgrade of a hash.", []proof{
		{"the upgrade leaves the hash alone changed", setPasswordUpgrade},
		{"with an event there is one audit entry", setPasswordAudited},
	}},
	{"account.Store.SetPassword", "Otherwise it raises PasswordVersion by one.", []proof{
		{"each time", setPasswordAnyOld},
		{"but not for the upgrade of a hash", setPasswordUpgrade},
	}},
	{"account.Store.DeleteUser", "DeleteUser removes the user with all sessions, and appends a user entry.", []proof{
		{"V-34 nothing of the user is found again", deleteUser},
		{"V-34 who comes back by the same email has nothing of it", deleteUserAndComeBack},
		{"a user that is not there", deleteNoUser},
	}},
}

func ptr[T any](v T) *T { return &v }

// change changes a user.
func (f *fixture) change(t *testing.T, id string, c account.UserChange) account.User {
	t.Helper()
	u, err := f.Users.ChangeUser(t.Context(), id, c, noted(audit.UserChanged))
	must(t, err)
	return u
}

func (f *fixture) disable(t *testing.T, id string) account.User {
	t.Helper()
	return f.change(t, id, account.UserChange{Disabled: ptr(true)})
}

func changeUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	cases := []struct {
		name   string
		change account.UserChange
		apply  func(*account.User)
	}{
		{"name", account.UserChange{Name: ptr("Zoë")}, func(u *account.User) { u.Name = "Zoë" }},
		{"no name", account.UserChange{Name: ptr("")}, func(u *account.User) { u.Name = "" }},
		{"roles", account.UserChange{Roles: &[]string{"admin", "editor"}}, func(u *account.User) { u.Roles = []string{"admin", "editor"} }},
		{"verified", account.UserChange{EmailVerified: ptr(true)}, func(u *account.User) { u.EmailVerified = true }},
		{"disabled", account.UserChange{Disabled: ptr(true)}, func(u *account.User) { u.Disabled = true }},
		{
			"everything",
			account.UserChange{Name: ptr("A"), Roles: &[]string{}, EmailVerified: ptr(false), Disabled: ptr(false)},
			func(u *account.User) { u.Name, u.Roles, u.EmailVerified, u.Disabled = "A", nil, false, false },
		},
	}
	for _, c := range cases {
		got := f.change(t, u.ID, c.change)
		c.apply(&u)
		u.OverBefore, u.ChangedBefore = got.OverBefore, got.ChangedBefore
		equal(t, c.name, got, u)
		f.foundUser(t, u, "old")
	}
	f.foundUser(t, neighbour, "old")
}

func disableUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine, other, theirs := f.signIn(t, u), f.signIn(t, u, pairwise.ID), f.signIn(t, neighbour)
	ended := f.signIn(t, u, pairwise.ID)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: ended.Grant.ID})
	f.clock.Advance(time.Minute)
	n, last := len(f.log(t)), len(f.audits(t))
	got := f.disable(t, u.ID)
	f.wantLog(t, n, f.entry(feed.User, u.ID, ""), f.entry(feed.Grant, other.Grant.ID, "")) // its tokens do not name the user
	f.wantAudit(t, last, noted(audit.UserChanged))
	equal(t, "OverBefore", got.OverBefore, f.reach(t, feed.User))
	f.wantOver(t, mine)
	f.wantOver(t, other)
	f.wantAlive(t, theirs)
}

// disableAgainstAdd adds sessions while their user is disabled: whichever comes
// first, none is alive afterwards.
func disableAgainstAdd(t *testing.T, f *fixture) {
	for range 10 {
		u := f.user(t)
		ins := make([]signIn, racers)
		for i := range ins {
			ins[i] = f.draft(u.ID)
		}
		errs := race(racers, func(i int) error {
			if i == 0 {
				_, err := f.Users.ChangeUser(t.Context(), u.ID, account.UserChange{Disabled: ptr(true)}, noted(audit.UserDisabled))
				return err
			}
			return f.Sessions.Add(t.Context(), ins[i].Session, ins[i].Grant, 0, noted(audit.SignedIn))
		})
		must(t, errs[0])
		for i, err := range errs[1:] {
			if err == nil {
				f.wantOver(t, ins[i+1])
				continue
			}
			wantErr(t, "Add", err, session.ErrLost)
			_, err = f.Sessions.OfSession(t.Context(), ins[i+1].ID)
			wantErr(t, "OfSession", err, session.ErrNone)
		}
		f.change(t, u.ID, account.UserChange{Disabled: ptr(false)})
	}
	equal(t, "the number of live sessions", f.count(t), 0)
}

func enableUser(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	disabled := f.disable(t, u.ID)
	f.clock.Advance(time.Minute)
	n := len(f.log(t))
	enabled := f.change(t, u.ID, account.UserChange{Disabled: ptr(false)})
	equal(t, "OverBefore", enabled.OverBefore, disabled.OverBefore)
	if contains(f.log(t)[n:], feed.User, u.ID) {
		t.Error("enabling ended what is given out")
	}
	f.wantOver(t, in)
	f.wantAlive(t, f.signIn(t, u))
}

func changedUser(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	for _, c := range []account.UserChange{
		{Roles: &[]string{"admin"}}, {Roles: &[]string{}}, {Name: ptr("Countess")}, {EmailVerified: ptr(true)}, {EmailVerified: ptr(false)},
	} {
		f.clock.Advance(time.Minute)
		n := len(f.log(t))
		got := f.change(t, u.ID, c)
		changed := f.entry(feed.Changed, u.ID, "")
		f.wantLog(t, n, changed)
		equal(t, "ChangedBefore", got.ChangedBefore, changed.Before)
		equal(t, "OverBefore", got.OverBefore, int64(0))
		equal(t, "the user of the session", f.ofSession(t, in.ID).User, got)
		must(t, f.Upkeep.Touch(t.Context(), []session.Seen{{SessionID: in.ID, At: f.clock.Now()}}))
	}
	f.clock.Advance(-time.Hour)
	before := f.ofSession(t, in.ID).User.ChangedBefore
	if got := f.change(t, u.ID, account.UserChange{Name: ptr("Ada")}); got.ChangedBefore < before {
		t.Errorf("ChangedBefore fell from %d to %d", before, got.ChangedBefore)
	}
}

func changeNoUser(t *testing.T, f *fixture) {
	f.user(t)
	f.unchanged(t, "a change of nobody", func() {
		c := account.UserChange{Name: ptr("Nobody"), Disabled: ptr(true)}
		_, err := f.Users.ChangeUser(t.Context(), credential.NewID(credential.User), c, noted(audit.UserChanged))
		wantErr(t, "ChangeUser", err, account.ErrNoUser)
	})
}

func setPasswordLost(t *testing.T, f *fixture) {
	u := f.user(t)
	f.signIn(t, u)
	f.signIn(t, u)
	for _, old := range []string{"new", "OLD", "old ", "ol"} {
		f.unchanged(t, "a lost password", func() {
			c := account.PasswordChange{UserID: u.ID, Old: old, New: "new", EndOthers: true, EndAll: true}
			wantErr(t, "SetPassword", f.Users.SetPassword(t.Context(), c, noted(audit.PasswordChanged)), account.ErrLost)
		})
	}
	f.unchanged(t, "a password of nobody", func() {
		c := account.PasswordChange{UserID: credential.NewID(credential.User), New: "new", EndAll: true}
		if err := f.Users.SetPassword(t.Context(), c, noted(audit.PasswordChanged)); err == nil {
			t.Error("SetPassword of nobody returned nil")
		}
	})
}

func setPasswordRace(t *testing.T, f *fixture) {
	u := f.user(t)
	n := len(f.audits(t))
	oneWinner(t, race(racers, func(int) error {
		c := account.PasswordChange{UserID: u.ID, Old: "old", New: "new"}
		return f.Users.SetPassword(t.Context(), c, noted(audit.PasswordChanged))
	}), account.ErrLost)
	u.PasswordVersion = 1
	f.foundUser(t, u, "new")
	equal(t, "the number of audit entries", len(f.audits(t)), n+1)
}

func (f *fixture) setPassword(t *testing.T, c account.PasswordChange) {
	t.Helper()
	must(t, f.Users.SetPassword(t.Context(), c, noted(audit.PasswordChanged)))
}

func setPasswordEndOthers(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	kept, other, third, theirs := f.signIn(t, u), f.signIn(t, u), f.signIn(t, u, partner.ID), f.signIn(t, neighbour)
	gone := f.signIn(t, u)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: gone.ID})
	n := len(f.log(t))
	f.setPassword(t, account.PasswordChange{UserID: u.ID, Old: "old", New: "new", Keep: kept.ID, EndOthers: true})
	f.wantLog(t, n, f.entry(feed.Session, other.ID, ""), f.entry(feed.Session, third.ID, ""), f.entry(feed.Grant, third.Grant.ID, ""))
	u.PasswordVersion = 1
	f.foundUser(t, u, "new")
	f.wantAlive(t, kept)
	f.wantAlive(t, theirs)
	f.wantOver(t, other)
	f.wantOver(t, third)
	f.setPassword(t, account.PasswordChange{UserID: u.ID, Old: "new", New: "newer", EndOthers: true})
	f.wantOver(t, kept)
}

func setPasswordEndAll(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine, hidden, theirs := f.signIn(t, u), f.signIn(t, u, pairwise.ID), f.signIn(t, neighbour)
	n := len(f.log(t))
	f.setPassword(t, account.PasswordChange{UserID: u.ID, New: "new", EndAll: true})
	f.wantLog(t, n, f.entry(feed.User, u.ID, ""), f.entry(feed.Grant, hidden.Grant.ID, ""))
	u.OverBefore, u.PasswordVersion = f.reach(t, feed.User), 1
	f.foundUser(t, u, "new")
	f.wantOver(t, mine)
	f.wantOver(t, hidden)
	f.wantAlive(t, theirs)
}

func setPasswordAnyOld(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, next := range []string{"new", "newer"} {
		f.setPassword(t, account.PasswordChange{UserID: u.ID, New: next})
		u.PasswordVersion++
		f.foundUser(t, u, next)
	}
}

func setPasswordUpgrade(t *testing.T, f *fixture) {
	u := f.user(t)
	f.signIn(t, u)
	before := f.state(t)
	c := account.PasswordChange{UserID: u.ID, Old: "old", New: "upgraded"}
	must(t, f.Users.SetPassword(t.Context(), c, audit.Entry{}))
	before.Users[u.ID] = userState{u, "upgraded"}
	equal(t, "the store", f.state(t), before)
}

func setPasswordAudited(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	n := len(f.audits(t))
	f.setPassword(t, account.PasswordChange{UserID: u.ID, Old: "old", New: "new"})
	f.wantAudit(t, n, noted(audit.PasswordChanged))
	f.wantLog(t, 0)
	f.wantAlive(t, in)
	f.setPassword(t, account.PasswordChange{UserID: u.ID, Old: "new", New: "newer", Keep: in.ID})
	f.wantAlive(t, in)
}

func deleteUser(t *testing.T, f *fixture) {
	ctx := t.Context()
	u, neighbour := f.user(t), f.user(t)
	mine, hidden, theirs := f.signIn(t, u), f.signIn(t, u, pairwise.ID), f.signIn(t, neighbour)
	f.attach(t, mine.ID, `{"cart":1}`)
	version := f.attach(t, theirs.ID, `{"cart":1}`)
	n, last := len(f.log(t)), len(f.audits(t))
	must(t, f.Users.DeleteUser(ctx, u.ID, noted(audit.UserDeleted)))
	f.wantLog(t, n, f.entry(feed.User, u.ID, ""), f.entry(feed.Grant, hidden.Grant.ID, ""))
	f.wantAudit(t, last, noted(audit.UserDeleted))
	_, _, err := f.Users.FindUser(ctx, u.ID)
	wantErr(t, "FindUser", err, account.ErrNoUser)
	_, _, err = f.Users.FindByEmail(ctx, u.EmailKey)
	wantErr(t, "FindByEmail", err, account.ErrNoUser)
	for _, in := range []signIn{mine, hidden} {
		f.wantOver(t, in)
		_, err = f.Sessions.OfSession(ctx, in.ID)
		wantErr(t, "OfSession", err, session.ErrNone)
		_, err = f.Sessions.OfGrant(ctx, in.Grant.ID)
		wantErr(t, "OfGrant", err, session.ErrNone)
		f.wantDocument(t, in.ID, "", 0)
	}
	f.wantAlive(t, theirs)
	f.wantDocument(t, theirs.ID, `{"cart":1}`, version)
}

func deleteUserAndComeBack(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	must(t, f.Users.DeleteUser(t.Context(), u.ID, noted(audit.UserDeleted)))
	again, err := f.Users.AddUser(t.Context(), draftUser(u.EmailKey), "new", noted(audit.UserAdded))
	must(t, err)
	f.foundUser(t, again, "new")
	f.wantOver(t, in)
	equal(t, "the sessions", f.list(t, again.ID), []string{})
}

func deleteNoUser(t *testing.T, f *fixture) {
	f.user(t)
	f.unchanged(t, "deleting nobody", func() {
		err := f.Users.DeleteUser(t.Context(), credential.NewID(credential.User), noted(audit.UserDeleted))
		wantErr(t, "DeleteUser", err, account.ErrNoUser)
	})
}
