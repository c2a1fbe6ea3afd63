package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

var consentPromises = []promise{
	{"oauth.ConsentStore.PutConsent", "PutConsent puts c in the place of what the person has allowed the client before, GivenAt by the store's clock.", []proof{
		{"all of it is read back", putConsent},
		{"V-41 control characters allow nothing", putConsentControls},
	}},
	{"oauth.ConsentStore.PutConsent", "ErrNoClient, and nothing kept, unless both are there.", []proof{{"neither, or one of them", putNoConsent}}},
	{"oauth.ConsentStore.FindConsent", "FindConsent returns what the person has allowed the client.", []proof{{"that person and that client", findConsent}}},
	{"oauth.ConsentStore.FindConsent", "ErrNoConsent if that is nothing.", []proof{{"never, or of somebody who is gone", findNoConsent}}},
	{"oauth.ConsentStore.Consents", "Consents returns all that a person has allowed, by ascending client id.", []proof{{"none at first", consents}}},
	{"oauth.ConsentStore.RemoveConsent", "RemoveConsent forgets what the person has allowed the client.", []proof{{"that one and no other", removeConsent}}},
	{"oauth.ConsentStore.RemoveConsent", "ErrNoConsent, and nothing audited, if that was nothing.", []proof{
		{"without a trace", removeNoConsent},
		{"of eight one removes it", removeConsentRace},
	}},
}

func (f *fixture) allow(t *testing.T, userID, clientID string, scopes ...string) oauth.Consent {
	t.Helper()
	c := oauth.Consent{UserID: userID, ClientID: clientID, Scopes: scopes}
	must(t, f.Consents.PutConsent(t.Context(), c, noted(audit.ConsentGiven)))
	c.GivenAt = f.clock.Now()
	return c
}

// wantConsents fails unless this is all that a person has allowed.
func (f *fixture) wantConsents(t *testing.T, userID string, want ...oauth.Consent) {
	t.Helper()
	got, err := f.Consents.Consents(t.Context(), userID)
	must(t, err)
	equal(t, "the consents", got, want)
	for _, c := range want {
		found, err := f.Consents.FindConsent(t.Context(), userID, c.ClientID)
		must(t, err)
		equal(t, "the consent", found, c)
	}
}

func putConsent(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, c := range []oauth.Consent{
		{UserID: u.ID, ClientID: partner.ID},
		{UserID: u.ID, ClientID: partner.ID, Scopes: []string{"email", "openid", "orders:read"}, Audiences: []string{"https://api.example.com/a?b", "orders"}},
		{UserID: u.ID, ClientID: partner.ID, Scopes: []string{"openid"}},
	} {
		n := len(f.audits(t))
		f.clock.Advance(time.Minute + time.Millisecond)
		given := c
		given.GivenAt = start.AddDate(-1, 0, 0) // not the caller's to say
		must(t, f.Consents.PutConsent(t.Context(), given, noted(audit.ConsentGiven)))
		c.GivenAt = f.clock.Now()
		f.wantConsents(t, u.ID, c)
		f.wantAudit(t, n, noted(audit.ConsentGiven))
	}
	f.wantLog(t, 0)
}

func putConsentControls(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, text := range slices.Concat(forgeries, []string{"openid\nadmin", ""}) {
		for _, c := range []oauth.Consent{{UserID: u.ID, ClientID: partner.ID, Scopes: []string{text, "openid"}}, {UserID: u.ID, ClientID: partner.ID, Audiences: []string{text}}} {
			if f.Consents.PutConsent(t.Context(), c, noted(audit.ConsentGiven)) != nil {
				continue // a store may refuse it, but not read it as another
			}
			found, err := f.Consents.FindConsent(t.Context(), u.ID, partner.ID)
			must(t, err)
			c.GivenAt = f.clock.Now()
			equal(t, "the consent", found, c)
		}
	}
}

func putNoConsent(t *testing.T, f *fixture) {
	u, gone := f.user(t), f.user(t)
	must(t, f.Users.DeleteUser(t.Context(), gone.ID, noted(audit.UserDeleted)))
	for _, c := range []oauth.Consent{
		{UserID: gone.ID, ClientID: partner.ID},
		{UserID: credential.NewID(credential.User), ClientID: partner.ID},
		{UserID: u.ID, ClientID: credential.NewID(credential.Client)},
		{UserID: u.ID},
		{ClientID: partner.ID},
	} {
		f.unchanged(t, "a consent of nobody", func() {
			wantErr(t, "PutConsent", f.Consents.PutConsent(t.Context(), c, noted(audit.ConsentGiven)), oauth.ErrNoClient)
		})
	}
}

