package hashing

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

// Name is what the process calls itself. A program that starts one runs [Work] where
// its own name is this.
const Name = "coatcheck-hashing"

// rest is how long a process that has nothing to do is kept.
const rest = 30 * time.Second

// A Process makes sums in a process of its own, which has a lower priority than this
// one. It is started with the first job and ended when there was none for half a
// minute; if it dies another one takes its jobs over. It is safe for concurrent use.
type Process struct {
	logger *slog.Logger

	mu     sync.Mutex
	worker *worker // nil: none
	closed bool
}

// A worker is the process at hand. Its fields are guarded by Process.mu.
type worker struct {
	client *rpc.Client
	jobs   int         // that it has now
	idle   *time.Timer // runs while there are none
}

// NewProcess returns a Process that has not been started yet. The program must call
// [Work] in its place when it is named [Name].
func NewProcess(logger *slog.Logger) *Process { return &Process{logger: logger} }

// Sum makes a sum there. Where no process can be started it is made here, which is
// logged: the server works, and those who are signed in notice those who sign in.
func (p *Process) Sum(j Job) ([]byte, error) {
	var err error
	for range 2 { // the second is for a process that had died
		var w *worker
		if w, err = p.enter(); err != nil {
			p.logger.Warn("passwords are hashed in the server's own process, because no other can be started", "error", err)
			return Here(j)
		}
		var sum []byte
		err = w.client.Call(method, j, &sum)
		p.leave(w, err)
		if err == nil {
			return sum, nil
		}
	}
	return nil, fmt.Errorf("the hashing process failed: %w", err)
}

var errClosed = errors.New("closed")

// Close ends the process when it has made what it was asked for.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.worker != nil && p.worker.jobs == 0 {
		p.end(p.worker)
	}
}

func (p *Process) enter() (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if p.worker == nil {
		client, err := start()
		if err != nil {
			return nil, err
		}
		w := &worker{client: client}
		w.idle = time.AfterFunc(rest, func() { p.tire(w) })
		p.worker = w
	}
	p.worker.idle.Stop()
	p.worker.jobs++
	return p.worker, nil
}

func (p *Process) leave(w *worker, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.jobs--
	switch {
	case err != nil, w.jobs == 0 && p.closed:
		p.end(w)
	case w.jobs == 0:
		w.idle.Reset(rest)
	}
}

func (p *Process) tire(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.jobs == 0 {
		p.end(w)
	}
}

// end lets go of a process: without its input it ends by itself.
func (p *Process) end(w *worker) {
	w.idle.Stop()
	_ = w.client.Close() // that it was closed before is as good
	if p.worker == w {
		p.worker = nil
	}
}

// start starts this program again under another name. It gets no environment: secrets
// may be in there, and it needs none.
func start() (*rpc.Client, error) {
	cmd, err := itself()
	if err != nil {
		return nil, err
	}
	cmd.Args, cmd.Env, cmd.Dir, cmd.Stderr = []string{Name}, []string{}, "/", os.Stderr
	cmd.SysProcAttr = apart()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = yield(cmd.Process.Pid) // without it all works, and checks wait longer beside hashes
	client := rpc.NewClient(duplex{out, in, in})
	go func() { _ = cmd.Wait() }() // ended by us, or its callers learn of it
	return client, nil
}

// duplex is both directions of a conversation.
type duplex struct {
	io.Reader
	io.Writer
	io.Closer
}

// method is what the process is asked for.
const method = "Hashing.Sum"

// service answers in the process.
type service struct{}

// Sum is called by net/rpc, each call by a goroutine of its own.
func (service) Sum(j Job, sum *[]byte) error {
	*sum = derive(j)
	runtime.GC() // the place of this job is not free before its memory is
	return nil
}

// Work is the whole life of the process: it makes the sums that its input asks for,
// and returns when that ends. Signals that a terminal or a service manager sends to
// all processes are for the server: it still has requests to finish.
func Work() {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	debug.SetGCPercent(-1) // Sum collects
	server := rpc.NewServer()
	_ = server.RegisterName("Hashing", service{}) // never fails: the method has the form that is asked for
	server.ServeConn(duplex{os.Stdin, os.Stdout, os.Stdin})
}
