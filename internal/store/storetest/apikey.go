package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

var apiKeyPromises = []promise{
	{"account.APIKeyStore.AddAPIKey", "AddAPIKey adds a key; the store sets CreatedAt.", []proof{
		{"all of it is read back", addAPIKey},
		{"V-41 control characters give no scope", addAPIKeyControls},
	}},
	{"account.APIKeyStore.FindAPIKey", "FindAPIKey returns a key, or [ErrNoUser].", []proof{{"by the exact id", findAPIKey}}},
	{"account.APIKeyStore.APIKeys", "APIKeys returns all keys, oldest first.", []proof{{"none at first", apiKeys}}},
	{"account.APIKeyStore.RemoveAPIKey", "RemoveAPIKey removes a key and appends an apikey entry, or returns [ErrNoUser].", []proof{
		{"that key and no other", removeAPIKey},
		{"without a trace when there is none", removeNoAPIKey},
		{"of eight one removes it", removeAPIKeyRace},
	}},
}

func draftAPIKey(name string, scopes ...string) account.APIKey {
	id := credential.NewID(credential.APIKey)
	return account.APIKey{ID: id, Name: name, Scopes: scopes, Hash: hashOf("secret of " + id)}
}

func (f *fixture) apiKey(t *testing.T, name string, scopes ...string) account.APIKey {
	t.Helper()
	k, err := f.APIKeys.AddAPIKey(t.Context(), draftAPIKey(name, scopes...), noted(audit.APIKeyAdded))
	must(t, err)
	return k
}

func addAPIKey(t *testing.T, f *fixture) {
	full := draftAPIKey("Zoë's orders "+strings.Repeat("x", 180), account.Scopes...)
	full.CreatedAt = f.clock.Now().AddDate(-1, 0, 0) // not the caller's to say
	for _, k := range []account.APIKey{full, draftAPIKey("")} {
		f.clock.Advance(time.Minute + time.Millisecond)
		n := len(f.audits(t))
		added, err := f.APIKeys.AddAPIKey(t.Context(), k, noted(audit.APIKeyAdded))
		must(t, err)
		k.CreatedAt = f.clock.Now()
		equal(t, "what AddAPIKey returned", added, k)
		found, err := f.APIKeys.FindAPIKey(t.Context(), k.ID)
		must(t, err)
		equal(t, "the key", found, k)
		f.wantAudit(t, n, noted(audit.APIKeyAdded))
	}
	f.wantLog(t, 0)
}

func addAPIKeyControls(t *testing.T, f *fixture) {
	for _, text := range slices.Concat(forgeries, []string{"introspect\nadmin"}) {
		k, err := f.APIKeys.AddAPIKey(t.Context(), draftAPIKey(text, account.ScopeIntrospect), noted(audit.APIKeyAdded))
		must(t, err)
		found, err := f.APIKeys.FindAPIKey(t.Context(), k.ID)
		must(t, err)
		equal(t, "the key", found, k)
		draft := draftAPIKey("scopes", text, account.ScopeIntrospect)
		if _, err := f.APIKeys.AddAPIKey(t.Context(), draft, noted(audit.APIKeyAdded)); err != nil {
			continue // a store may refuse it, but not read it as another
		}
		found, err = f.APIKeys.FindAPIKey(t.Context(), draft.ID)
		must(t, err)
		equal(t, "the scopes", found.Scopes, draft.Scopes)
	}
}

func findAPIKey(t *testing.T, f *fixture) {
	k := f.apiKey(t, "orders", account.ScopeIntrospect)
	f.apiKey(t, "mail", account.ScopeAdmin)
	found, err := f.APIKeys.FindAPIKey(t.Context(), k.ID)
	must(t, err)
	equal(t, "the key", found, k)
	for _, id := range []string{"", credential.NewID(credential.APIKey), strings.ToUpper(k.ID), k.ID + " ", "orders", "%"} {
		_, err := f.APIKeys.FindAPIKey(t.Context(), id)
		wantErr(t, fmt.Sprintf("FindAPIKey(%q)", id), err, account.ErrNoUser)
	}
}

func (f *fixture) wantAPIKeys(t *testing.T, want ...account.APIKey) {
	t.Helper()
	keys, err := f.APIKeys.APIKeys(t.Context())
	must(t, err)
	equal(t, "the keys", keys, want)
}

func apiKeys(t *testing.T, f *fixture) {
	f.wantAPIKeys(t)
	late := draftAPIKey("late") // its id sorts first
	var keys []account.APIKey
	for _, name := range []string{"b", "c", "a"} {
		keys = append(keys, f.apiKey(t, name, account.ScopeIntrospect))
		f.clock.Advance(time.Second)
	}
	late, err := f.APIKeys.AddAPIKey(t.Context(), late, noted(audit.APIKeyAdded))
	must(t, err)
	f.wantAPIKeys(t, append(keys, late)...)
}

func removeAPIKey(t *testing.T, f *fixture) {
	k, other := f.apiKey(t, "orders", account.ScopeIntrospect), f.apiKey(t, "mail", account.ScopeIntrospect)
	f.clock.Advance(time.Minute)
	n := len(f.audits(t))
	must(t, f.APIKeys.RemoveAPIKey(t.Context(), k.ID, noted(audit.APIKeyRemoved)))
	f.wantLog(t, 0, f.entry(feed.APIKey, k.ID, ""))
	f.wantAudit(t, n, noted(audit.APIKeyRemoved))
	f.wantAPIKeys(t, other)
	_, err := f.APIKeys.FindAPIKey(t.Context(), k.ID)
	wantErr(t, "FindAPIKey", err, account.ErrNoUser)
	if !f.ear.heard(feed.APIKey, k.ID) {
		t.Error("the step was answered before its entry was heard")
	}
}

func removeNoAPIKey(t *testing.T, f *fixture) {
	f.apiKey(t, "orders", account.ScopeIntrospect)
	for _, id := range []string{credential.NewID(credential.APIKey), "", "orders"} {
		f.unchanged(t, "removing no key", func() {
			err := f.APIKeys.RemoveAPIKey(t.Context(), id, noted(audit.APIKeyRemoved))
			wantErr(t, fmt.Sprintf("RemoveAPIKey(%q)", id), err, account.ErrNoUser)
		})
	}
}

func removeAPIKeyRace(t *testing.T, f *fixture) {
	k := f.apiKey(t, "orders", account.ScopeIntrospect)
	oneWinner(t, race(racers, func(int) error {
		return f.APIKeys.RemoveAPIKey(t.Context(), k.ID, noted(audit.APIKeyRemoved))
	}), account.ErrNoUser)
	f.wantLog(t, 0, f.entry(feed.APIKey, k.ID, ""))
}
