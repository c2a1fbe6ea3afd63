package coatcheck

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// ask sends a request through Require, and returns what came back and the user
// whom the handler saw.
func ask(v *Verifier, r *http.Request, opts ...Option) (*http.Response, string) {
	user := ""
	w := httptest.NewRecorder()
	v.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user = CallerFrom(r.Context()).UserID
	}), opts...).ServeHTTP(w, r)
	return w.Result(), user
}

// checkRefusal holds an answer to what every refusal promises.
func checkRefusal(t *testing.T, res *http.Response, status int, code string) {
	t.Helper()
	var p problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Errorf("the body is no problem: %v", err)
	}
	if res.StatusCode != status || p.Code != code || p.Status != status || p.Type != "urn:coatcheck:fault:"+code || p.Title == "" || p.Detail == "" {
		t.Errorf("answer %d %+v, want %d %s", res.StatusCode, p, status, code)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := res.Header.Values("WWW-Authenticate"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") {
		t.Errorf("WWW-Authenticate %q, want one Bearer challenge", got)
	}
}

func TestRequire(t *testing.T) {
	s, v, _ := setUp(t)
	token, cookie := s.Token("usr_ada", "ses_1"), s.Cookie("usr_ada", "ses_1")
	expired := s.Token("usr_ada", "ses_1", func(c *jwt.Claims) { c.IssuedAt -= 700; c.ExpiresAt -= 700 })
	ended := s.Token("usr_ada", "ses_2")
	s.End("ses_2")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_2") })
	tests := []struct {
		name      string
		header    http.Header
		status    int // 0 for let through
		code      string
		challenge string
	}{
		{"nothing", nil, 401, "no_credential", `Bearer realm="orders"`},
		{"a Bearer token", http.Header{"Authorization": {"Bearer " + token}}, 0, "", ""},
		{"the scheme in another case", http.Header{"Authorization": {"bearer " + token}}, 0, "", ""},
		{"a token cookie", http.Header{"Cookie": {"__Host-coatcheck_at=" + token}}, 0, "", ""},
		{"a token cookie in development", http.Header{"Cookie": {"coatcheck_dev_at=" + token}}, 0, "", ""},
		{"a session cookie", http.Header{"Cookie": {"a=b; __Host-coatcheck=" + cookie}}, 0, "", ""},
		{"a session cookie in development", http.Header{"Cookie": {"coatcheck_dev=" + cookie}}, 0, "", ""},
		{"expired", http.Header{"Authorization": {"Bearer " + expired}}, 401, "token_expired", `error="invalid_token"`},
		{"ended", http.Header{"Authorization": {"Bearer " + ended}}, 401, "session_ended", `error="invalid_token"`},
		{"forged", http.Header{"Authorization": {"Bearer " + token[:len(token)-2] + "AA"}}, 401, "invalid_token", `error="invalid_token"`},
		{"V-12 bad escapes", http.Header{"Authorization": {"Bearer %zz%"}}, 401, "invalid_token", `error="invalid_token"`},
		{"V-12 not UTF-8", http.Header{"Authorization": {"Bearer \xff\xfe"}}, 401, "invalid_token", `error="invalid_token"`},
		{"no token", http.Header{"Authorization": {"Bearer"}}, 401, "invalid_token", `error="invalid_request"`},
		{"an empty token", http.Header{"Authorization": {"Bearer  "}}, 401, "invalid_token", `error="invalid_request"`},
		{"an empty header", http.Header{"Authorization": {""}}, 401, "invalid_token", `error="invalid_request"`},
		{"another scheme", http.Header{"Authorization": {"Basic " + token}}, 401, "invalid_token", `error="invalid_request"`},
		{"another scheme beside a cookie", http.Header{"Authorization": {"Basic x"}, "Cookie": {"__Host-coatcheck=" + cookie}}, 401, "invalid_token", `error="invalid_request"`},
		{"two headers", http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, 401, "invalid_token", `error="invalid_request"`},
		{"SM-1 a session cookie as token", http.Header{"Authorization": {"Bearer " + cookie}}, 401, "invalid_token", `error="invalid_token"`},
		{"a token as session cookie", http.Header{"Cookie": {"__Host-coatcheck=" + token}}, 401, "invalid_token", `error="invalid_token"`},
		{"two kinds", http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"__Host-coatcheck=" + cookie}}, 401, "invalid_token", "both a Bearer token and a session cookie"},
		{"two kinds of cookie", http.Header{"Cookie": {"__Host-coatcheck_at=" + token + "; __Host-coatcheck=" + cookie}}, 401, "invalid_token", "both a token cookie and a session cookie"},
		{"CK-2 two cookies of our name", http.Header{"Cookie": {"__Host-coatcheck=" + cookie, "__Host-coatcheck=" + cookie}}, 401, "invalid_token", "a session cookie twice"},
		{"CK-2 two cookies of both our names", http.Header{"Cookie": {"__Host-coatcheck=" + cookie + "; coatcheck_dev=" + cookie}}, 401, "invalid_token", "a session cookie twice"},
		{"V-39 garbage in the cookie", http.Header{"Cookie": {"__Host-coatcheck=%00"}}, 401, "invalid_token", `error="invalid_token"`},
		{"V-39 an empty cookie", http.Header{"Cookie": {"__Host-coatcheck="}}, 401, "invalid_token", `error="invalid_token"`},
		{"V-35 a cookie that any host of the domain can set", http.Header{"Cookie": {"__Secure-coatcheck=" + cookie}}, 401, "no_credential", `Bearer realm`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "http://orders.example/orders", nil)
			r.Header = test.header
			if r.Header == nil {
				r.Header = http.Header{}
			}
			res, user := ask(v, r)
			if test.status == 0 {
				if user != "usr_ada" || res.StatusCode != 200 {
					t.Errorf("user %q, status %d: want it let through", user, res.StatusCode)
				}
				return
			}
			if user != "" {
				t.Errorf("the handler saw %q", user)
			}
			checkRefusal(t, res, test.status, test.code)
			if got := res.Header.Get("WWW-Authenticate"); !strings.Contains(got, test.challenge) {
				t.Errorf("WWW-Authenticate %q, want %q in it", got, test.challenge)
			}
		})
	}
}

