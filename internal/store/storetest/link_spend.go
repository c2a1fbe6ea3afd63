package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
)

var linkSpendPromises = []promise{
	{"account.LinkStore.AddUserByLink", "AddUserByLink spends a live sign_up or invite link to the user's address and adds the user, after which no other such link to it is live; else [ErrLinkOver].", []proof{
		{"the user is there, the links are not", addUserByLink},
		{"V-87 another kind, another address", addUserByOther},
		{"V-45 of eight one wins", addUserByLinkRace},
		{"V-45 of the links to one address one wins", addUserByLinksRace},
	}},
	{"account.LinkStore.AddUserByLink", "It returns [ErrEmailTaken], and spends nothing, if another user has the address.", []proof{{"without a trace", addUserByLinkTaken}}},
	{"account.LinkStore.ResetByLink", "ResetByLink spends a live reset link of a user who has the link's address and is not disabled; else [ErrLinkOver].", []proof{
		{"another kind, another address, disabled", resetRefused},
		{"V-45 of eight one wins", resetRace},
		{"V-45 of a reset and a change of password one wins", resetAgainstChange},
	}},
	{"account.LinkStore.ResetByLink", "It sets the password hash, raises PasswordVersion by one, marks the address verified, and ends all sessions by one user entry.", []proof{
		{"ASVS-6.4.3 and ends them all", resetByLink},
	}},
	{"account.LinkStore.AddressByLink", "AddressByLink spends a live verify link of a user who has its address, or a live email link, of a user who is not disabled; else [ErrLinkOver].", []proof{
		{"another kind, another address, disabled", addressRefused},
		{"V-45 of eight one wins", addressRace},
	}},
	{"account.LinkStore.AddressByLink", "The link's address is then the user's and verified, and if that is a change it appends a changed entry and raises ChangedBefore.", []proof{
		{"verified", verifyByLink},
		{"another address", emailByLink},
	}},
	{"account.LinkStore.AddressByLink", "With a new address no other link of the user is live.", []proof{{"of any kind", emailEndsLinks}}},
	{"account.LinkStore.AddressByLink", "It returns [ErrEmailTaken], and spends nothing, if another user has the address.", []proof{
		{"without a trace", emailTaken},
		{"of two for one address one wins", emailRace},
	}},
}

func addUserByLink(t *testing.T, f *fixture) {
	for _, kind := range []account.LinkKind{account.LinkSignUp, account.LinkInvite} {
		f := f.again(t)
		key := "a@example.com"
		rest := []account.Link{f.addLink(t, draftLink(account.LinkSignUp, "", key)), f.addLink(t, draftLink(account.LinkInvite, "", "b@example.com"))}
		l := f.addLink(t, draftLink(kind, "", key))
		u := draftUser(key)
		u.EmailVerified, u.Roles = true, []string{account.Admin}
		f.users = append(f.users, u.ID)
		added, err := f.Links.AddUserByLink(t.Context(), l.ID, u, "hash", noted(audit.SignedUp))
		must(t, err)
		u.CreatedAt = f.clock.Now()
		equal(t, "the user", added, u)
		f.foundUser(t, u, "hash")
		f.wantLink(t, l, false)
		f.wantLink(t, rest[0], false)
		f.wantLink(t, rest[1], true)
	}
}

func addUserByOther(t *testing.T, f *fixture) {
	u := f.user(t)
	refuse := func(what string, l account.Link, key string) {
		t.Helper()
		f.unchanged(t, what, func() {
			_, err := f.Links.AddUserByLink(t.Context(), l.ID, draftUser(key), "hash", noted(audit.SignedUp))
			wantErr(t, "AddUserByLink by "+what, err, account.ErrLinkOver)
		})
	}
	for _, kind := range []account.LinkKind{account.LinkReset, account.LinkVerify, account.LinkEmail} {
		l := f.addLink(t, linkOf(kind, u))
		refuse("a "+string(kind)+" link", l, "a.stranger@example.com")
	}
	refuse("a link to another address", f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com")), "b@example.com")
}

func addUserByLinkRace(t *testing.T, f *fixture) {
	l := f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com"))
	oneWinner(t, race(racers, func(int) error { return f.spend(t, l, noted(audit.SignedUp)) }), account.ErrLinkOver)
	equal(t, "the number of audit entries", len(f.audits(t)), 1)
}

func addUserByLinksRace(t *testing.T, f *fixture) {
	links := make([]account.Link, 5)
	for i := range links {
		links[i] = f.addLink(t, draftLink(account.LinkSignUp, "", "a@example.com"))
	}
	won := 0
	for _, err := range race(len(links), func(i int) error { return f.spend(t, links[i], noted(audit.SignedUp)) }) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, account.ErrLinkOver) && !errors.Is(err, account.ErrEmailTaken):
			t.Errorf("a racer got %v", err)
		}
	}
	equal(t, "how many won", won, 1)
	for _, l := range links {
		f.wantLink(t, l, false)
	}
}

