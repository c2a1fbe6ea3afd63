package web_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// A browser keeps cookies as browsers do, and sends forms of our own pages.
type browser struct {
	*stage
	t       testing.TB
	prefix  string // of our cookies' names
	cookies map[string]string
}

func (s *stage) browser(t testing.TB) *browser {
	prefix := "coatcheck_dev"
	if s.origin.Scheme == "https" {
		prefix = "__Host-coatcheck"
	}
	return &browser{stage: s, t: t, prefix: prefix, cookies: map[string]string{}}
}

// send sends a request with the cookies, and keeps those of the answer.
func (b *browser) send(method, path, body string, headers ...string) reply {
	b.t.Helper()
	headers = append(headers, "Origin", b.origin.String())
	for name, value := range b.cookies {
		headers = append(headers, "Cookie", name+"="+value)
	}
	r := b.ask(b.t, method, path, body, headers...)
	for name, c := range r.cookies {
		b.cookies[name] = c.Value
		if c.Value == "" {
			delete(b.cookies, name)
		}
	}
	return r
}

// signIn signs in beside whoever is here.
func (b *browser) signIn(email string, fields ...string) reply {
	b.t.Helper()
	return b.send("POST", "/sign-in", encode(append([]string{"email", email, "password", goodPassword, "prompt", "login"}, fields...)...))
}

// list is the cookie with the other accounts, one session's cookie each.
func (b *browser) list() []string {
	if b.cookies[b.prefix+"_accounts"] == "" {
		return nil
	}
	return strings.Split(b.cookies[b.prefix+"_accounts"], ".")
}

// inUse is the email of the account in use, "" for none.
func (b *browser) inUse() string {
	b.t.Helper()
	r := b.send("GET", "/v1/session", "")
	if r.status != 200 {
		return ""
	}
	return r.get(b.t, ".user.email")
}

// userOf is the id of the user whose cookie it is, "" if it is over.
func (b *browser) userOf(cookie string) string {
	b.t.Helper()
	r := b.ask(b.t, "GET", "/v1/session", "", "Cookie", b.prefix+"="+cookie)
	if r.status != 200 {
		return ""
	}
	return r.get(b.t, ".user.id")
}

// CK-1, CK-4, V-35: what browsers are told of the cookie with the other accounts, in
// every way of being reached: no other host ever sets it or gets it, also where the
// session's own cookie is a whole domain's.
func TestAccountsCookie(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     string
	}{
		"TLS":        {secure, "__Host-coatcheck_accounts=V; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"strict":     {append([]string{"cookie.same_site", "strict"}, secure...), "__Host-coatcheck_accounts=V; Path=/; HttpOnly; Secure; SameSite=Strict"},
		"a domain":   {append([]string{"cookie.domain", "example.com"}, secure...), "__Host-coatcheck_accounts=V; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"plain http": {nil, "coatcheck_dev_accounts=V; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			s := front(t, c.settings...)
			s.signUpAs(t, "ada@example.com")
			s.signUpAs(t, "bob@example.com")
			b := s.browser(t)
			b.signIn("ada@example.com").must(t, 303)
			accounts := func(r reply) string {
				for _, line := range r.header.Values("Set-Cookie") {
					if strings.Contains(line, "_accounts=") {
						return line
					}
				}
				return ""
			}
			if line := accounts(b.signIn("ada@example.com")); line != "" {
				t.Errorf("one account, and the browser is given %s", line)
			}
			r := b.signIn("bob@example.com").must(t, 303)
			key, rest, _ := strings.Cut(accounts(r), "=")
			value, attributes, _ := strings.Cut(rest, "; ")
			if got := key + "=V; " + attributes; got != c.want || !strings.HasPrefix(value, "cks_") {
				t.Errorf("Set-Cookie: %s, want %s", got, c.want)
			}
			gone := accounts(b.send("POST", "/accounts/sign-out-all", "x=1").must(t, 303))
			if want := over(c.want); gone != want {
				t.Errorf("taken away by %s, want %s", gone, want)
			}
		})
	}
}

