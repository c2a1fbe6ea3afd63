package web_test

import (
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
)

// V-30, ASVS-7.2.4: signing in makes a new session whatever the browser brings, and a
// renewed proof makes a new secret; the one before is dead.
func TestNoFixation(t *testing.T) {
	s := front(t)
	own := s.origin.String()
	s.signUpAs(t, "ada@example.com")
	eve := s.signUpAs(t, "eve@example.com")
	for name, in := range map[string]reply{
		"call": s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`, "Cookie", eve.cookie, "Origin", own).must(t, 200),
		"page": s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword), "Cookie", eve.cookie, "Origin", own).must(t, 303),
	} {
		cookie := "coatcheck_dev=" + in.cookies["coatcheck_dev"].Value
		if cookie == eve.cookie {
			t.Errorf("%s: the cookie is the one that was there", name)
		}
		if got := s.ask(t, "GET", "/v1/session", "", "Cookie", cookie).must(t, 200).get(t, ".user.email"); got != "ada@example.com" {
			t.Errorf("%s: signed in as %s", name, got)
		}
	}
	if got := s.ask(t, "GET", "/v1/session", "", "Cookie", eve.cookie).must(t, 200).get(t, ".user.email"); got != "eve@example.com" {
		t.Errorf("the session that was planted is now %s's", got)
	}
	ada := s.signInAs(t, "ada@example.com")
	s.wait(2e9)
	again := s.ask(t, "POST", "/v1/session/reauthenticate", `{"password":"`+goodPassword+`"}`, "Cookie", ada.cookie, "Origin", own).must(t, 200)
	next := "coatcheck_dev=" + again.cookies["coatcheck_dev"].Value
	if again.get(t, ".session.id") != ada.id || next == ada.cookie {
		t.Error("the session changed, or its secret did not")
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 401)
	s.ask(t, "GET", "/v1/session", "", "Cookie", next).must(t, 200)
	// Where a token came that was drawn on a cookie's session, the cookie is renewed, too.
	bearer := s.heldBy(t, s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 200))
	again = s.ask(t, "POST", "/v1/session/reauthenticate", `{"password":"`+goodPassword+`"}`, "Authorization", "Bearer "+bearer.access).must(t, 200)
	s.ask(t, "GET", "/v1/session", "", "Cookie", "coatcheck_dev="+again.cookies["coatcheck_dev"].Value).must(t, 200)
	s.ask(t, "GET", "/v1/session", "", "Authorization", "Bearer "+again.get(t, ".tokens.access_token")).must(t, 200)
	// Nobody renews with another person's password, nor by being somebody else.
	s.ask(t, "POST", "/v1/session/reauthenticate", `{"password":"another horse battery"}`, "Cookie", eve.cookie, "Origin", own).must(t, 401)
}

// V-31: one browser, two people: what the first had is not reachable by the second.
func TestTwoPeopleOnOneBrowser(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	s.ask(t, "PUT", "/v1/session/data", `{"cart":["ada"]}`, "Cookie", ada.cookie, "Origin", s.origin.String(), "If-Match", `"0"`).must(t, 204)
	eve := s.signUpAs(t, "eve@example.com") // the same browser, its cookies lost
	if ada.id == eve.id {
		t.Fatal("a session id is used again")
	}
	for _, path := range []string{"/v1/session", "/v1/sessions", "/v1/user", "/v1/user/export", "/v1/session/data", "/account"} {
		for _, headers := range [][]string{{"Cookie", eve.cookie}, {"Authorization", "Bearer " + eve.access}} {
			r := s.ask(t, "GET", path, "", headers...).must(t, 200)
			if strings.Contains(r.text, "ada") || strings.Contains(r.text, ada.id) {
				t.Errorf("%s tells one person of another", path)
			}
		}
	}
	s.ask(t, "DELETE", "/v1/sessions/"+ada.id, "", "Cookie", eve.cookie, "Origin", s.origin.String()).must(t, 404)
	s.ask(t, "POST", "/account/sessions/"+ada.id+"/end", "x=1", "Cookie", eve.cookie, "Origin", s.origin.String()).must(t, 404)
	s.ask(t, "DELETE", "/v1/sessions?except=current", "", "Cookie", eve.cookie, "Origin", s.origin.String()).must(t, 204)
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 200)
}

// V-32, V-33, ASVS-7.4.1, 7.4.2: whatever ends a session ends all that was drawn on it,
// by every channel there is, and what is not meant lives on.
func TestEveryEndThroughEveryDoor(t *testing.T) {
	own := []string{"Origin", "http://localhost:8080"}
	type world struct {
		*stage
		admin          string // API key
		user           string
		browser, phone held
	}
	as := func(h held) []string { return append([]string{"Cookie", h.cookie}, own...) }
	cases := []struct {
		name        string
		end         func(t *testing.T, w *world)
		phoneToo    bool
		signInAfter int
	}{
		{"sign-out", func(t *testing.T, w *world) { w.ask(t, "POST", "/v1/sign-out", "", as(w.browser)...).must(t, 204) }, false, 200},
		{"sign-out by token", func(t *testing.T, w *world) {
			w.ask(t, "POST", "/v1/sign-out", "", "Authorization", "Bearer "+w.browser.access).must(t, 204)
		}, false, 200},
		{"sign-out form", func(t *testing.T, w *world) { w.ask(t, "POST", "/sign-out", "x=1", as(w.browser)...).must(t, 303) }, false, 200},
		{"end it", func(t *testing.T, w *world) {
			w.ask(t, "DELETE", "/v1/sessions/"+w.browser.id, "", as(w.browser)...).must(t, 204)
		}, false, 200},
		{"end others from the phone", func(t *testing.T, w *world) {
			w.ask(t, "DELETE", "/v1/sessions?except=current", "", "Authorization", "Bearer "+w.phone.access).must(t, 204)
		}, false, 200},
		{"new password from the phone", func(t *testing.T, w *world) {
			w.ask(t, "POST", "/v1/user/password", `{"current_password":"`+goodPassword+`","new_password":"another horse battery"}`, "Authorization", "Bearer "+w.phone.access).must(t, 204)
		}, false, 401},
		{"delete the account", func(t *testing.T, w *world) {
			w.ask(t, "DELETE", "/v1/user", `{"password":"`+goodPassword+`"}`, as(w.browser)...).must(t, 204)
		}, true, 401},
		{"disable", func(t *testing.T, w *world) {
			w.ask(t, "PATCH", "/v1/admin/users/"+w.user, `{"disabled":true}`, "Authorization", "Bearer "+w.admin).must(t, 200)
		}, true, 401},
		{"disable and enable", func(t *testing.T, w *world) {
			w.ask(t, "PATCH", "/v1/admin/users/"+w.user, `{"disabled":true}`, "Authorization", "Bearer "+w.admin).must(t, 200)
			w.ask(t, "PATCH", "/v1/admin/users/"+w.user, `{"disabled":false}`, "Authorization", "Bearer "+w.admin).must(t, 200)
		}, true, 200},
		{"remove", func(t *testing.T, w *world) {
			w.ask(t, "DELETE", "/v1/admin/users/"+w.user, "", "Authorization", "Bearer "+w.admin).must(t, 204)
		}, true, 401},
		{"an administrator's new password", func(t *testing.T, w *world) {
			w.ask(t, "PATCH", "/v1/admin/users/"+w.user, `{"password":"another horse battery"}`, "Authorization", "Bearer "+w.admin).must(t, 200)
		}, true, 401},
		{"a link to a new password", func(t *testing.T, w *world) {
			w.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`).must(t, 202)
			mailed := w.mail(t, "ada@example.com")
			w.ask(t, "POST", "/v1/password/reset", `{"token":"`+mailed.Token+`","password":"another horse battery"}`).must(t, 204)
		}, true, 401},
		{"an administrator ends all", func(t *testing.T, w *world) {
			w.ask(t, "DELETE", "/v1/admin/users/"+w.user+"/sessions", "", "Authorization", "Bearer "+w.admin).must(t, 204)
		}, true, 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := &world{stage: front(t, "public_url", "http://localhost:8080")}
			w.admin = w.addKey(t, account.ScopeAdmin)
			in := w.ask(t, "POST", "/v1/sign-up", `{"email":"ada@example.com","password":"`+goodPassword+`","remember":true}`).must(t, 201)
			w.user, w.browser = in.get(t, ".user.id"), w.heldBy(t, in)
			w.phone = w.stage.phone(t, "ada@example.com")
			bystander := w.signUpAs(t, "bob@example.com")
			w.codes(t, w.browser) // so that memory, too, has to forget
			c.end(t, w)
			for kind, code := range w.codes(t, w.browser) {
				if code != "session_ended" {
					t.Errorf("the browser's %s answers %q", kind, code)
				}
			}
			want := ""
			if c.phoneToo {
				want = "session_ended"
			}
			for kind, code := range w.codes(t, w.phone) {
				if code != want {
					t.Errorf("the phone's %s answers %q, want %q", kind, code, want)
				}
			}
			for kind, code := range w.codes(t, bystander) {
				if code != "" {
					t.Errorf("another person's %s answers %q", kind, code)
				}
			}
			w.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, c.signInAfter)
			if r := w.ask(t, "GET", "/v1/forward-auth", "", append([]string{"X-Forwarded-Method", "GET"}, as(w.browser)...)...); r.status != 401 {
				t.Errorf("the gateway still lets the cookie pass: %d", r.status)
			}
		})
	}
}