func addUserByLinkTaken(t *testing.T, f *fixture) {
	u := f.user(t)
	l := f.addLink(t, draftLink(account.LinkSignUp, "", u.EmailKey))
	f.unchanged(t, "a sign-up for an address that is taken", func() {
		wantErr(t, "AddUserByLink", f.spend(t, l, noted(audit.SignedUp)), account.ErrEmailTaken)
	})
	f.wantLink(t, l, true)
}

// refused wants links that are no good for this user to leave no trace, when spent by
// the method of the kind.
func (f *fixture) refused(t *testing.T, as account.LinkKind, links map[string]func(u account.User) account.Link) {
	t.Helper()
	for what, draft := range links {
		u := f.user(t)
		l := f.addLink(t, draft(u))
		l.Kind = as
		f.unchanged(t, what, func() {
			wantErr(t, "spending "+what, f.spend(t, l, noted(audit.UserChanged)), account.ErrLinkOver)
		})
	}
	l := linkOf(as, f.user(t))
	l = f.addLink(t, l)
	f.disable(t, l.UserID)
	f.unchanged(t, "a disabled user's", func() {
		wantErr(t, "spending a disabled user's", f.spend(t, l, noted(audit.UserChanged)), account.ErrLinkOver)
	})
}

// elsewhere drafts a link to an address that the user does not have.
func elsewhere(kind account.LinkKind) func(account.User) account.Link {
	return func(u account.User) account.Link {
		l := linkOf(kind, u)
		l.EmailKey = "a.former@example.com"
		return l
	}
}

func of(kind account.LinkKind) func(account.User) account.Link {
	return func(u account.User) account.Link { return linkOf(kind, u) }
}

func resetRefused(t *testing.T, f *fixture) {
	f.refused(t, account.LinkReset, map[string]func(account.User) account.Link{
		"a verify link": of(account.LinkVerify), "an email link": of(account.LinkEmail), "a sign-up": of(account.LinkSignUp),
		"an invitation": of(account.LinkInvite), "one to a former address": elsewhere(account.LinkReset),
	})
}

func resetByLink(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine, other, theirs := f.signIn(t, u), f.signIn(t, u, pairwise.ID), f.signIn(t, neighbour)
	l := f.addLink(t, linkOf(account.LinkReset, u))
	f.clock.Advance(time.Minute)
	n := len(f.log(t))
	must(t, f.spend(t, l, noted(audit.PasswordReset)))
	f.wantLog(t, n, f.entry(feed.User, u.ID, ""), f.entry(feed.Grant, other.Grant.ID, ""))
	if !f.ear.heard(feed.User, u.ID) {
		t.Error("the step was answered before its entry was heard")
	}
	u.EmailVerified, u.PasswordVersion, u.OverBefore = true, u.PasswordVersion+1, f.reach(t, feed.User)
	f.foundUser(t, u, "reset")
	f.foundUser(t, neighbour, "old")
	f.wantOver(t, mine)
	f.wantOver(t, other)
	f.wantAlive(t, theirs)
}

func resetRace(t *testing.T, f *fixture) {
	u := f.user(t)
	l := f.addLink(t, linkOf(account.LinkReset, u))
	n := len(f.audits(t))
	oneWinner(t, race(racers, func(int) error { return f.spend(t, l, noted(audit.PasswordReset)) }), account.ErrLinkOver)
	equal(t, "the number of audit entries", len(f.audits(t))-n, 1)
}

