package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

var shopCallback = []string{"https://shop.example/callback"}

// What the type decides and nobody has said.
func TestDefaultsByType(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	keys := newSigner(t).keySet()
	code := []string{oauth.GrantCode, oauth.GrantRefresh}
	for name, row := range map[string]struct {
		said   oauth.Client
		method oauth.AuthMethod
		grants []string
		signs  jwt.Algorithm
		secret bool
	}{
		"web":                {oauth.Client{Type: oauth.Web, RedirectURIs: shopCallback}, oauth.AuthBasic, code, jwt.RS256, true},
		"web with keys":      {oauth.Client{Type: oauth.Web, RedirectURIs: shopCallback, JWKS: keys}, oauth.AuthKey, code, jwt.RS256, false},
		"spa":                {oauth.Client{Type: oauth.SPA, RedirectURIs: shopCallback}, oauth.AuthNone, code, jwt.RS256, false},
		"native":             {oauth.Client{Type: oauth.Native, RedirectURIs: []string{"http://127.0.0.1/"}}, oauth.AuthNone, code, jwt.RS256, false},
		"machine":            {oauth.Client{Type: oauth.Machine}, oauth.AuthBasic, []string{oauth.GrantClient}, "", true},
		"web that says more": {oauth.Client{Type: oauth.Web, RedirectURIs: shopCallback, AuthMethod: oauth.AuthPost, Grants: []string{oauth.GrantCode, oauth.GrantClient}, IDAlgorithm: jwt.EdDSA}, oauth.AuthPost, []string{oauth.GrantCode, oauth.GrantClient}, jwt.EdDSA, true},
	} {
		row.said.Name = name
		c, secret, err := n.Clients.Add(t.Context(), row.said, "cli", fromHere)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.AuthMethod != row.method || !slices.Equal(c.Grants, row.grants) || c.IDAlgorithm != row.signs || (secret != "") != row.secret {
			t.Errorf("%s: %s, %v, %q, secret %t", name, c.AuthMethod, c.Grants, c.IDAlgorithm, secret != "")
		}
		if people := row.said.Type != oauth.Machine; people != slices.Equal(c.Scopes, []string{"openid", "email", "profile"}) {
			t.Errorf("%s: it may ask for %v", name, c.Scopes)
		}
		if row.secret && (len(secret) != 47 || !strings.HasPrefix(secret, "ccs_")) {
			t.Errorf("%s: a secret of another form", name)
		}
	}
}

// BCP-9: ids are made by us, in a space of their own; what a caller says is not looked at.
func TestNobodyChoosesAClientID(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	user := credential.NewID(credential.User)
	seen := map[string]bool{}
	for _, wish := range []string{"", user, session.FirstParty, "shop", "cli_shop", "pw_shop"} {
		c, _ := n.add(oauth.Client{ID: wish, Type: oauth.Machine})
		if c.ID == wish || seen[c.ID] || !credential.IsID(credential.Client, c.ID) || credential.IsID(credential.User, c.ID) {
			t.Errorf("who wished for %q got %q", wish, c.ID)
		}
		seen[c.ID] = true
		if _, _, err := n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.ID = user; return nil }, "cli", fromHere); err != nil {
			t.Error(err)
		}
		if _, err := n.Clients.Find(t.Context(), user); !errors.Is(err, oauth.ErrNoClient) {
			t.Errorf("a client has taken the id of a user: %v", err)
		}
	}
}

