package docs_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// The tour of the README, word for word, in a copy of the repository. A person with a
// browser does what stands between the commands; here it is an HTTP client. The ports
// alone are others, since those of the tour may be in use.
func TestTour(t *testing.T) {
	tour := newTour(t)
	blocks := tour.blocks

	// 1. Start the server.
	server := tour.start(blocks.next("sh"))
	server.says(blocks.next("console"))
	// 2. Sign up.
	tour.signUp()
	if page := tour.visit(tour.server+"/account", http.StatusOK); !strings.Contains(page, "ada@example.com") || !strings.Contains(page, "Sign out") {
		t.Errorf("/account shows no Ada:\n%s", page)
	}
	// 3. See the session from outside.
	tour.run(blocks.next("sh"), blocks.next("console"))
	// 4. Run a service.
	hello := tour.start(blocks.next("sh"))
	hello.says(blocks.next("console"))
	if page, want := tour.visit(tour.hello, http.StatusOK), blocks.next("text"); !matches(strings.TrimSpace(want), strings.TrimSpace(page)) {
		t.Errorf("hello shows\n%s\nwant\n%s", page, want)
	}
	// 5. End the session, and watch it refuse.
	tour.run(blocks.next("sh"), blocks.next("console"))
	eventually(t, "hello refuses", func() bool { return tour.status(tour.hello) == http.StatusUnauthorized })
	if page, want := tour.visit(tour.hello, http.StatusUnauthorized), blocks.next("text"); !matches(strings.TrimSpace(want), strings.TrimSpace(page)) {
		t.Errorf("hello refuses with\n%s\nwant\n%s", page, want)
	}
	if len(blocks.blocks) != 0 {
		t.Errorf("%d blocks of the tour are left: the first is %q", len(blocks.blocks), blocks.blocks[0].text)
	}
}

// A tour is a copy of the repository and a browser.
type tour struct {
	t             *testing.T
	dir           string
	env           []string
	server, hello string // their addresses
	browser       *http.Client
	blocks        *script
}

func newTour(t *testing.T) *tour {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, hello := freeAddress(t), freeAddress(t)
	tour := &tour{
		t: t, dir: t.TempDir(), server: "http://" + server, hello: "http://" + hello,
		browser: &http.Client{Jar: jar}, blocks: &script{t: t, ports: strings.NewReplacer("localhost:8080", server, "localhost:8081", hello)},
	}
	tour.env = append(os.Environ(), "GOFLAGS=-trimpath", "COATCHECK_LISTEN="+server, "COATCHECK_PUBLIC_URL="+tour.server, "LISTEN="+hello)
	text := readPage(t, "README.md")
	begin, end := strings.Index(text, "\n## A tour"), strings.Index(text, "\n## In your service")
	if begin < 0 || end < begin {
		t.Fatal("the README has no tour")
	}
	first, last := strings.Count(text[:begin], "\n"), strings.Count(text[:end], "\n")
	for _, b := range blocksOf(t, "README.md") {
		if b.line > first && b.line < last {
			tour.blocks.blocks = append(tour.blocks.blocks, b)
		}
	}
	copyRepository(t, tour.dir)
	return tour
}

// A script is the blocks of the tour that are still to come.
type script struct {
	t      *testing.T
	ports  *strings.Replacer
	blocks []block
}

func (s *script) next(tag string) string {
	s.t.Helper()
	if len(s.blocks) == 0 || s.blocks[0].tag != tag {
		s.t.Fatalf("the tour has no %s where one is expected: %+v", tag, s.blocks)
	}
	text := s.blocks[0].text
	s.blocks = s.blocks[1:]
	return s.ports.Replace(text)
}

// copyRepository copies what a clone has.
func copyRepository(t *testing.T, to string) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, base := strings.TrimPrefix(path, "../"), entry.Name()
		switch {
		case path == "..":
			return nil
		case entry.IsDir() && slices.Contains([]string{".git", ".build", "node_modules"}, base):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !entry.Type().IsRegular(), name == "coatcheck", strings.HasPrefix(name, "coatcheck.") && filepath.Ext(name) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A running is a command that goes on.
type running struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// says waits until the command has printed what is wanted.
func (r *running) says(want string) {
	r.t.Helper()
	want = "…" + strings.TrimSpace(want) + "…"
	eventually(r.t, "a command says\n"+want, func() bool { return matches(want, r.said()) })
}

// start runs commands of which the last goes on; the test's end interrupts it, as
// Ctrl-C does.
func (tour *tour) start(commands string) *running {
	tour.t.Helper()
	r := &running{t: tour.t}
	cmd := tour.command(commands)
	cmd.Stdout, cmd.Stderr = r, r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		tour.t.Fatal(err)
	}
	tour.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait() // interrupted
		if tour.t.Failed() {
			tour.t.Logf("%s said\n%s", strings.TrimSpace(commands), r.said())
		}
	})
	return r
}

func (tour *tour) command(commands string) *exec.Cmd {
	cmd := exec.Command("bash", "-ec", commands)
	cmd.Dir, cmd.Env = tour.dir, tour.env
	return cmd
}

// run runs commands to their end, and compares what they say.
func (tour *tour) run(commands, want string) {
	tour.t.Helper()
	out, err := tour.command(commands).CombinedOutput()
	if err != nil || !matches(plain(want), plain(string(out))) {
		tour.t.Fatalf("%s: %v, says\n%s\nwant\n%s", commands, err, out, want)
	}
}

// signUp fills in the form of the sign-up page.
func (tour *tour) signUp() {
	tour.t.Helper()
	page := tour.visit(tour.server+"/sign-up", http.StatusOK)
	for _, part := range []string{`name="email"`, `name="password"`, "Create account"} {
		if !strings.Contains(page, part) {
			tour.t.Fatalf("/sign-up has no %s:\n%s", part, page)
		}
	}
	form := url.Values{"email": {"ada@example.com"}, "password": {"a tour of five minutes"}}
	r, err := http.NewRequest(http.MethodPost, tour.server+"/sign-up", strings.NewReader(form.Encode()))
	if err != nil {
		tour.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", tour.server)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := tour.browser.Do(r)
	if err != nil {
		tour.t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body) // for the message
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Request.URL.Path == "/sign-up" {
		tour.t.Fatalf("signing up leads to %s: %d\n%s", res.Request.URL, res.StatusCode, text)
	}
}

func (tour *tour) visit(address string, status int) string {
	tour.t.Helper()
	res, err := tour.browser.Get(address)
	if err != nil {
		tour.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		tour.t.Fatalf("%s: %d %s (%v), want %d", address, res.StatusCode, text, err, status)
	}
	return string(text)
}

func (tour *tour) status(address string) int {
	res, err := tour.browser.Get(address)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// freeAddress returns an address of localhost at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("localhost:%d", port)
}
