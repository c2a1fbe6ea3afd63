package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// narrow serves h on a listener with little room.
func narrow(t *testing.T, room int, h http.Handler) (net.Addr, *boundedListener) {
	t.Helper()
	inner, err := listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &App{logger: slog.New(slog.DiscardHandler), limits: usualLimits}
	l := bounded(inner, room, a.logger)
	server := a.server(h)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return inner.Addr(), l
}

// waiting makes a handler that says that it has a request in hand, and lets it go.
func waiting(t *testing.T) (h http.Handler, came chan string, release func()) {
	t.Helper()
	came, let := make(chan string, 100), make(chan struct{})
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if r.URL.Path == "/wait" {
			came <- r.URL.Path
			<-let
		}
		_, _ = io.WriteString(w, "served\n")
	})
	release = func() { close(let) }
	return h, came, release
}

const hello = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// ask sends a request and reports whether it was answered.
func ask(t *testing.T, address net.Addr) bool {
	t.Helper()
	conn := dial(t, address)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	answer, err := io.ReadAll(conn)
	return err == nil && strings.HasSuffix(string(answer), "served\n")
}

func isClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, net.ErrClosed) || isTimeout(err) {
		t.Errorf("it stays open: %v", err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// D-15, I-9: whoever keeps the server waiting in whatever way is closed when there
// is no room, the longest first, and honest clients are served.
func TestWhoWaitsLongestMakesRoom(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"says nothing":    "",
		"half a header":   "GET / HTTP/1.1\r\nHost: x\r\nX-Half: ",
		"half a body":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"idle":            hello,
		"half a new head": hello + "GET / HT",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _, _ := waiting(t)
			address, l := narrow(t, 4, h)
			held := map[string]net.Conn{}
			for range 4 {
				conn := dial(t, address)
				send(t, conn, text)
				if strings.HasPrefix(text, hello) {
					readUntil(t, bufio.NewReader(conn), "served")
				}
				held[conn.LocalAddr().String()] = conn
			}
			for range 8 {
				if !ask(t, address) {
					t.Fatal("an honest client is not served")
				}
			}
			l.mu.Lock()
			open := len(l.open)
			for c := range l.open {
				delete(held, c.RemoteAddr().String())
			}
			l.mu.Unlock()
			if len(held) != 1 || open > 4 {
				t.Errorf("%d of 4 made room, %d are open", len(held), open)
			}
			for _, conn := range held {
				isClosed(t, conn)
			}
		})
	}
}

// A request that has come whole is carried out, whoever else wants the place.
func TestNoRequestInHandIsCut(t *testing.T) {
	t.Parallel()
	h, came, release := waiting(t)
	address, _ := narrow(t, 4, h)
	var inHand []net.Conn
	for i := range 4 {
		conn := dial(t, address)
		if i%2 == 0 {
			send(t, conn, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
		} else {
			send(t, conn, "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		}
		<-came
		inHand = append(inHand, conn)
	}
	if ask(t, address) {
		t.Error("served, though there is no room")
	}
	patient := make(chan bool)
	go func() { patient <- ask(t, address) }()
	release()
	if !<-patient {
		t.Error("who waits before the door is not let in when there is room")
	}
	for _, conn := range inHand {
		readUntil(t, bufio.NewReader(conn), "served")
	}
	if !ask(t, address) { // they are idle now
		t.Error("an honest client is not served once there is room")
	}
}

// A connection that a handler has taken over is in hand until it is closed.
func TestHijackedIsInHand(t *testing.T) {
	t.Parallel()
	address, l := narrow(t, 1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if raw, err := conn.(syscall.Conn).SyscallConn(); err != nil || raw.Control(func(uintptr) {}) != nil {
			t.Errorf("its socket cannot be reached: %v", err)
		}
		go func() {
			_, _ = io.WriteString(conn, "taken over\n")
			_, _ = io.Copy(conn, conn) // until the client goes
			_ = conn.Close()
		}()
	}))
	conn := dial(t, address)
	send(t, conn, hello)
	lines := bufio.NewReader(conn)
	readUntil(t, lines, "taken over")
	if ask(t, address) {
		t.Error("served, though there is no room")
	}
	send(t, conn, "echo\n")
	readUntil(t, lines, "echo")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	isClosed(t, conn)
	waitFor(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.open) == 0 })
}