// V-31, V-32: six people share a browser. Each is in use when they say so; the seventh
// pushes out the one who was not used for longest, whose session ends; one sign-out ends
// one session, and one of all ends all. No cookie reaches 4096 bytes.
func TestManyAccountsInOneBrowser(t *testing.T) {
	s := front(t, append([]string{"throttle.pair", "1000/1s"}, secure...)...)
	b := s.browser(t)
	people := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com", "f@example.com"}
	for _, email := range people {
		s.signUpAs(t, email)
		r := b.signIn(email).must(t, 303)
		for _, line := range r.header.Values("Set-Cookie") {
			if len(line) > 1024 {
				t.Errorf("a cookie of %d bytes", len(line))
			}
		}
	}
	if len(b.list()) != 5 || b.inUse() != "f@example.com" {
		t.Fatalf("%d others, in use %s", len(b.list()), b.inUse())
	}
	oldest := b.list()[4]
	user := b.userOf(oldest)
	b.send("POST", "/accounts/choose", encode("account", user)).must(t, 303)
	if b.inUse() != "a@example.com" || len(b.list()) != 5 {
		t.Errorf("in use %s beside %d", b.inUse(), len(b.list()))
	}
	second := b.list()[4] // b@example.com by now
	s.signUpAs(t, "g@example.com")
	b.signIn("g@example.com").must(t, 303)
	if len(b.list()) != 5 || b.userOf(second) != "" || slices.Contains(b.list(), second) {
		t.Errorf("the one that was pushed out: %d others, its session is %q", len(b.list()), b.userOf(second))
	}
	all := append(b.list(), b.cookies["__Host-coatcheck"])
	elsewhere := s.signInAs(t, "c@example.com")
	b.send("POST", "/accounts/sign-out", encode("account", b.userOf(all[0]))).must(t, 303)
	for i, cookie := range all {
		if over := b.userOf(cookie) == ""; over != (i == 0) {
			t.Errorf("one was signed out, and session %d is over: %v", i, over)
		}
	}
	b.send("POST", "/accounts/sign-out-all", "x=1").must(t, 303)
	for i, cookie := range all {
		if b.userOf(cookie) != "" {
			t.Errorf("session %d outlives the sign-out of all", i)
		}
	}
	if len(b.list()) != 0 || b.inUse() != "" {
		t.Error("the browser keeps something")
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", elsewhere.cookie).must(t, 200)
}

// V-30, V-31: nobody gets among the accounts of a browser but by asking for it on a
// page, and nobody out of it into use but by being chosen.
func TestNobodyIsAddedOrPromotedByTheWay(t *testing.T) {
	s := front(t, "throttle.pair", "1000/1s")
	for _, email := range []string{"ada@example.com", "bob@example.com", "eve@example.com"} {
		s.signUpAs(t, email)
	}
	in := func(email, more string) string {
		return `{"email":"` + email + `","password":"` + goodPassword + `"` + more + `}`
	}
	form := func(email string) string { return encode("email", email, "password", goodPassword) }
	for name, second := range map[string]func(*browser) reply{
		"a call": func(b *browser) reply { return b.send("POST", "/v1/sign-in", in("bob@example.com", "")) },
		"tokens": func(b *browser) reply {
			return b.send("POST", "/v1/sign-in", in("bob@example.com", `,"transport":"token_cookie"`))
		},
		"a form of a page": func(b *browser) reply { return b.send("POST", "/sign-in", form("bob@example.com")) },
		"a wrong password": func(b *browser) reply {
			return b.send("POST", "/sign-in", encode("email", "bob@example.com", "password", "wrong", "prompt", "login"))
		},
		"a prompt that is none": func(b *browser) reply {
			return b.send("POST", "/sign-in", encode("email", "bob@example.com", "password", goodPassword, "prompt", "select_account"))
		},
	} {
		b := s.browser(t)
		b.send("POST", "/sign-in", form("ada@example.com")).must(t, 303)
		second(b)
		if len(b.list()) != 0 {
			t.Errorf("%s puts the one before into the list", name)
		}
	}

	b := s.browser(t)
	b.signIn("ada@example.com").must(t, 303)
	b.signIn("bob@example.com").must(t, 303)
	ada := b.list()[0]
	// Bob's session is over, in whichever way: Ada is not in use by that.
	b.send("POST", "/v1/sign-out", "").must(t, 204)
	for _, path := range []string{"/v1/session", "/v1/user", "/account", "/v1/user/export", "/v1/sessions", "/v1/forward-auth"} {
		if r := b.send("GET", path, ""); r.status == 200 || strings.Contains(r.text, "ada@") {
			t.Errorf("%s is answered %d by an account that is not in use", path, r.status)
		}
	}
	if r := b.send("GET", "/sign-in", ""); r.status != 303 || r.header.Get("Location") != "/accounts" || b.inUse() != "" {
		t.Errorf("the sign-in page is %d to %s", r.status, r.header.Get("Location"))
	}
	// Signing in as a third leaves the list as it is, and its sessions as they are.
	b.send("POST", "/sign-in", form("eve@example.com")).must(t, 303)
	if b.inUse() != "eve@example.com" || len(b.list()) != 1 || b.list()[0] != ada {
		t.Errorf("in use %s beside %q", b.inUse(), b.list())
	}
	// Ada herself, without a prompt: a new session, and she is shown once.
	b.send("POST", "/sign-in", form("ada@example.com")).must(t, 303)
	if page := b.send("GET", "/accounts", "").must(t, 200); strings.Count(page.text, "ada@example.com") != 1 {
		t.Error("one person is shown twice")
	}
}

// V-30, V-31, V-35, V-39, SM-2: what somebody planted among the accounts is shown to the
// person or to nobody, is chosen by nobody else, and opens nothing that its cookie does
// not.
func TestPlantedAccounts(t *testing.T) {
	s := front(t, secure...)
	ada, eve := s.signUpAs(t, "ada@example.com"), s.signUpAs(t, "eve@example.com")
	_, secret, _ := strings.Cut(ada.cookie, "=")
	ended := s.signInAs(t, "ada@example.com")
	s.ask(t, "POST", "/v1/sign-out", "", "Cookie", ended.cookie, "Origin", s.origin.String()).must(t, 204)
	_, dead, _ := strings.Cut(ended.cookie, "=")
	for name, planted := range map[string]string{
		"an id with another secret": secret[:30] + strings.Repeat("A", 43),
		"one that is over":          dead,
		"an id alone":               ada.id,
		"a token":                   ada.access,
		"nothing":                   "",
		"dots":                      "....",
		"more than there may be":    strings.Repeat("x.", 5) + secret,
		"one too long":              secret + "A",
		"garbage":                   strings.Repeat("cks_", 900),
		"two in one":                secret + secret,
		"another separator":         "x," + secret,
	} {
		b := s.browser(t)
		b.cookies["__Host-coatcheck_accounts"] = planted
		if r := b.send("GET", "/accounts", ""); r.status != 303 || r.header.Get("Location") != "/sign-in" {
			t.Errorf("%s: the chooser is %d: %.200s", name, r.status, r.text)
		}
		if r := b.send("GET", "/sign-in", ""); r.status != 200 {
			t.Errorf("%s: the sign-in page is %d", name, r.status)
		}
		user := s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).get(t, ".user.id")
		for _, account := range []string{user, ada.id, "", "0", "usr_x"} {
			if r := b.send("POST", "/accounts/choose", encode("account", account)); r.status != 303 || r.cookies["__Host-coatcheck"] != nil {
				t.Errorf("%s: choosing %q is %d %v", name, account, r.status, r.cookies)
			}
		}
		b.send("POST", "/accounts/sign-out", encode("account", user)).must(t, 303)
		b.send("POST", "/accounts/sign-out-all", "x=1").must(t, 303)
		if b.inUse() != "" {
			t.Errorf("%s: somebody is in use", name)
		}
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 200)

	// A whole session of Eve's is Eve's, and shown as hers; Ada stays in use.
	b := s.browser(t)
	b.cookies["__Host-coatcheck"] = secret
	_, b.cookies["__Host-coatcheck_accounts"], _ = strings.Cut(eve.cookie, "=")
	if page := b.send("GET", "/accounts", ""); !strings.Contains(page.text, "eve@example.com") || b.inUse() != "ada@example.com" {
		t.Error("a planted account is not shown, or is in use")
	}

	// Two of the name: nobody can say which is ours.
	for _, path := range []string{"/accounts"} {
		r := b.send("GET", path, "", "Cookie", "__Host-coatcheck_accounts=x", "Accept", "text/html")
		if r.status != 401 || !strings.Contains(r.text, "Two cookies") || r.cookies["__Host-coatcheck_accounts"] == nil || r.cookies["__Host-coatcheck"] != nil {
			t.Errorf("%s with two is %d %v", path, r.status, r.cookies)
		}
	}
	for _, c := range []forged{
		{path: "/accounts/choose", body: "account=x"},
		{path: "/accounts/sign-out", body: "account=x"},
		{path: "/accounts/sign-out-all", body: "x=1"},
		{path: "/sign-in", body: encode("email", "ada@example.com", "password", goodPassword, "prompt", "login")},
	} {
		if r := b.send("POST", c.path, c.body, "Cookie", "__Host-coatcheck_accounts=x; __Host-coatcheck_accounts="); r.status != 401 {
			t.Errorf("%s with two is %d", c.path, r.status)
		}
	}
	if !strings.Contains(s.log.String(), "__Host-coatcheck_accounts") {
		t.Error("nothing was noted")
	}
	if r := b.send("GET", "/v1/session", "", "Cookie", "__Host-coatcheck_accounts=x"); r.status != 200 {
		t.Errorf("who is signed in is signed out by it: %d", r.status)
	}
}