// V-61, V-76, ASVS-10.4.4, ASVS-10.4.6, ASVS-10.4.7, ASVS-10.4.11: what is refused at
// registration, member by member, and after a change as well.
func TestRegistrationRefuses(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	keys := newSigner(t).keySet()
	long := strings.Repeat("x", 201)
	for name, row := range map[string]struct {
		member string
		change func(c *oauth.Client)
	}{
		"no name":                  {"/name", func(c *oauth.Client) { c.Name = "" }},
		"a name too long":          {"/name", func(c *oauth.Client) { c.Name = strings.Repeat("ü", 101) }},
		"a name of two lines":      {"/name", func(c *oauth.Client) { c.Name = "Shop\nverified" }},
		"a name with a space":      {"/name", func(c *oauth.Client) { c.Name = " Shop" }},
		"a name turned round":      {"/name", func(c *oauth.Client) { c.Name = "Shop\u202e" }},
		"a name that is not UTF-8": {"/name", func(c *oauth.Client) { c.Name = "Shop\xff" }},
		"implicit":                 {"/grant_types", func(c *oauth.Client) { c.Grants = []string{oauth.GrantCode, "implicit"} }},
		"password":                 {"/grant_types", func(c *oauth.Client) { c.Grants = []string{"password", oauth.GrantCode} }},
		"a grant twice":            {"/grant_types", func(c *oauth.Client) { c.Grants = []string{oauth.GrantCode, oauth.GrantCode} }},
		"refresh alone":            {"/grant_types", func(c *oauth.Client) { c.Grants = []string{oauth.GrantRefresh} }},
		"an unknown method":        {"/token_endpoint_auth_method", func(c *oauth.Client) { c.AuthMethod = "tls_client_auth" }},
		"keys beside a secret":     {"/token_endpoint_auth_method", func(c *oauth.Client) { c.AuthMethod, c.JWKS = oauth.AuthBasic, keys }},
		"a key without a key":      {"/jwks", func(c *oauth.Client) { c.AuthMethod = oauth.AuthKey }},
		"keys that are none":       {"/jwks", func(c *oauth.Client) { c.AuthMethod, c.JWKS = oauth.AuthKey, json.RawMessage(`{}`) }},
		"keys in two places": {"/jwks_uri", func(c *oauth.Client) {
			c.AuthMethod, c.JWKS, c.JWKSURI = oauth.AuthKey, keys, "https://shop.example/keys"
		}},
		"public without PKCE":         {"/without_pkce", func(c *oauth.Client) { c.AuthMethod, c.WithoutPKCE = oauth.AuthNone, true }},
		"nowhere to go":               {"/redirect_uris", func(c *oauth.Client) { c.RedirectURIs = nil }},
		"the same place twice":        {"/redirect_uris", func(c *oauth.Client) { c.RedirectURIs = append(c.RedirectURIs, c.RedirectURIs...) }},
		"twenty-one places":           {"/post_logout_redirect_uris", func(c *oauth.Client) { c.PostLogoutRedirectURIs = make([]string, 21) }},
		"a script":                    {"/redirect_uris", func(c *oauth.Client) { c.RedirectURIs = []string{"JaVaScRiPt:alert(1)"} }},
		"a wildcard":                  {"/redirect_uris", func(c *oauth.Client) { c.RedirectURIs = []string{"https://*.shop.example/"} }},
		"a scope of two words":        {"/scope", func(c *oauth.Client) { c.Scopes = []string{"read write"} }},
		"a scope with a quote":        {"/scope", func(c *oauth.Client) { c.Scopes = []string{`read"`} }},
		"an empty scope":              {"/scope", func(c *oauth.Client) { c.Scopes = []string{""} }},
		"a scope twice":               {"/scope", func(c *oauth.Client) { c.Scopes = []string{"read", "read"} }},
		"a long scope":                {"/scope", func(c *oauth.Client) { c.Scopes = []string{long} }},
		"an audience with a fragment": {"/audiences", func(c *oauth.Client) { c.Audiences = []string{"https://api.example/#a"} }},
		"an audience with a space":    {"/audiences", func(c *oauth.Client) { c.Audiences = []string{"the orders"} }},
		"tokens of a second":          {"/access_token_lifetime", func(c *oauth.Client) { c.AccessLifetime = time.Second }},
		"tokens of a year":            {"/access_token_lifetime", func(c *oauth.Client) { c.AccessLifetime = 365 * 24 * time.Hour }},
		"a negative lifetime":         {"/access_token_lifetime", func(c *oauth.Client) { c.AccessLifetime = -time.Hour }},
		"unsigned ID tokens":          {"/id_token_signed_response_alg", func(c *oauth.Client) { c.IDAlgorithm = "none" }},
		"ID tokens with a secret":     {"/id_token_signed_response_alg", func(c *oauth.Client) { c.IDAlgorithm = "HS256" }},
		"a sector for nothing":        {"/sector", func(c *oauth.Client) { c.Sector = "shop.example" }},
		"pairwise for two hosts": {"/sector", func(c *oauth.Client) {
			c.Pairwise, c.RedirectURIs = true, append(c.RedirectURIs, "https://other.example/")
		}},
		"a sector that is an address": {"/sector", func(c *oauth.Client) { c.Pairwise, c.Sector = true, "https://shop.example/sector.json" }},
		"a page that runs":            {"/policy_uri", func(c *oauth.Client) { c.PolicyURI = "data:text/html,x" }},
	} {
		draft := oauth.Client{Name: "Shop", Type: oauth.Web, RedirectURIs: slices.Clone(shopCallback), Grants: []string{oauth.GrantCode}}
		good, _, err := n.Clients.Add(t.Context(), draft, "cli", fromHere)
		n.must(err)
		row.change(&draft)
		_, secret, err := n.Clients.Add(t.Context(), draft, "cli", fromHere)
		wantMember(t, name, err, row.member)
		if secret != "" {
			t.Errorf("%s: a secret for nobody", name)
		}
		_, _, err = n.Clients.Change(t.Context(), good.ID, func(c *oauth.Client) error { row.change(c); return nil }, "cli", fromHere)
		wantMember(t, name+", as a change", err, row.member)
	}
}

