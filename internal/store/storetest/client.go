package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

var clientPromises = []promise{
	{"oauth.ClientStore.AddClient", "AddClient adds a client at Revision 1 and returns it; the store sets CreatedAt.", []proof{
		{"all of it is read back", addClient},
		{"V-41 control characters make no second scope or address", addClientControls},
		{"what a session reads of it", clientTerms},
	}},
	{"oauth.ClientStore.AddClient", "ErrClientChanged, and nothing added, if there is one with this id or was one.", []proof{
		{"one that is there", addClientAgain},
		{"V-34 one that was removed", addRemovedClient},
		{"of eight one adds it", addClientRace},
	}},
	{"oauth.ClientStore.FindClient", "FindClient returns a registered client, a disabled one too, and the store's clock at the read.", []proof{
		{"by the exact id", findClient},
	}},
	{"oauth.ClientStore.FindClient", "ErrNoClient if there is none: one without a registration, such as that of the operator's own applications, is none, nor is one that was removed.", []proof{
		{"other ids, the first-party client, a removed one", findNoClient},
	}},
	{"oauth.ClientStore.Clients", "Clients returns up to limit registered clients by ascending id behind after (empty: from the first), disabled ones too.", []proof{
		{"in pages", pageClients},
	}},
	{"oauth.ClientStore.ChangeClient", "ChangeClient writes c in the place of the client at Revision c.Revision, which rises by one, and returns it; CreatedAt stays.", []proof{
		{"every member", changeClient},
	}},
	{"oauth.ClientStore.ChangeClient", `Disabling one ends what it drew, reason "disabled"; every other change appends a changed entry and raises ChangedBefore.`, []proof{
		{"V-33 disabled, enabled and changed", disableClient},
		{"and no other client is touched", changeOneClient},
	}},
	{"oauth.ClientStore.ChangeClient", "ErrClientChanged, and nothing changed, unless it is at that revision; ErrNoClient if it is not there.", []proof{
		{"older and newer revisions", changeStaleClient},
		{"of eight one changes it", changeClientRace},
	}},
	{"oauth.ClientStore.RemoveClient", `RemoveClient ends what a client drew, reason "removed", and keeps nothing of its registration.`, []proof{
		{"that client and no other", removeClient},
	}},
	{"oauth.ClientStore.RemoveClient", "ErrNoClient, and nothing changed, if it is not there.", []proof{
		{"without a trace when there is none", removeNoClient},
		{"of eight one removes it", removeClientRace},
	}},
	{"oauth.AssertionStore.SpendAssertion", "SpendAssertion remembers an assertion until it expires.", []proof{{"and no longer", spendAssertion}}},
	{"oauth.AssertionStore.SpendAssertion", "Of any number who bring the same id, at whichever nodes, one gets nil and every other ErrSpent.", []proof{
		{"V-22 of eight one spends it", spendAssertionRace},
	}},
	{"oauth.AssertionStore.SweepAssertions", "SweepAssertions removes up to limit assertions that have expired and returns how many; more says that there may be others.", []proof{
		{"the oldest first", sweepAssertions},
	}},
}

// draftClient is a client with something in every member.
func draftClient(name string) oauth.Client {
	id := credential.NewID(credential.Client)
	return oauth.Client{
		ID: id, Name: name, Type: oauth.Web, AuthMethod: oauth.AuthBasic, SecretHash: hashOf("secret of " + id),
		JWKS: json.RawMessage(`{"keys":[]}`), JWKSURI: "https://shop.example/keys",
		RedirectURIs:           []string{"https://shop.example/callback", "https://shop.example/other?a=b"},
		PostLogoutRedirectURIs: []string{"https://shop.example/"}, BackchannelLogoutURI: "https://shop.example/logout",
		HomeURI: "https://shop.example/", PolicyURI: "https://shop.example/policy", TermsURI: "https://shop.example/terms",
		Grants: []string{oauth.GrantCode, oauth.GrantRefresh}, Scopes: []string{"openid", "email"}, Audiences: []string{"orders", "https://api.example/"},
		AccessLifetime: 5 * time.Minute, IDAlgorithm: jwt.ES256, Pairwise: true, Sector: "shop.example", Trusted: true, WithoutPKCE: true,
	}
}

func (f *fixture) client(t *testing.T, name string) oauth.Client {
	t.Helper()
	c, err := f.Clients.AddClient(t.Context(), draftClient(name), noted(audit.ClientAdded))
	must(t, err)
	return c
}