func TestDemands(t *testing.T) { // ASVS-7.5.3, ASVS-10.3.4
	s, v, _ := setUp(t)
	bearer := func(change ...func(*jwt.Claims)) http.Header {
		return http.Header{"Authorization": {"Bearer " + s.Token("usr_ada", "ses_1", change...)}}
	}
	cookie := http.Header{"Cookie": {"__Host-coatcheck=" + s.Cookie("usr_ada", "ses_1")}}
	tests := []struct {
		name      string
		header    http.Header
		opts      []Option
		status    int
		code      string
		challenge string
	}{
		{"a scope it has", bearer(), []Option{Scope("read")}, 0, "", ""},
		{"two scopes it has", bearer(), []Option{Scope("read write")}, 0, "", ""},
		{"a scope it has not", bearer(), []Option{Scope("read"), Scope("admin")}, 403, "insufficient_scope", `error="insufficient_scope"`},
		{"the challenge names all", bearer(), []Option{Scope("read"), Scope("admin")}, 403, "insufficient_scope", `scope="read admin"`},
		{"a part of a scope", bearer(), []Option{Scope("rea")}, 403, "insufficient_scope", `scope="rea"`},
		{"a scope of a cookie", cookie, []Option{Scope("read")}, 403, "insufficient_scope", `scope="read"`},
		{"at the age", bearer(), []Option{MaxAge(time.Minute)}, 0, "", ""},
		{"over the age", bearer(), []Option{MaxAge(time.Minute - time.Second)}, 401, "insufficient_user_authentication", "max_age=59"},
		{"the lesser of two ages", bearer(), []Option{MaxAge(time.Second), MaxAge(time.Hour)}, 401, "insufficient_user_authentication", "max_age=1"},
		{"over the age, by a cookie", cookie, []Option{MaxAge(time.Second)}, 401, "insufficient_user_authentication", `error="insufficient_user_authentication"`},
		{"no auth_time", bearer(func(c *jwt.Claims) { c.AuthTime = 0 }), []Option{MaxAge(time.Hour)}, 401, "insufficient_user_authentication", "max_age=3600"},
		{"a method that was used", bearer(), []Option{Method("pwd")}, 0, "", ""},
		{"one that was not", bearer(), []Option{Method("pwd"), Method("otp")}, 401, "insufficient_user_authentication", `error="insufficient_user_authentication"`},
		{"no amr", bearer(func(c *jwt.Claims) { c.AMR = nil }), []Option{Method("pwd")}, 401, "insufficient_user_authentication", "Bearer"},
		{"a good one by a cookie", cookie, []Option{Method("pwd"), MaxAge(time.Hour)}, 0, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "http://orders.example/orders", nil)
			r.Header = test.header
			res, user := ask(v, r, test.opts...)
			if test.status == 0 {
				if user != "usr_ada" {
					t.Errorf("status %d, want it let through", res.StatusCode)
				}
				return
			}
			if user != "" {
				t.Errorf("the handler saw %q", user)
			}
			checkRefusal(t, res, test.status, test.code)
			if got := res.Header.Get("WWW-Authenticate"); !strings.Contains(got, test.challenge) {
				t.Errorf("WWW-Authenticate %q, want %q in it", got, test.challenge)
			}
		})
	}
}

func TestStaleAnswer(t *testing.T) { // V-56, I-8
	s, v, clock := setUp(t)
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness)
	for _, header := range []http.Header{
		{"Authorization": {"Bearer " + s.Token("usr_ada", "ses_1")}},
		{"Cookie": {"__Host-coatcheck=" + s.Cookie("usr_ada", "ses_1")}},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://orders.example/", nil)
		r.Header = header
		res, _ := ask(v, r)
		checkRefusal(t, res, 503, "verifier_stale")
		if res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if got := res.Header.Get("WWW-Authenticate"); strings.Contains(got, "error=") {
			t.Errorf("WWW-Authenticate %q blames the credential", got)
		}
	}
}

