package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// A wire is a TCP proxy between verifiers and the server, which can be cut.
type wire struct {
	to   string
	mu   sync.Mutex
	near net.Listener // nil while the wire is cut
	open map[net.Conn]struct{}
}

func startWire(t *testing.T, to string) *wire {
	w := &wire{to: to, open: map[net.Conn]struct{}{}}
	w.mend(t)
	t.Cleanup(w.cut)
	return w
}

// mend lets connections through, and returns since when.
func (w *wire) mend(t *testing.T) time.Time {
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.near = near
	w.mu.Unlock()
	go func() {
		for {
			c, err := near.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return time.Now()
}

// cut ends all connections, and lets none through.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.near != nil {
		_ = w.near.Close()
	}
	w.near = nil
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
}

// dial is how the verifiers reach the server: through the wire, whatever its name.
func (w *wire) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	w.mu.Lock()
	near := w.near
	w.mu.Unlock()
	if near == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, near.Addr().String())
}

func (w *wire) carry(near net.Conn) {
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = near.Close()
		return
	}
	w.mu.Lock()
	w.open[near], w.open[far] = struct{}{}, struct{}{}
	if w.near == nil {
		_, _ = near.Close(), far.Close()
	}
	w.mu.Unlock()
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	_, _ = io.Copy(near, far)
	_ = near.Close()
}

// startNginx starts Debian's nginx before the gateway's service.
func startNginx(t *testing.T, s site) {
	if _, err := exec.LookPath(nginxProgram); err != nil {
		t.Fatalf("nginx is not installed: run \"make test\", which installs what the tests need (%v)", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- nginx(ctx, s) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("nginx: %v", err)
		}
	})
	eventually(t, "nginx answers", func() bool { return answers("http://" + s.listen + "/readyz") })
}

// freeAddress returns an address of loopback at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func answers(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode < 500
}

// eventually waits until the condition holds, for 20 seconds at most.
func eventually(t *testing.T, what string, holds func() bool, last ...*string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 20*time.Second; <-tick.C {
		if holds() {
			return
		}
	}
	for _, text := range last {
		t.Logf("at last: %s", *text)
	}
	t.Fatalf("waited in vain: %s", what)
}
