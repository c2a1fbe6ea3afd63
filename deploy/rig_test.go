package deploy_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// A container is how one program is run: where, as whom, and told what.
type container struct {
	binary, dir string
	env         []string
	attr        *syscall.SysProcAttr
}

func (c *container) command(args ...string) *exec.Cmd {
	cmd := &exec.Cmd{Path: c.binary, Args: append([]string{c.binary}, args...), Dir: c.dir, Env: c.env}
	if c.attr != nil {
		attr := *c.attr
		cmd.SysProcAttr = &attr
	}
	return cmd
}

// start runs the program until stop is called or the test ends. It must end in peace at
// SIGTERM.
func (c *container) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd, said := c.command(args...), &log{}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%s ended with %v, having said\n%s", strings.Join(cmd.Args, " "), err, said)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A log is what a program says, while it runs.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// freeAddress returns an address of loopback at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// eventually waits until the condition holds, half a minute at most.
func eventually(t *testing.T, what string, holds func() bool, last ...*string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 30*time.Second; <-tick.C {
		if holds() {
			return
		}
	}
	for _, text := range last {
		what += fmt.Sprintf("; at last: %s", *text)
	}
	t.Fatalf("waited in vain: %s", what)
}

func statusOf(url string) int {
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// signIn signs Ada in at a server, and returns the status.
func signIn(t *testing.T, server string) int {
	t.Helper()
	body := fmt.Sprintf(`{"email":"ada@example.com","password":%q,"transport":"token"}`, password)
	res, err := http.Post(server+"/v1/sign-in", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// newSecret makes a secret, as "openssl rand -hex 32" does.
func newSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return hex.EncodeToString(secret)
}
