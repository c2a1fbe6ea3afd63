package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// program is the binary that all tests here run: built once, as users build it.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "coatcheck-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "coatcheck")
	// The tag lets a test set the server's clock, and changes nothing else.
	build := exec.Command("go", "build", "-tags", "drill", "-o", program, "./cmd/coatcheck")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build coatcheck: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A server is coatcheck serve on loopback with a database of its own.
type server struct {
	t   *testing.T
	url string // its public_url: the issuer
	env []string
	dir string

	off time.Duration // how far its clock is ahead
}

// newServer starts one, with settings over the usual ones, and stops it when the test is
// over.
func newServer(t *testing.T, settings ...string) *server {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, url: fmt.Sprintf("http://localhost:%d", port), dir: t.TempDir()}
	s.env = append(os.Environ(),
		"COATCHECK_PUBLIC_URL="+s.url, fmt.Sprintf("COATCHECK_LISTEN=localhost:%d", port), "COATCHECK_TOKEN_ACCESS=10m")
	s.env = append(append(s.env, settings...), "DRILL_CLOCK="+filepath.Join(s.dir, "clock"))
	serve := exec.Command(program, "serve")
	serve.Dir, serve.Env = s.dir, s.env
	var said bytes.Buffer
	serve.Stdout, serve.Stderr = &said, &said
	serve.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		err := serve.Wait()
		if t.Failed() {
			t.Logf("the server ended with %v, having said\n%s", err, said.String())
		}
	})
	s.await()
	return s
}

// await returns when the server is ready.
func (s *server) await() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", http.NoBody)
		if err != nil {
			s.t.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			s.t.Fatal("the server does not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ahead sets the clock of the server ahead, and returns when the server goes by it.
func (s *server) ahead(by time.Duration) {
	s.t.Helper()
	s.off += by
	if err := os.WriteFile(filepath.Join(s.dir, "clock"), []byte(s.off.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	// The server reads the file a hundred times a second. Nothing it says from outside
	// tells when it has, so this waits for many times as long.
	<-time.After(300 * time.Millisecond)
	s.await()
}

// tryCommand runs a command beside the server.
func (s *server) tryCommand(args ...string) (out []byte, err error) {
	cmd := exec.Command(program, append(args, "--json")...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Stdin = strings.NewReader(password + "\n")
	var failed bytes.Buffer
	cmd.Stderr = &failed
	if out, err = cmd.Output(); err != nil {
		err = fmt.Errorf("coatcheck %s: %w\n%s%s", strings.Join(args, " "), err, out, failed.String())
	}
	return out, err
}

// command runs a command beside the server, which must succeed, and reads its JSON.
func (s *server) command(out any, args ...string) {
	s.t.Helper()
	text, err := s.tryCommand(args...)
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

const password = "correct horse battery staple"

// person makes a user.
func (s *server) person(email string) (id string) {
	s.t.Helper()
	var made struct{ ID string }
	s.command(&made, "user", "add", "--email", email, "--name", "Ada Lovelace", "--verified", "--password-stdin")
	return made.ID
}

// A client is one that was registered.
type client struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

// client registers one.
func (s *server) client(args ...string) client {
	s.t.Helper()
	var made client
	s.command(&made, append([]string{"client", "add"}, args...)...)
	return made
}

// signIn signs the person in who meets the sign-in page, if this is it.
func (v *view) signIn(email string) *view {
	v.browser.t.Helper()
	if !v.shows("Sign in") {
		return v
	}
	return v.press("Sign in", "email", email, "password", password)
}

// allow consents, if asked.
func (v *view) allow() *view {
	v.browser.t.Helper()
	if v.shows("Allow") {
		v = v.press("Allow")
	}
	return v.carry()
}

// carry presses the button of a page that carries an answer to the application, which a
// script would press.
func (v *view) carry() *view {
	v.browser.t.Helper()
	for _, f := range v.forms {
		if len(f.buttons) > 0 && v.browser.watched(f.action.String()) {
			return v.press(f.buttons[0].text)
		}
	}
	return v
}

// answer returns what the application was answered, by query, fragment or form_post.
func (v *view) answer() url.Values {
	v.browser.t.Helper()
	switch {
	case v.posted != nil:
		return v.posted
	case v.browser.watched(v.address.String()) && v.address.Fragment != "":
		said, err := url.ParseQuery(v.address.Fragment)
		if err != nil {
			v.browser.t.Fatal(err)
		}
		return said
	case v.browser.watched(v.address.String()):
		return v.address.Query()
	}
	v.browser.t.Fatalf("the browser is at %s (%d): %s", v.address, v.status, v.words())
	return nil
}

// A reply is what an endpoint answered a program.
type reply struct {
	status int
	header http.Header
	text   []byte
	json   map[string]any
}

// call sends a request as a program does. A form is sent as one; header is names and
// values in turn.
func (s *server) call(method, address string, form url.Values, header ...string) reply {
	s.t.Helper()
	var body io.Reader = http.NoBody
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	if strings.HasPrefix(address, "/") {
		address = s.url + address
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, address, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := (&http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	out := reply{status: res.StatusCode, header: res.Header}
	if out.text, err = io.ReadAll(res.Body); err != nil {
		s.t.Fatal(err)
	}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(out.text, &out.json); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, address, err, out.text)
		}
	}
	return out
}

// basic is the header of client_secret_basic (RFC 6749 section 2.3.1).
func (c client) basic() []string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	return []string{"Authorization", r.Header.Get("Authorization")}
}

func (r reply) member(name string) string {
	text, _ := r.json[name].(string)
	return text
}
