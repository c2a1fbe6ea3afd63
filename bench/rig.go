package main

// s, err := r.serve(ctx, serving{Core: serverCore, Settings: map[string]string{"token.access": "1h"}}) is a ready server process: s.URL, s.APIKey, s.PID(), s.stop(), s.run(ctx, "user", "add", …); defer s.stop()
// m, err := r.wrk(ctx, load{URL: s.URL + "/v1/session", Script: eachLine("Cookie", "coatcheck_dev=", file)}) → m.PerSecond, m.P50, m.P99, m.P999, m.Refused; memory(pid) → bytes now and at most; startRole (role.go) runs a function of this program as a process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// The server has one processor core and the load the other, so that the one cannot
// take from the other what the figure is about.
const (
	serverCore = 0
	loadCore   = 1
	anyCore    = -1
)

// A rig is what an experiment runs on.
type rig struct {
	Rounds int                              // how often each side is measured, alternating: at least 5, less when quick
	Quick  bool                             // sizes that a newcomer waits for: a minute in all
	Note   func(format string, args ...any) // progress, for the person who waits
	Dir    string                           // an empty folder that is removed afterwards
	Binary string                           // the coatcheck binary, built from this tree, static and stripped
}

// slice is how long one side of a round over HTTP takes.
func (r *rig) slice() time.Duration {
	if r.Quick {
		return time.Second
	}
	return 3 * time.Second
}

// pinned is a command on one core, or on all with anyCore.
func pinned(ctx context.Context, core int, name string, args ...string) *exec.Cmd {
	if core == anyCore {
		return exec.CommandContext(ctx, name, args...)
	}
	return exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(core), name}, args...)...)
}

// folder makes a folder of its own inside the rig's.
func (r *rig) folder(name string) (string, error) { return os.MkdirTemp(r.Dir, name+"-") }

// build makes the binary as it is released: static and stripped.
func (r *rig) build(ctx context.Context) error {
	r.Binary = filepath.Join(r.Dir, "coatcheck")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", r.Binary, "./cmd/coatcheck")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}

// freeAddress returns an address of this machine where nobody listens.
func freeAddress() (string, error) {
	port, err := loopback.FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// memory is what a process and those that it has started have in memory now and had at
// most, in bytes. With forgetPeak between, "at most" counts from there. What processes
// share counts for each.
func memory(pid int) (now, most float64, err error) {
	for _, one := range family(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", one))
		if err != nil && one != pid {
			continue // it has ended
		}
		if err != nil {
			return 0, 0, err
		}
		for line := range bytes.Lines(text) {
			name, value, _ := strings.Cut(string(line), ":")
			kilobytes, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64) // 0 on lines of another form
			switch name {
			case "VmRSS":
				now += kilobytes * 1024
			case "VmHWM":
				most += kilobytes * 1024
			}
		}
	}
	if now == 0 {
		return 0, 0, fmt.Errorf("process %d has no memory: it has ended", pid)
	}
	return now, most, nil
}

// family is a process and those that it has started.
func family(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is a good one
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		for _, number := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(number); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// forgetPeak lets the most memory that a process and those that it has started had
// count from now.
func forgetPeak(pid int) error {
	for _, one := range family(pid) {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", one), []byte("5"), 0); err != nil && one == pid {
			return err
		}
	}
	return nil
}
