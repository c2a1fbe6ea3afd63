package docs_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

var auditFrom = audit.Origin{UserAgent: "docs"}

// Every command in the docs is run by a shell, beside a running server to which Ada
// has signed in, and says what the page says it does.
func TestCommands(t *testing.T) {
	for _, page := range ours {
		var consoles []block
		for _, b := range blocksOf(t, page) {
			if b.tag == "console" {
				consoles = append(consoles, b)
			}
		}
		if len(consoles) == 0 {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			s := newShell(t)
			if page == "docs/many-nodes.md" || page == "docs/moving.md" {
				s.replace = map[string]string{"postgres://coatcheck@db.example.com/coatcheck": "'" + storetest.Postgres(t) + "'"}
			}
			switch page {
			case "docs/many-nodes.md":
			case "docs/moving.md":
				t.Run("a server, until then", func(t *testing.T) { s.serve(t) })
			default:
				s.serve(t)
			}
			for _, b := range consoles {
				s.play(t, b)
			}
		})
	}
}

// build makes the binary, once for all tests of this package.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "coatcheck-docs-")
	if err != nil {
		return "", err
	}
	bin = dir
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "coatcheck"), "./cmd/coatcheck")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		_, _ = os.Stderr.Write(out)
	}
	return dir, err
})

// bin is the folder of the binary, once there is one.
var bin string

func TestMain(m *testing.M) {
	status := m.Run()
	if bin != "" {
		_ = os.RemoveAll(bin)
	}
	os.Exit(status)
}

// A shell is where the commands of one page are run, one after the other.
type shell struct {
	dir     string
	env     []string
	replace map[string]string
	stage   stage // for what was seen
}

func newShell(t *testing.T) *shell {
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := &shell{dir: t.TempDir(), stage: stage{newest: map[string]string{}}}
	s.env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "COATCHECK_LISTEN="+address, "COATCHECK_PUBLIC_URL=http://"+address)
	if err := os.WriteFile(filepath.Join(s.dir, "password.txt"), []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// serve starts a server, and signs Ada up.
func (s *shell) serve(t *testing.T) {
	cmd := exec.Command("coatcheck", "serve")
	cmd.Dir, cmd.Env = s.dir, s.env
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "coatcheck")
	cmd.Err = nil // of looking for it in our own PATH
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended with %v, having said\n%s", err, log.String())
		}
	})
	url := strings.TrimPrefix(s.env[len(s.env)-1], "COATCHECK_PUBLIC_URL=")
	eventually(t, "the server is ready", func() bool { return statusOf(url+"/readyz") == http.StatusOK })
	body, err := json.Marshal(map[string]string{"email": "ada@example.com", "password": "correct horse battery staple"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url+"/v1/sign-up", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("sign-up: %d", res.StatusCode)
	}
}

// play runs the commands of a block, and compares what they say.
func (s *shell) play(t *testing.T, b block) {
	t.Helper()
	for _, piece := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		command, want, _ := strings.Cut(piece, "\n")
		at := exchange{at: b.page}
		run := s.stage.expand(t, at, command)
		for old, fresh := range s.replace {
			run = strings.ReplaceAll(run, old, fresh)
		}
		name, exported := strings.CutPrefix(run, "export ")
		if exported { // so that what comes later has it
			name, _, _ = strings.Cut(name, "=")
			run += "\nprintf %s \"$" + name + "\""
		}
		cmd := exec.Command("sh", "-ec", run)
		cmd.Dir, cmd.Env = s.dir, s.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s:%d: $ %s: %v\n%s", b.page, b.line, command, err, out)
		}
		if exported {
			s.env = append(s.env, name+"="+string(out))
			out = nil
		}
		s.stage.see(string(out))
		if got := plain(string(out)); !matches(plain(want), got) {
			t.Errorf("%s:%d: $ %s says\n%s\nwant\n%s", b.page, b.line, command, got, plain(want))
		}
	}
}

var gaps = regexp.MustCompile(` {2,}`)

// plain makes what commands print comparable: columns have the width of what is in
// them.
func plain(text string) string { return strings.TrimSpace(gaps.ReplaceAllString(text, "  ")) }

func statusOf(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// eventually waits until the condition holds, for as long as a build may take.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 3*time.Minute; <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

// Every piece of configuration is one that the server accepts.
func TestConfigurationIsAccepted(t *testing.T) {
	for _, page := range ours {
		for _, b := range blocksOf(t, page) {
			if b.tag != "toml" {
				continue
			}
			path := filepath.Join(t.TempDir(), "coatcheck.toml")
			if err := os.WriteFile(path, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err := config.Load(config.Options{Path: path})
			if err != nil {
				t.Errorf("%s:%d: %v", b.page, b.line, err)
				continue
			}
			if !slices.ContainsFunc(config.Keys(), func(k config.Key) bool { return loaded.Given(k.Name) }) {
				t.Errorf("%s:%d: sets nothing", b.page, b.line)
			}
		}
	}
}
