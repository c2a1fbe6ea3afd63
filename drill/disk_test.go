package drill

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// until polls a condition that only a real process can bring about.
func until(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(within)
	defer end.Stop()
	for !holds() {
		select {
		case <-end.C:
			t.Fatalf("%s: not within %v", what, within)
		case <-tick.C:
		}
	}
}

// D-02: one write, or the fsync of one commit, fails. Whoever waited for it is told
// that nobody knows, the next go works, and nothing acknowledged is lost. I-4, I-5, I-7
func TestOneWriteFails(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	faults := []string{"fsync:error=EIO:when=1", "pwrite64:error=EIO:when=1", "pwrite64:error=ENOSPC:when=3"}
	for i, a := range acts {
		for j, fault := range faults {
			if !*long && (i+j)%len(faults) != 0 {
				continue
			}
			t.Run(a.name+" "+fault, func(t *testing.T) {
				r := s.reset(t)
				s.Restart(t)
				tr := s.trace(t, fault)
				first := a.do(t.Context(), r)
				if first.Err != nil || first.Status < 500 {
					t.Errorf("I-7 what could not be written is answered with %v", first)
				}
				second := a.do(t.Context(), r)
				if second.Err != nil || second.Status >= 500 {
					t.Errorf("I-5 the second go: %v", second)
				}
				tr.stop()
				a.after(t, r, second)
				s.surviveAKill(t, r)
			})
		}
	}
}

// D-02: from now on no fsync works. Nothing more is acknowledged, the node says that
// it is not ready, and who is signed in goes on. When fsync works again so does the
// node, by itself. I-4, I-7, I-8
func TestFsyncFailsForEver(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	r := s.reset(t)
	s.Restart(t)
	ctx := t.Context()
	tr := s.trace(t, "fsync:error=EIO:when=1+")
	for _, a := range acts {
		if first := a.do(ctx, r); first.OK() {
			t.Errorf("I-7 no fsync works, and %s is answered with %v", a.name, first)
		}
	}
	until(t, 5*time.Second, "D-02 the node says that it is not ready", func() bool { return !s.Ready() })
	for _, h := range []*holder{&r.ada, &r.tablet, &r.bob} {
		if a := r.check(ctx, h); !a.OK() {
			t.Errorf("I-8 a signed-in person while no fsync works: %v", a)
		}
	}
	if a := s.call(ctx, http.MethodGet, "/healthz", nil); !a.OK() {
		t.Errorf("healthz: %v", a)
	}
	tr.stop()
	until(t, 10*time.Second, "D-02 the node is ready again", s.Ready)
	s.surviveAKill(t, r)
}

// D-03: the disk is full while people sign in, renew and sign out. Writes are refused
// loudly, reads go on, nothing acknowledged is lost, and when there is room again the
// node recovers by itself. I-4, I-5, I-7, I-8
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("drill", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("mount a small file system (root is needed): %v", err)
	}
	n := newNode(t, nodeOptions{Dir: dir})
	t.Cleanup(func() {
		n.kill()
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	n.Restart(t)
	w, ctx := witness{n.client, newRecorder()}, t.Context()
	var people []*holder
	for range 4 {
		h, a := w.signUp(ctx, newEmail(), "token")
		if !a.OK() {
			t.Fatal(a)
		}
		people = append(people, h)
	}

	load, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	var full loudness
	for _, h := range people {
		all.Go(func() { full.busy(load, w, h) })
	}
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	until(t, 2*time.Minute, "writes are refused", func() bool { return full.refusals() >= size(20, 500) })
	until(t, 5*time.Second, "D-03 the node says that it is not ready", func() bool { return !n.Ready() })
	for _, h := range people {
		// Their own loop renews them; the session is the same.
		if a := n.session(ctx, bearer(h.Access)); !a.OK() {
			t.Errorf("I-8 a signed-in person while the disk is full: %v", a)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "D-03 the node is ready again", n.Ready)
	stop()
	all.Wait()
	full.verdict(t)
	for _, h := range people {
		if a := w.renew(ctx, h); !a.OK() {
			t.Errorf("I-8 renewing when there is room again: %v", a)
		}
	}
	n.Kill(t)
	n.Restart(t)
	w.settle()
	for _, h := range people {
		w.check(ctx, h)
		w.renew(ctx, h)
		w.signOut(ctx, h)
		w.check(ctx, h)
	}
	n.Kill(t)
	w.verify(t)
	checkWhole(t, dir)
}

// fill writes until there is no room.
func fill(t testing.TB, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// loudness gathers how writes are answered while the disk is full.
type loudness struct {
	mu    sync.Mutex
	full  int
	wrong []string
}

// busy renews one person's tokens, and begins and ends sessions of theirs, until ctx
// ends.
func (l *loudness) busy(ctx context.Context, w witness, h *holder) {
	key := newKey()
	for ctx.Err() == nil {
		// What has begun is finished: a client that gives up learns nothing.
		call := context.WithoutCancel(ctx)
		next, a := w.spend(call, h, h.Refresh, key)
		l.take("refresh", a)
		if a.OK() {
			h.Refresh, key = next.Refresh, newKey() // the first access token is kept: it serves the reads
		}
		visit, a := w.signIn(call, h.Email, h.Password, "cookie")
		l.take("sign-in", a)
		if visit != nil {
			l.take("sign-out", w.signOut(call, visit))
		}
	}
}

func (l *loudness) take(what string, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.OK():
	case a.Status == http.StatusServiceUnavailable || a.Status == http.StatusInsufficientStorage:
		l.full++
		if a.Header.Get("Retry-After") == "" {
			l.wrong = append(l.wrong, fmt.Sprintf("%s: a %d without Retry-After", what, a.Status))
		}
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%s: %v", what, a))
	}
}

func (l *loudness) refusals() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

func (l *loudness) verdict(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) > 0 {
		t.Errorf("I-7 while the disk was full:\n%s", strings.Join(l.wrong[:min(len(l.wrong), 10)], "\n"))
	}
}