// What we have to compute for a client's hello is not held against the client.
func TestHelloIsInHand(t *testing.T) {
	t.Parallel()
	inner, err := listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := bounded(inner, 1, slog.New(slog.DiscardHandler))
	came, let := make(chan struct{}), make(chan struct{})
	dir := t.TempDir()
	writePair(t, dir+"/cert.pem", dir+"/key.pem", 1)
	secure := tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS13, GetConfigForClient: greet,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			close(came)
			<-let
			pair, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem")
			return &pair, err
		},
	})
	a := &App{logger: slog.New(slog.DiscardHandler), limits: usualLimits}
	server := a.server(http.NotFoundHandler())
	served := make(chan error, 1)
	go func() { served <- server.Serve(secure) }()
	defer func() { _ = server.Close(); <-served }()
	shaken := make(chan error)
	go func() {
		_, err := shake(inner.Addr(), tls.VersionTLS13)
		shaken <- err
	}()
	<-came
	if ask(t, inner.Addr()) {
		t.Error("served, though there is no room")
	}
	close(let)
	if err := <-shaken; err != nil {
		t.Errorf("the hello that was in hand: %v", err)
	}
}

// A client that does not read its answer makes room.
func TestWhoDoesNotReadMakesRoom(t *testing.T) {
	t.Parallel()
	flood := strings.Repeat("served\n", 1<<17)
	address, l := narrow(t, 1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/flood" {
			if _, err := io.WriteString(w, flood); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "served\n")
	}))
	conn := dial(t, address)
	send(t, conn, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, func() bool { // until it is stuck
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.open {
			since := c.writing.Load()
			return since != 0 && c.waitingSince(l.elapsed()) == since
		}
		return false
	})
	if !ask(t, address) {
		t.Error("an honest client is not served")
	}
}

// D-15, CVE-2023-44487: who sends much and asks for nothing is slowed down, whoever
// asks is not.
func TestWhoAsksForNothingIsSlowedDown(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	var slept time.Duration
	l := bounded(nil, 1, slog.New(slog.DiscardHandler))
	l.pause = func(d time.Duration) { slept += d }
	c := &connection{Conn: ours, listener: l}
	read := func(n int) {
		t.Helper()
		go func() { _, _ = theirs.Write(make([]byte, n)) }() // the reading tells
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	serve := attended(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	request := func(ctx context.Context) {
		serve.ServeHTTP(nil, (&http.Request{}).WithContext(context.WithValue(ctx, connectionKey{}, c)))
	}
	for range 10 {
		read(maxHeader + 64<<10)
		request(t.Context())
	}
	if slept != 0 {
		t.Errorf("who asks is slowed down by %v", slept)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		read(freeBytes / 5)
		request(gone) // taken back
	}
	if slept != 0 {
		t.Errorf("what is free is slowed down by %v", slept)
	}
	if read(tooMuch / 2); slept != tooMuch/2*time.Second/slowRate {
		t.Errorf("who asks for nothing is slowed down by %v", slept)
	}
	request(t.Context())
	slept = 0
	if read(tooMuch); slept != 0 {
		t.Errorf("after an answer it is slowed down by %v", slept)
	}
	for range 7 { // an eighth is spent
		read(freeBytes / 8)
	}
	go func() { _, _ = theirs.Write(make([]byte, 2*tooMuch)) }() // is cut short
	if n, err := c.Read(make([]byte, 2*tooMuch)); !errors.Is(err, errTooMuch) {
		t.Errorf("after too much: %d, %v", n, err)
	}
}

func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Fatal("it does not come about")
}

// D-26: room is what the handles and the memory leave, and there is some always.
func TestRoom(t *testing.T) {
	for handles, want := range map[uint64]int{64: 23, 1024: 968, 20000: 19648, 1 << 20: mostRoom, 1<<64 - 1: mostRoom} {
		if got := roomWithin(handles); got != want {
			t.Errorf("%d handles: room for %d, want %d", handles, got, want)
		}
	}
	if got := room(); got < leastRoom || got > mostRoom {
		t.Errorf("room for %d", got)
	}
}
