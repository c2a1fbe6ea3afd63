package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// roles are what this program does as a process of its own, started as "bench role
// NAME ...": it prints a line when it is ready, and ends with ctx.
var roles = map[string]func(ctx context.Context, args []string) error{
	"remembered":  serveRemembered,
	"sessions":    serveSessions,
	"floor":       serveFloor,
	"refreshers":  refreshOverHTTP,
	"applicants":  applicantsOverHTTP,
	"hashes":      hashAlone,
	"sign-ins":    signInAgainAndAgain,
	"asks":        askOpenLoop,
	"flood":       flood,
	"subscribers": serveSubscribers,

	"cluster-callers": refreshInProcess,
}

// A process is a role that was started.
type process struct {
	Ready string // the line that it printed when it was ready
	PID   int
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

// startRole starts a role on one processor core, or on all with anyCore, and waits
// until it is ready.
func startRole(ctx context.Context, core int, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := pinned(ctx, core, self, append([]string{"role", name}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{PID: cmd.Process.Pid, cmd: cmd, in: in, out: bufio.NewReader(out)}
	if p.Ready, err = p.line(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not become ready: %w", name, err), p.stop())
	}
	return p, nil
}

func (p *process) line() (string, error) {
	text, err := p.out.ReadString('\n')
	return strings.TrimSpace(text), err
}

// ask writes a line to the process and returns the numbers that it answers.
func (p *process) ask(question string) ([]float64, error) {
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return nil, err
	}
	text, err := p.line()
	if err != nil {
		return nil, fmt.Errorf("no answer to %s: %w", question, err)
	}
	var numbers []float64
	for _, word := range strings.Fields(text) {
		number, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, fmt.Errorf("the answer to %s is %q", question, text)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}

// stop ends the process and waits for it.
func (p *process) stop() error {
	_ = p.in.Close() // it may have ended
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// stay keeps this process, which has used all cores so far, to one from now on.
func stay(ctx context.Context, core int) error {
	runtime.GOMAXPROCS(1)
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(core), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}