// ASVS-7.3.1, ASVS-7.4.1, V-34, V-42: whatever ends a session elsewhere ends its place
// in the list, and to be looked at there is not to be used.
func TestAccountsEndWithTheirSessions(t *testing.T) {
	for name, end := range map[string]func(s *stage, key, user, session string, t *testing.T){
		"by an administrator": func(s *stage, key, user, session string, t *testing.T) {
			s.ask(t, "DELETE", "/v1/admin/sessions/"+session, "", "Authorization", "Bearer "+key).must(t, 204)
		},
		"with all of the person": func(s *stage, key, user, session string, t *testing.T) {
			s.ask(t, "DELETE", "/v1/admin/users/"+user+"/sessions", "", "Authorization", "Bearer "+key).must(t, 204)
		},
		"with the account": func(s *stage, key, user, session string, t *testing.T) {
			s.ask(t, "DELETE", "/v1/admin/users/"+user, "", "Authorization", "Bearer "+key).must(t, 204)
		},
		"when it is disabled": func(s *stage, key, user, session string, t *testing.T) {
			s.ask(t, "PATCH", "/v1/admin/users/"+user, `{"disabled":true}`, "Authorization", "Bearer "+key).must(t, 200)
		},
		"by the most that a person may have": func(s *stage, key, user, session string, t *testing.T) {
			for range 2 {
				s.signInAs(t, "ada@example.com")
			}
		},
		"unused, although it is looked at": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := front(t, "session.max", "2", "session.idle", "2h", "throttle.pair", "1000/1s")
			_, key, err := s.app.Accounts.AddAPIKey(t.Context(), "test", []string{"admin"}, "cli", audit.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			ada := s.signUpAs(t, "ada@example.com")
			s.signUpAs(t, "bob@example.com")
			s.ask(t, "POST", "/v1/sign-out", "", "Cookie", ada.cookie, "Origin", s.origin.String()).must(t, 204)
			b := s.browser(t)
			b.signIn("ada@example.com").must(t, 303)
			mine := b.send("GET", "/v1/session", "")
			b.signIn("bob@example.com").must(t, 303)
			if end != nil {
				s.wait(time.Second)
				end(s, key, mine.get(t, ".user.id"), mine.get(t, ".session.id"), t)
			} else {
				for range 5 {
					s.clock.move(30 * time.Minute)
					b.send("GET", "/accounts", "").must(t, 200)
				}
			}
			if page := b.send("GET", "/accounts", "").must(t, 200); strings.Contains(page.text, "ada@example.com") || !strings.Contains(page.text, "bob@example.com") {
				t.Error("it is shown still, or the other is not")
			}
			r := b.send("POST", "/accounts/choose", encode("account", mine.get(t, ".user.id"))).must(t, 303)
			if r.header.Get("Location") != "/accounts?done=over" || b.inUse() != "bob@example.com" {
				t.Errorf("choosing it leads to %s, and %s is in use", r.header.Get("Location"), b.inUse())
			}
		})
	}
}