// What a type cannot be.
func TestRegistrationRefusesByType(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	for name, row := range map[string]struct {
		member string
		draft  oauth.Client
	}{
		"no type":                 {"/type", oauth.Client{RedirectURIs: shopCallback}},
		"another type":            {"/type", oauth.Client{Type: "server", RedirectURIs: shopCallback}},
		"a browser's secret":      {"/token_endpoint_auth_method", oauth.Client{Type: oauth.SPA, AuthMethod: oauth.AuthPost, RedirectURIs: shopCallback}},
		"a phone's secret":        {"/token_endpoint_auth_method", oauth.Client{Type: oauth.Native, AuthMethod: oauth.AuthBasic, RedirectURIs: shopCallback}},
		"a browser for itself":    {"/grant_types", oauth.Client{Type: oauth.SPA, Grants: []string{oauth.GrantCode, oauth.GrantClient}, RedirectURIs: shopCallback}},
		"a machine of nobody":     {"/token_endpoint_auth_method", oauth.Client{Type: oauth.Machine, AuthMethod: oauth.AuthNone}},
		"a machine with people":   {"/grant_types", oauth.Client{Type: oauth.Machine, Grants: []string{oauth.GrantCode}}},
		"a machine with a page":   {"/redirect_uris", oauth.Client{Type: oauth.Machine, RedirectURIs: shopCallback}},
		"a machine with openid":   {"/scope", oauth.Client{Type: oauth.Machine, Scopes: []string{"openid"}}},
		"a machine that is told":  {"/backchannel_logout_uri", oauth.Client{Type: oauth.Machine, BackchannelLogoutURI: "https://shop.example/out"}},
		"a machine with subjects": {"/pairwise", oauth.Client{Type: oauth.Machine, Pairwise: true, Sector: "shop.example"}},
		"a phone on localhost":    {"/redirect_uris", oauth.Client{Type: oauth.Native, RedirectURIs: []string{"http://localhost/"}}},
		"a page in an app":        {"/redirect_uris", oauth.Client{Type: oauth.Web, RedirectURIs: []string{"com.example.app:/callback"}}},
	} {
		row.draft.Name = "Shop"
		_, _, err := n.Clients.Add(t.Context(), row.draft, "cli", fromHere)
		if members := membersIn(err); !slices.Contains(members, row.member) {
			t.Errorf("%s: at fault are %v (%v), want %s", name, members, err, row.member)
		}
	}
}

func wantMember(t *testing.T, name string, err error, member string) {
	t.Helper()
	if members := membersIn(err); !slices.Equal(members, []string{member}) {
		t.Errorf("%s: at fault are %v (%v), want %s", name, members, err, member)
	}
}

func membersIn(err error) []string {
	var wrong fault.Members
	errors.As(err, &wrong)
	var names []string
	for _, m := range wrong {
		names = append(names, m.Member)
	}
	return names
}

// A change is whole: what is not named stays, the type and the id as well.
func TestChangeAndRemove(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	c, secret := n.add(oauth.Client{Type: oauth.Web, Scopes: []string{"openid"}})
	want := c
	want.Name, want.Scopes, want.Revision = "Store", []string{"openid", "email"}, 2
	got, fresh, err := n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error {
		c.Name, c.Type, c.Scopes = "Store", oauth.SPA, append(c.Scopes, "email")
		return nil
	}, "usr_admin", fromHere)
	n.must(err)
	if diff := cmp.Diff(want, got); diff != "" || fresh != "" {
		t.Errorf("a fresh secret %t, and (-want +got)\n%s", fresh != "", diff)
	}
	// To keys and back: a secret that was given up is not good once more.
	keys := newSigner(t).keySet()
	got, _, err = n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.AuthMethod, c.JWKS = oauth.AuthKey, keys; return nil }, "cli", fromHere)
	n.must(err)
	if got.SecretHash != (credential.Hash{}) {
		t.Error("a client that signs has a secret")
	}
	_, err = n.Clients.RotateSecret(t.Context(), c.ID, "cli", fromHere)
	wantMember(t, "a secret for a client that signs", err, "/token_endpoint_auth_method")
	_, fresh, err = n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.AuthMethod, c.JWKS = oauth.AuthPost, nil; return nil }, "cli", fromHere)
	n.must(err)
	if fresh == "" || fresh == secret {
		t.Error("no fresh secret")
	}
	if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: c.ID, Secret: secret, Post: true, From: fromHere}); !errors.Is(err, oauth.ErrClient) {
		t.Errorf("the secret that was given up: %v", err)
	}
	n.must(n.Clients.Remove(t.Context(), c.ID, "cli", fromHere))
	for what, err := range map[string]error{
		"remove":             n.Clients.Remove(t.Context(), c.ID, "cli", fromHere),
		"find":               second(n.Clients.Find(t.Context(), c.ID)),
		"rotate":             second(n.Clients.RotateSecret(t.Context(), c.ID, "cli", fromHere)),
		"remove first-party": n.Clients.Remove(t.Context(), session.FirstParty, "cli", fromHere),
	} {
		if !errors.Is(err, oauth.ErrNoClient) {
			t.Errorf("%s: %v", what, err)
		}
	}
	entries, err := n.db.Entries(t.Context(), audit.Filter{}, 0, 100)
	n.must(err)
	var events []audit.Event
	for _, e := range slices.Backward(entries) {
		if e.Subject == c.ID {
			events = append(events, e.Event)
		}
	}
	if diff := cmp.Diff([]audit.Event{audit.ClientAdded, audit.ClientChanged, audit.ClientChanged, audit.ClientChanged, audit.ClientRemoved}, events); diff != "" {
		t.Errorf("the audit (-want +got)\n%s", diff)
	}
}

