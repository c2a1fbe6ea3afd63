package app

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/oauth"
)

// What an application was allowed that is less safe than it could be is said, until it is
// not so any more.
func TestDoctorOnClients(t *testing.T) {
	t.Parallel()
	c, r := healthy(t, nil)
	examine(t, Examine(t.Context(), c, nil, nil), "clients", Fine, "No application is registered")
	add := func(draft oauth.Client) oauth.Client {
		t.Helper()
		added, _, err := r.Provider.Clients.Add(t.Context(), draft, "cli", Origin)
		if err != nil {
			t.Fatal(err)
		}
		return added
	}
	change := func(id string, f func(*oauth.Client)) {
		t.Helper()
		if _, _, err := r.Provider.Clients.Change(t.Context(), id, func(c *oauth.Client) error { f(c); return nil }, "cli", Origin); err != nil {
			t.Fatal(err)
		}
	}
	shop := add(oauth.Client{Name: "Shop", Type: oauth.Web, RedirectURIs: []string{"http://localhost:3000/callback"}})
	add(oauth.Client{Name: "Phone", Type: oauth.Native, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	examine(t, Examine(t.Context(), c, nil, nil), "clients", Fine, "2 applications are registered, 1 of them with a secret")

	change(shop.ID, func(c *oauth.Client) { c.WithoutPKCE = true })
	examine(t, Examine(t.Context(), c, nil, nil), "clients", Note, "coatcheck client change "+shop.ID+" --without-pkce=false")
	change(shop.ID, func(c *oauth.Client) { c.Disabled = true })
	examine(t, Examine(t.Context(), c, nil, nil), "clients", Fine, "2 applications")
	change(shop.ID, func(c *oauth.Client) { c.WithoutPKCE, c.Disabled, c.AccessLifetime = false, false, time.Hour })
	examine(t, Examine(t.Context(), c, nil, nil), "clients", Note, "Shop ("+shop.ID+") asks for access tokens of 1h0m0s, and token.access makes them 10m0s")
	change(shop.ID, func(c *oauth.Client) { c.AccessLifetime = 0 })

	public := c
	public.PublicURL = "https://auth.example.com"
	d := &doctor{config: public, now: time.Now}
	d.clients(t.Context(), r.Provider.Clients)
	examine(t, d.findings, "clients", Note, "http://localhost:3000/callback, by plain http")
	if len(d.findings) != 2 {
		t.Errorf("the phone's address is told of as well: %+v", d.findings)
	}
}
