package drill

// n := startNode(t, nodeOptions{Settings: map[string]string{"refresh.grace": "2s"}}) is ready; n.URL, n.APIKey, n.PID(), n.Dir
// n.Kill(t) is SIGKILL to its whole group, n.Stop(t) SIGTERM and wait, n.Restart(t) the same folder and port, ready again
// client_test.go: n.signUp(ctx, email, "token") and the other calls return an answer; answer.Err means that nobody knows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// nodeOptions say how a node differs from one with no configuration.
type nodeOptions struct {
	// Settings by their name in docs/configuration.md, over what startNode sets.
	Settings map[string]string
	// Env is added to the process's environment: "GOMEMLIMIT=128MiB".
	Env []string
	// Wrap is put before the command and must exec it: {"prlimit", "--nofile=64"}.
	Wrap []string
	// Dir is the folder of the database; empty is a temporary one. A folder that
	// was prepared by another node brings its API key in the file "apikey".
	Dir string
	// Issuer is the URL that the node shares with others, and is known by in the place
	// of its own.
	Issuer string
	// Host is used in URL instead of 127.0.0.1, with Scheme "https" instead of http.
	Host, Scheme string
}

// A node is one server process. It is gone when the test ends.
type node struct {
	*client
	// Dir holds the database and its secret; Address is where it listens.
	Dir, Address string

	t       testing.TB
	options nodeOptions
	log     *os.File

	mu      sync.Mutex
	process *process
}

// A process is one run of the node.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once err is set
	err    error
}

// startNode runs the server in a folder of its own on a free port, with throttles
// out of the way, and returns when it is ready. It fails the test if that takes
// longer than 30 s.
func startNode(t testing.TB, o nodeOptions) *node {
	t.Helper()
	n := newNode(t, o)
	n.Restart(t)
	return n
}

// newNode is startNode without the start: the folder and the API key are there.
func newNode(t testing.TB, o nodeOptions) *node {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Scheme == "" {
		o.Scheme = "http"
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Dir: o.Dir, Address: address, t: t, options: o, log: log}
	if n.client = newClient(o.Scheme + "://" + net.JoinHostPort(o.Host, port)); o.Issuer != "" {
		n.client = newClientAt(o.Issuer, address)
	}
	t.Cleanup(func() {
		n.kill()
		n.client.close()
		if t.Failed() {
			t.Logf("log of %s, its last part:\n%s", n.URL, n.tail())
		}
		_ = log.Close() // only ever appended to by the process
	})
	n.APIKey = n.apiKey(t)
	return n
}

// apiKey returns the key that lies in the folder, or makes one and puts it there.
func (n *node) apiKey(t testing.TB) string {
	t.Helper()
	file := filepath.Join(n.Dir, "apikey")
	if key, err := os.ReadFile(file); err == nil {
		return string(key)
	}
	var made struct{ Key string }
	out := n.Run(t, "apikey", "add", "--name", "drill", "--scope", "admin,introspect,revocations", "--json")
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatalf("read the API key: %v in %s", err, out)
	}
	if err := os.WriteFile(file, []byte(made.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	return made.Key
}

// Run runs another command of the binary on the node's database, as an operator
// does beside a running server, and returns what it prints.
func (n *node) Run(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = n.Dir, n.environment()
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		t.Fatalf("coatcheck %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (n *node) environment() []string {
	settings := map[string]string{
		"listen": n.Address, "public_url": n.URL, "database": "sqlite:" + filepath.Join(n.Dir, "coatcheck.db"),
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
		"verify_email": "optional", "log.level": "debug",
	}
	for name, value := range n.options.Settings {
		settings[name] = value
	}
	env := os.Environ()
	for name, value := range settings {
		env = append(env, "COATCHECK_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+value)
	}
	return append(env, n.options.Env...)
}

// Restart starts the node again in the same folder on the same port, after it was
// killed or stopped, and waits until it is ready.
func (n *node) Restart(t testing.TB) {
	t.Helper()
	n.Launch(t)
	n.WaitReady(t, 30*time.Second)
}

// Launch starts the process and waits for nothing.
func (n *node) Launch(t testing.TB) {
	t.Helper()
	n.kill()
	args := append(append([]string{}, n.options.Wrap...), binary, "serve")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.Dir, n.environment(), n.log, n.log
	// It must not outlive a test run that is itself killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the node: %v", err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
}

// WaitReady returns once /readyz says so. It fails the test when the process ends
// or the time is over.
func (n *node) WaitReady(t testing.TB, within time.Duration) {
	t.Helper()
	p := n.current()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		if n.Ready() {
			return
		}
		select {
		case <-p.exited:
			t.Fatalf("the node ended instead of being ready: %v\n%s", p.err, n.tail())
		case <-end.C:
			t.Fatalf("the node is not ready after %v\n%s", within, n.tail())
		case <-tick.C:
		}
	}
}

// Ready reports whether the node says that it may be sent requests.
func (n *node) Ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.call(ctx, http.MethodGet, "/readyz", nil).Status == http.StatusOK
}

// PID is the process's id.
func (n *node) PID() int { return n.current().cmd.Process.Pid }

// Exited is closed when the process that runs now has ended.
func (n *node) Exited() <-chan struct{} { return n.current().exited }

// Kill ends the process and all that it started as a power cut would: at once.
func (n *node) Kill(t testing.TB) {
	t.Helper()
	if !n.kill() {
		t.Errorf("the node had ended before it was killed: %v", n.current().err)
	}
}

// kill reports whether the process was still running.
func (n *node) kill() bool {
	p := n.current()
	if p == nil {
		return false
	}
	running := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) == nil
	<-p.exited
	n.client.forget()
	return running
}

// Stop asks the process to end and returns how it ended. It kills it and fails the
// test if that takes longer than 15 s.
func (n *node) Stop(t testing.TB) error {
	t.Helper()
	p := n.current()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop the node: %v", err)
	}
	end := time.NewTimer(15 * time.Second)
	defer end.Stop()
	select {
	case <-p.exited:
	case <-end.C:
		n.kill()
		t.Errorf("the node did not stop within 15 s")
	}
	n.client.forget()
	return p.err
}

func (n *node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// tail returns the last part of the node's log.
func (n *node) tail() string {
	const most = 8 << 10
	info, err := n.log.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(0, info.Size()-most)
	text, err := io.ReadAll(io.NewSectionReader(n.log, from, most))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// freeAddress returns an address of this machine where nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