func (f *fixture) wantClient(t *testing.T, want oauth.Client) {
	t.Helper()
	found, read, err := f.Clients.FindClient(t.Context(), want.ID)
	must(t, err)
	equal(t, "the client", found, want)
	if !read.Equal(f.clock.Now()) {
		t.Errorf("read at %s, want %s", read, f.clock.Now())
	}
}

func addClient(t *testing.T, f *fixture) {
	full := draftClient("Zoë's shop " + strings.Repeat("x", 80))
	full.CreatedAt, full.Revision = f.clock.Now().AddDate(-1, 0, 0), 7 // not the caller's to say
	disabled := draftClient("off")
	disabled.Disabled = true
	empty := oauth.Client{ID: credential.NewID(credential.Client), Name: "n", Type: oauth.Machine, AuthMethod: oauth.AuthNone}
	for _, c := range []oauth.Client{full, disabled, empty} {
		f.clock.Advance(time.Minute + time.Millisecond)
		n := len(f.audits(t))
		added, err := f.Clients.AddClient(t.Context(), c, noted(audit.ClientAdded))
		must(t, err)
		c.CreatedAt, c.Revision = f.clock.Now(), 1
		equal(t, "what AddClient returned", added, c)
		f.wantClient(t, c)
		f.wantAudit(t, n, noted(audit.ClientAdded))
	}
	f.wantLog(t, 0)
}

func addClientControls(t *testing.T, f *fixture) {
	for _, text := range slices.Concat(forgeries, []string{"read\nadmin"}) {
		draft := draftClient(text)
		draft.RedirectURIs, draft.Scopes, draft.Audiences = []string{text}, []string{text}, []string{text}
		if _, err := f.Clients.AddClient(t.Context(), draft, noted(audit.ClientAdded)); err != nil {
			continue // a store may refuse it, but not read it as another
		}
		found, _, err := f.Clients.FindClient(t.Context(), draft.ID)
		must(t, err)
		for what, list := range map[string][]string{"addresses": found.RedirectURIs, "scopes": found.Scopes, "audiences": found.Audiences} {
			if len(list) > 1 {
				t.Errorf("%q was read as %d %s", text, len(list), what)
			}
		}
	}
}

func clientTerms(t *testing.T, f *fixture) {
	u := f.user(t)
	c := f.client(t, "Shop")
	st, err := f.Sessions.Terms(t.Context(), u.ID, c.ID)
	must(t, err)
	equal(t, "the terms", st.Client, session.ClientTerms{
		ID: c.ID, Pairwise: true, Sector: "shop.example", Audiences: c.Audiences, Scopes: c.Scopes,
		Access: 5 * time.Minute, IDAlgorithm: jwt.ES256, Told: true,
	})
	plain := draftClient("Plain")
	plain.AccessLifetime, plain.BackchannelLogoutURI = 0, ""
	_, err = f.Clients.AddClient(t.Context(), plain, noted(audit.ClientAdded))
	must(t, err)
	st, err = f.Sessions.Terms(t.Context(), u.ID, plain.ID)
	must(t, err)
	if st.Client.Told || st.Client.Access < 365*24*time.Hour {
		t.Errorf("told %t, access tokens for %s: want neither word nor limit", st.Client.Told, st.Client.Access)
	}
}

func addClientAgain(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	f.clock.Advance(time.Minute)
	f.unchanged(t, "adding a client again", func() {
		other := draftClient("Other")
		other.ID = c.ID
		_, err := f.Clients.AddClient(t.Context(), other, noted(audit.ClientAdded))
		wantErr(t, "AddClient", err, oauth.ErrClientChanged)
		other.ID = session.FirstParty
		_, err = f.Clients.AddClient(t.Context(), other, noted(audit.ClientAdded))
		wantErr(t, "AddClient of the first-party client", err, oauth.ErrClientChanged)
	})
}

func addRemovedClient(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	must(t, f.Clients.RemoveClient(t.Context(), c.ID, noted(audit.ClientRemoved)))
	f.unchanged(t, "adding a client that was removed", func() {
		_, err := f.Clients.AddClient(t.Context(), c, noted(audit.ClientAdded))
		wantErr(t, "AddClient", err, oauth.ErrClientChanged)
	})
}

func addClientRace(t *testing.T, f *fixture) {
	c := draftClient("Shop")
	oneWinner(t, race(racers, func(int) error {
		_, err := f.Clients.AddClient(t.Context(), c, noted(audit.ClientAdded))
		return err
	}), oauth.ErrClientChanged)
}

func findClient(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	f.client(t, "Other")
	f.clock.Advance(time.Minute)
	f.wantClient(t, c)
}

