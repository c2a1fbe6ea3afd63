package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
)

const staleness = 2 * time.Second // of the verifiers here; the server's heartbeat is a tenth of it

// One sign-in, three services: all accept, and one end makes all refuse. In between
// the stream of the verifiers is cut: they refuse by themselves, and recover.
func TestThreeServices(t *testing.T) {
	server := startServer(t)
	wire := startWire(t, strings.TrimPrefix(server.url, "http://"))
	services := startServices(t, server, wire)
	browser := server.signUp(t, "ada@example.com")
	session := browser.session
	t.Run("all accept", func(t *testing.T) {
		for _, s := range services {
			if status, text := s.call(browser); status != http.StatusOK || !strings.Contains(text, browser.user) {
				t.Errorf("%s: %d %s", s.name, status, text)
			}
		}
	})
	t.Run("a stranger is refused", func(t *testing.T) {
		for _, s := range services {
			if status, text := s.call(newPerson(t)); status != s.refused {
				t.Errorf("%s: %d %s, want %d", s.name, status, text, s.refused)
			}
		}
	})
	t.Run("a cut stream makes verifiers refuse by themselves", func(t *testing.T) {
		wire.cut()
		cut := time.Now()
		for _, s := range services[:2] { // the third asks the server each time
			s.until(t, browser, http.StatusServiceUnavailable, "verifier_stale", cut)
		}
		if status, text := services[2].call(browser); status != http.StatusOK {
			t.Errorf("%s: %d %s, want 200", services[2].name, status, text)
		}
		mended := wire.mend(t)
		for _, s := range services[:2] {
			s.until(t, browser, http.StatusOK, browser.user, mended)
		}
	})
	t.Run("one end, and all refuse", func(t *testing.T) {
		if out := server.command(t, "session", "end", session); !strings.Contains(out, "Ended "+session) {
			t.Fatalf("coatcheck session end: %s", out)
		}
		ended := time.Now()
		services[0].until(t, browser, http.StatusUnauthorized, "session_ended", ended)
		services[1].until(t, browser, http.StatusUnauthorized, "session_ended", ended)
		services[2].until(t, browser, http.StatusFound, "", ended)
	})
}

// A server is the real binary, on SQLite.
type server struct {
	binary  string
	dir     string
	address string // where it listens, behind nginx
	url     string // public_url: where nginx listens
	apiKey  string
	env     []string
}

func startServer(t *testing.T) *server {
	dir := t.TempDir()
	s := &server{binary: filepath.Join(dir, "coatcheck"), dir: dir, address: freeAddress(t), url: "http://" + freeAddress(t)}
	s.env = append(os.Environ(), "CGO_ENABLED=0", "COATCHECK_LISTEN="+s.address, "COATCHECK_PUBLIC_URL="+s.url,
		"COATCHECK_PROXIES=127.0.0.1/32", "COATCHECK_TOKEN_AUDIENCES=orders", "COATCHECK_TOKEN_SCOPES=read",
		"COATCHECK_REVOCATION_STALENESS="+staleness.String(), "COATCHECK_REVOCATION_HEARTBEAT=200ms")
	build := exec.Command("go", "build", "-o", s.binary, "./cmd/coatcheck")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	serve := exec.Command(s.binary, "serve")
	serve.Dir, serve.Env = dir, s.env
	var log bytes.Buffer
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt)
		if err := serve.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended with %v, having said\n%s", err, log.String())
		}
	})
	eventually(t, "the server is ready", func() bool { return answers("http://" + s.address + "/readyz") })
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(s.command(t, "apikey", "add", "--name", "services", "--scope", "revocations,introspect", "--json")), &key); err != nil {
		t.Fatal(err)
	}
	s.apiKey = key.Key
	return s
}

// command runs the binary beside the server, on the same configuration.
func (s *server) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(s.binary, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("coatcheck %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A person has a browser with cookies, and a token that its page has drawn.
type person struct {
	client        *http.Client
	user, session string
	token         string
}

func newPerson(t *testing.T) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &person{client: &http.Client{Jar: jar, CheckRedirect: stay}}
}

// signUp makes an account in a browser, and draws a token for the API.
func (s *server) signUp(t *testing.T, email string) *person {
	p := newPerson(t)
	var signedUp struct{ User, Session struct{ ID string } }
	s.post(t, p, "/v1/sign-up", map[string]string{"email": email, "password": "three services, one coat"}, &signedUp)
	p.user, p.session = signedUp.User.ID, signedUp.Session.ID
	var drawn struct {
		Token string `json:"access_token"`
	}
	s.post(t, p, "/v1/session/token", map[string]string{"audience": "orders", "scope": "read"}, &drawn)
	p.token = drawn.Token
	return p
}

func (s *server) post(t *testing.T, p *person, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", s.url)
	res, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 == 2 {
		err = json.Unmarshal(text, out)
	}
	if err != nil || res.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %d %s (%v)", path, res.StatusCode, text, err)
	}
}

// A service is one of the three, running.
type service struct {
	name    string
	url     string
	bearer  bool // takes tokens, not cookies
	refused int  // what it answers a stranger
}

func startServices(t *testing.T, s *server, w *wire) []service {
	start := func(h http.Handler) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: h}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		return listener.Addr().String()
	}
	startNginx(t, site{
		recipe: "../../deploy/nginx/coatcheck.conf", listen: strings.TrimPrefix(s.url, "http://"),
		server: s.address, service: start(gateway()),
	})
	verifier := func(audience string) *coatcheck.Verifier {
		v, err := coatcheck.NewVerifier(coatcheck.Config{
			Issuer: s.url, Audience: audience, APIKey: s.apiKey, Staleness: staleness,
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: w.dial}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		if err := v.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return []service{
		{"cookies", "http://" + start(cookies(verifier("notes"))) + "/notes", false, http.StatusUnauthorized},
		{"tokens", "http://" + start(tokens(verifier("orders"))) + "/orders", true, http.StatusUnauthorized},
		{"gateway", s.url + "/app/reports", false, http.StatusFound}, // to sign in
	}
}

func (s service) call(p *person) (int, string) {
	r, err := http.NewRequest(http.MethodGet, s.url, nil)
	if err != nil {
		return 0, err.Error()
	}
	client := p.client
	if s.bearer {
		client = http.DefaultClient // a program, without the browser's cookies
		if p.token != "" {
			r.Header.Set("Authorization", "Bearer "+p.token)
		}
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// until calls until the answer is as wanted, and says how long after since that was.
func (s service) until(t *testing.T, p *person, status int, text string, since time.Time) {
	t.Helper()
	last := ""
	eventually(t, s.name+" answers "+fmt.Sprint(status, " ", text), func() bool {
		got, body := s.call(p)
		last = fmt.Sprint(got, " ", body)
		return got == status && strings.Contains(body, text)
	}, &last)
	t.Logf("%-8s %d %-15s after %s", s.name, status, text, time.Since(since).Round(time.Millisecond))
}
