package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

//go:embed node/package.json node/server.js cycle.lua
var files embed.FS

// A runner starts the processes of one run and ends them.
type runner struct {
	dir     string // a temporary folder
	source  string // the root of this repository
	shelf   shelf
	server  string // the core of the candidates
	load    string // the core of wrk
	beside  string // the core of Redis and the issuer: a third one where there is one
	started []*exec.Cmd
}

func newRunner(source string) (*runner, error) {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return nil, err
	}
	r := &runner{dir: dir, source: source, shelf: shelf(filepath.Join(dir, "shelf")), server: "0", load: "1", beside: "1"}
	if runtime.NumCPU() > 2 {
		r.beside = "2"
	}
	return r, os.Mkdir(string(r.shelf), 0o700)
}

// close ends all processes and removes what they left.
func (r *runner) close() error {
	for _, cmd := range slices.Backward(r.started) { // who relies on another goes first
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	}
	return os.RemoveAll(r.dir)
}

// start runs a program on one core, and returns what it writes to its output.
func (r *runner) start(core string, command ...string) (io.Reader, error) {
	cmd := exec.Command("taskset", append([]string{"--cpu-list", core}, command...)...) // #nosec G204 -- a program of ours; close ends it
	cmd.Dir = r.dir
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever becomes of us
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r.started = append(r.started, cmd)
	return out, nil
}

// redis starts a Redis that writes nothing to disk.
func (r *runner) redis(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	out, err := r.start(r.beside, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for ctx.Err() == nil {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			return errors.Join(conn.Close(), r.shelf.write(redisFile, "redis://127.0.0.1:"+port))
		}
		pause(ctx)
	}
	return fmt.Errorf("redis-server does not answer: %w", ctx.Err())
}

// packages installs what the candidates on Node are made of, in the temporary folder.
func (r *runner) packages(ctx context.Context) error {
	folder := filepath.Join(r.dir, "node")
	if err := os.CopyFS(r.dir, files); err != nil {
		return err
	}
	npm := exec.CommandContext(ctx, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	npm.Dir = folder
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w\n%s", err, out)
	}
	return nil
}

// candidate starts a candidate's process and returns its address.
func (r *runner) candidate(c *candidate) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	command := []string{"node", filepath.Join(r.dir, "node", "server.js"), c.name, port, string(r.shelf)}
	if c.handler != nil {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		command = []string{self, "serve", c.name, port, string(r.shelf)}
	}
	out, err := r.start(r.server, command...)
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return "http://127.0.0.1:" + port, nil
		}
	}
	return "", fmt.Errorf("%s did not start", c.name)
}

// await asks until the answer is 200.
func (r *runner) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if code, _, err := get(ctx, http.DefaultClient, address, ""); err == nil && code == http.StatusOK {
			return nil
		}
		pause(ctx)
	}
	return fmt.Errorf("%s does not answer: %w", address, ctx.Err())
}

// pause waits a moment between two questions to a process that starts.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func freePort() (string, error) {
	port, err := loopback.FreePort()
	return strconv.Itoa(port), err
}

// inParallel calls do for 0 to n-1 from some goroutines, and returns one error.
func inParallel(workers, n int, do func(int) error) error {
	failed := make(chan error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for k := w; k < n; k += workers {
				if err := do(k); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