// A token that is over may not end a session: whoever finds an old one holds nothing.
// The client renews it and says it again.
func TestSignOutByAnOldToken(t *testing.T) {
	s := front(t)
	s.signUpAs(t, "ada@example.com")
	phone := s.phone(t, "ada@example.com")
	s.wait(3600e9)
	r := s.ask(t, "POST", "/v1/sign-out", "", "Authorization", "Bearer "+phone.access).must(t, 401)
	if r.get(t, ".code") != "token_expired" {
		t.Errorf("the answer is %s", r.text)
	}
	renewed := s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":"`+phone.refresh+`"}`).must(t, 200)
	s.ask(t, "POST", "/v1/sign-out", "", "Authorization", "Bearer "+renewed.get(t, ".tokens.access_token")).must(t, 204)
	s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":"`+renewed.get(t, ".tokens.refresh_token")+`"}`).must(t, 401)
}

// V-41, V-105: what strangers send is kept as text. It forges no record, no line of the
// log, no entry of the audit and no part of a page.
func TestInjection(t *testing.T) {
	s := front(t)
	admin := s.addKey(t, account.ScopeAdmin)
	// Header values cannot hold line breaks over the wire; what is left of the tricks can be sent.
	agent := "Mozilla/5.0 \u202e\u2028 <script>alert(1)</script> \"},{\"event\":\"signed_in\" =cmd|' /C calc'!A0 %0d%0a"
	s.ask(t, "POST", "/v1/sign-in", `{"email":"nobody\u202e@example.com\n","password":"x y z x y z"}`, "User-Agent", agent)
	in := s.ask(t, "POST", "/v1/sign-up", `{"email":"ada@example.com","password":"`+goodPassword+`","device":"my\r\nphone\u0000<script>\u202e"}`, "User-Agent", agent, "X-Request-Id", "forged\tid").must(t, 201)
	ada := s.heldBy(t, in)
	if got := in.header.Get("X-Request-Id"); got == "forged\tid" {
		t.Error("a request id with a control character is taken over")
	}
	raw := func(text string) bool { return strings.ContainsAny(text, "\x1b\x00\r\u202e") }
	sessions := s.ask(t, "GET", "/v1/sessions", "", "Cookie", ada.cookie).must(t, 200)
	for _, path := range []string{".items[0].device", ".items[0].user_agent"} {
		if got := sessions.get(t, path); raw(got) || strings.Contains(got, "\n") {
			t.Errorf("%s is %q", path, got)
		}
	}
	entries := s.ask(t, "GET", "/v1/admin/audit", "", "Authorization", "Bearer "+admin).must(t, 200)
	if raw(entries.text) || strings.Count(entries.text, `"event":"signed_in"`) != 1 {
		t.Errorf("the audit: %q", entries.text)
	}
	page := s.ask(t, "GET", "/account", "", "Cookie", ada.cookie).must(t, 200)
	if raw(page.text) || strings.Contains(page.text, "<script") {
		t.Error("the account page shows what was sent as it was")
	}
	for _, line := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
		if !strings.HasPrefix(line, "time=") || raw(line) {
			t.Errorf("a line of the log: %q", line)
		}
	}
	for _, name := range []string{`"a\nb"`, `"a\u0000b"`, `"a\u202eb"`, `"a\u001b[31m"`, `"` + strings.Repeat("a", 201) + `"`, `7`, `null`, `["a"]`} {
		if r := s.ask(t, "PATCH", "/v1/user", `{"name":`+name+`}`, "Authorization", "Bearer "+ada.access); r.status != 422 {
			t.Errorf("the name %.20s is %d", name, r.status)
		}
	}
	kept, err := s.app.Audit.Entries(t.Context(), audit.Filter{Event: audit.SignInFailed}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range kept {
		if raw(e.Subject + e.UserAgent) {
			t.Errorf("an entry is kept as %q %q", e.Subject, e.UserAgent)
		}
	}
}