// resetAgainstChange sets a password by a link and by the one before, at once: either
// the link came first and the change lost, or the change ended the link.
func resetAgainstChange(t *testing.T, f *fixture) {
	for range 5 {
		u := f.user(t)
		l := f.addLink(t, linkOf(account.LinkReset, u))
		errs := race(2, func(i int) error {
			if i == 0 {
				return f.spend(t, l, noted(audit.PasswordReset))
			}
			return f.Users.SetPassword(t.Context(), account.PasswordChange{UserID: u.ID, Old: "old", New: "changed"}, noted(audit.PasswordChanged))
		})
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("reset: %v, change: %v; want one to win", errs[0], errs[1])
		}
		want := "reset"
		if errs[0] != nil {
			want = "changed"
			wantErr(t, "the reset", errs[0], account.ErrLinkOver)
		} else {
			wantErr(t, "the change", errs[1], account.ErrLost)
		}
		_, hash, err := f.Users.FindUser(t.Context(), u.ID)
		must(t, err)
		equal(t, "the password hash", hash, want)
	}
}

func addressRefused(t *testing.T, f *fixture) {
	f.refused(t, account.LinkVerify, map[string]func(account.User) account.Link{
		"a reset link": of(account.LinkReset), "a sign-up": of(account.LinkSignUp), "an invitation": of(account.LinkInvite),
		"one to a former address": elsewhere(account.LinkVerify),
	})
	f.refused(t, account.LinkEmail, nil)
}

func addressRace(t *testing.T, f *fixture) {
	for _, kind := range []account.LinkKind{account.LinkVerify, account.LinkEmail} {
		f := f.again(t)
		l := f.addLink(t, linkOf(kind, f.user(t)))
		oneWinner(t, race(racers, func(int) error { return f.spend(t, l, noted(audit.EmailVerified)) }), account.ErrLinkOver)
	}
}

func verifyByLink(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	for i := range 2 {
		l := f.addLink(t, linkOf(account.LinkVerify, u))
		n := len(f.log(t))
		got, err := f.Links.AddressByLink(t.Context(), l.ID, noted(audit.EmailVerified))
		must(t, err)
		if i == 0 {
			f.wantLog(t, n, f.entry(feed.Changed, u.ID, ""))
			u.EmailVerified, u.ChangedBefore = true, f.reach(t, feed.Changed)
		} else {
			f.wantLog(t, n) // it was verified already
		}
		equal(t, "the user", got, u)
		f.foundUser(t, u, "old")
	}
	f.wantAlive(t, in)
}

func emailByLink(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	in := f.signIn(t, u)
	l := f.addLink(t, linkOf(account.LinkEmail, u))
	n := len(f.log(t))
	got, err := f.Links.AddressByLink(t.Context(), l.ID, noted(audit.EmailChanged))
	must(t, err)
	f.wantLog(t, n, f.entry(feed.Changed, u.ID, ""))
	former := u.EmailKey
	u.Email, u.EmailKey, u.EmailVerified, u.ChangedBefore = l.Email, l.EmailKey, true, f.reach(t, feed.Changed)
	equal(t, "the user", got, u)
	f.foundUser(t, u, "old")
	f.foundUser(t, neighbour, "old")
	f.wantAlive(t, in)
	_, _, err = f.Users.FindByEmail(t.Context(), former)
	wantErr(t, "FindByEmail of the former address", err, account.ErrNoUser)
	if !f.ear.heard(feed.Changed, u.ID) {
		t.Error("the step was answered before its entry was heard")
	}
}

func emailEndsLinks(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine := []account.Link{f.addLink(t, linkOf(account.LinkReset, u)), f.addLink(t, linkOf(account.LinkVerify, u))}
	theirs := f.addLink(t, linkOf(account.LinkReset, neighbour))
	must(t, f.spend(t, f.addLink(t, linkOf(account.LinkEmail, u)), noted(audit.EmailChanged)))
	for _, l := range mine {
		f.wantLink(t, l, false)
	}
	f.wantLink(t, theirs, true)
}

func emailTaken(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	l := f.addLink(t, draftLink(account.LinkEmail, u.ID, neighbour.EmailKey))
	f.unchanged(t, "a change to an address that is taken", func() {
		wantErr(t, "AddressByLink", f.spend(t, l, noted(audit.EmailChanged)), account.ErrEmailTaken)
	})
	f.wantLink(t, l, true)
}

func emailRace(t *testing.T, f *fixture) {
	links := make([]account.Link, 2)
	for i := range links {
		links[i] = f.addLink(t, linkOf(account.LinkEmail, f.user(t)))
	}
	oneWinner(t, race(2, func(i int) error { return f.spend(t, links[i], noted(audit.EmailChanged)) }), account.ErrEmailTaken)
}
