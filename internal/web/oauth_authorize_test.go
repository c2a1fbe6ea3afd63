package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// shopAt registers an application, and returns its id.
func (s *stage) shopAt(t testing.TB, more func(*oauth.Client), uris ...string) string {
	t.Helper()
	c := oauth.Client{Name: "Shop", Type: oauth.Web, RedirectURIs: uris, Scopes: []string{"openid", "email"}}
	if more != nil {
		more(&c)
	}
	c, _, err := s.app.Provider.Clients.Add(context.Background(), c, "cli", audit.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func trusted(c *oauth.Client) { c.Trusted = true }

// authorizeBy is the address by which an application asks; pairs add to it or replace.
func authorizeBy(client, uri string, pairs ...string) string {
	query := url.Values{
		"client_id": {client}, "redirect_uri": {uri}, "response_type": {"code"}, "scope": {"openid"}, "state": {"xyz"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return "/oauth2/authorize?" + query.Encode()
}

// V-60, BCP-1, BCP-2: an address that is not to the letter one that was registered is sent
// to nowhere, whoever is signed in and whatever else is wrong.
func TestOnlyRegisteredAddressesAreAnswered(t *testing.T) {
	s := front(t, secure...)
	const good = "https://shop.example/callback"
	shop := s.shopAt(t, trusted, good)
	ada := s.signUpAs(t, "ada@example.com")
	if to := s.ask(t, "GET", authorizeBy(shop, good), "", "Cookie", ada.cookie).must(t, 303).header.Get("Location"); !strings.HasPrefix(to, good+"?code=ckc_") {
		t.Fatalf("the registered address is answered %s", to)
	}
	rows := []string{
		"https://evil.example/callback", "//shop.example/callback", "https:/shop.example/callback", "https:shop.example/callback", "https:///shop.example/callback", "/callback", "callback",
		"http://shop.example/callback", "HTTPS://shop.example/callback", "https://SHOP.example/callback", "https://shop.EXAMPLE/callback", "https://shop.example./callback", "https://shop.example:443/callback",
		"https://shop.example:/callback", "https://shop.example:0443/callback", "https://shop.example:8443/callback", "https://shop.example/Callback", "https://shop.example/callback/", "https://shop.example/callback//",
		"https://shop.example//callback", "https://shop.example/./callback", "https://shop.example/x/../callback", "https://shop.example/..;/callback", "https://shop.example/callback/..", "https://shop.example/callback/../evil",
		"https://shop.example/callback;x", "https://shop.example/callback/..;/evil", "https://shop.example/%63allback", "https://shop.example/callback%2f", "https://shop.example/callback%00", "https://shop.example/callback%0a",
		"https://shop.example/callback%20", "https://shop.example/callback ", " https://shop.example/callback", "https://shop.example/callback\t", "https://shop.example/callback\n", "https://shop.example/callback\x00",
		"https://shop.example/callback?", "https://shop.example/callback?x=1", "https://shop.example/callback#", "https://shop.example/callback#x", "https://shop.example/callbackx", "https://shop.example/callback.evil.example",
		"https://shop.example.evil.example/callback", "https://evil.example/https://shop.example/callback", "https://evil.example?https://shop.example/callback", "https://evil.example#https://shop.example/callback",
		"https://shop.example@evil.example/callback", "https://shop.example:x@evil.example/callback", "https://a@shop.example/callback", "https://evil.example@shop.example/callback", "https://a@b@shop.example/callback",
		"https://shop.example\\@evil.example/callback", "https:\\\\shop.example\\callback", "https://shop.example\\callback", "https://shop.example%40evil.example/callback", "https://shop.example%2fcallback", "https://shop.example%23@evil.example/callback",
		"https://shop.example&@evil.example/callback", "https://*.example/callback", "https://shop.example/*", "https://xn--shop-.example/callback", "https://shop\u3002example/callback", "https://shop.example\uff0fcallback", "https://\u0455hop.example/callback",
		"https://shop.example/callback,https://evil.example/", "https://shop.example/callback https://evil.example/", "javascript:alert(1)//https://shop.example/callback", "data:text/html,x", "shop.example:/callback", "https://127.0.0.1/callback", "http://localhost/callback",
	}
	if len(rows) < 60 {
		t.Errorf("the table has %d rows", len(rows))
	}
	for _, row := range rows {
		for _, more := range [][]string{nil, {"prompt", "none"}, {"response_type", "token"}, {"response_mode", "form_post"}, {"scope", "beyond"}} {
			r := s.ask(t, "GET", authorizeBy(shop, row, more...), "", "Cookie", ada.cookie, "Accept", "text/html")
			if r.status != http.StatusBadRequest || r.header.Get("Location") != "" || strings.Contains(r.text, "ckc_") || strings.Contains(r.text, `action="`) {
				t.Errorf("%q with %v is answered %d, %s", row, more, r.status, r.header.Get("Location"))
			}
		}
	}
}

// V-68: nothing is written and nothing is kept for a request that nobody has answered,
// however many there are.
func TestAbandonedRequestsLeaveNothing(t *testing.T) {
	s := newStage(t, "")
	var writes atomic.Int64
	s.made = func(a *app.App) {
		a.Store.Interfere(func(op sqlstore.Operation) (bool, error) {
			if op.Kind == sqlstore.Write {
				writes.Add(1)
			}
			return false, nil
		})
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	shop := s.shopAt(t, nil, "https://shop.example/callback")
	ada := s.signUpAs(t, "ada@example.com")
	handler := s.app.Handler()
	begin := func(n int, client, cookie string, pairs ...string) {
		t.Helper()
		for i := range n {
			pairs := append([]string{"state", fmt.Sprint("state ", i)}, pairs...)
			r := httptest.NewRequest(http.MethodGet, s.origin.String()+authorizeBy(client, "https://shop.example/callback", pairs...), nil)
			if cookie != "" {
				r.Header.Set("Cookie", cookie)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if (w.Code != http.StatusSeeOther || !strings.Contains(w.Header().Get("Location"), "continue")) != (client != shop) {
				t.Fatalf("a request is answered %d, %s", w.Code, w.Header().Get("Location"))
			}
		}
	}
	all := func(n int) {
		begin(n, shop, "")
		begin(n, shop, ada.cookie, "prompt", "login")
		begin(n, shop, ada.cookie, "prompt", "select_account")
		begin(n, shop, ada.cookie, "prompt", "consent")
	}
	all(500) // whatever is made once
	before, written := heap(), writes.Load()
	all(5000)
	for i := range 2000 {
		begin(1, fmt.Sprintf("cli_%026d", i), "")
	}
	if n := writes.Load() - written; n > 2 { // of upkeep, which goes on beside
		t.Errorf("%d writes for requests that nobody answered", n)
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 200)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A store that fails says nothing of who is signed in: an application that shows no page is
// told to try again, and never that nobody is here, upon which it would forget the person.
func TestFailingStoreIsNoSignOut(t *testing.T) {
	s := front(t)
	shop := s.shopAt(t, nil, "https://shop.example/callback")
	ada := s.signUpAs(t, "ada@example.com")
	s.ask(t, "GET", authorizeBy(shop, "https://shop.example/callback"), "", "Cookie", ada.cookie).must(t, 303)
	s.app.Store.Interfere(func(op sqlstore.Operation) (bool, error) {
		if op.Kind == sqlstore.Read {
			return false, errors.New("the database is away")
		}
		return false, nil
	})
	to := s.ask(t, "GET", authorizeBy(shop, "https://shop.example/callback", "prompt", "none"), "", "Cookie", ada.cookie).must(t, 303).header.Get("Location")
	if u, err := url.Parse(to); err != nil || u.Query().Get("error") != "temporarily_unavailable" || u.Query().Get("state") != "xyz" {
		t.Errorf("the application is told %s", to)
	}
	if r := s.ask(t, "GET", authorizeBy(shop, "https://shop.example/callback"), "", "Cookie", ada.cookie, "Accept", "text/html"); r.status != 503 || !strings.Contains(r.text, "Not available right now") {
		t.Errorf("the person is told %d", r.status)
	}
}

// Whoever disconnects an application while it is being answered has disconnected it: the
// code that was made meanwhile is worth nothing, and is not given out.
func TestDisconnectBeatsAnAnswer(t *testing.T) {
	s := newStage(t, "")
	var once sync.Once
	var meanwhile atomic.Pointer[func()]
	s.made = func(a *app.App) {
		a.Store.Interfere(func(op sqlstore.Operation) (bool, error) {
			if act := meanwhile.Load(); act != nil && strings.Contains(op.Query, "INSERT INTO authorization_code") {
				once.Do(*act)
			}
			return false, nil
		})
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	shop := s.shopAt(t, nil, "https://shop.example/callback")
	ada := s.signUpAs(t, "ada@example.com")
	adas := s.ask(t, "GET", "/v1/user", "", "Cookie", ada.cookie).must(t, 200).get(t, ".id")
	if err := s.app.Store.PutConsent(t.Context(), oauth.Consent{UserID: adas, ClientID: shop, Scopes: []string{"openid"}}, audit.Entry{Event: audit.ConsentGiven}); err != nil {
		t.Fatal(err)
	}
	address := authorizeBy(shop, "https://shop.example/callback", "prompt", "none")
	if to := s.ask(t, "GET", address, "", "Cookie", ada.cookie).must(t, 303).header.Get("Location"); !strings.Contains(to, "code=ckc_") {
		t.Fatalf("with consent it is answered %s", to)
	}
	disconnect := func() {
		if err := s.app.Provider.Disconnect(context.Background(), adas, shop, audit.Origin{}); err != nil {
			t.Errorf("disconnect: %v", err)
		}
	}
	meanwhile.Store(&disconnect)
	if to := s.ask(t, "GET", address, "", "Cookie", ada.cookie).must(t, 303).header.Get("Location"); !strings.Contains(to, "error=consent_required") {
		t.Errorf("it is answered %s", to)
	}
}

// OC-9, CSRF: any site may send a form to the authorization endpoint, which reads and sets
// no cookie for it: it does nothing that a link would not.
func TestForeignFormDoesNoMoreThanALink(t *testing.T) {
	s := front(t, secure...)
	shop := s.shopAt(t, trusted, "https://shop.example/callback")
	ada := s.signUpAs(t, "ada@example.com")
	_, query, _ := strings.Cut(authorizeBy(shop, "https://shop.example/callback"), "?")
	r := s.ask(t, "POST", "/oauth2/authorize", query, "Cookie", ada.cookie, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").must(t, 303)
	to := r.header.Get("Location")
	if !strings.HasPrefix(to, "/oauth2/authorize?continue=") || len(r.cookies) > 0 {
		t.Errorf("it is answered %s with %d cookies", to, len(r.cookies))
	}
	if to := s.ask(t, "GET", to, "", "Cookie", ada.cookie).must(t, 303).header.Get("Location"); !strings.HasPrefix(to, "https://shop.example/callback?code=") {
		t.Errorf("it goes on to %s", to)
	}
	for _, bad := range []string{query + "&client_id=x", "client_id=%zz", ""} {
		if r := s.ask(t, "POST", "/oauth2/authorize", bad, "Origin", "https://shop.example", "Content-Type", "application/x-www-form-urlencoded"); r.status != 400 {
			t.Errorf("%q is answered %d", bad, r.status)
		}
	}
}

// BCP-8: scripts of other sites read nothing here, whatever cors.origins says.
func TestNoCORSAtTheAuthorizationEndpoint(t *testing.T) {
	s := front(t, append([]string{"cors.origins", "https://shop.example"}, secure...)...)
	shop := s.shopAt(t, trusted, "https://shop.example/callback")
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		r := s.ask(t, method, authorizeBy(shop, "https://shop.example/callback", "prompt", "none"), "", "Origin", "https://shop.example", "Access-Control-Request-Method", "GET")
		if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s allows %s", method, got)
		}
	}
}

// V-35: a second cookie of the name was put there by someone else, and binds no request.
func TestTwoFlowCookiesBindNothing(t *testing.T) {
	s := front(t, secure...)
	shop := s.shopAt(t, trusted, "https://shop.example/callback")
	begun := s.ask(t, "GET", authorizeBy(shop, "https://shop.example/callback"), "").must(t, 303)
	flow := begun.cookies["__Host-coatcheck_flow"]
	if flow == nil || !flow.Secure || !flow.HttpOnly || flow.SameSite != http.SameSiteLaxMode || flow.Domain != "" {
		t.Fatalf("the cookie is %v", flow)
	}
	to, err := url.Parse(begun.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	own, back := "__Host-coatcheck_flow="+flow.Value, to.Query().Get("return_to")
	s.ask(t, "GET", back, "", "Cookie", own).must(t, 303)
	for name, cookie := range map[string]string{
		"none": "x=y", "two": own + "; __Host-coatcheck_flow=" + strings.Repeat("A", 43), "two alike": own + "; " + own,
		"another": "__Host-coatcheck_flow=" + strings.Repeat("A", 43), "malformed": own + "x", "plain": "coatcheck_dev_flow=" + flow.Value,
	} {
		if r := s.ask(t, "GET", back, "", "Cookie", cookie); r.status != 400 {
			t.Errorf("with %s it goes on: %d, %s", name, r.status, r.header.Get("Location"))
		}
	}
	// One secret is enough for all tabs of a browser.
	again := s.ask(t, "GET", authorizeBy(shop, "https://shop.example/callback"), "", "Cookie", own).must(t, 303)
	if again.cookies["__Host-coatcheck_flow"].Value != flow.Value {
		t.Error("a second tab takes the first one's secret away")
	}
}

// A code flow of somebody who is signed in and has consented asks the database five times:
// twice for the consent (before and after the code is there, so that who disconnects
// meanwhile wins), once each to write, read and spend the code. Spending it is two round
// trips to PostgreSQL and the others one, as TestPostgresRoundTrips of the store says: six.
func TestCodeFlowAsksTheStore(t *testing.T) {
	s := newStage(t, "")
	var mu sync.Mutex
	var asked []string
	s.made = func(a *app.App) {
		a.Store.Interfere(func(op sqlstore.Operation) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case op.Kind == sqlstore.Write:
				asked = append(asked, op.Step)
			case op.Kind == sqlstore.Read && strings.Contains(op.Query, "consent"):
				asked = append(asked, "consent")
			case op.Kind == sqlstore.Read && !strings.Contains(op.Query, "revocation r"):
				asked = append(asked, strings.Join(strings.Fields(op.Query), " "))
			}
			return false, nil
		})
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	const uri = "https://shop.example/callback"
	shop := s.shopAt(t, func(c *oauth.Client) { c.Type, c.AuthMethod = oauth.SPA, oauth.AuthNone }, uri)
	ada := s.signUpAs(t, "ada@example.com")
	adas := s.ask(t, "GET", "/v1/user", "", "Cookie", ada.cookie).must(t, 200).get(t, ".id")
	if err := s.app.Store.PutConsent(t.Context(), oauth.Consent{UserID: adas, ClientID: shop, Scopes: []string{"openid"}}, audit.Entry{Event: audit.ConsentGiven}); err != nil {
		t.Fatal(err)
	}
	for round := range 2 { // the first one makes the server remember client and session
		mu.Lock()
		asked = nil
		mu.Unlock()
		to, err := url.Parse(s.ask(t, "GET", authorizeBy(shop, uri), "", "Cookie", ada.cookie).must(t, 303).header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {shop}, "redirect_uri": {uri}, "code": {to.Query().Get("code")},
			"code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
		}
		s.ask(t, "POST", "/oauth2/token", form.Encode()).must(t, 200)
		mu.Lock()
		if round == 1 && len(asked) != 5 {
			t.Errorf("the store was asked %d times: %q", len(asked), asked)
		}
		mu.Unlock()
	}
}
