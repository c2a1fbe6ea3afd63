package deploy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
)

// startCaddy runs Debian's caddy with a recipe in which each of the old texts, which
// must be there, gives place to its fresh one; it must serve listen.
func startCaddy(t *testing.T, recipe, listen string, env []string, replaced map[string]string) {
	t.Helper()
	program, err := exec.LookPath("caddy")
	if err != nil {
		t.Fatal(`caddy is missing: "make test" installs it`)
	}
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	for old, fresh := range replaced {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("%s does not say %q", recipe, old)
		}
		text = bytes.ReplaceAll(text, []byte(old), []byte(fresh))
	}
	dir, err := os.MkdirTemp("", "coatcheck-caddy-") // not t.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, append([]byte("{\n\tadmin off\n}\n"), text...), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &container{binary: program, dir: dir, env: append(env, "HOME="+dir), attr: &syscall.SysProcAttr{}}
	if os.Getuid() == 0 { // as nobody: this needs no privilege
		const nobody = 65534
		c.attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	c.start(t, "run", "--config", file, "--adapter", "caddyfile")
	eventually(t, "caddy answers", func() bool { return statusOf("http://"+listen+"/healthz") != 0 })
}

// A site is Coatcheck and an application behind a gateway.
type site struct {
	t      *testing.T
	url    string
	server *container
	app    *application
	admin  string // an API key
	client *http.Client
}

// An application tells what reached it, and answers with the body.
type application struct {
	mu   sync.Mutex
	seen []*http.Request
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, r)
	_, _ = io.Copy(w, r.Body)
}

// reached returns the requests since it was last asked.
func (a *application) reached() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

func newSite(t *testing.T) *site {
	listen, address := freeAddress(t), freeAddress(t)
	s := &site{t: t, url: "http://" + listen, app: &application{}}
	s.server = &container{binary: binary(t), dir: t.TempDir(), env: []string{
		"COATCHECK_LISTEN=" + address, "COATCHECK_PUBLIC_URL=" + s.url, "COATCHECK_PROXIES=127.0.0.1/32",
		"COATCHECK_TOKEN_AUDIENCES=orders", "COATCHECK_TOKEN_SCOPES=read",
	}}
	s.server.start(t, "serve")
	eventually(t, "the server is ready", func() bool { return statusOf("http://"+address+"/readyz") == http.StatusOK })
	upstream := httptest.NewServer(s.app)
	t.Cleanup(upstream.Close)
	startCaddy(t, "caddy/Caddyfile", listen, nil, map[string]string{
		"auth.example.com {": s.url + " {", "127.0.0.1:8080": address, "127.0.0.1:3000": upstream.Listener.Addr().String(),
	})
	s.admin = s.server.apiKey(t)
	s.client = newBrowser(t)
	return s
}

// apiKey makes a key that may do everything, beside a running server.
func (c *container) apiKey(t *testing.T) string {
	t.Helper()
	out, err := c.command("apikey", "add", "--name", "test", "--scope", "admin,revocations,introspect", "--json").Output()
	var made struct{ Key string }
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made.Key
}

// newBrowser keeps cookies, and follows no redirect.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// An answered request: its header and body.
type answered struct {
	header http.Header
	body   []byte
}

// expect sends a request through the gateway with the browser's cookies, and demands a
// status.
func (s *site) expect(status int, method, path, body string, headers ...string) answered {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1]) // spelt as it is
	}
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		s.t.Fatalf("%s %s is %d %s (%v), want %d", method, path, res.StatusCode, text, err, status)
	}
	return answered{res.Header, text}
}

const password = "correct horse battery"

