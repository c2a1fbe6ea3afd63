package web_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A reply is what came back.
type reply struct {
	status  int
	header  http.Header
	text    string
	cookies map[string]*http.Cookie
}

// front starts a server with settings of its own, given as key and value in turn.
func front(t testing.TB, settings ...string) *stage {
	t.Helper()
	s := newStage(t, "")
	for i := 0; i < len(settings); i += 2 {
		s.settings[settings[i]] = settings[i+1]
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// secure are the settings of a server that browsers reach over TLS.
var secure = []string{"public_url", "https://auth.example.com", "verify_email", "optional"}

// ask sends a request with headers given as name and value in turn. A body that is not
// JSON is a form. Redirects are not followed and cookies are not kept.
func (s *stage) ask(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.origin.String()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = path // as it is, however odd
	switch {
	case strings.HasPrefix(body, "{"):
		r.Header.Set("Content-Type", "application/json")
	case body != "":
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			r.Host = headers[i+1]
		case "Content-Type":
			r.Header.Set("Content-Type", headers[i+1])
		default:
			r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
		}
	}
	client, err := s.client("")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, text: string(text), cookies: map[string]*http.Cookie{}}
	for _, c := range resp.Cookies() {
		out.cookies[c.Name] = c
	}
	return out
}

// must fails the test unless the status is the one.
func (r reply) must(t testing.TB, status int) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("the answer is %d, want %d: %.300s", r.status, status, r.text)
	}
	return r
}

// get returns what stands at a path of the JSON body.
func (r reply) get(t testing.TB, path string) string {
	t.Helper()
	value, there, err := pick([]byte(r.text), path)
	if err != nil || !there {
		t.Fatalf("there is no %s (%v) in %.300s", path, err, r.text)
	}
	return value
}

const goodPassword = "correct horse battery"

// Credentials of one session, of every kind.
type held struct {
	id, cookie      string // the cookie as it is sent
	access, refresh string
}

// signUpAs makes an account and returns a session with a cookie and a token drawn on it.
func (s *stage) signUpAs(t testing.TB, email string) held {
	t.Helper()
	in := s.ask(t, "POST", "/v1/sign-up", `{"email":"`+email+`","password":"`+goodPassword+`"}`).must(t, 201)
	return s.heldBy(t, in)
}

// signInAs returns another session of an account, as signUpAs does.
func (s *stage) signInAs(t testing.TB, email string) held {
	t.Helper()
	return s.heldBy(t, s.ask(t, "POST", "/v1/sign-in", `{"email":"`+email+`","password":"`+goodPassword+`"}`).must(t, 200))
}

func (s *stage) heldBy(t testing.TB, in reply) held {
	t.Helper()
	h := held{id: in.get(t, ".session.id")}
	for name, c := range in.cookies {
		if !strings.HasSuffix(name, "_device") && !strings.HasSuffix(name, "_signup") {
			h.cookie = name + "=" + c.Value
		}
	}
	drawn := s.ask(t, "POST", "/v1/session/token", "", "Cookie", h.cookie, "Origin", s.origin.String()).must(t, 200)
	h.access = drawn.get(t, ".access_token")
	return h
}

// phone returns a session that holds tokens.
func (s *stage) phone(t testing.TB, email string) held {
	t.Helper()
	in := s.ask(t, "POST", "/v1/sign-in", `{"email":"`+email+`","password":"`+goodPassword+`","transport":"token"}`).must(t, 200)
	return held{id: in.get(t, ".session.id"), access: in.get(t, ".tokens.access_token"), refresh: in.get(t, ".tokens.refresh_token")}
}

// code is the code of the problem that a credential of each kind gets; "" where it is
// good. Kinds that were not given are left out.
func (s *stage) codes(t testing.TB, h held) map[string]string {
	t.Helper()
	codes := map[string]string{}
	note := func(kind string, r reply) {
		codes[kind] = ""
		if r.status != 200 {
			codes[kind] = r.get(t, ".code")
		}
	}
	if h.cookie != "" {
		note("cookie", s.ask(t, "GET", "/v1/session", "", "Cookie", h.cookie))
	}
	if h.access != "" {
		note("access", s.ask(t, "GET", "/v1/session", "", "Authorization", "Bearer "+h.access))
	}
	if h.refresh != "" {
		note("refresh", s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":"`+h.refresh+`"}`))
	}
	return codes
}

func encode(fields ...string) string {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return form.Encode()
}