// SM-5: the others go with the browser unless all of them asked to be remembered; then
// they are kept until the last of them ends. Whoever is chosen is kept as they asked.
func TestAccountsAreRememberedAsTheyAsked(t *testing.T) {
	s := front(t)
	for _, email := range []string{"ada@example.com", "bob@example.com", "eve@example.com"} {
		s.signUpAs(t, email)
	}
	b := s.browser(t)
	expires := func(r reply, name string) bool {
		t.Helper()
		c := r.cookies[name]
		if c == nil || c.Value == "" {
			t.Fatalf("%s is not set", name)
		}
		return !c.Expires.IsZero()
	}
	b.signIn("ada@example.com", "remember", "on").must(t, 303)
	ada := b.userOf(b.cookies["coatcheck_dev"])
	if r := b.signIn("bob@example.com").must(t, 303); !expires(r, "coatcheck_dev_accounts") || expires(r, "coatcheck_dev") {
		t.Error("Ada, who is to be remembered, goes with the browser, or Bob stays")
	}
	if r := b.send("POST", "/accounts/choose", encode("account", ada)).must(t, 303); expires(r, "coatcheck_dev_accounts") || !expires(r, "coatcheck_dev") {
		t.Error("Bob stays when he is not in use, or Ada goes when she is")
	}
	if r := b.signIn("eve@example.com").must(t, 303); expires(r, "coatcheck_dev_accounts") {
		t.Error("Bob stays beside Ada")
	}
}