// V-104, V-40: a canary of every kind of secret is planted wherever one can be sent, and
// is found in no log, no figure, no audit and no answer that does not hand it out.
func TestCanaries(t *testing.T) {
	s := front(t)
	admin := s.addKey(t, account.ScopeAdmin)
	ada := s.signUpAs(t, "ada@example.com")
	phone := s.phone(t, "ada@example.com")
	own := []string{"Cookie", ada.cookie, "Origin", s.origin.String()}
	_, cookie, _ := strings.Cut(ada.cookie, "=")
	secrets := []string{goodPassword, "canary password one", "canary password two", cookie[30:], ada.access, phone.access, phone.refresh[42:], admin[30:], "canary-key-0123456789abcdef", "canary setup token"}
	var answers []reply
	note := func(r reply) { answers = append(answers, r) }
	note(s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"canary password one"}`))
	note(s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"canary password one","x":1}`))
	note(s.ask(t, "POST", "/v1/sign-in", `{"email":"canary password one","password":{"x":"canary password one"}}`))
	note(s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"canary password one"`))
	note(s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", "canary password one"), "Origin", s.origin.String(), "Accept", "text/html"))
	note(s.ask(t, "POST", "/sign-up", encode("email", "bad", "password", "canary password one"), "Origin", s.origin.String(), "Accept", "text/html"))
	note(s.ask(t, "POST", "/setup", encode("token", "canary setup token", "email", "x@example.com", "password", "canary password one"), "Origin", s.origin.String(), "Accept", "text/html"))
	note(s.ask(t, "GET", "/setup?token=canary+setup+token", "", "Accept", "text/html"))
	note(s.ask(t, "POST", "/v1/user/password", `{"current_password":"canary password one","new_password":"canary password two"}`, own...))
	note(s.ask(t, "POST", "/v1/user/password", `{"current_password":"`+goodPassword+`","new_password":"canary password two","end_others":false}`, own...))
	note(s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":"x`+phone.refresh+`"}`, "Idempotency-Key", "canary-key-0123456789abcdef"))
	note(s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":7}`, "Idempotency-Key", "canary-key-0123456789abcdef/"))
	note(s.ask(t, "GET", "/v1/session", "", "Authorization", "Bearer "+ada.access+"x"))
	note(s.ask(t, "GET", "/v1/session", "", "Authorization", "Bearer "+admin))
	note(s.ask(t, "GET", "/v1/session?token="+ada.access, "", "Cookie", ada.cookie+"; "+ada.cookie))
	note(s.ask(t, "GET", "/v1/admin/users?email="+ada.access, "", "Authorization", "Bearer "+admin))
	note(s.ask(t, "GET", "/nothing/"+cookie, "", "Referer", s.origin.String()+"/?token="+ada.access, "Accept", "text/html"))
	for _, path := range []string{"/v1/session", "/v1/sessions", "/v1/user", "/v1/user/export", "/account"} {
		note(s.ask(t, "GET", path, "", own...).must(t, 200))
	}
	note(s.ask(t, "GET", "/v1/admin/audit?limit=200", "", "Authorization", "Bearer "+admin).must(t, 200))
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("%.12s… is in the log", secret)
		}
		for _, r := range answers {
			// The setup page carries its token from one form to the next.
			if strings.Contains(r.text, secret) && secret != "canary setup token" {
				t.Errorf("%.12s… is in an answer %d: %.200s", secret, r.status, r.text)
			}
		}
	}
	for _, form := range []string{"argon2", "$m=", "secret_hash", "RefreshHash"} {
		for _, r := range answers {
			if strings.Contains(r.text, form) {
				t.Errorf("%q is in an answer: %.200s", form, r.text)
			}
		}
	}
}