func findConsent(t *testing.T, f *fixture) {
	ada, eve := f.user(t), f.user(t)
	first := f.allow(t, ada.ID, partner.ID, "openid")
	f.clock.Advance(time.Hour)
	second, other := f.allow(t, ada.ID, pairwise.ID, "email"), f.allow(t, eve.ID, partner.ID)
	f.wantConsents(t, ada.ID, second, first) // cli_pairwise sorts before cli_partner
	f.wantConsents(t, eve.ID, other)
}

func findNoConsent(t *testing.T, f *fixture) {
	ada, gone := f.user(t), f.user(t)
	f.allow(t, ada.ID, partner.ID, "openid")
	f.allow(t, gone.ID, partner.ID, "openid")
	must(t, f.Users.DeleteUser(t.Context(), gone.ID, noted(audit.UserDeleted)))
	for _, of := range [][2]string{{ada.ID, pairwise.ID}, {gone.ID, partner.ID}, {"", partner.ID}, {ada.ID, ""}, {ada.ID, "%"}} {
		_, err := f.Consents.FindConsent(t.Context(), of[0], of[1])
		wantErr(t, "FindConsent", err, oauth.ErrNoConsent)
	}
	f.wantConsents(t, gone.ID)
}

func consents(t *testing.T, f *fixture) {
	u := f.user(t)
	f.wantConsents(t, u.ID)
	a := f.allow(t, u.ID, partner.ID, "openid")
	f.wantConsents(t, u.ID, a)
	b := f.allow(t, u.ID, pairwise.ID, "openid")
	f.wantConsents(t, u.ID, b, a)
	f.wantConsents(t, f.user(t).ID)
}

func removeConsent(t *testing.T, f *fixture) {
	ada, eve := f.user(t), f.user(t)
	f.allow(t, ada.ID, partner.ID, "openid")
	stays, other := f.allow(t, ada.ID, pairwise.ID), f.allow(t, eve.ID, partner.ID)
	n := len(f.audits(t))
	must(t, f.Consents.RemoveConsent(t.Context(), ada.ID, partner.ID, noted(audit.ConsentRemoved)))
	f.wantAudit(t, n, noted(audit.ConsentRemoved))
	f.wantConsents(t, ada.ID, stays)
	f.wantConsents(t, eve.ID, other)
	again := f.allow(t, ada.ID, partner.ID, "email")
	f.wantConsents(t, ada.ID, stays, again)
}

func removeNoConsent(t *testing.T, f *fixture) {
	ada, eve := f.user(t), f.user(t)
	f.allow(t, ada.ID, partner.ID, "openid")
	for _, of := range [][2]string{{eve.ID, partner.ID}, {ada.ID, pairwise.ID}, {"", ""}} {
		f.unchanged(t, "a removal of nothing", func() {
			wantErr(t, "RemoveConsent", f.Consents.RemoveConsent(t.Context(), of[0], of[1], noted(audit.ConsentRemoved)), oauth.ErrNoConsent)
		})
	}
}

func removeConsentRace(t *testing.T, f *fixture) {
	u := f.user(t)
	f.allow(t, u.ID, partner.ID, "openid")
	oneWinner(t, race(racers, func(int) error {
		return f.Consents.RemoveConsent(t.Context(), u.ID, partner.ID, noted(audit.ConsentRemoved))
	}), oauth.ErrNoConsent)
	f.wantConsents(t, u.ID)
}

// consentSteps are the writing methods, for a store that breaks.
var consentSteps = []faultyStep{
	{method: "oauth.ConsentStore.PutConsent", take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Consents.PutConsent(ctx, oauth.Consent{UserID: c.user.ID, ClientID: partner.ID, Scopes: []string{"email", "openid"}}, noted(audit.ConsentGiven))
	}},
	{method: "oauth.ConsentStore.RemoveConsent", again: oauth.ErrNoConsent, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Consents.RemoveConsent(ctx, c.user.ID, partner.ID, noted(audit.ConsentRemoved))
	}},
}

// consentReads are the others.
var consentReads = []faultyRead{
	{"oauth.ConsentStore.FindConsent", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Consents.FindConsent(ctx, c.user.ID, partner.ID)
		return err
	}},
	{"oauth.ConsentStore.Consents", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Consents.Consents(ctx, c.user.ID)
		return err
	}},
}
