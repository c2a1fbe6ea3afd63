package web_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
)

// began signs up where the address must be proven first, and returns the mail with the
// cookie of the browser.
func (s *stage) began(t testing.TB, email string) (letter, string) {
	t.Helper()
	in := s.ask(t, "POST", "/v1/sign-up", `{"email":"`+email+`","password":"`+goodPassword+`"}`).must(t, 202)
	for name, c := range in.cookies {
		if strings.HasSuffix(name, "coatcheck_signup") || strings.HasSuffix(name, "dev_signup") {
			return s.mail(t, email), name + "=" + c.Value
		}
	}
	t.Fatalf("the browser is not told that it began a sign-up: %v", in.header)
	return letter{}, ""
}

// worked says what a call costs that could tell who has an account: hashes, and steps
// of the store.
func (s *stage) worked(t testing.TB, call func()) string {
	t.Helper()
	before, hashes := s.steps(t), s.hashes.Load()
	call()
	done := s.steps(t)
	for step, n := range before {
		done[step] -= n
	}
	maps.DeleteFunc(done, func(_ string, n int) bool { return n == 0 })
	return fmt.Sprintf("%d hashes, steps %v", s.hashes.Load()-hashes, done)
}

var stepForm = regexp.MustCompile(`(?m)^coatcheck_store_seconds_count\{step="([a-z_]+)"\} (\d+)$`)

// inTheBackground are steps that no request causes, but the outbox, the log, upkeep or a
// scrape of the figures.
var inTheBackground = []string{"next_mail", "claim_mail", "sent_mail", "count_mails", "count_sessions", "since", "sweep", "sweep_links", "forget_dead_mail", "due_notices", "claim_notices", "count_notices", "forget_notices", "lapse"}

// steps returns how often each step of the store was taken for requests.
func (s *stage) steps(t testing.TB) map[string]int {
	t.Helper()
	w := httptest.NewRecorder()
	s.app.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	steps := map[string]int{}
	for _, m := range stepForm.FindAllStringSubmatch(w.Body.String(), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(inTheBackground, m[1]) {
			steps[m[1]] = n
		}
	}
	return steps
}

// plainHeaders are the headers of an answer but for what differs from one to the next.
func plainHeaders(r reply) map[string][]string {
	h := maps.Clone(map[string][]string(r.header))
	delete(h, "Date")
	delete(h, "X-Request-Id")
	for i, c := range h["Set-Cookie"] {
		h["Set-Cookie"][i] = regexp.MustCompile(`=[^;]*`).ReplaceAllString(c, "=…")
	}
	return h
}

// V-80, ASVS-6.3.8: whatever the address is worth here, every call that takes one
// answers with the same bytes, after the same work.
func TestNobodyLearnsWhoHasAnAccount(t *testing.T) {
	s := front(t, "verify_email", "required", "throttle.address", "1000/1s")
	admin := s.addKey(t, account.ScopeAdmin)
	add := func(email, rest string) string {
		return s.ask(t, "POST", "/v1/admin/users", `{"email":"`+email+`"`+rest+`}`, "Authorization", "Bearer "+admin).must(t, 201).get(t, ".id")
	}
	add("known@example.com", `,"email_verified":true,"password":"`+goodPassword+`"`)
	add("fresh@example.com", `,"password":"`+goodPassword+`"`)
	add("none@example.com", ``)
	gone := add("gone@example.com", `,"password":"`+goodPassword+`"`)
	s.ask(t, "PATCH", "/v1/admin/users/"+gone, `{"disabled":true}`, "Authorization", "Bearer "+admin).must(t, 200)
	s.began(t, "begun@example.com")
	holder := s.signInAs(t, "known@example.com")
	own := []string{"Cookie", holder.cookie, "Origin", s.origin.String()}
	for _, call := range []struct {
		name, path, body string
		headers          []string
		status           int
	}{
		{"sign-up", "/v1/sign-up", `{"email":"%s","password":"a password nobody had"}`, nil, 202},
		{"forgotten password", "/v1/password/forgot", `{"email":"%s"}`, nil, 202},
		{"wrong password", "/v1/sign-in", `{"email":"%s","password":"a password nobody had"}`, nil, 401},
		{"wrong code", "/v1/email/verify", `{"email":"%s","code":"x","password":"a password nobody had"}`, nil, 401},
		{"change of email", "/v1/user/email", `{"email":"%s","password":"` + goodPassword + `"}`, own, 202},
	} {
		t.Run(call.name, func(t *testing.T) {
			var want reply
			var cost string
			for i, email := range []string{"unknown@example.com", "known@example.com", "fresh@example.com", "none@example.com", "gone@example.com", "begun@example.com"} {
				if call.name == "change of email" && email == "known@example.com" {
					continue // one's own
				}
				var got reply
				work := s.worked(t, func() {
					got = s.ask(t, "POST", call.path, fmt.Sprintf(call.body, email), call.headers...).must(t, call.status)
				})
				if i == 0 {
					want, cost = got, work
				}
				if got.text != want.text || fmt.Sprint(plainHeaders(got)) != fmt.Sprint(plainHeaders(want)) {
					t.Errorf("%s is answered\n%v %s\nand an unknown address\n%v %s", email, got.header, got.text, want.header, want.text)
				}
				if work != cost {
					t.Errorf("%s costs %s, and an unknown address %s", email, work, cost)
				}
			}
		})
	}
}

