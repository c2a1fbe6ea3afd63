package storetest

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
)

var setupPromises = []promise{
	{"account.Store.ClaimSetup", "ClaimSetup adds the first administrator if the setup link with this hash is open by the store's clock, and spends it for ever; else [ErrSetupOver].", []proof{
		{"once", claimSetup},
		{"not by another link, an old one or a late one", claimSetupRefused},
		{"an email that is taken spends nothing", claimSetupTaken},
		{"of eight one wins", claimSetupRace},
	}},
	{"account.SetupStore.OfferSetup", "OfferSetup puts this link in the place of the one before, good until the given time from the store's clock, unless one was ever spent: then false.", []proof{
		{"the one before is dead", offerSetup},
		{"never again after one was spent, administrators or not", offerSetupSpent},
	}},
	{"account.SetupStore.SetupOpen", "SetupOpen reports whether the link is open, and spends nothing.", []proof{
		{"however often it is asked", setupOpen},
	}},
}

var link = hashOf("link")

func (f *fixture) offer(t *testing.T, link credential.Hash, want bool) {
	t.Helper()
	offered, err := f.Setup.OfferSetup(t.Context(), link, time.Hour)
	must(t, err)
	equal(t, "whether the link is offered", offered, want)
}

func (f *fixture) wantOpen(t *testing.T, link credential.Hash, want bool) {
	t.Helper()
	open, err := f.Setup.SetupOpen(t.Context(), link)
	must(t, err)
	equal(t, "whether the link is open", open, want)
}

// claim claims the link for a user that is not there yet.
func (f *fixture) claim(t *testing.T, link credential.Hash, email string) (account.User, error) {
	t.Helper()
	u := draftUser(email)
	u.Roles = []string{account.Admin}
	f.users = append(f.users, u.ID)
	return f.Users.ClaimSetup(t.Context(), link, u, "old", noted(audit.AdministratorMade))
}

func claimSetup(t *testing.T, f *fixture) {
	f.offer(t, link, true)
	f.clock.Advance(time.Hour - time.Millisecond)
	u, err := f.claim(t, link, "admin@example.com")
	must(t, err)
	equal(t, "the roles", u.Roles, []string{account.Admin})
	equal(t, "CreatedAt", u.CreatedAt, f.clock.Now())
	f.foundUser(t, u, "old")
	f.wantAudit(t, 0, noted(audit.AdministratorMade))
	f.wantOpen(t, link, false)
	f.unchanged(t, "a spent link", func() {
		_, err := f.claim(t, link, "second@example.com")
		wantErr(t, "ClaimSetup", err, account.ErrSetupOver)
	})
}

func claimSetupRefused(t *testing.T, f *fixture) {
	refuse := func(what string, link credential.Hash) {
		t.Helper()
		f.unchanged(t, what, func() {
			_, err := f.claim(t, link, "admin@example.com")
			wantErr(t, "ClaimSetup with "+what, err, account.ErrSetupOver)
		})
	}
	refuse("a link before any was offered", link)
	refuse("no link before any was offered", credential.Hash{})
	f.offer(t, link, true)
	refuse("another link", hashOf("another"))
	refuse("no link", credential.Hash{})
	f.offer(t, hashOf("newer"), true)
	refuse("a link that was replaced", link)
	f.clock.Advance(time.Hour)
	refuse("a link that is late", hashOf("newer"))
	f.offer(t, link, true)
	if _, err := f.claim(t, link, "admin@example.com"); err != nil {
		t.Errorf("ClaimSetup with the link offered last returned %v", err)
	}
}

func claimSetupTaken(t *testing.T, f *fixture) {
	u := f.user(t)
	f.offer(t, link, true)
	f.unchanged(t, "a claim for an email that is taken", func() {
		_, err := f.claim(t, link, u.EmailKey)
		wantErr(t, "ClaimSetup", err, account.ErrEmailTaken)
	})
	f.wantOpen(t, link, true)
	_, err := f.claim(t, link, "admin@example.com")
	must(t, err)
}

func claimSetupRace(t *testing.T, f *fixture) {
	f.offer(t, link, true)
	drafts := make([]account.User, racers)
	for i := range drafts {
		drafts[i] = draftUser(string(rune('a'+i)) + "@example.com")
		f.users = append(f.users, drafts[i].ID)
	}
	oneWinner(t, race(racers, func(i int) error {
		_, err := f.Users.ClaimSetup(t.Context(), link, drafts[i], "old", noted(audit.AdministratorMade))
		return err
	}), account.ErrSetupOver)
	users, err := f.Users.Users(t.Context(), "", 100)
	must(t, err)
	equal(t, "the number of users", len(users), 1)
	equal(t, "the number of audit entries", len(f.audits(t)), 1)
}

func offerSetup(t *testing.T, f *fixture) {
	f.offer(t, link, true)
	f.offer(t, hashOf("newer"), true)
	f.wantOpen(t, link, false)
	f.wantOpen(t, hashOf("newer"), true)
	f.clock.Advance(time.Hour - time.Millisecond)
	f.wantOpen(t, hashOf("newer"), true)
	f.clock.Advance(time.Millisecond)
	f.wantOpen(t, hashOf("newer"), false)
	f.offer(t, link, true)
	f.wantOpen(t, link, true)
}

func offerSetupSpent(t *testing.T, f *fixture) {
	f.offer(t, link, true)
	u, err := f.claim(t, link, "admin@example.com")
	must(t, err)
	must(t, f.Users.DeleteUser(t.Context(), u.ID, noted(audit.UserDeleted)))
	for _, hash := range []credential.Hash{link, hashOf("newer")} {
		f.offer(t, hash, false)
		f.wantOpen(t, hash, false)
		_, err := f.claim(t, hash, "admin@example.com")
		wantErr(t, "ClaimSetup", err, account.ErrSetupOver)
	}
}

func setupOpen(t *testing.T, f *fixture) {
	f.wantOpen(t, link, false)
	f.wantOpen(t, credential.Hash{}, false)
	f.offer(t, link, true)
	for range 10 {
		f.wantOpen(t, link, true)
		f.wantOpen(t, hashOf("another"), false)
		f.wantOpen(t, credential.Hash{}, false)
	}
	_, err := f.claim(t, link, "admin@example.com")
	must(t, err)
}