func second[T any](_ T, err error) error { return err }

// Administrators who change a client at once lose nothing of each other.
func TestChangesAreNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		n := newNode(t, url, &timepiece{})
		c, _ := n.add(oauth.Client{Type: oauth.Machine})
		errs := make(chan error)
		words := []string{"a", "b", "c", "d"}
		for _, word := range words {
			go func() {
				_, _, err := n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.Scopes = append(c.Scopes, word); return nil }, "cli", fromHere)
				errs <- err
			}()
		}
		for range words {
			n.must(<-errs)
		}
		got, err := n.Clients.Find(t.Context(), c.ID)
		n.must(err)
		if !slices.Equal(slices.Sorted(slices.Values(got.Scopes)), words) {
			t.Errorf("of four changes %v are there", got.Scopes)
		}
	})
}

// A client that is known costs no look-up; a change holds here at once, and elsewhere
// when the log is read, whichever node made it.
func TestFindRemembers(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		clock := &timepiece{}
		a, b := newNode(t, url, clock), newNode(t, url, clock)
		c, _ := a.add(oauth.Client{Type: oauth.Web})
		find := func(n *node) *oauth.Client {
			t.Helper()
			n.hears()
			got, err := n.Clients.Find(t.Context(), c.ID)
			n.must(err)
			return got
		}
		clock.pass(5 * time.Second)
		for _, n := range []*node{a, b} {
			find(n)
			asked := n.asks.Load()
			for range 10 {
				find(n)
			}
			if more := n.asks.Load() - asked; more != 0 {
				t.Errorf("a known client was looked up %d times in ten", more)
			}
		}
		for i, name := range []string{"Store", "Market"} {
			_, _, err := a.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.Name = name; return nil }, "cli", fromHere)
			a.must(err)
			if got := find(a).Name; got != name {
				t.Errorf("change %d, at once, on the node that made it: %s", i, got)
			}
			if got := find(b).Name; got != name {
				t.Errorf("change %d, on another node: %s", i, got)
			}
			clock.pass(5 * time.Second)
		}
		clock.pass(2 * time.Minute)
		asked := b.asks.Load()
		if find(b); b.asks.Load() == asked {
			t.Error("a client is believed for more than a minute without a look")
		}
	})
}

// An answer of the store that was overtaken by a change is not remembered.
func TestAnOvertakenAnswerIsNotRemembered(t *testing.T) {
	clock := &timepiece{}
	n := newNode(t, sqliteAt(t), clock)
	c, _ := n.add(oauth.Client{Type: oauth.Web, Name: "Shop"})
	clock.pass(5 * time.Second)
	var once atomic.Bool
	overtaken := countingStore{ClientStore: n.db, asked: &atomic.Int64{}, read: func() {
		if once.Swap(true) {
			return
		}
		_, _, err := n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.Name = "Store"; return nil }, "cli", fromHere)
		n.must(err)
		clock.pass(time.Minute)
		n.hears()
	}}
	late, err := oauth.New(oauth.Config{Issuer: issuerURL}, oauth.Stores{Clients: late{overtaken, clock}, Assertions: n.db, Audit: n.db},
		nil, nil, n.log, []byte(strings.Repeat("s", 32)), clock.now, slog.New(slog.DiscardHandler))
	n.must(err)
	if _, err := late.Clients.Find(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	n.hears()
	got, err := late.Clients.Find(t.Context(), c.ID)
	n.must(err)
	if got.Name != "Store" {
		t.Errorf("after the change it is still called %s", got.Name)
	}
}

// A late store says that it has read later than it did, as one does whose reading began
// before a change was committed and bears a later time than that.
type late struct {
	oauth.ClientStore
	clock *timepiece
}

func (s late) FindClient(ctx context.Context, id string) (oauth.Client, time.Time, error) {
	c, _, err := s.ClientStore.FindClient(ctx, id)
	return c, s.clock.now(), err
}