// The recipe of deploy/caddy under the real Caddy: who is signed in passes, with
// headers that nobody can forge; nobody else does; and an end holds at once.
func TestCaddyRecipe(t *testing.T) {
	s := newSite(t)
	bearer := []string{"Authorization", "Bearer " + s.admin}

	away := s.expect(302, "GET", "/app/reports?month=3", "").header.Get("Location")
	if want := s.url + "/sign-in?return_to=" + url.QueryEscape(s.url+"/app/reports?month=3"); away != want {
		t.Errorf("a stranger is sent to %s, want %s", away, want)
	}
	s.expect(401, "POST", "/app/reports", "{}", "Origin", s.url)
	s.expect(302, "GET", "/app/reports", "", "X-Auth-User", "usr_forged", "User-Agent", "kube-probe/1.30") // V-113
	s.expect(404, "GET", "/v1/forward-auth", "", "X-Forwarded-Method", "GET")
	if reached := s.app.reached(); len(reached) != 0 {
		t.Fatalf("%d requests of a stranger reached the application", len(reached))
	}

	made := s.expect(201, "POST", "/v1/admin/users", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, password), bearer...)
	signedIn := s.expect(200, "POST", "/v1/sign-in", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, password),
		"Origin", s.url, "X-Forwarded-For", "203.0.113.9")
	var user struct{ ID string }
	var who struct{ Session struct{ ID string } }
	if err := errors.Join(json.Unmarshal(made.body, &user), json.Unmarshal(signedIn.body, &who)); err != nil {
		t.Fatal(err)
	}
	s.passes(map[string]string{"X-Auth-User": user.ID, "X-Auth-Session": who.Session.ID})
	s.expect(200, "PATCH", "/v1/admin/users/"+user.ID, `{"email_verified":true}`, bearer...)
	s.passes(map[string]string{"X-Auth-User": user.ID, "X-Auth-Session": who.Session.ID, "X-Auth-Email": "ada@example.com"})
	s.refusesForeignSites()

	if entries := s.expect(200, "GET", "/v1/admin/audit?event=signed_in", "", bearer...); !bytes.Contains(entries.body, []byte(`"ip":"127.0.0.1"`)) {
		t.Errorf("V-100: a forged X-Forwarded-For got through: %s", entries.body)
	}
	s.follows(user.ID, who.Session.ID, bearer)

	s.expect(302, "GET", "/app/reports", "")
	s.expect(401, "POST", "/app/reports", "{}", "Origin", s.url)
	if reached := s.app.reached(); len(reached) != 0 {
		t.Errorf("%d requests of an ended session reached the application", len(reached))
	}
}

// passes proves that requests of someone signed in arrive with exactly these headers,
// whatever the client claims.
func (s *site) passes(vouched map[string]string) {
	t := s.t
	t.Helper()
	var forged []string
	for _, name := range []string{"User", "Session", "Email", "Scope", "Redirect", "Admin"} {
		for _, spelt := range []string{"X-Auth-", "X_Auth_", "x-auth-", "X-AUTH_", "x_Auth-"} {
			forged = append(forged, spelt+name, "forged", spelt+name, "forged too")
		}
	}
	s.expect(200, "GET", "/app/reports", "", forged...)
	if echo := s.expect(200, "POST", "/app/reports", `{"a":1}`, append(forged, "Origin", s.url)...); string(echo.body) != `{"a":1}` {
		t.Errorf("the application got the body %q", echo.body)
	}
	reached := s.app.reached()
	if len(reached) != 2 {
		t.Fatalf("%d requests reached the application, want 2", len(reached))
	}
	for _, r := range reached {
		got := map[string]string{}
		for name, values := range r.Header {
			if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-auth-") {
				got[name] = strings.Join(values, "|")
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(vouched) { // BCP-7
			t.Errorf("%s %s arrives with %v, want %v", r.Method, r.URL.Path, got, vouched)
		}
		if from := r.Header.Values("X-Forwarded-For"); strings.Join(from, "|") != "127.0.0.1" {
			t.Errorf("%s %s arrives from %q", r.Method, r.URL.Path, from)
		}
	}
}

// refusesForeignSites proves that what another site makes the browser send does not
// arrive, whatever it claims to be.
func (s *site) refusesForeignSites() {
	s.t.Helper()
	for _, headers := range [][]string{ // CSRF-1, CSRF-2
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site"},
		{},
		{"Origin", "https://evil.example", "X-Forwarded-Method", "GET"},
		{"Origin", "https://evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https"},
	} {
		s.expect(403, "POST", "/app/reports", "{}", headers...)
	}
	if reached := s.app.reached(); len(reached) != 0 {
		s.t.Errorf("%d requests of a foreign site reached the application", len(reached))
	}
}

// follows proves that a token passes with its scope, and that a verifier hears the log
// through the gateway: it refuses the token once the session is ended (I-1).
func (s *site) follows(user, session string, bearer []string) {
	t := s.t
	t.Helper()
	drawn := s.expect(200, "POST", "/v1/session/token", `{"audience":"orders"}`, "Origin", s.url)
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(drawn.body, &token); err != nil {
		t.Fatal(err)
	}
	v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: s.url, Audience: "orders", APIKey: s.admin})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	caller, err := v.Verify(t.Context(), token.Access)
	if err != nil || caller.UserID != user {
		t.Fatalf("through the gateway: %v, %v", caller, err)
	}
	s.expect(204, "DELETE", "/v1/admin/sessions/"+session, "", bearer...)
	select {
	case <-caller.Done():
	case <-time.After(10 * time.Second):
		t.Error("the verifier has not heard of the end")
	}
	if _, err := v.Verify(t.Context(), token.Access); !errors.Is(err, coatcheck.ErrRevoked) {
		t.Errorf("after the end: %v", err)
	}
}