// Who holds tokens in cookies gives them up for another account, as ever: they are not
// in the list, and two ways of being signed in never meet.
func TestAccountsBesideTokensInCookies(t *testing.T) {
	s := front(t)
	s.signUpAs(t, "ada@example.com")
	s.signUpAs(t, "bob@example.com")
	b := s.browser(t)
	b.send("POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`","transport":"token_cookie"}`).must(t, 200)
	if page := b.send("GET", "/accounts", "").must(t, 200); !strings.Contains(page.text, "ada@example.com") {
		t.Error("who is in use is not shown")
	}
	b.signIn("ada@example.com").must(t, 303)
	if b.cookies["coatcheck_dev_at"] != "" || b.inUse() != "ada@example.com" {
		t.Error("signing in by the page leaves tokens")
	}
	b.send("POST", "/v1/sign-in", `{"email":"bob@example.com","password":"`+goodPassword+`","transport":"token_cookie"}`).must(t, 200)
	b.signIn("ada@example.com").must(t, 303)
	b.send("POST", "/v1/sign-in", `{"email":"bob@example.com","password":"`+goodPassword+`","transport":"token_cookie"}`).must(t, 200)
	if len(b.list()) != 0 || b.inUse() != "bob@example.com" {
		t.Errorf("%d others, in use %s", len(b.list()), b.inUse())
	}
	tokens := front(t, "transports", "token")
	phone := tokens.tokenCookie(t)
	if r := tokens.ask(t, "GET", "/accounts", "", "Cookie", phone).must(t, 200); strings.Contains(r.text, "prompt=login") {
		t.Error("the page offers what it cannot do")
	}
}

// tokenCookie returns the cookies of a browser that holds tokens, where there is no other way.
func (s *stage) tokenCookie(t testing.TB) string {
	t.Helper()
	in := s.ask(t, "POST", "/v1/sign-up", `{"email":"ada@example.com","password":"`+goodPassword+`","transport":"token_cookie"}`).must(t, 201)
	return "coatcheck_dev_at=" + in.cookies["coatcheck_dev_at"].Value
}

// A database that fails neither shows, nor chooses, nor forgets anybody.
func TestAccountsOnABrokenDatabase(t *testing.T) {
	s := newStage(t, "")
	var broken atomic.Bool
	s.made = func(a *app.App) {
		a.Store.Interfere(func(sqlstore.Operation) (bool, error) {
			if broken.Load() {
				return false, errors.New("the disk is gone")
			}
			return false, nil
		})
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	s.signUpAs(t, "ada@example.com")
	s.signUpAs(t, "bob@example.com")
	b := s.browser(t)
	b.signIn("ada@example.com").must(t, 303)
	ada := b.userOf(b.cookies["coatcheck_dev"])
	b.signIn("bob@example.com").must(t, 303)
	broken.Store(true)
	for path, body := range map[string]string{
		"/accounts": "", "/accounts/choose": encode("account", ada), "/accounts/sign-out": encode("account", ada), "/accounts/sign-out-all": "x=1",
		"/sign-out": encode("account", ada),
	} {
		method := "POST"
		if body == "" {
			method = "GET"
		}
		if r := b.send(method, path, body); r.status != 503 || len(r.cookies) > 0 || strings.Contains(r.text, "ada@") {
			t.Errorf("%s is %d, %d cookies", path, r.status, len(r.cookies))
		}
	}
	b.send("GET", "/signed-out", "").must(t, 200)
	broken.Store(false)
	if page := b.send("GET", "/accounts", "").must(t, 200); !strings.Contains(page.text, "ada@example.com") {
		t.Error("somebody was forgotten")
	}
}

// V-74, V-101: what an address carries to these pages gets onto them as text alone.
func TestAccountsPagesReflectNothing(t *testing.T) {
	s := front(t, "return_to.origins", "https://shop.example")
	s.signUpAs(t, "ada@example.com")
	b := s.browser(t)
	b.signIn("ada@example.com").must(t, 303)
	for _, evil := range []string{`"><script>alert(1)</script>@x`, "javascript:alert(1)//@x", `' autofocus onfocus=alert(1) @x`, "{{.Title}}@x", "\x00@x", strings.Repeat("a", 300) + "@x", "//evil.example/@x", `\"@x`} {
		for _, name := range []string{"login_hint", "return_to", "prompt", "done", "account"} {
			for _, path := range []string{"/accounts", "/sign-in", "/sign-up", "/signed-out"} {
				r := b.send("GET", path+"?prompt=login&"+url.Values{name: {evil}}.Encode(), "")
				if r.status != 200 || strings.Contains(r.text, "<script") || strings.Contains(r.text, evil) && strings.ContainsAny(evil, `"'`) || strings.Contains(r.text, `"//evil`) && name != "login_hint" {
					t.Errorf("%s with %s=%q is %d: %.300s", path, name, evil, r.status, r.text)
				}
			}
		}
	}
	page := b.send("GET", "/accounts?return_to=https://shop.example/cart", "").must(t, 200)
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "form-action 'self' https://shop.example;") {
		t.Errorf("the forms of the chooser may not lead to where it is to lead: %s", page.header.Get("Content-Security-Policy"))
	}
	if r := b.send("POST", "/accounts/choose", encode("account", b.userOf(b.cookies["coatcheck_dev"]), "return_to", "https://shop.example/cart")); r.header.Get("Location") != "https://shop.example/cart" {
		t.Errorf("it leads to %s", r.header.Get("Location"))
	}
}