func findNoClient(t *testing.T, f *fixture) {
	c, gone := f.client(t, "Shop"), f.client(t, "Gone")
	must(t, f.Clients.RemoveClient(t.Context(), gone.ID, noted(audit.ClientRemoved)))
	for _, id := range []string{"", session.FirstParty, partner.ID, gone.ID, credential.NewID(credential.Client), strings.ToUpper(c.ID), c.ID + " ", "%"} {
		_, _, err := f.Clients.FindClient(t.Context(), id)
		wantErr(t, fmt.Sprintf("FindClient(%q)", id), err, oauth.ErrNoClient)
	}
}

func pageClients(t *testing.T, f *fixture) {
	want := func(after string, limit int, clients ...oauth.Client) {
		t.Helper()
		got, err := f.Clients.Clients(t.Context(), after, limit)
		must(t, err)
		equal(t, "the clients", got, clients)
	}
	want("", 10)
	a, b, c := f.client(t, "a"), f.client(t, "b"), f.client(t, "c")
	b.Disabled = true
	b, err := f.Clients.ChangeClient(t.Context(), b, noted(audit.ClientChanged))
	must(t, err)
	gone := f.client(t, "gone")
	must(t, f.Clients.RemoveClient(t.Context(), gone.ID, noted(audit.ClientRemoved)))
	want("", 10, a, b, c)
	want("", 2, a, b)
	want(b.ID, 2, c)
	want(c.ID, 2)
}

func changeClient(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	next := oauth.Client{ID: c.ID, Name: "Store", Type: oauth.Web, AuthMethod: oauth.AuthPost, Revision: 1, CreatedAt: c.CreatedAt}
	for i, change := range []oauth.Client{next, c} {
		f.clock.Advance(time.Minute)
		change.Revision = int64(i) + 1
		n := len(f.audits(t))
		changed, err := f.Clients.ChangeClient(t.Context(), change, noted(audit.ClientChanged))
		must(t, err)
		change.Revision++
		equal(t, "what ChangeClient returned", changed, change)
		f.wantClient(t, change)
		f.wantAudit(t, n, noted(audit.ClientChanged))
	}
}

func disableClient(t *testing.T, f *fixture) {
	u := f.user(t)
	c := f.client(t, "Shop")
	for i, step := range []struct {
		disabled bool
		want     feed.Entry
	}{
		{false, f.entry(feed.Changed, c.ID, "")},
		{true, f.entry(feed.Client, c.ID, "disabled")},
		{true, f.entry(feed.Changed, c.ID, "")},
		{false, f.entry(feed.Changed, c.ID, "")},
		{true, f.entry(feed.Client, c.ID, "disabled")},
	} {
		c.Disabled = step.disabled
		var err error
		c, err = f.Clients.ChangeClient(t.Context(), c, noted(audit.ClientChanged))
		must(t, err)
		f.wantLog(t, i, step.want)
		st, err := f.Sessions.Terms(t.Context(), u.ID, c.ID)
		must(t, err)
		if ended := i > 0; st.Client.Disabled != step.disabled || st.Client.ChangedBefore == 0 || (st.Client.OverBefore > 0) != ended {
			t.Errorf("after step %d the terms are %+v", i, st.Client)
		}
		if !f.ear.heard(step.want.Kind, c.ID) {
			t.Error("the step was answered before its entry was heard")
		}
	}
}

func changeOneClient(t *testing.T, f *fixture) {
	u := f.user(t)
	c, other := f.client(t, "Shop"), f.client(t, "Other")
	c.Disabled = true
	_, err := f.Clients.ChangeClient(t.Context(), c, noted(audit.ClientChanged))
	must(t, err)
	f.wantClient(t, other)
	st, err := f.Sessions.Terms(t.Context(), u.ID, other.ID)
	must(t, err)
	if st.Client.Disabled || st.Client.OverBefore+st.Client.ChangedBefore != 0 {
		t.Errorf("the other client's terms are %+v", st.Client)
	}
}

func changeStaleClient(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	second, err := f.Clients.ChangeClient(t.Context(), c, noted(audit.ClientChanged))
	must(t, err)
	third, none := second, draftClient("None")
	third.Revision++
	gone := f.client(t, "Gone")
	must(t, f.Clients.RemoveClient(t.Context(), gone.ID, noted(audit.ClientRemoved)))
	f.unchanged(t, "changing a client that is not as it was", func() {
		for _, stale := range []oauth.Client{c, third} {
			stale.Name, stale.Disabled = "Other", true
			_, err := f.Clients.ChangeClient(t.Context(), stale, noted(audit.ClientChanged))
			wantErr(t, "ChangeClient", err, oauth.ErrClientChanged)
		}
		for _, missing := range []oauth.Client{none, gone, {ID: session.FirstParty, Name: "Mine"}} {
			_, err := f.Clients.ChangeClient(t.Context(), missing, noted(audit.ClientChanged))
			wantErr(t, "ChangeClient of "+missing.Name, err, oauth.ErrNoClient)
		}
	})
}