// V-88: every link in a mail is made of public_url, whatever the request says of hosts.
func TestMailedLinksAreOurs(t *testing.T) {
	s := front(t, "public_url", "https://auth.example.com", "verify_email", "optional", "mail.host", "mail.example.com", "mail.from", "coats@example.com", "proxies", "127.0.0.1/32")
	admin := s.addKey(t, account.ScopeAdmin)
	ada := s.signUpAs(t, "ada@example.com")
	s.mail(t, "ada@example.com")
	own := []string{"Cookie", ada.cookie, "Origin", "https://auth.example.com"}
	calls := []struct {
		path, body, to string
		headers        []string
	}{
		{"/v1/password/forgot", `{"email":"ada@example.com"}`, "ada@example.com", nil},
		{"/v1/email/verification", ``, "ada@example.com", own},
		{"/v1/user/email", `{"email":"new@example.com","password":"` + goodPassword + `"}`, "new@example.com", own},
		{"/v1/sign-up", `{"email":"bob@example.com","password":"` + goodPassword + `"}`, "bob@example.com", nil},
		{"/v1/admin/invitations", `{"email":"eve@example.com"}`, "eve@example.com", []string{"Authorization", "Bearer " + admin}},
	}
	for _, c := range calls {
		for _, lie := range [][]string{
			{"Host", "evil.example"}, {"X-Forwarded-Host", "evil.example"}, {"Host", "auth.example.com@evil.example"}, {"Host", "auth.example.com:8443"},
		} {
			s.ask(t, "POST", c.path, c.body, append(slices.Clone(c.headers), lie...)...)
		}
		s.ask(t, "POST", c.path, c.body, append(slices.Clone(c.headers),
			"Forwarded", "host=evil.example;proto=http", "X-Host", "evil.example", "X-Original-Host", "evil.example",
			"X-Forwarded-Proto", "http", "X-Forwarded-Server", "evil.example", "X-Forwarded-Prefix", "/evil", "Referer", "https://evil.example/")...)
		found := 0
		for _, l := range s.mails(t) {
			if strings.Contains(l.Text+l.HTML+l.Subject, "evil") {
				t.Errorf("%s: the mail names another host:\n%s", c.path, l.Text)
			}
			if l.To == c.to && l.Link != "" {
				found++
				if !strings.HasPrefix(l.Link, "https://auth.example.com/") || !strings.Contains(l.HTML, "https://auth.example.com/") {
					t.Errorf("%s: the link is %s", c.path, l.Link)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: no mail brings a link", c.path)
		}
	}
}

// V-45, V-87: of any number of spenders of one link one wins; the others are told that
// it is over, and nothing happens twice.
func TestOneSpenderOfALink(t *testing.T) {
	const spenders = 24 // fewer than one address may ask for
	s := front(t, "verify_email", "required", "hash.slots", "24")
	admin := s.addKey(t, account.ScopeAdmin)
	s.ask(t, "POST", "/v1/admin/users", `{"email":"ada@example.com","password":"`+goodPassword+`"}`, "Authorization", "Bearer "+admin).must(t, 201)
	ada := s.signInAs(t, "ada@example.com")
	own := []string{"Cookie", ada.cookie, "Origin", s.origin.String()}
	ask := func(path, body string, headers ...string) { s.ask(t, "POST", path, body, headers...).must(t, 202) }
	var cookie string // of the browser that began a sign-up
	for _, c := range []struct {
		name  string
		token func() letter
		path  string
		body  string
		won   int
	}{
		{"sign-up in its browser", func() (l letter) { l, cookie = s.began(t, "bob@example.com"); return l }, "/v1/email/verify", `{"token":"%s"}`, 201},
		{"sign-up elsewhere", func() letter { l, _ := s.began(t, "carol@example.com"); return l }, "/v1/email/verify", `{"token":"%s","password":"` + goodPassword + `"}`, 204},
		{"verification", func() letter {
			ask("/v1/email/verification", "", own...)
			return s.mail(t, "ada@example.com")
		}, "/v1/email/verify", `{"token":"%s"}`, 204},
		{"change of email", func() letter {
			ask("/v1/user/email", `{"email":"ada@new.example","password":"`+goodPassword+`"}`, own...)
			return s.mail(t, "ada@new.example")
		}, "/v1/email/verify", `{"token":"%s"}`, 204},
		{"invitation", func() letter {
			ask("/v1/admin/invitations", `{"email":"dora@example.com"}`, "Authorization", "Bearer "+admin)
			return s.mail(t, "dora@example.com")
		}, "/v1/sign-up", `{"email":"dora@example.com","password":"` + goodPassword + `","invitation":"%s"}`, 201},
		{"reset", func() letter {
			ask("/v1/password/forgot", `{"email":"ada@new.example"}`)
			return s.mail(t, "ada@new.example")
		}, "/v1/password/reset", `{"token":"%s","password":"another horse battery"}`, 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.wait(600e9)
			cookie = ""
			body, with := fmt.Sprintf(c.body, c.token().Token), []string(nil)
			if cookie != "" {
				with = []string{"Cookie", cookie, "Origin", s.origin.String()}
			}
			answers := make([]reply, spenders)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = s.ask(t, "POST", c.path, body, with...) })
			}
			all.Wait()
			won := 0
			for _, r := range answers {
				switch {
				case r.status == c.won:
					won++
				case r.status != http.StatusUnauthorized || r.get(t, ".code") != "link_over":
					t.Errorf("a loser is told %d %s", r.status, r.text)
				}
			}
			if won != 1 {
				t.Errorf("V-45: %d spenders of one link have won", won)
			}
		})
	}
}
