package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// serving says how a server differs from one with no configuration.
type serving struct {
	Core     int               // serverCore, or anyCore
	Dir      string            // of the database; "" is an empty one. It must exist
	Settings map[string]string // by their names in docs/configuration.md
	Env      []string          // added to the process's environment: "GOMEMLIMIT=128MiB"
	NoKey    bool              // leave APIKey empty, and the database unopened before the start
}

// A server is a coatcheck process, as people run it.
type server struct {
	URL, Address, Dir string
	APIKey            string        // good for everything
	Start             time.Duration // from the start of the process until it was ready

	cmd    *exec.Cmd
	env    []string
	binary string
	ended  chan struct{}
}

// serve starts a server on a free port and returns when it is ready. It ends with
// ctx, or by stop. Its log is the file "log" in its folder.
func (r *rig) serve(ctx context.Context, o serving) (*server, error) {
	var err error
	if o.Dir == "" {
		if o.Dir, err = r.folder("server"); err != nil {
			return nil, err
		}
	}
	s := &server{Dir: o.Dir, binary: r.Binary, ended: make(chan struct{})}
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.Address
	s.env = append(environment(map[string]string{
		"listen": s.Address, "public_url": s.URL, "database": "sqlite:" + filepath.Join(s.Dir, "coatcheck.db"),
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
		"verify_email": "optional", "log.level": "warn",
	}, o.Settings), o.Env...)
	if !o.NoKey {
		if err := s.makeKey(ctx); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	s.cmd = pinned(ctx, o.Core, r.Binary, "serve")
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.Dir, s.env, log, log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // how a stopped server ends is of no interest
		close(s.ended)
	}()
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	s.Start = time.Since(begin)
	return s, nil
}

// environment are the settings as variables, those of over before those of base.
func environment(base, over map[string]string) []string {
	env := os.Environ()
	for _, settings := range []map[string]string{base, over} { // of two equal names the later counts
		for name, value := range settings {
			env = append(env, "COATCHECK_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+value)
		}
	}
	return env
}

func (s *server) makeKey(ctx context.Context) error {
	out, err := s.run(ctx, "apikey", "add", "--name", "bench", "--scope", "admin,introspect,revocations", "--json")
	if err != nil {
		return err
	}
	var made struct{ Key string }
	if err := json.Unmarshal(out, &made); err != nil {
		return fmt.Errorf("read the API key: %w", err)
	}
	s.APIKey = made.Key
	return nil
}

// run runs another command of the binary on the server's database and returns what
// it prints.
func (s *server) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir, cmd.Env = s.Dir, s.env
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("coatcheck %s: %w: %s", strings.Join(args, " "), err, failed.Stderr)
	}
	return out, err
}

// ready waits until the server says that it may be sent requests.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
		if err != nil {
			return err
		}
		if answer, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body) // the status says it
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended instead of being ready:\n%s", s.log())
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w\n%s", ctx.Err(), s.log())
		case <-time.After(time.Millisecond):
		}
	}
}

// PID is the id of the server's process: taskset becomes it.
func (s *server) PID() int { return s.cmd.Process.Pid }

// stop ends the server and waits for it, killing it after ten seconds.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// log is what the server has said.
func (s *server) log() string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
