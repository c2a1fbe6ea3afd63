package app

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/session"
)

// The settings of outbound open what they say, and nothing else (V-102).
func TestOutboundSettings(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"public_url": "https://auth.example.com", "verify_email": "optional",
		"outbound.allow": "127.0.0.0/8", "outbound.ports": u.Port(), "outbound.ca": ca,
	}
	for _, missing := range []string{"", "outbound.allow", "outbound.ports", "outbound.ca"} {
		settings := map[string]string{}
		for key, value := range all {
			if key != missing {
				settings[key] = value
			}
		}
		c := configure(t, settings)
		calls, err := outboundOf(&c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = calls.Do(t.Context(), outbound.Call{Method: "GET", URL: server.URL})
		if (missing == "") != (err == nil) {
			t.Errorf("without %q: %v", missing, err)
		}
	}
}

// A file that holds no certificate is told at the start, and by the doctor.
func TestOutboundCA(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".gone"} {
		c := configure(t, map[string]string{"outbound.ca": file})
		if _, err := New(t.Context(), options(c)); err == nil {
			t.Errorf("%s was taken", file)
		}
		d := &doctor{config: c, now: time.Now}
		d.outbound()
		examine(t, d.findings, "outbound", Serious, "outbound.ca")
	}
	d := &doctor{config: configure(t, nil), now: time.Now}
	if d.outbound(); len(d.findings) != 0 {
		t.Errorf("without one: %v", d.findings)
	}
}

// The doctor tells of clients that were not told of sign-outs (V-55).
func TestDoctorCountsNotices(t *testing.T) {
	a, err := New(t.Context(), options(configure(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	now := time.Now()
	look := func() []Finding {
		d := &doctor{config: a.config, now: func() time.Time { return now }}
		d.notices(t.Context(), a.Store)
		return d.findings
	}
	if found := look(); len(found) != 0 {
		t.Errorf("where nobody is to be told: %v", found)
	}
	client, _, err := a.Provider.Clients.Add(t.Context(), oauth.Client{
		Name: "Shop", Type: oauth.Web, RedirectURIs: []string{"https://shop.example/callback"}, BackchannelLogoutURI: "https://shop.example/logout", Scopes: []string{"openid"},
	}, "cli", audit.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	endGrantOf(t, a, client.ID)
	examine(t, look(), "logout", Fine, "Notices of sign-outs that wait for their client: 1, and none was given up.")
	now = now.Add(time.Hour)
	examine(t, look(), "logout", Serious, "Notices of sign-outs that wait for their client: 1, the oldest for 1h0m0s.")
	notices, _, err := a.Store.ClaimNotices(t.Context(), client.ID, "test", time.Minute, 10)
	if err != nil || len(notices) != 1 {
		t.Fatalf("claimed %v: %v", notices, err)
	}
	if err := a.Store.BuryNotice(t.Context(), notices[0].GrantID, "test", "the receiver answered 400"); err != nil {
		t.Fatal(err)
	}
	examine(t, look(), "logout", Serious, "Sign-outs of the last 30 days that a client was never told of: 1. The last that failed was to "+client.ID+": the receiver answered 400.")
}

// endGrantOf signs somebody in at a client, and ends that.
func endGrantOf(t *testing.T, a *App, clientID string) {
	t.Helper()
	in := signIn(t, a, "ada@example.com")
	u, now := in.Standing.User.ID, time.Now().Add(2*time.Second)
	s := session.Session{ID: "ses_00000000000000000000000001", UserID: u, CreatedAt: now, LastSeenAt: now, Idle: time.Hour, ExpiresAt: now.Add(time.Hour), AMR: []string{"pwd"}, ACR: "aal1"}
	g := session.Grant{ID: "grt_00000000000000000000000001", SessionID: s.ID, ClientID: clientID, CreatedAt: now}
	if err := a.Store.Add(t.Context(), s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Store.End(t.Context(), session.Ending{Kind: feed.Session, ID: s.ID}, audit.New(audit.SessionEnded, audit.OK, audit.Origin{})); err != nil {
		t.Fatal(err)
	}
}
