package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// A screen is written by a command and read by its test.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// show waits until the screen shows what the pattern matches, and returns its groups.
func (s *screen) show(t *testing.T, pattern string) []string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if found := want.FindStringSubmatch(s.String()); found != nil {
			return found
		}
		<-tick.C
	}
	t.Fatalf("%s is never shown:\n%s", pattern, s.String())
	return nil
}

// serving runs coatcheck serve in the current folder, and returns its output, its
// log, and what stops it.
func serving(t *testing.T, args ...string) (out, log *screen, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, log = &screen{}, &screen{}
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--log-level", "debug"}, args...), nil, nil, out, log)
	}()
	stopped := sync.OnceValue(func() int { cancel(); return <-status })
	t.Cleanup(func() { stopped() })
	return out, log, stopped
}

// First start in an empty folder: everything is made, and the link that makes the
// first administrator is shown on the terminal and nowhere else.
func TestFirstStart(t *testing.T) {
	t.Chdir(t.TempDir())
	out, log, stop := serving(t, "--metrics-listen", "127.0.0.1:0")
	address := out.show(t, `listening  (127\.0\.0\.1:\d+)`)[1]
	link := out.show(t, `http://localhost:8080(/setup\?token=([-_A-Za-z0-9]{43}))\n`)
	out.show(t, `metrics    http://127\.0\.0\.1:\d+/metrics`)
	out.show(t, `Sign up at http://localhost:8080/sign-up\n`)
	out.show(t, `Mails are printed here and shown at http://localhost:8080(/dev/mail)`)
	out.show(t, `coatcheck init`)
	out.show(t, `Stop with Ctrl-C`)
	for name, mode := range map[string]os.FileMode{"coatcheck.db": 0o600, "coatcheck.secret": 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	open := func(path string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost:8080"
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	if status := open(link[1]); status != http.StatusOK {
		t.Errorf("the link: %d", status)
	}
	if status := open("/dev/mail"); status != http.StatusOK {
		t.Errorf("/dev/mail: %d", status)
	}
	if status := stop(); status != exitOK {
		t.Errorf("status %d: %s", status, log)
	}
	secret, err := os.ReadFile("coatcheck.secret")
	if err != nil {
		t.Fatal(err)
	}
	for name, canary := range map[string]string{"the link": link[2], "the secret": strings.TrimSpace(string(secret))} {
		if strings.Contains(log.String(), canary) {
			t.Errorf("V-104 %s is in the log:\n%s", name, log)
		}
	}
	if !strings.Contains(log.String(), `"msg":"stopping"`) {
		t.Errorf("the log of what is no terminal is no JSON:\n%s", log)
	}

	// Until one was used each start shows another link, and the one before is dead.
	again, _, stop := serving(t)
	address = again.show(t, `listening  (127\.0\.0\.1:\d+)`)[1]
	second := again.show(t, `(/setup\?token=[-_A-Za-z0-9]{43})\n`)
	if second[1] == link[1] || open(link[1]) == http.StatusOK || open(second[1]) != http.StatusOK {
		t.Errorf("after the second start: first link %d, second %d", open(link[1]), open(second[1]))
	}
	stop()
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	out, _, _ := serving(t)
	address := out.show(t, `listening  (127\.0\.0\.1:\d+)`)[1]
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"address in use":       {[]string{"--listen", address, "--database", "sqlite:other.db"}, "something listens on"},
		"no folder":            {[]string{"--database", "sqlite:" + filepath.Join("nowhere", "a.db")}, "nowhere"},
		"no certificate":       {[]string{"--public-url", "https://localhost", "--tls-certificate", "a.pem", "--tls-key", "b.pem", "--database", "sqlite:other.db"}, "a.pem"},
		"public without a yes": {[]string{"--public-url", "https://auth.example.com"}, "verify_email"},
		"plain http":           {[]string{"--public-url", "http://auth.example.com"}, "plain http"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			status := run(ctx, append([]string{"serve"}, c.args...), nil, nil, &out, &errs)
			if status != exitFailed || !strings.Contains(errs.String(), c.want) {
				t.Errorf("status %d: %s", status, &errs)
			}
			if strings.Contains(out.String(), "/setup?token=") {
				t.Error("a link is shown for a server that does not start")
			}
		})
	}
}
