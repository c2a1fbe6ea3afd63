package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

// CK-1, CK-4, ASVS-3.3.1 to 3.3.5, SM-3: what browsers are told of our cookies, in every
// way of being reached.
func TestCookieAttributes(t *testing.T) {
	domain := append([]string{"cookie.domain", "example.com"}, secure...)
	strict := append([]string{"cookie.same_site", "strict"}, secure...)
	cases := []struct {
		name     string
		settings []string
		session  string // what sign-in by cookie sets
		access   string // what sign-in by token_cookie sets
		refresh  string
		device   string // what both set besides
	}{
		{
			"TLS", secure, "__Host-coatcheck=V; Path=/; HttpOnly; Secure; SameSite=Lax",
			"__Host-coatcheck_at=V; Path=/; HttpOnly; Secure; SameSite=Lax", "__Secure-coatcheck_rt=V; Path=/v1/token/refresh; HttpOnly; Secure; SameSite=Lax",
			"__Host-coatcheck_device=V; Path=/; Expires=E; HttpOnly; Secure; SameSite=Lax",
		},
		{
			"strict", strict, "__Host-coatcheck=V; Path=/; HttpOnly; Secure; SameSite=Strict",
			"__Host-coatcheck_at=V; Path=/; HttpOnly; Secure; SameSite=Strict", "__Secure-coatcheck_rt=V; Path=/v1/token/refresh; HttpOnly; Secure; SameSite=Strict",
			"__Host-coatcheck_device=V; Path=/; Expires=E; HttpOnly; Secure; SameSite=Strict",
		},
		{
			"a domain", domain, "__Secure-coatcheck=V; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax",
			"__Host-coatcheck_at=V; Path=/; HttpOnly; Secure; SameSite=Lax", "__Secure-coatcheck_rt=V; Path=/v1/token/refresh; HttpOnly; Secure; SameSite=Lax",
			"__Host-coatcheck_device=V; Path=/; Expires=E; HttpOnly; Secure; SameSite=Lax",
		},
		{
			"plain http on loopback", nil, "coatcheck_dev=V; Path=/; HttpOnly; SameSite=Lax",
			"coatcheck_dev_at=V; Path=/; HttpOnly; SameSite=Lax", "coatcheck_dev_rt=V; Path=/v1/token/refresh; HttpOnly; SameSite=Lax",
			"coatcheck_dev_device=V; Path=/; Expires=E; HttpOnly; SameSite=Lax",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := front(t, c.settings...)
			s.signUpAs(t, "ada@example.com")
			in := func(more string) reply {
				return s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"`+more+`}`).must(t, 200)
			}
			wantCookies(t, in(""), c.session, c.device)
			wantCookies(t, in(`,"transport":"token_cookie"`), c.access, c.refresh, c.device)
			wantCookies(t, in(`,"transport":"token"`))
			page := s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword), "Origin", s.origin.String()).must(t, 303)
			wantCookies(t, page, c.session, c.device)

			// SM-5: remembered until the session's end, and no longer.
			kept := in(`,"remember":true`)
			for name, cookie := range kept.cookies {
				if strings.HasSuffix(name, "_device") { // known to the day, longer than any session
					if until := s.clock.read().Add(session.KnownFor); cookie.Expires.Unix() != until.Unix() {
						t.Errorf("the device is known until %s, want %s", cookie.Expires, until)
					}
					continue
				}
				ends, err := time.Parse(time.RFC3339, kept.get(t, ".session.expires_at"))
				if err != nil || cookie.Expires.Unix() != ends.Unix() {
					t.Errorf("the cookie ends at %s and the session at %s", cookie.Expires, ends)
				}
			}
			// Taken away by the same attributes they were given with.
			held := s.heldBy(t, in(""))
			gone := s.ask(t, "POST", "/v1/sign-out", "", "Cookie", held.cookie, "Origin", s.origin.String()).must(t, 204)
			wantCookies(t, gone, over(c.session), over(c.access), over(c.refresh))
		})
	}
}

