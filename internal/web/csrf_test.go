package web_test

import (
	"strings"
	"testing"
)

// An unsafe call that a foreign site could make a browser send.
type forged struct{ name, method, path, body string }

// unsafeCalls are all forms, and all calls that set or read a cookie (CSRF-4): signing
// in and up and out among them.
func unsafeCalls(id string) []forged {
	return []forged{
		{"sign-in form", "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword)},
		{"sign-up form", "POST", "/sign-up", encode("email", "eve@example.com", "password", goodPassword)},
		{"sign-out form", "POST", "/sign-out", "x=1"},
		{"choice of an account", "POST", "/accounts/choose", encode("account", "usr_x")},
		{"sign-out of an account", "POST", "/accounts/sign-out", encode("account", "usr_x")},
		{"sign-out of all accounts", "POST", "/accounts/sign-out-all", "x=1"},
		{"sign-in form beside others", "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword, "prompt", "login")},
		{"consent form", "POST", "/consent", encode("continue", "x", "answer", "allow")},
		{"confirmed sign-out form", "POST", "/oauth2/logout/confirm", encode("account", "usr_x")},
		{"setup form", "POST", "/setup", encode("token", "x", "email", "eve@example.com", "password", goodPassword)},
		{"name form", "POST", "/account/name", encode("name", "Eve")},
		{"password form", "POST", "/account/password", encode("current_password", goodPassword, "new_password", "another horse battery")},
		{"verify form", "POST", "/verify", encode("email", "ada@example.com", "code", "123456", "password", goodPassword)},
		{"forgot form", "POST", "/forgot", encode("email", "ada@example.com")},
		{"reset form", "POST", "/reset", encode("token", "ckl_x", "password", "another horse battery")},
		{"email form", "POST", "/account/email", encode("email", "eve@example.com", "password", goodPassword)},
		{"verification form", "POST", "/account/verification", "x=1"},
		{"delete form", "POST", "/account/delete", encode("password", goodPassword)},
		{"end form", "POST", "/account/sessions/" + id + "/end", "x=1"},
		{"disconnect form", "POST", "/account/applications/" + id + "/disconnect", "x=1"},
		{"disconnect", "DELETE", "/v1/applications/" + id, ""},
		{"end-others form", "POST", "/account/sessions/end-others", "x=1"},
		{"sign-in", "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"` + goodPassword + `"}`},
		{"sign-up", "POST", "/v1/sign-up", `{"email":"eve@example.com","password":"` + goodPassword + `"}`},
		{"sign-out", "POST", "/v1/sign-out", ""},
		{"refresh", "POST", "/v1/token/refresh", ""},
		{"token", "POST", "/v1/session/token", ""},
		{"reauthenticate", "POST", "/v1/session/reauthenticate", `{"password":"` + goodPassword + `"}`},
		{"data", "PUT", "/v1/session/data", `{}`},
		{"data patch", "PATCH", "/v1/session/data", `{}`},
		{"end", "DELETE", "/v1/sessions/" + id, ""},
		{"end others", "DELETE", "/v1/sessions?except=current", ""},
		{"name", "PATCH", "/v1/user", `{"name":"Eve"}`},
		{"password", "POST", "/v1/user/password", `{"current_password":"` + goodPassword + `","new_password":"another horse battery"}`},
		{"verification", "POST", "/v1/email/verify", `{"email":"ada@example.com","code":"123456","password":"` + goodPassword + `"}`},
		{"verification mail", "POST", "/v1/email/verification", ""},
		{"forgotten password", "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`},
		{"reset", "POST", "/v1/password/reset", `{"token":"ckl_x","password":"another horse battery"}`},
		{"change of email", "POST", "/v1/user/email", `{"email":"eve@example.com","password":"` + goodPassword + `"}`},
		{"delete", "DELETE", "/v1/user", `{"password":"` + goodPassword + `"}`},
	}
}

// CSRF-1, CSRF-2, CSRF-4, V-36, V-37: nothing that another site makes a browser send is
// done, whether the browser has our cookie or would be given one.
func TestForgedRequests(t *testing.T) {
	const own = "https://auth.example.com"
	s := front(t, append([]string{"cors.origins", "https://app.example.com"}, secure...)...)
	ada := s.signUpAs(t, "ada@example.com")
	foreign := map[string][]string{
		"a foreign origin":                        {"Origin", "https://evil.example"},
		"null":                                    {"Origin", "null"},
		"our host by http":                        {"Origin", "http://auth.example.com"},
		"our host with a port":                    {"Origin", "https://auth.example.com:8443"},
		"our host with the usual port":            {"Origin", "https://auth.example.com:443"},
		"a sibling":                               {"Origin", "https://blog.example.com", "Sec-Fetch-Site", "same-site"},
		"our parent":                              {"Origin", "https://example.com"},
		"a host that ends like ours":              {"Origin", "https://xauth.example.com"},
		"our name in capitals":                    {"Origin", "https://AUTH.example.com"},
		"our origin with a path":                  {"Origin", own + "/"},
		"two origins":                             {"Origin", own, "Origin", "https://evil.example"},
		"two in one":                              {"Origin", own + " https://evil.example"},
		"cross-site":                              {"Sec-Fetch-Site", "cross-site"},
		"same-site":                               {"Sec-Fetch-Site", "same-site"},
		"cross-site that names us":                {"Sec-Fetch-Site", "cross-site", "Origin", own},
		"a sibling that names us":                 {"Sec-Fetch-Site", "same-site", "Origin", own},
		"two sites":                               {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		"same-origin from a foreign origin":       {"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.example"},
		"a proxy's word for the host":             {"Origin", "https://evil.example", "X-Forwarded-Host", "evil.example"},
		"a referrer of ours and a foreign origin": {"Referer", own + "/account", "Origin", "https://evil.example"},
	}
	for _, c := range unsafeCalls(ada.id) {
		for name, headers := range foreign {
			for _, cookie := range []string{"", ada.cookie} {
				with := headers
				if cookie != "" {
					with = append([]string{"Cookie", cookie}, headers...)
				}
				r := s.ask(t, c.method, c.path, c.body, with...)
				if r.status != 403 || r.get(t, ".code") != "cross_origin" || len(r.cookies) > 0 {
					t.Errorf("%s from %s (cookie: %v) is %d: %.100s", c.name, name, cookie != "", r.status, r.text)
				}
			}
		}
		// CSRF-2: a cookie, and not a word of where the request comes from.
		if r := s.ask(t, c.method, c.path, c.body, "Cookie", ada.cookie, "Referer", own+"/account"); r.status != 403 {
			t.Errorf("%s with a cookie and no origin is %d", c.name, r.status)
		}
		if r := s.ask(t, c.method, c.path, c.body, "Cookie", ada.cookie, "Authorization", "Bearer "+ada.access); r.status != 403 {
			t.Errorf("%s with a cookie, a token and no origin is %d", c.name, r.status)
		}
		// Credentials that a proxy in front may ask for are no token of ours.
		if r := s.ask(t, c.method, c.path, c.body, "Authorization", "Basic eDp5", "Origin", "https://evil.example"); r.status != 403 {
			t.Errorf("%s with Basic credentials from a foreign origin is %d", c.name, r.status)
		}
	}
	for kind, code := range s.codes(t, ada) {
		if code != "" {
			t.Errorf("after all this, the %s answers %s", kind, code)
		}
	}
}

// Who may make such a request can: ourselves, configured origins, and programs that no
// browser is behind. Nothing changes on GET or HEAD (ASVS-3.5.3).
func TestOwnRequests(t *testing.T) {
	s := front(t, append([]string{"cors.origins", "https://app.example.com"}, secure...)...)
	const own = "https://auth.example.com"
	ada := s.signUpAs(t, "ada@example.com")
	for name, headers := range map[string][]string{
		"our page":                {"Cookie", ada.cookie, "Origin", own, "Sec-Fetch-Site", "same-origin"},
		"our page, long ago":      {"Cookie", ada.cookie, "Origin", own},
		"the address bar":         {"Cookie", ada.cookie, "Sec-Fetch-Site", "none"},
		"a configured origin":     {"Cookie", ada.cookie, "Origin", "https://app.example.com", "Sec-Fetch-Site", "same-site"},
		"a program with a token":  {"Authorization", "TOKEN"},
		"a script with a token":   {"Authorization", "TOKEN", "Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"},
		"a proxy with our host":   {"Cookie", ada.cookie, "Origin", own, "Host", "auth.example.com:443"},
		"our page behind a proxy": {"Cookie", ada.cookie, "Origin", own, "Sec-Fetch-Site", "same-origin", "X-Forwarded-Host", "elsewhere.example"},
	} {
		for i, h := range headers {
			if h == "TOKEN" { // a change of the name makes tokens due for renewal
				headers[i] = "Bearer " + s.signInAs(t, "ada@example.com").access
			}
		}
		if r := s.ask(t, "PATCH", "/v1/user", `{"name":"Ada"}`, headers...); r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	for _, c := range unsafeCalls(ada.id) {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			s.ask(t, method, c.path, c.body, "Cookie", ada.cookie, "Origin", "https://evil.example")
		}
	}
	if r := s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie); r.status != 200 || r.get(t, ".user.name") != "Ada" {
		t.Errorf("something has changed: %s", r.text)
	}
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "", "application/json, text/plain"} {
		if r := s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`, "Content-Type", media); r.status != 415 && len(r.cookies) > 0 {
			t.Errorf("a body of type %q signs in: %d", media, r.status)
		}
	}
}

// V-88: no name but ours is answered where pages and cookies are, and no link is made
// of one, whoever passes it on.
func TestHost(t *testing.T) {
	s := front(t, append([]string{"proxies", "192.0.2.0/24"}, secure...)...)
	for _, host := range []string{"evil.example", "auth.example.com.evil.example", "auth.example.com:8443", "auth.example.com@evil.example", "127.0.0.1", "example.com", "auth.example.com."} {
		for _, path := range []string{"/sign-in", "/v1/session"} {
			if r := s.ask(t, "GET", path, "", "Host", host); r.status != 421 && r.status != 400 || strings.Contains(r.text, "evil") {
				t.Errorf("%s under %s: %d", path, host, r.status)
			}
		}
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Host", "X-Original-Host", "Forwarded"} {
		r := s.ask(t, "GET", "/account", "", name, "evil.example").must(t, 303)
		if got := r.header.Get("Location"); got != "/sign-in?return_to=%2Faccount" {
			t.Errorf("%s: Location is %s", name, got)
		}
		if text := s.ask(t, "GET", "/.well-known/oauth-authorization-server", "", name, "evil.example", "Host", "evil.example").text; strings.Contains(text, "evil") {
			t.Errorf("%s gets into the metadata", name)
		}
	}
	for _, host := range []string{"auth.example.com", "AUTH.example.com", "auth.example.com:443"} {
		s.ask(t, "GET", "/sign-in", "", "Host", host).must(t, 200)
	}
}
