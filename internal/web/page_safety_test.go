package web_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/web"
)

// CSRF-1, CSRF-4: the table of forged requests has every form there is, so that a new
// one is held to the same.
func TestEveryFormIsForged(t *testing.T) {
	forged := map[string]bool{}
	for _, c := range unsafeCalls("{id}") {
		forged[c.method+" "+c.path] = true
	}
	for _, row := range web.Rows() {
		if row.Page && row.Method != "GET" && !row.Foreign && !forged[row.Pattern] {
			t.Errorf("no test forges %s", row.Pattern)
		}
	}
}

// V-37, login CSRF: a form of another site signs nobody in, neither by a password nor by
// a mailed link, and so leaves no cookie of any kind.
func TestAnotherSiteSignsNobodyIn(t *testing.T) {
	s := front(t, secure...)
	s.signUpAs(t, "eve@example.com")
	for _, c := range []forged{
		{"sign-in", "POST", "/sign-in", encode("email", "eve@example.com", "password", goodPassword)},
		{"sign-up", "POST", "/sign-up", encode("email", "mallory@example.com", "password", goodPassword)},
		{"verify", "POST", "/verify", encode("token", "ckl_x")},
	} {
		for _, origin := range []string{"https://evil.example", "null", "https://auth.example.com.evil.example"} {
			r := s.ask(t, c.method, c.path, c.body, "Origin", origin, "Accept", "text/html")
			if r.status != 403 || len(r.cookies) > 0 || !strings.Contains(r.text, "Nothing was done") {
				t.Errorf("%s from %s is %d with %d cookies", c.name, origin, r.status, len(r.cookies))
			}
		}
	}
}

// Session fixation (V-30, ASVS-7.2.4): whatever cookie the browser had, it has a new one
// after signing in by a page, and the planted one is nobody's.
func TestPlantedCookiesAreReplaced(t *testing.T) {
	s := front(t, secure...)
	own := s.origin.String()
	s.signUpAs(t, "ada@example.com")
	eve := s.signUpAs(t, "eve@example.com")
	for _, planted := range []string{eve.cookie, "__Host-coatcheck=cks_made_up", "__Host-coatcheck_signup=" + strings.Repeat("A", 43)} {
		for name, form := range map[string][2]string{
			"sign-in": {"/sign-in", encode("email", "ada@example.com", "password", goodPassword)},
			"sign-up": {"/sign-up", encode("email", "new"+planted[len(planted)-4:]+"@example.com", "password", goodPassword)},
		} {
			r := s.ask(t, "POST", form[0], form[1], "Cookie", planted, "Origin", own).must(t, 303)
			fresh := r.cookies["__Host-coatcheck"]
			if fresh == nil || strings.Contains(planted, fresh.Value) {
				t.Errorf("%s with %.30s leaves the browser with it", name, planted)
			}
		}
	}
	if who := s.ask(t, "GET", "/v1/user", "", "Cookie", eve.cookie).get(t, ".email"); who != "eve@example.com" {
		t.Errorf("the planted session is %s's", who)
	}
}

// Clickjacking (ASVS-3.4.6, V-75): no page, no error and no file may be framed, and what
// a page may load and where its forms may lead is said on each.
func TestNoPageIsFramed(t *testing.T) {
	s := front(t, secure...)
	ada := s.signUpAs(t, "ada@example.com")
	for _, row := range web.Rows() {
		if !row.Page || strings.HasPrefix(row.Path, "/docs") {
			continue
		}
		path := strings.NewReplacer("{$}", "", "{id}", "x").Replace(row.Path)
		for _, headers := range [][]string{{"Accept", "text/html"}, {"Accept", "text/html", "Cookie", ada.cookie}} {
			r := s.ask(t, "GET", path, "", headers...)
			policy := r.header.Get("Content-Security-Policy")
			if r.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "default-src 'none'") {
				t.Errorf("%s (%d) may be framed: %s", path, r.status, policy)
			}
			if strings.Contains(policy, "script-src") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s may run scripts: %s", path, policy)
			}
		}
	}
}

// V-101: what a page is asked to lead to afterwards gets into no form, no link and no
// policy unless it is ours or one of return_to.origins, on the pages after the first one,
// too.
func TestReturnToStaysOnItsPages(t *testing.T) {
	s := front(t, append([]string{"return_to.origins", "https://shop.example"}, secure...)...)
	own := s.origin.String()
	for _, address := range []string{
		"https://evil.example", "//evil.example", `/\evil.example`, "/\t/evil.example", "https:evil.example", "https://shop.example@evil.example",
		"https://shop.example.evil.example/", "/%09/evil.example", "/%2f/evil.example", "javascript:alert(1)//evil.example", "/a//evil.example",
	} {
		for _, r := range []reply{
			s.ask(t, "GET", "/sign-in?"+encode("return_to", address), "", "Accept", "text/html"),
			s.ask(t, "GET", "/sign-up?"+encode("return_to", address), "", "Accept", "text/html"),
			s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", "wrong", "return_to", address), "Origin", own),
			s.ask(t, "POST", "/verify", encode("email", "ada@example.com", "code", "000000", "return_to", address), "Origin", own),
		} {
			if strings.Contains(r.text, "evil") || strings.Contains(r.header.Get("Content-Security-Policy")+r.header.Get("Location"), "evil") {
				t.Errorf("%q gets into a page: %.200s", address, r.text)
			}
		}
	}
}

// A logo is served as an image from our own origin, and were it opened as a page, no
// script in it would run.
func TestLogoIsHarmless(t *testing.T) {
	s := newStage(t, "")
	maps.Copy(s.settings, map[string]string{"brand.logo": "testdata/logo.svg", "brand.name": "Shop"})
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	page := s.ask(t, "GET", "/sign-in", "").must(t, 200)
	if !strings.Contains(page.text, `<img src="/static/logo?v=`) || !strings.Contains(page.text, `alt="Shop"`) {
		t.Errorf("the page does not show the logo: %.900s", page.text)
	}
	logo := s.ask(t, "GET", "/static/logo", "").must(t, 200)
	for name, want := range map[string]string{
		"Content-Type": "image/svg+xml", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
	} {
		if got := logo.header.Get(name); got != want {
			t.Errorf("%s of the logo is %q, want %q", name, got, want)
		}
	}
	if s.ask(t, "GET", "/static/logo", "", "If-None-Match", logo.header.Get("ETag")).status != 304 {
		t.Error("a logo that the browser has is sent again")
	}
}

// A page with all that it loads stays under 60 KB, in every language, with a logo of the
// largest size (see docs/pages.md).
func TestPagesAreSmall(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	for range 20 {
		s.signInAs(t, "ada@example.com")
	}
	style, icon := len(s.ask(t, "GET", "/static/style.css", "").text), len(s.ask(t, "GET", "/static/icon.svg", "").text)
	sizes := map[string]int{}
	for _, path := range []string{"/sign-in", "/sign-up", "/forgot", "/verify", "/signed-out", "/account"} {
		headers := []string{"Accept-Language", "de"}
		if path == "/account" {
			headers = append(headers, "Cookie", ada.cookie)
		}
		sizes[path] = len(s.ask(t, "GET", path, "", headers...).must(t, 200).text) + style + icon
	}
	for _, path := range slices.Sorted(maps.Keys(sizes)) {
		limit := 60_000
		if path != "/account" { // the logo fits in beside it
			limit -= 32 << 10
		}
		if sizes[path] > limit {
			t.Errorf("%s with what it loads has %d bytes, more than %d", path, sizes[path], limit)
		}
	}
}