func over(cookie string) string {
	name, rest, _ := strings.Cut(cookie, "=V; ")
	path, rest, _ := strings.Cut(rest, "; ")
	if domain, after, found := strings.Cut(rest, "; "); found && strings.HasPrefix(domain, "Domain=") {
		path, rest = path+"; "+domain, after
	}
	return name + "=; " + path + "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; " + rest
}

// wantCookies compares the Set-Cookie headers of an answer, with V for every value and
// E for when that of a known device ends.
func wantCookies(t *testing.T, r reply, want ...string) {
	t.Helper()
	lines := r.header.Values("Set-Cookie")
	if len(lines) != len(want) {
		t.Fatalf("%d cookies are set, want %d: %q", len(lines), len(want), lines)
	}
	for i, line := range lines {
		name, rest, _ := strings.Cut(line, "=")
		value, attributes, _ := strings.Cut(rest, "; ")
		if len(line) > 4096 {
			t.Errorf("a cookie of %d bytes", len(line))
		}
		if value != "" {
			if strings.Contains(r.text, value) {
				t.Errorf("the value of %s is in the body", name)
			}
			value = "V"
		}
		if before, after, dated := strings.Cut(attributes, "Expires="); dated && strings.HasSuffix(name, "_device") {
			_, rest, _ := strings.Cut(after, "; ")
			attributes = before + "Expires=E; " + rest
		}
		if got := name + "=" + value + "; " + attributes; got != want[i] {
			t.Errorf("Set-Cookie: %s, want %s", got, want[i])
		}
	}
}

// CK-2, V-35: two cookies of our name are refused, noted, and taken away, whichever is
// the good one and whichever way they come.
func TestTwoCookies(t *testing.T) {
	s := front(t, secure...)
	ada, eve := s.signUpAs(t, "ada@example.com"), s.signUpAs(t, "eve@example.com")
	own := []string{"Origin", s.origin.String()}
	for _, headers := range [][]string{
		{"Cookie", ada.cookie + "; " + eve.cookie},
		{"Cookie", eve.cookie + "; " + ada.cookie},
		{"Cookie", ada.cookie + "; " + ada.cookie},
		{"Cookie", ada.cookie, "Cookie", eve.cookie},
		{"Cookie", ada.cookie + "; __Host-coatcheck="},
		{"Cookie", ada.cookie + ";x=1;__Host-coatcheck=garbage"},
	} {
		for _, path := range []string{"/v1/session", "/v1/sessions", "/v1/user"} {
			r := s.ask(t, "GET", path, "", headers...)
			if r.status != 401 || r.get(t, ".code") != "duplicate_cookie" || r.cookies["__Host-coatcheck"] == nil || r.cookies["__Host-coatcheck"].Value != "" {
				t.Errorf("%s with %q is %d %v", path, headers, r.status, r.cookies)
			}
		}
		if r := s.ask(t, "POST", "/v1/sign-out", "", append(own, headers...)...); r.status != 401 {
			t.Errorf("sign-out with %q is %d", headers, r.status)
		}
		page := s.ask(t, "GET", "/account", "", append([]string{"Accept", "text/html"}, headers...)...)
		if page.status != 401 || !strings.Contains(page.text, "Remove the cookies of this site") {
			t.Errorf("the account page with %q is %d", headers, page.status)
		}
	}
	if !strings.Contains(s.log.String(), "cookie twice") {
		t.Error("nothing was noted")
	}
	for _, h := range []held{ada, eve} {
		s.ask(t, "GET", "/v1/session", "", "Cookie", h.cookie).must(t, 200)
	}
	// Two kinds are refused just so.
	for _, headers := range [][]string{
		{"Cookie", ada.cookie, "Authorization", "Bearer " + ada.access},
		{"Cookie", ada.cookie + "; __Host-coatcheck_at=" + ada.access},
		{"Cookie", "__Host-coatcheck_at=" + ada.access, "Authorization", "Bearer " + ada.access},
		{"Cookie", ada.cookie, "Authorization", "Bearer " + eve.access},
	} {
		if r := s.ask(t, "GET", "/v1/session", "", headers...); r.status != 401 || r.get(t, ".code") != "two_credentials" {
			t.Errorf("two kinds are %d", r.status)
		}
	}
}

