package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/loopback"
)

const nginxRecipe = "../../deploy/nginx/coatcheck.conf"

// nginxConf is what surrounds the recipe, where a distribution has its own.
const nginxConf = `
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr crit;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[1]s/coatcheck.conf;
}
`

// startNginx runs Debian's nginx with the recipe of deploy/nginx, its three
// addresses put in the place of the recipe's.
func startNginx(t *testing.T, listen, coatcheck, application string) {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary = "/usr/sbin/nginx"; exec.Command(binary, "-v").Run() != nil {
			t.Fatal(`nginx is missing: "make test" installs it`)
		}
	}
	recipe, err := os.ReadFile(nginxRecipe)
	if err != nil {
		t.Fatal(err)
	}
	for old, fresh := range map[string]string{"listen 80;": "listen " + listen + ";", "127.0.0.1:8080": coatcheck, "127.0.0.1:3000": application} {
		if bytes.Count(recipe, []byte(old)) != 1 {
			t.Fatalf("the recipe does not say %q once", old)
		}
		recipe = bytes.Replace(recipe, []byte(old), []byte(fresh), 1)
	}
	dir, err := os.MkdirTemp("", "coatcheck-nginx-") // not t.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range map[string]string{"coatcheck.conf": string(recipe), "nginx.conf": fmt.Sprintf(nginxConf, dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	cmd.Dir, cmd.Stderr = dir, t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if os.Getuid() == 0 { // as nobody: this needs no privilege
		const nobody = 65534
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	waitForPort(t, listen)
}

// waitForPort waits until another process listens, which nothing announces.
func waitForPort(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nginx does not listen: %v", err)
		case <-tick.C:
		}
	}
}

// freeAddress returns an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// An application behind nginx that tells what reached it.
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

// A site is nginx with the recipe in front of the server and an application.
type site struct {
	*stage
	t      *testing.T
	url    string
	app    application
	admin  string // an API key
	client *http.Client
}

func newSite(t *testing.T) *site {
	s := &site{stage: newStage(t, ""), t: t}
	listen := freeAddress(t)
	s.url = "http://" + listen
	s.settings["public_url"], s.settings["proxies"] = s.url, "127.0.0.1/32"
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(&s.app)
	t.Cleanup(upstream.Close)
	startNginx(t, listen, s.addr, upstream.Listener.Addr().String())
	var err error
	if _, s.admin, err = s.stage.app.Accounts.AddAPIKey(t.Context(), "test", account.Scopes, "cli", audit.Origin{}); err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.client = &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// send sends a request through nginx, with the browser's cookies.
func (s *site) send(method, path, body string, headers ...string) exchanged {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return exchanged{status: strconv.Itoa(resp.StatusCode), answer: answer{header: resp.Header, body: text}}
}

// expect is send with the status that must come.
func (s *site) expect(status int, method, path, body string, headers ...string) exchanged {
	s.t.Helper()
	a := s.send(method, path, body, headers...)
	if a.status != strconv.Itoa(status) {
		s.t.Fatalf("%s %s is %s %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}

// The recipe of deploy/nginx under the real nginx: who is signed in passes, with
// headers that nobody can forge; nobody else does; and an end holds at once.
func TestNginxRecipe(t *testing.T) {
	s := newSite(t)
	bearer := []string{"Authorization", "Bearer " + s.admin}

	away := s.expect(302, "GET", "/app/reports?month=3", "").header.Get("Location")
	if want := s.url + "/sign-in?return_to=" + "http%3A%2F%2F" + strings.Replace(s.url[len("http://"):], ":", "%3A", 1) + "%2Fapp%2Freports%3Fmonth%3D3"; away != want {
		t.Errorf("a stranger is sent to %s, want %s", away, want)
	}
	s.expect(401, "POST", "/app/reports", "{}", "Origin", s.url)
	s.expect(302, "GET", "/app/reports", "", "X-Auth-User", "usr_forged", "User-Agent", "kube-probe/1.30") // V-113
	s.expect(404, "GET", "/v1/forward-auth", "", "X-Forwarded-Method", "GET")
	s.expect(404, "GET", "/_coatcheck", "")
	if reached := s.app.reached(); len(reached) != 0 {
		t.Fatalf("%d requests of a stranger reached the application", len(reached))
	}

	s.expect(201, "POST", "/v1/admin/users", `{"email":"ada@example.com","password":"correct horse battery"}`, bearer...)
	signedIn := s.expect(200, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"correct horse battery"}`,
		"Origin", s.url, "X-Forwarded-For", "203.0.113.9")
	var who struct {
		User    struct{ ID string }
		Session struct{ ID string }
	}
	if err := json.Unmarshal(signedIn.body, &who); err != nil {
		t.Fatal(err)
	}
	s.passes(who.User.ID, who.Session.ID)
	s.refusesForeignSites()

	s.streams()

	if entries := s.expect(200, "GET", "/v1/admin/audit?event=signed_in", "", bearer...); !bytes.Contains(entries.body, []byte(`"ip":"127.0.0.1"`)) {
		t.Errorf("V-100: a forged X-Forwarded-For got through nginx: %s", entries.body)
	}
	s.expect(204, "DELETE", "/v1/admin/sessions/"+who.Session.ID, "", bearer...)
	s.expect(302, "GET", "/app/reports", "")
	s.expect(401, "POST", "/app/reports", "{}", "Origin", s.url)
	if reached := s.app.reached(); len(reached) != 0 {
		t.Errorf("%d requests of an ended session reached the application", len(reached))
	}
}

// passes proves that requests of someone signed in arrive, with who it is.
func (s *site) passes(user, session string) {
	t := s.t
	t.Helper()
	forged := []string{
		"X-Auth-User", "usr_forged", "X-Auth-Session", "ses_forged", "X-Auth-Email", "root@example.com", "X-Auth-Scope", "admin",
		"X_Auth_User", "usr_forged", "X-Auth-Redirect", "https://evil.example",
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
		for name, want := range map[string][]string{
			"X-Auth-User": {user}, "X-Auth-Session": {session}, "X-Auth-Email": nil, "X-Auth-Scope": nil, "X-Auth-Redirect": nil,
			"X_auth_user": nil, "X-Forwarded-For": {"127.0.0.1"}, // BCP-7
		} {
			if got := r.Header[name]; strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%s %s arrives with %s %q, want %q", r.Method, r.URL.Path, name, got, want)
			}
		}
	}
}

// streams proves that the revocation stream passes nginx event by event.
func (s *site) streams() {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/revocations", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.admin)
	resp, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	in := feed.NewReader(resp.Body)
	for _, want := range []string{feed.EventSnapshot, feed.EventHeartbeat, feed.EventHeartbeat} {
		if e, err := in.Next(); err != nil || e.Name != want {
			t.Fatalf("through nginx comes %q, %v, want %s", e.Name, err, want)
		}
	}
}

// refusesForeignSites proves that what another site makes the browser send does not
// arrive, whatever it claims to be.
func (s *site) refusesForeignSites() {
	t := s.t
	t.Helper()
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
		t.Errorf("%d requests of a foreign site reached the application", len(reached))
	}
}
