package drill

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writes are the calls by which the database reaches the disk.
var writes = []string{"pwrite64", "fsync", "fdatasync", "ftruncate"}

// A tracer watches the calls of a node's threads, and may spoil some of them.
type tracer struct {
	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{}
	file   string
}

// traceArgs are strace's arguments to watch the writes, and to spoil them as inject
// says in its words: "fsync:error=EIO:when=1". It counts by thread; all writes of
// the database are made by one, and no other writes are.
func traceArgs(file, inject string) []string {
	args := []string{"strace", "-f", "-o", file, "-e", "trace=" + strings.Join(writes, ",")}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	return args
}

// trace attaches to all threads of a running node, and returns when it has.
func (n *node) trace(t testing.TB, inject string) *tracer {
	t.Helper()
	tr := &tracer{t: t, file: filepath.Join(t.TempDir(), "calls"), exited: make(chan struct{})}
	args := append(traceArgs(tr.file, inject), "-p", fmt.Sprint(n.PID()))
	tr.cmd = exec.Command(args[0], args[1:]...)
	says, err := tr.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tr.cmd.Start(); err != nil {
		t.Fatalf("strace: %v", err)
	}
	attached := make(chan error, 1)
	go func() {
		defer close(tr.exited)
		lines, said := bufio.NewScanner(says), ""
		for lines.Scan() {
			said += lines.Text() + "\n"
			if strings.Contains(lines.Text(), " attached") {
				select {
				case attached <- nil:
				default:
				}
			}
		}
		err := tr.cmd.Wait()
		select {
		case attached <- fmt.Errorf("it ended: %w: %s", err, said):
		default:
		}
	}()
	t.Cleanup(tr.stop)
	end := time.NewTimer(20 * time.Second)
	defer end.Stop()
	select {
	case err := <-attached:
		if err != nil {
			t.Fatalf("strace: %v", err)
		}
	case <-end.C:
		t.Fatal("strace has not attached within 20 s")
	}
	return tr
}

// stop lets the node go, as it is.
func (tr *tracer) stop() {
	select {
	case <-tr.exited: // with the node
		return
	default:
	}
	if err := tr.cmd.Process.Signal(os.Interrupt); err != nil {
		return // it has just ended
	}
	<-tr.exited
}

// calls are those that were traced, in order, by thread and name.
type calls map[[2]string][]string

// calls returns those that were made so far.
func (tr *tracer) calls() calls {
	tr.t.Helper()
	return readCalls(tr.t, tr.file)
}

var callLine = regexp.MustCompile(`^(\d+) +(\w+)\((\d+)`)

func readCalls(t testing.TB, file string) calls {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made := calls{}
	for line := range strings.Lines(string(text)) {
		if found := callLine.FindStringSubmatch(line); found != nil {
			key := [2]string{found[1], found[2]}
			made[key] = append(made[key], found[3])
		}
	}
	return made
}

// most returns how often each call was made, by the thread that made it most often.
func (c calls) most() map[string]int {
	most := map[string]int{}
	for key, handles := range c {
		most[key[1]] = max(most[key[1]], len(handles))
	}
	return most
}

// rarer returns which of the calls of that name, counted from 1, were not on the
// file handle that most of them were on.
func (c calls) rarer(name string) []int {
	var handles []string
	for key, made := range c {
		if key[1] == name && len(made) > len(handles) {
			handles = made
		}
	}
	count := map[string]int{}
	usual := ""
	for _, handle := range handles {
		if count[handle]++; count[handle] > count[usual] {
			usual = handle
		}
	}
	var ks []int
	for i, handle := range handles {
		if handle != usual {
			ks = append(ks, i+1)
		}
	}
	return ks
}