// V-39: a cookie that is not ours to the letter is refused, and never passed over as if
// there were none. CK-4: nor is one from the other way of being reached.
func TestMalformedCookies(t *testing.T) {
	s := front(t, secure...)
	ada := s.signUpAs(t, "ada@example.com")
	name, value, _ := strings.Cut(ada.cookie, "=")
	flip := func(i int) string {
		b := []byte(value)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return string(b)
	}
	for _, bad := range []string{
		"", " ", "x", "cks_", value[:len(value)-1], value + "A", value + "=", value + " x", "\"" + value + "\"", strings.ToUpper(value), strings.ToLower(value) + "x",
		value[4:], "ckr_" + value[4:], "cks-" + value[4:], flip(4), flip(len(value) - 1), flip(len(value) - 43), value[:30] + "%00" + value[33:],
		value[:len(value)-2] + "\xff\xfe", strings.Repeat("A", len(value)), strings.Repeat("A", 4000), "true", "null", "{}", "../../x", "' OR 1=1 --",
	} {
		r := s.ask(t, "GET", "/v1/session", "", "Cookie", name+"="+bad)
		code := "invalid_token"
		switch {
		case strings.TrimSpace(bad) == "":
			code = "no_credential"
		case len(bad) == len(value) && strings.HasPrefix(bad, "cks_") && bad[4:30] != value[4:30]:
			code = "" // the id may have become another id that there is not: over, or no id at all
		}
		if r.status != 401 || code != "" && r.get(t, ".code") != code {
			t.Errorf("%q is %d %.100s", bad, r.status, r.text)
		}
		if len(r.cookies) > 0 {
			t.Errorf("%q: a refusal takes a cookie away", bad)
		}
	}
	for _, other := range []string{"coatcheck_dev", "coatcheck", "__Secure-coatcheck", "__host-coatcheck", "__Host-coatcheck_"} {
		if r := s.ask(t, "GET", "/v1/session", "", "Cookie", other+"="+value); r.status != 401 || r.get(t, ".code") != "no_credential" {
			t.Errorf("a cookie called %s is %d", other, r.status)
		}
	}
	if r := s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie); r.status != http.StatusOK {
		t.Errorf("the good one is %d", r.status)
	}
}

// SM-1: a session is known by its cookie alone; its id or its cookie's value elsewhere
// is ignored. SM-2: an id that somebody chose is never adopted.
func TestSessionsAreKnownByCookieAlone(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	name, value, _ := strings.Cut(ada.cookie, "=")
	for _, headers := range [][]string{
		{"X-Session-Id", ada.id},
		{"X-Auth-Session", ada.id},
		{"X-Session", value},
		{"Authorization", "Bearer " + value},
		{"Authorization", "Session " + value},
		{"Cookie2", ada.cookie},
		{"X-Cookie", ada.cookie},
		{"Set-Cookie", ada.cookie},
	} {
		if r := s.ask(t, "GET", "/v1/session", "", headers...); r.status != 401 {
			t.Errorf("%q is %d", headers[0], r.status)
		}
	}
	for _, query := range []string{ada.cookie, "session=" + ada.id, "sid=" + value, "access_token=" + ada.access, "token=" + ada.access} {
		if r := s.ask(t, "GET", "/v1/session?"+query, ""); r.status != 401 || r.get(t, ".code") != "no_credential" {
			t.Errorf("by query: %d", r.status)
		}
	}
	chosen := "cks_" + strings.Repeat("0", 26) + strings.Repeat("A", 43)
	for _, planted := range []string{chosen, value} {
		in := s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`, "Cookie", name+"="+planted, "Origin", s.origin.String()).must(t, 200)
		if got := in.cookies[name].Value; got == planted || got[4:30] == planted[4:30] {
			t.Error("sign-in took over a session that was planted (V-30)")
		}
	}
	if r := s.ask(t, "GET", "/v1/session", "", "Cookie", name+"="+chosen); r.status != 401 {
		t.Errorf("a chosen id is %d", r.status)
	}
}
