package oauth_test

import (
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// a client that may do everything that these tests do.
func (h *house) application(name string) oauth.Client {
	h.t.Helper()
	c, _, err := h.Clients.Add(h.t.Context(), oauth.Client{
		Name: name, Type: oauth.Web, AuthMethod: oauth.AuthBasic, RedirectURIs: []string{"https://" + name + ".example/callback"},
		Grants: []string{oauth.GrantCode, oauth.GrantRefresh}, Scopes: []string{"openid", "email", "offline_access"},
	}, "cli", fromHere)
	h.must(err)
	return c
}

// allow keeps somebody's consent.
func (h *house) allow(p person, c oauth.Client, scopes ...string) {
	h.t.Helper()
	e := audit.New(audit.ConsentGiven, audit.OK, fromHere)
	h.must(h.db.PutConsent(h.t.Context(), oauth.Consent{UserID: p.holder.UserID(), ClientID: c.ID, Scopes: scopes}, e))
}

func (h *house) connected(p person) map[string]oauth.Application {
	h.t.Helper()
	all, err := h.Connected(h.t.Context(), p.holder.UserID())
	h.must(err)
	out := map[string]oauth.Application{}
	for _, a := range all {
		out[a.Client.Name] = a
	}
	if len(out) != len(all) {
		h.t.Errorf("an application is shown twice: %d rows of %d", len(all), len(out))
	}
	return out
}

// active reports whether tokens are worth anything yet, by the store.
func (h *house) active(d session.Drawn) bool {
	h.t.Helper()
	worth := map[bool]int{}
	for _, token := range []string{d.Access, d.Refresh} {
		_, active, err := h.sessions.Introspect(h.t.Context(), token, time.Time{}, "")
		h.must(err)
		worth[active]++
	}
	if len(worth) != 1 {
		h.t.Error("a grant's access token and its refresh token are not worth the same")
	}
	return worth[true] > 0
}

func newConnectedHouse(t *testing.T) *house {
	return newHouse(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"), &timepiece{}, sessionConfig())
}

// ASVS-10.4.9: a person sees each application once, with all that it has, and nobody
// else's.
func TestConnected(t *testing.T) {
	h := newConnectedHouse(t)
	shop, notes, till := h.application("shop"), h.application("notes"), h.application("till")
	ada, bob := h.person("ada@example.com"), h.person("bob@example.com")
	if got := h.connected(ada); len(got) != 0 {
		t.Errorf("she has connected nothing, and sees %v", got)
	}
	h.allow(ada, shop, "email", "openid")
	h.connect(ada, shop, "openid")
	phone := h.again(ada.proof)
	h.clock.pass(time.Hour)
	h.connect(phone, shop, "openid email")
	h.connect(ada, notes, "openid offline_access")
	h.allow(ada, till, "openid")
	h.connect(bob, till, "openid")

	got := h.connected(ada)
	if a := got["shop"]; !slices.Equal(a.Scopes, []string{"email", "openid"}) || a.Offline || a.Since.Sub(today).Abs() > time.Second || a.LastUsed.Before(today.Add(time.Hour-time.Second)) {
		t.Errorf("the shop is %+v", a)
	}
	if a := got["notes"]; !a.Offline || !slices.Contains(a.Scopes, "offline_access") {
		t.Errorf("the notes are %+v", a)
	}
	if a := got["till"]; !a.LastUsed.IsZero() || a.Since.IsZero() || !slices.Equal(a.Scopes, []string{"openid"}) {
		t.Errorf("what has consent alone is %+v", a)
	}
	if got := h.connected(bob); len(got) != 1 || got["till"].LastUsed.IsZero() {
		t.Errorf("the other person sees %v", got)
	}
	h.must(h.Clients.Remove(t.Context(), shop.ID, "cli", fromHere))
	if got := h.connected(ada); len(got) != 2 {
		t.Errorf("one was removed, and she sees %v", got)
	}
	// Who signs out everywhere keeps what is to stay connected.
	_, err := h.sessions.EndOthers(t.Context(), ada.holder, fromHere)
	h.must(err)
	h.must(h.sessions.SignOut(t.Context(), ada.holder, fromHere))
	if got := h.connected(ada); got["till"].Client == nil {
		t.Errorf("after signing out she sees %v", got)
	}
}

// ASVS-10.7.3: disconnecting ends every channel of that application with that person,
// and of nothing else.
func TestDisconnect(t *testing.T) {
	h := newConnectedHouse(t)
	shop, notes := h.application("shop"), h.application("notes")
	ada, bob := h.person("ada@example.com"), h.person("bob@example.com")
	h.allow(ada, shop, "openid")
	h.allow(bob, shop, "openid")
	here, _ := h.connect(ada, shop, "openid")
	elsewhere, _ := h.connect(h.again(ada.proof), shop, "openid")
	offline, _ := h.connect(ada, shop, "openid offline_access")
	others := map[string]session.Drawn{}
	others["another application"], _ = h.connect(ada, notes, "openid")
	others["another person"], _ = h.connect(bob, shop, "openid")
	pending, err := h.sessions.IssueCode(t.Context(), ada.holder, session.Code{RequestID: "on its way", ClientID: shop.ID, RedirectURI: shop.RedirectURIs[0], Scope: "openid"})
	h.must(err)

	h.must(h.Disconnect(t.Context(), ada.holder.UserID(), shop.ID, fromHere))
	for name, d := range map[string]session.Drawn{"here": here, "elsewhere": elsewhere, "offline": offline} {
		if h.active(d) {
			t.Errorf("the grant %s is worth something yet", name)
		}
		if _, err := h.sessions.RefreshGrant(t.Context(), session.RefreshRequest{Token: d.Refresh, ClientID: shop.ID, Arrived: h.clock.now(), From: fromHere}); !errors.Is(err, session.ErrEnded) {
			t.Errorf("the grant %s renews with %v", name, err)
		}
	}
	if p, err := h.sessions.OfCode(t.Context(), pending); err == nil {
		if _, err := h.sessions.OpenGrant(t.Context(), p, fromHere); err == nil {
			t.Error("a code that was on its way opens a grant")
		}
	}
	for name, d := range others {
		if !h.active(d) {
			t.Errorf("%s lost its grant", name)
		}
	}
	if _, err := h.sessions.CheckCookie(t.Context(), ada.opened.Cookie); err != nil {
		t.Errorf("the person is signed out: %v", err)
	}
	if got := h.connected(ada); len(got) != 1 || got["shop"].Client != nil {
		t.Errorf("she sees %v", got)
	}
	if _, err := h.db.FindConsent(t.Context(), ada.holder.UserID(), shop.ID); !errors.Is(err, oauth.ErrNoConsent) {
		t.Errorf("the consent is there: %v", err)
	}
	for _, client := range []string{shop.ID, "cli_00000000000000000000000000", session.FirstParty} {
		if err := h.Disconnect(t.Context(), ada.holder.UserID(), client, fromHere); !errors.Is(err, oauth.ErrNotConnected) {
			t.Errorf("disconnecting %s once more is %v", client, err)
		}
	}
}

// Whatever breaks off in between, an application that was cut off draws nothing by a
// consent that was taken back, and the person can say it again.
func TestDisconnectBreaksOff(t *testing.T) {
	for _, step := range []string{"remove_consent", "end"} {
		for _, after := range []bool{false, true} {
			h := newConnectedHouse(t)
			var failing atomic.Bool
			h.db.Interfere(func(op sqlstore.Operation) (bool, error) {
				if failing.Load() && op.Kind == sqlstore.Write && op.Step == step {
					return after, errors.New("the connection was reset")
				}
				return false, nil
			})
			shop, ada := h.application("shop"), h.person("ada@example.com")
			h.allow(ada, shop, "openid")
			drawn, _ := h.connect(ada, shop, "openid")
			failing.Store(true)
			if err := h.Disconnect(t.Context(), ada.holder.UserID(), shop.ID, fromHere); err == nil {
				t.Errorf("%s fails, and nobody is told", step)
			}
			failing.Store(false)
			_, err := h.db.FindConsent(t.Context(), ada.holder.UserID(), shop.ID)
			if consented := err == nil; consented && !h.active(drawn) {
				t.Errorf("%s fails (after: %v): the grants are over, and the consent is not", step, after)
			}
			err = h.Disconnect(t.Context(), ada.holder.UserID(), shop.ID, fromHere)
			if done := step == "end" && after; !done && err != nil || done && !errors.Is(err, oauth.ErrNotConnected) {
				t.Errorf("%s fails (after: %v): the second attempt is %v", step, after, err)
			}
			if h.active(drawn) || len(h.connected(ada)) != 0 {
				t.Errorf("%s fails (after: %v): something is left after the second attempt", step, after)
			}
		}
	}
}
