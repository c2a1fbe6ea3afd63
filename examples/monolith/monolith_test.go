package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// The program, as it is built and run: Ada signs up, is greeted, and once she has
// signed out she is greeted no more.
func TestMonolith(t *testing.T) {
	m := start(t)
	m.visit("/", http.StatusOK, "create an account")
	m.visit("/hello", http.StatusUnauthorized, "no_credential")
	m.visit("/static/style.css", http.StatusOK, "--radius: 0")

	m.visit("/sign-up?return_to=/hello", http.StatusOK, "Create account")
	m.submit("/sign-up", url.Values{"email": {"ada@example.com"}, "password": {"one stone, many rooms"}, "return_to": {"/hello"}}, "Hello ada@example.com!")
	m.visit("/account", http.StatusOK, "ada@example.com")

	m.submit("/sign-out", nil, "You have left the monolith")
	m.visit("/hello", http.StatusUnauthorized, "")

	m.submit("/sign-in", url.Values{"email": {"ada@example.com"}, "password": {"one stone, many rooms"}, "return_to": {"/hello"}}, "Hello ada@example.com!")
	if _, err := os.Stat(filepath.Join(m.dir, "monolith.db")); err != nil {
		t.Error(err)
	}
}

// Under forty lines, as the documentation says.
func TestIsShort(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n >= 40 {
		t.Errorf("main.go has %d lines", n)
	}
}

// A monolith is the program, running, and a browser without scripts.
type monolith struct {
	t       *testing.T
	dir     string
	url     string
	browser *http.Client
}

func start(t *testing.T) *monolith {
	free, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(free)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &monolith{t: t, dir: t.TempDir(), url: "http://localhost:" + port, browser: &http.Client{Jar: jar, Timeout: time.Minute}}
	binary := filepath.Join(m.dir, "monolith")
	if out, err := exec.Command("go", "build", "-overlay", elsewhere(t, m.dir, port), "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var said bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.dir, &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // terminated
		if t.Failed() {
			t.Logf("the program said\n%s", &said)
		}
	})
	m.wait()
	return m
}

// elsewhere has the program built for another port, since its own may be in use.
func elsewhere(t *testing.T, dir, port string) string {
	t.Helper()
	source, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	moved, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {source: moved}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{moved: bytes.ReplaceAll(text, []byte("localhost:8080"), []byte("localhost:"+port)), overlay: replaced} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}

// wait waits until the program answers, and its verifier has heard the log.
func (m *monolith) wait() {
	m.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < time.Minute; <-tick.C {
		res, err := m.browser.Get(m.url + "/hello")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized {
			return
		}
	}
	m.t.Fatal("the program does not answer")
}

func (m *monolith) visit(path string, status int, want string) {
	m.t.Helper()
	r, err := http.NewRequest(http.MethodGet, m.url+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.do(r, status, want)
}

// submit sends a form as a browser does, and follows where it leads.
func (m *monolith) submit(path string, form url.Values, want string) {
	m.t.Helper()
	r, err := http.NewRequest(http.MethodPost, m.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", m.url)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	m.do(r, http.StatusOK, want)
}

func (m *monolith) do(r *http.Request, status int, want string) {
	m.t.Helper()
	res, err := m.browser.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.Contains(string(text), want) {
		m.t.Fatalf("%s %s leads to %s: %d (%v), want %d with %q:\n%s", r.Method, r.URL.Path, res.Request.URL.Path, res.StatusCode, err, status, want, text)
	}
}
