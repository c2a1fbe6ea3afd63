//go:build linux

package hashing

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Args[0] == Name {
		Work()
		return
	}
	os.Exit(m.Run())
}

func job(password string) Job {
	return Job{Password: []byte(password), Salt: []byte("sixteen bytes of"), MemoryKiB: 64, Time: 2, Threads: 2, Length: 32}
}

func newProcess(t *testing.T) (*Process, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	p := NewProcess(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(p.Close)
	return p, log
}

func sum(t *testing.T, made Sum, j Job) []byte {
	t.Helper()
	s, err := made(j)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A process makes the very sums that are made here, many at a time.
func TestSameSums(t *testing.T) {
	p, log := newProcess(t)
	var all sync.WaitGroup
	for _, password := range strings.Fields("one two three four five six seven eight") {
		all.Go(func() {
			there, err := p.Sum(job(password))
			if here, _ := Here(job(password)); err != nil || !bytes.Equal(there, here) {
				t.Errorf("%s: %x there, %x here, %v", password, there, here, err)
			}
		})
	}
	all.Wait()
	if log.Len() > 0 {
		t.Error("logged", log)
	}
}

// find returns the number of the process of p among the children of this one; 0: none.
func find(t *testing.T) int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatal("there is no list of children", err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // the thread may have ended
		for _, number := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + number + "/cmdline") // and the child, too
			if pid, err := strconv.Atoi(number); err == nil && strings.TrimRight(string(line), "\x00") == Name {
				return pid
			}
		}
	}
	return 0
}

// A process that dies takes nothing with it but its memory (I-9).
func TestKilledProcess(t *testing.T) {
	p, log := newProcess(t)
	sum(t, p.Sum, job("x"))
	first := find(t)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	here := sum(t, Here, job("y"))
	if !bytes.Equal(sum(t, p.Sum, job("y")), here) {
		t.Error("another sum after the process was killed")
	}
	if second := find(t); second == 0 || second == first || log.Len() > 0 {
		t.Errorf("process %d after %d, logged %q", second, first, log)
	}
}

// The process knows no secret of its parent's environment, and gives way to it.
func TestHumbleProcess(t *testing.T) {
	t.Setenv("COATCHECK_SECRET", "a secret that nobody else needs")
	p, _ := newProcess(t)
	sum(t, p.Sum, job("x"))
	there := filepath.Join("/proc", strconv.Itoa(find(t)))
	environment, err := os.ReadFile(filepath.Join(there, "environ"))
	if err != nil || len(environment) > 0 {
		t.Errorf("its environment is %q, %v", environment, err)
	}
	threads, err := os.ReadDir(filepath.Join(there, "task"))
	if err != nil || len(threads) == 0 {
		t.Fatal("it has no threads", err)
	}
	mine, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		number, _ := strconv.Atoi(thread.Name())
		// The system call itself returns 20 for the usual priority, and less for less.
		if p, err := syscall.Getpriority(syscall.PRIO_PROCESS, number); err != nil || p != max(1, mine-niceness) {
			t.Errorf("a thread has the priority %d beside our %d, %v", p, mine, err)
		}
	}
}

// When nothing is to be done any more the process ends; whoever comes later is served
// here, and the log says so.
func TestClosedProcess(t *testing.T) {
	p, log := newProcess(t)
	sum(t, p.Sum, job("x"))
	p.Close()
	for deadline := time.Now().Add(10 * time.Second); find(t) != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the process does not end")
		}
	}
	if !bytes.Equal(sum(t, p.Sum, job("x")), sum(t, Here, job("x"))) || !strings.Contains(log.String(), "own process") {
		t.Errorf("closed, it logs %q", log)
	}
}

// A process that has rested for long enough is let go, one at work is not.
func TestTiredProcess(t *testing.T) {
	p, _ := newProcess(t)
	w, err := p.enter()
	if err != nil {
		t.Fatal(err)
	}
	p.tire(w)
	if p.worker != w {
		t.Error("a process at work was let go")
	}
	p.leave(w, nil)
	p.tire(w)
	if p.worker != nil {
		t.Error("a process without work is kept")
	}
	sum(t, p.Sum, job("x"))
	p.leave(p.worker, errors.New("broken")) // a job more than there was, which is as one that broke
	if p.worker != nil {
		t.Error("a broken process is kept")
	}
}

func BenchmarkProcess(b *testing.B) {
	p := NewProcess(slog.New(slog.DiscardHandler))
	defer p.Close()
	usual := Job{Password: []byte("correct horse battery staple"), Salt: make([]byte, 16), MemoryKiB: 19 * 1024, Time: 2, Threads: 1, Length: 32}
	for name, made := range map[string]Sum{"here": Here, "process": p.Sum} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := made(usual); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
