package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/web"
)

// call sends one request to the stage and returns status and body.
func (s *stage) call(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.origin.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	client, err := s.client("")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// addKey makes an API key with the given scopes.
func (s *stage) addKey(t *testing.T, scopes ...string) string {
	t.Helper()
	_, text, err := s.app.Accounts.AddAPIKey(t.Context(), "test", scopes, "cli", audit.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var memberForm = regexp.MustCompile(`"(access_token|id)":"([^"]+)"`)

// signIn adds Ada and returns an access token and the value of a cookie of hers.
func (s *stage) signIn(t *testing.T) (token, cookie string) {
	t.Helper()
	admin := s.addKey(t, account.ScopeAdmin)
	if status, text := s.call(t, "POST", "/v1/admin/users", `{"email":"ada@example.com","password":"correct horse battery"}`, "Authorization", "Bearer "+admin); status != 201 {
		t.Fatalf("add a user: %d %s", status, text)
	}
	_, text := s.call(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"correct horse battery","transport":"token"}`)
	for _, member := range memberForm.FindAllStringSubmatch(text, -1) {
		if member[1] == "access_token" {
			token = member[2]
		}
	}
	client, err := s.client("ada")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.origin.String()+"/v1/sign-in", strings.NewReader(`{"email":"ada@example.com","password":"correct horse battery"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, c := range resp.Cookies() {
		if !strings.HasSuffix(c.Name, "_device") {
			cookie = c.Name + "=" + c.Value
		}
	}
	if token == "" || cookie == "" {
		t.Fatalf("sign-in gave no token (%s) or no cookie (%d)", text, resp.StatusCode)
	}
	return token, cookie
}

// V-71: every row of the table takes the credential and the scope that it names, over
// every channel, and no other.
func TestScopeMatrix(t *testing.T) {
	s := newStage(t, "")
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	token, cookie := s.signIn(t)
	a, public := s.register(t, shop()), s.register(t, oauth.Client{Type: oauth.SPA, Scopes: []string{"openid"}, Trusted: true})
	third := s.draw(t, a, cookie)
	keys := map[string]string{}
	for _, scope := range account.Scopes {
		keys[scope] = s.addKey(t, scope)
	}
	for _, row := range web.Rows() {
		path := strings.NewReplacer("{id}", "ses_00000000000000000000000000", "{file}", "none").Replace(row.Path)
		ask := func(headers ...string) int {
			status, _ := s.call(t, row.Method, path, "", headers...)
			return status
		}
		refuse := func(what string, want, got int) {
			if got != want {
				t.Errorf("%s by %s is %d, want %d", row.Pattern, what, got, want)
			}
		}
		switch row.Who {
		case "apikey":
			refuse("nobody", 401, ask())
			refuse("an access token", 401, ask("Authorization", "Bearer "+token))
			refuse("a client's access token", 401, ask("Authorization", "Bearer "+third.Access))
			refuse("a client", 401, ask(a.header...))
			refuse("a cookie", 401, ask("Cookie", cookie))
			refuse("the right key as Basic", 401, ask("Authorization", "Basic "+keys[row.Scope]))
			refuse("the right key as DPoP", 401, ask("Authorization", "DPoP "+keys[row.Scope]))
			refuse("two keys", 401, ask("Authorization", "Bearer "+keys[row.Scope], "Authorization", "Bearer "+keys[row.Scope]))
			for _, scope := range account.Scopes {
				if scope != row.Scope {
					refuse("a key for "+scope, 403, ask("Authorization", "Bearer "+keys[scope]))
				}
			}
		case "holder":
			want := 401
			if row.Page { // people are sent to sign in
				want = 303
			}
			refuse("nobody", want, ask())
			refuse("an access token as Basic", want, ask("Authorization", "Basic "+token))
			refuse("an access token as DPoP", want, ask("Authorization", "DPoP "+token))
			refuse("a client's access token", want, ask("Authorization", "Bearer "+third.Access))
			refuse("a client's ID token", want, ask("Authorization", "Bearer "+third.ID))
			refuse("a client", want, ask(a.header...))
			for _, scope := range account.Scopes {
				refuse("a key for "+scope, want, ask("Authorization", "Bearer "+keys[scope]))
			}
		case "client", "client or apikey", "grantee":
			s.refuseStrangers(t, row, a, public, map[string]string{
				"an access token": token, "a client's access token": third.Access, "a client's ID token": third.ID, "a refresh token": third.Refresh,
			}, cookie, keys)
		}
	}
}

// refuseStrangers holds a row that clients call to what it names: a client that shows who
// it is, an API key, or an access token with its scope.
func (s *stage) refuseStrangers(t *testing.T, row web.Row, a, public registered, bearers map[string]string, cookie string, keys map[string]string) {
	t.Helper()
	ask := func(what string, want int, form string, headers ...string) {
		t.Helper()
		if row.Method == "GET" {
			form = ""
		}
		if got := s.ask(t, row.Method, row.Path, form, headers...); got.status != want {
			t.Errorf("%s by %s is %d, want %d: %.200s", row.Pattern, what, got.status, want, got.text)
		}
	}
	ask("nobody", 401, "token=x")
	ask("a cookie", 401, "token=x", "Cookie", cookie)
	ask("a client's secret as Bearer", 401, "token=x", "Authorization", "Bearer "+a.secret)
	ask("a client's secret as DPoP", 401, "token=x", "Authorization", "DPoP "+a.secret)
	ask("a client that names itself alone", 401, encode("token", "x", "client_id", a.id))
	for what, token := range bearers {
		switch {
		case row.Who == "grantee" && what == "an access token": // it has no such scope
			ask(what, 403, "token=x", "Authorization", "Bearer "+token)
		case row.Who != "grantee" || what != "a client's access token":
			ask(what, 401, "token=x", "Authorization", "Bearer "+token)
		}
		ask(what+" as Basic", 401, "token=x", "Authorization", "Basic "+token)
	}
	for scope, key := range keys {
		want := 401
		if row.Who == "client or apikey" {
			if want = 403; scope == row.Scope {
				want = 200
			}
		}
		ask("a key for "+scope, want, "token=x", "Authorization", "Bearer "+key)
	}
	switch row.Who {
	case "client":
		ask("a client", map[bool]int{true: 400, false: 200}[row.Path == "/oauth2/token"], "token=x", a.header...)
		ask("a client without a secret", map[bool]int{true: 400, false: 200}[row.Path == "/oauth2/token"], public.form("token", "x"))
	case "client or apikey":
		ask("a client", 200, "token=x", a.header...)
		ask("a client without a secret", 401, public.form("token", "x"))
	case "grantee":
		ask("a client", 401, "", a.header...)
		ask("a client's access token", 200, "", "Authorization", "Bearer "+bearers["a client's access token"])
	}
}

// The figures are there, move, and tell nothing of anybody (V-104); nothing of them is
// on the public listener (V-106).
func TestMetrics(t *testing.T) {
	s := newStage(t, "")
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	token, cookie := s.signIn(t)
	s.call(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"a canary"}`)
	s.call(t, "GET", "/v1/session", "", "Authorization", "Bearer "+token)
	s.call(t, "GET", "/v1/session", "", "Authorization", "Bearer x")
	s.call(t, "GET", "/v1/session?canary=1", "", "Cookie", cookie, "User-Agent", "canary")
	w := httptest.NewRecorder()
	s.app.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	figures := w.Body.String()
	for _, want := range []string{
		`coatcheck_sign_ins_total{outcome="ok"} 2`, `coatcheck_sign_ins_total{outcome="invalid_credentials"} 1`,
		`coatcheck_checks_total{result="ok"} 2`, `coatcheck_checks_total{result="invalid_token"} 1`,
		`coatcheck_sessions 2`, `coatcheck_feed_subscribers 0`, `coatcheck_feed_lag_seconds 0`,
		`coatcheck_hashing_slots{state="busy"} 0`, `coatcheck_hashing_slots{state="waiting"} 0`, `coatcheck_hashing_slots{state="total"}`,
		`coatcheck_request_seconds_count{method="GET",route="/v1/session",status="4xx"} 1`, `coatcheck_mails{state="waiting"}`, `coatcheck_mails{state="dead"} 0`, `coatcheck_mails_sent_total`, `coatcheck_mails_failed_total 0`, `coatcheck_mails_buried_total 0`,
		`coatcheck_logout_notices{state="waiting"} 0`, `coatcheck_logout_notices{state="dead"} 0`, `coatcheck_logout_notices_sent_total 0`, `coatcheck_logout_notices_failed_total 0`, `coatcheck_logout_notices_buried_total 0`, `coatcheck_store_seconds_bucket`,
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, secret := range []string{"canary", "ada@", "127.0.0.1", "usr_", "ses_", token, cookie} {
		if strings.Contains(figures, secret) {
			t.Errorf("V-104: the figures tell %q", secret)
		}
	}
	if status, _ := s.call(t, "GET", "/metrics", ""); status != 404 {
		t.Errorf("V-106: /metrics on the public listener is %d, want 404", status)
	}
}