func changeClientRace(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	oneWinner(t, race(racers, func(i int) error {
		mine := c
		mine.Name = fmt.Sprintf("Shop %d", i)
		_, err := f.Clients.ChangeClient(t.Context(), mine, noted(audit.ClientChanged))
		return err
	}), oauth.ErrClientChanged)
	f.wantLog(t, 0, f.entry(feed.Changed, c.ID, ""))
}

func removeClient(t *testing.T, f *fixture) {
	u := f.user(t)
	c, other := f.client(t, "Shop"), f.client(t, "Other")
	f.clock.Advance(time.Minute)
	n := len(f.audits(t))
	must(t, f.Clients.RemoveClient(t.Context(), c.ID, noted(audit.ClientRemoved)))
	f.wantLog(t, 0, f.entry(feed.Client, c.ID, "removed"))
	f.wantAudit(t, n, noted(audit.ClientRemoved))
	f.wantClient(t, other)
	st, err := f.Sessions.Terms(t.Context(), u.ID, c.ID)
	must(t, err)
	if !st.Client.Disabled || st.Client.OverBefore == 0 || st.Client.Told {
		t.Errorf("its terms are %+v", st.Client)
	}
	for _, row := range f.Rows(t) {
		if row.Table == "client" && row.Values["id"] == c.ID && row.Values["registration"] != "" {
			t.Errorf("its registration is still there: %s", row.Values["registration"])
		}
	}
	if !f.ear.heard(feed.Client, c.ID) {
		t.Error("the step was answered before its entry was heard")
	}
}

func removeNoClient(t *testing.T, f *fixture) {
	f.client(t, "Shop")
	for _, id := range []string{credential.NewID(credential.Client), "", session.FirstParty, partner.ID} {
		f.unchanged(t, "removing no client", func() {
			wantErr(t, fmt.Sprintf("RemoveClient(%q)", id), f.Clients.RemoveClient(t.Context(), id, noted(audit.ClientRemoved)), oauth.ErrNoClient)
		})
	}
}

func removeClientRace(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	oneWinner(t, race(racers, func(int) error {
		return f.Clients.RemoveClient(t.Context(), c.ID, noted(audit.ClientRemoved))
	}), oauth.ErrNoClient)
	f.wantLog(t, 0, f.entry(feed.Client, c.ID, "removed"))
}

func spendAssertion(t *testing.T, f *fixture) {
	spend := func(id string) error { return f.Assertions.SpendAssertion(t.Context(), id, start.Add(time.Minute)) }
	must(t, spend("a"))
	must(t, spend("A"))
	f.clock.Advance(time.Minute - time.Millisecond)
	_, _, err := f.Assertions.SweepAssertions(t.Context(), 10)
	must(t, err)
	wantErr(t, "spending it again", spend("a"), oauth.ErrSpent)
	f.clock.Advance(time.Millisecond)
	_, _, err = f.Assertions.SweepAssertions(t.Context(), 10)
	must(t, err)
	must(t, spend("a"))
}

func spendAssertionRace(t *testing.T, f *fixture) {
	oneWinner(t, race(4*racers, func(int) error {
		return f.Assertions.SpendAssertion(t.Context(), "once", start.Add(time.Minute))
	}), oauth.ErrSpent)
}

func sweepAssertions(t *testing.T, f *fixture) {
	for i := range 5 {
		must(t, f.Assertions.SpendAssertion(t.Context(), fmt.Sprintf("a%d", i), start.Add(time.Duration(i)*time.Minute)))
	}
	f.clock.Advance(3*time.Minute + time.Second) // four have expired
	for _, want := range []struct {
		removed int
		more    bool
	}{{3, true}, {1, false}, {0, false}} {
		removed, more, err := f.Assertions.SweepAssertions(t.Context(), 3)
		must(t, err)
		if removed != want.removed || more != want.more {
			t.Errorf("removed %d, more %t, want %+v", removed, more, want)
		}
	}
	wantErr(t, "spending the one that is left", f.Assertions.SpendAssertion(t.Context(), "a4", start.Add(time.Hour)), oauth.ErrSpent)
}