// V-107: an address in another writing reaches nothing, by whatever method, and is not
// tidied up by a redirect.
func TestOddPaths(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	headers := []string{"Cookie", ada.cookie, "Origin", s.origin.String()}
	odd := []string{
		"//v1/session", "/v1//session", "/v1/session/", "/v1/./session", "/v1/../v1/session", "/x/../v1/session", "/v1/session/.", "/v1/session/..", "/./v1/session",
		"/%76%31/session", "/v1%2Fsession", "/v1%2fsession", "/v1/%73ession", "/v1/session%2F", "/v1/session%00", "/v1/session%20", "/v1/session%0a", "/v1/session%3F", "/v1/session%23",
		"/v1/session;x=1", "/v1;/session", "/v1/session;", `/v1\session`, "/v1/%2e%2e/v1/session", "/v1/%2e/session", "/V1/session", "/v1/Session", "/v1/session.json", "/v1/session%2e",
		"/v1/sessions/../session", "/v1/sessions/%2e%2e/session", "/v1/sessions//", "/v1/sessions/" + ada.id + "/", "/v1/sessions/" + ada.id + "%2F", "/v1/sessions/%73es_x",
		"/account/", "/account//name", "/account/sessions/x/y/end", "/sign-in/", "/sign-in/..", "/static/", "/static/../sign-in", "/static/..%2fsign-in", "/static/%2e%2e/routes.go", "/static/templates/account.html",
		"/healthz/", "/metrics", "/debug/pprof/", "/.git/config", "/v1", "/v1/", "/v1/admin", "/v1/admin/", "/oauth2", "/oauth2/", "/oauth2/token/", "/oauth2//token", "/oauth2/Token", "/oauth2/%74oken", "/oauth2/token;x", "/oauth2/userinfo/.",
	}
	for _, path := range odd {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			r := s.ask(t, method, path, "", headers...)
			if path[:2] == "//" && r.status == 421 { // such a path reads as a host, too
				continue
			}
			if r.status != 404 && r.status != 400 {
				t.Errorf("%s %s is %d %s", method, path, r.status, r.header.Get("Location"))
			}
		}
	}
	s.ask(t, "DELETE", "/v1/sessions/"+ada.id+";x", "", headers...).must(t, 404)
	for _, override := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-Http-Method"} {
		s.ask(t, "POST", "/v1/user", `{"password":"`+goodPassword+`"}`, append(headers, override, "DELETE")...).must(t, 405)
	}
	s.ask(t, "POST", "/v1/session?_method=DELETE", "", headers...).must(t, 405)
	s.ask(t, "HEAD", "/v1/session", "", headers...).must(t, 200)
	s.ask(t, "HEAD", "/v1/session", "").must(t, 401)
	s.ask(t, "HEAD", "/account", "").must(t, 303)
	s.ask(t, "OPTIONS", "/v1/session", "", headers...).must(t, 405)
	s.ask(t, "TRACE", "/v1/session", "", headers...).must(t, 405)
	if got := s.ask(t, "GET", "/v1/session", "", headers...).must(t, 200); got.get(t, ".session.id") != ada.id {
		t.Error("the session is another one")
	}
}