// Who makes another account by a mailed link or code stays beside the one that was in
// use, where they asked for that on the page, and nowhere else.
func TestSignUpBesideByMail(t *testing.T) {
	for name, c := range map[string]struct {
		prompt string
		link   bool
		others int
	}{
		"by a code": {"login", false, 1}, "by a link": {"login", true, 1}, "without a prompt": {"", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := front(t, withMail...)
			_, key, err := s.app.Accounts.AddAPIKey(t.Context(), "test", []string{"admin"}, "cli", audit.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			s.ask(t, "POST", "/v1/admin/users", `{"email":"ada@example.com","password":"`+goodPassword+`","email_verified":true}`, "Authorization", "Bearer "+key).must(t, 201)
			b := s.browser(t)
			b.signIn("ada@example.com").must(t, 303)
			asked := b.send("POST", "/sign-up", encode("email", "bob@example.com", "password", goodPassword, "prompt", c.prompt, "return_to", "/account?do=password"), "Accept", "text/html").must(t, 202)
			if strings.Contains(asked.text, "ada@example.com") {
				t.Error("the page tells who is in use")
			}
			letter := s.mail(t, "bob@example.com")
			form := encode("token", letter.Token, "return_to", "/account?do=password")
			if !c.link {
				form = encode("email", "bob@example.com", "code", letter.Code, "return_to", "/account?do=password")
			}
			r := b.send("POST", "/verify", form).must(t, 303)
			if len(b.list()) != c.others || b.inUse() != "bob@example.com" || r.header.Get("Location") != "/account?do=password" {
				t.Errorf("%d others, in use %s, on to %s", len(b.list()), b.inUse(), r.header.Get("Location"))
			}
		})
	}
}

// CSRF-2: a browser in which nobody is in use holds something that is worth forging for.
// Whoever does not say where a form comes from may not send it along.
func TestTheListAloneIsACredential(t *testing.T) {
	s := front(t, secure...)
	ada := s.signUpAs(t, "ada@example.com")
	_, list, _ := strings.Cut(ada.cookie, "=")
	user := s.ask(t, "GET", "/v1/user", "", "Cookie", ada.cookie).get(t, ".id")
	for path, body := range map[string]string{
		"/accounts/choose": encode("account", user), "/accounts/sign-out": encode("account", user), "/accounts/sign-out-all": "x=1", "/sign-out": encode("account", user),
	} {
		r := s.ask(t, "POST", path, body, "Cookie", "__Host-coatcheck_accounts="+list)
		if r.status != 403 || len(r.cookies) > 0 {
			t.Errorf("%s with the list and no origin is %d, %d cookies", path, r.status, len(r.cookies))
		}
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 200)
}
