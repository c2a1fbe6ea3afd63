package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// SM-5: whoever does not ask to be remembered gets cookies that go with the browser; who
// does, gets them until the session's end. It holds for every way of signing in, and when
// what was given out is renewed; a known device is another matter.
func TestRememberOnEveryTransport(t *testing.T) {
	s := front(t)
	s.signUpAs(t, "ada@example.com")
	own := []string{"Origin", s.origin.String()}
	json := func(more string) string {
		return `{"email":"ada@example.com","password":"` + goodPassword + `"` + more + `}`
	}
	for _, remember := range []bool{false, true} {
		asked, field := "", ""
		if remember {
			asked, field = `,"remember":true`, "on"
		}
		// lasts fails unless all cookies that bear a credential are kept for as long as
		// was asked for, and there are some.
		lasts := func(what string, in reply, ends time.Time) {
			t.Helper()
			kept := 0
			for name, c := range in.cookies {
				if strings.HasSuffix(name, "_device") || c.Value == "" {
					continue
				}
				kept++
				if c.MaxAge != 0 || remember != (c.Expires.Unix() == ends.Unix()) || !remember && !c.Expires.IsZero() {
					t.Errorf("%s, remember %v: %s is kept until %s, and the session lasts until %s", what, remember, name, c.Expires, ends)
				}
			}
			if kept == 0 {
				t.Errorf("%s gives no cookie", what)
			}
		}
		end := func(in reply) time.Time {
			t.Helper()
			ends, err := time.Parse(time.RFC3339, in.get(t, ".session.expires_at"))
			if err != nil {
				t.Fatal(err)
			}
			return ends
		}

		cookie := s.ask(t, "POST", "/v1/sign-in", json(asked), own...).must(t, 200)
		lasts("cookie", cookie, end(cookie))
		bearing := append([]string{"Cookie", bearingOf(cookie)}, own...)
		again := s.ask(t, "POST", "/v1/session/reauthenticate", `{"password":"`+goodPassword+`"}`, bearing...).must(t, 200)
		lasts("reauthenticate", again, end(cookie))

		tokens := s.ask(t, "POST", "/v1/sign-in", json(asked+`,"transport":"token_cookie"`), own...).must(t, 200)
		lasts("token_cookie", tokens, end(tokens))
		s.clock.move(time.Hour)
		renewed := s.ask(t, "POST", "/v1/token/refresh", "", append([]string{"Cookie", bearingOf(tokens)}, own...)...).must(t, 200)
		lasts("refresh", renewed, end(tokens))

		body := s.ask(t, "POST", "/v1/sign-in", json(asked+`,"transport":"token"`)).must(t, 200)
		if len(body.cookies) > 0 {
			t.Errorf("token sets cookies: %v", body.cookies)
		}

		page := s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword, "remember", field), own...).must(t, 303)
		session := s.ask(t, "GET", "/v1/session", "", "Cookie", bearingOf(page)).must(t, 200)
		lasts("the page", page, end(session))
	}
}

// bearingOf returns the cookies of an answer as a browser sends them.
func bearingOf(in reply) string {
	var all []string
	for _, c := range in.cookies {
		if c.Value != "" {
			all = append(all, (&http.Cookie{Name: c.Name, Value: c.Value}).String())
		}
	}
	return strings.Join(all, "; ")
}