func TestCrossOrigin(t *testing.T) { // CSRF-1, CSRF-2, CSRF-4, V-36
	clock := newTestClock()
	plain := NewStandIn(clock.Now)
	defer plain.Stop()
	loopback := verifierOf(t, plain, clock, func(c *Config) { c.TrustedOrigins = []string{"https://shop.example"} })
	// Beside an issuer on https a cookie comes over https alone.
	secure := &Verifier{config: loopback.config, origin: mustURL(t, "https://auth.example"), fetch: loopback.fetch}
	const own, trusted = "https://orders.example", "https://shop.example"
	tests := []struct {
		name            string
		method          string
		origin, site    []string
		upgrade         string
		secure, onPlain bool
	}{
		{"CSRF-2 neither header", "POST", nil, nil, "", false, false},
		{"own origin", "POST", []string{own}, nil, "", true, true},
		{"own origin, and the browser agrees", "POST", []string{own}, []string{"same-origin"}, "", true, true},
		{"the browser alone", "POST", nil, []string{"same-origin"}, "", true, true},
		{"an act of the person", "DELETE", nil, []string{"none"}, "", true, true},
		{"CSRF-1 cross-site", "POST", nil, []string{"cross-site"}, "", false, false},
		{"CSRF-1 same-site", "POST", nil, []string{"same-site"}, "", false, false},
		{"CSRF-1 cross-site with our origin", "POST", []string{own}, []string{"cross-site"}, "", false, false},
		{"another origin that calls itself ours", "POST", []string{"https://evil.example"}, []string{"same-origin"}, "", false, false},
		{"another origin", "PUT", []string{"https://evil.example"}, nil, "", false, false},
		{"a trusted origin", "POST", []string{trusted}, []string{"cross-site"}, "", true, true},
		{"V-36 a trusted host on http", "POST", []string{"http://shop.example"}, []string{"cross-site"}, "", false, false},
		{"V-36 our host on http", "POST", []string{"http://orders.example"}, nil, "", false, true},
		{"V-36 null", "POST", []string{"null"}, nil, "", false, false},
		{"V-36 an empty origin", "POST", []string{""}, nil, "", false, false},
		{"V-36 a sibling host", "POST", []string{"https://x.orders.example"}, nil, "", false, false},
		{"our host on another port", "POST", []string{own + ":8443"}, nil, "", false, false},
		{"two origins", "POST", []string{own, "https://evil.example"}, nil, "", false, false},
		{"PATCH is unsafe", "PATCH", []string{"https://evil.example"}, nil, "", false, false},
		{"an unknown method is unsafe", "BREW", []string{"https://evil.example"}, nil, "", false, false},
		{"GET is safe", "GET", nil, []string{"cross-site"}, "", true, true},
		{"HEAD is safe", "HEAD", nil, nil, "", true, true},
		{"a WebSocket from elsewhere", "GET", []string{"https://evil.example"}, []string{"cross-site"}, "websocket", false, false},
		{"a WebSocket from elsewhere, in another case", "GET", []string{"https://evil.example"}, nil, "WebSocket", false, false},
		{"a WebSocket of our own", "GET", []string{own}, []string{"same-origin"}, "websocket", true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "http://orders.example/orders", nil)
			r.Header = http.Header{"Origin": test.origin, "Sec-Fetch-Site": test.site}
			if test.upgrade != "" {
				r.Header.Set("Upgrade", test.upgrade)
			}
			if got := secure.sameSite(r); got != test.secure {
				t.Errorf("beside an issuer on https: %v, want %v", got, test.secure)
			}
			r.Header.Set("Cookie", "__Host-coatcheck="+plain.Cookie("usr_ada", "ses_1"))
			res, user := ask(loopback, r)
			if (user != "") != test.onPlain {
				t.Errorf("on loopback: user %q, want let through %v", user, test.onPlain)
			}
			if user == "" {
				checkRefusal(t, res, 403, "cross_origin")
			}
			r.Header.Set("Cookie", "__Host-coatcheck_at="+plain.Token("usr_ada", "ses_1"))
			if _, user := ask(loopback, r); (user != "") != test.onPlain {
				t.Errorf("a token cookie: user %q, want let through %v", user, test.onPlain)
			}
			r.Header.Del("Cookie")
			r.Header.Set("Authorization", "Bearer "+plain.Token("usr_ada", "ses_1"))
			if _, user := ask(loopback, r); user != "usr_ada" {
				t.Error("a Bearer token, which no browser adds by itself, was refused")
			}
		})
	}
}

func TestCallerOfAnUnguardedRequest(t *testing.T) {
	if c := CallerFrom(t.Context()); c != nil {
		t.Errorf("caller %+v without Require", c)
	}
	if done := (&Caller{UserID: "usr_test"}).Done(); done != nil {
		t.Error("a caller that no verifier made has a Done")
	}
}
