package browser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// A server is one process of the binary, with a database of its own. Its members
// are what the scenarios are told.
type server struct {
	URL    string `json:"url"`
	APIKey string `json:"apiKey"`
	Setup  string `json:"setup"` // the link of the first start

	log logFile
}

// startServer starts one in a folder of its own, and returns when it is ready.
func startServer(binary, dir string, settings map[string]string) (*server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	s := &server{URL: fmt.Sprintf("http://localhost:%d", port)}
	all := map[string]string{
		"listen": fmt.Sprintf("127.0.0.1:%d", port), "public_url": s.URL, "database": "sqlite:" + filepath.Join(dir, "coatcheck.db"),
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
	}
	maps.Copy(all, settings)
	env := os.Environ()
	for name, value := range all {
		env = append(env, "COATCHECK_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+value)
	}
	add := exec.Command(binary, "apikey", "add", "--name", "browser", "--scope", "admin", "--json")
	add.Dir, add.Env, add.Stderr = dir, env, &s.log
	out, err := add.Output()
	if err != nil {
		return nil, fmt.Errorf("make an API key: %w\n%s", err, s.log.text())
	}
	var made struct{ Key string }
	if err := json.Unmarshal(out, &made); err != nil {
		return nil, err
	}
	s.APIKey = made.Key
	serve := exec.Command(binary, "serve")
	serve.Dir, serve.Env, serve.Stdout, serve.Stderr = dir, env, &s.log, &s.log
	return s, s.begin(serve)
}

var setupLink = regexp.MustCompile(`\S+/setup\?token=\S+`)

// begin starts the process and waits until it says that it is ready.
func (s *server) begin(cmd *exec.Cmd) error {
	// It must not outlive a test run that is itself killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{}) // closed once how is set
	var how error
	go func() {
		how = cmd.Wait()
		close(ended)
	}()
	endings = append(endings, func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(30 * time.Second)
	for {
		if answer, err := http.Get(s.URL + "/readyz"); err == nil {
			_ = answer.Body.Close() // only its status counts
			if answer.StatusCode == http.StatusOK && s.log.has("Stop with Ctrl-C") {
				s.Setup = setupLink.FindString(s.log.text())
				return nil
			}
		}
		select {
		case <-ended:
			return fmt.Errorf("the server ended: %w\n%s", how, s.log.text())
		case <-over:
			return errors.New("the server is not ready after 30 s\n" + s.log.text())
		case <-tick.C:
		}
	}
}

// A logFile is what a process has written, to be read while it writes.
type logFile struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logFile) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// complaints returns the last lines that tell of something wrong.
func (l *logFile) complaints() string {
	var found []string
	for line := range strings.Lines(l.text()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "a mail was not taken") {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-10):], "")
}

func (l *logFile) has(part string) bool { return strings.Contains(l.text(), part) }
