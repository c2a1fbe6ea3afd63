package app

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// What may come without a request that is answered: freeBytes at once, several
// times what headers and body of one may have, and keepRate a second, for signs of
// life and of having read. What is over comes at slowRate, a second, and when
// tooMuch is over the connection is cut.
const (
	freeBytes = 512 << 10
	keepRate  = 4 << 10
	slowRate  = 16 << 10
	tooMuch   = 64 << 10
)

var errTooMuch = errors.New("too much was sent, and nothing asked for")

// A connection knows whether it is the client that the server waits for, and since
// when. HTTP/2 has many requests on one.
type connection struct {
	net.Conn
	listener *boundedListener
	since    atomic.Int64 // when it came, or last had a request in hand
	busy     atomic.Int64 // requests in hand: come whole, and not answered
	writing  atomic.Int64 // since when a write is under way; 0 if none is
	greeted  atomic.Bool  // the client's hello has come and is not answered: in hand
	spent    atomic.Int64 // bytes that were read since a request was answered last
	paid     atomic.Int64 // when that was, or when it came
}

// greet notes that a client's hello has come. What we have to do for it is dear.
func greet(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if c := connectionOf(hello.Conn); c != nil && c.greeted.CompareAndSwap(false, true) {
		c.begin()
	}
	return nil, nil // the configuration stays as it is
}

// waitingSince returns since when the client keeps the server waiting, by the
// listener's clock; 0 if it does not.
func (c *connection) waitingSince(now int64) int64 {
	if since := c.writing.Load(); since != 0 && now-since >= int64(stuckAfter) {
		return since
	}
	if c.busy.Load() > 0 {
		return 0
	}
	return c.since.Load()
}

// Read slows a client down that sends much and asks for nothing: frames of HTTP/2
// that are no requests, or requests that it takes back. A request with its body is
// far smaller than what is free. The client notices by its own writes.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	spent := c.spent.Add(int64(n))
	if spent <= freeBytes {
		return n, err
	}
	idle := time.Duration(c.listener.elapsed() - c.paid.Load())
	switch over := spent - freeBytes - int64(idle.Seconds()*keepRate); {
	case over > tooMuch:
		return n, errors.Join(errTooMuch, c.Close())
	case over > 0:
		c.listener.pause(time.Duration(n) * time.Second / slowRate)
	}
	return n, err
}

// Write notes how long the client lets it wait.
func (c *connection) Write(b []byte) (int, error) {
	if c.greeted.CompareAndSwap(true, false) {
		c.end()
	}
	c.writing.Store(c.listener.elapsed())
	n, err := c.Conn.Write(b)
	c.writing.Store(0)
	return n, err
}

// Close gives the place away.
func (c *connection) Close() error {
	c.listener.remove(c)
	return c.Conn.Close()
}

// SyscallConn lets streams write to the socket without waiting for it.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}

func (c *connection) begin() { c.busy.Add(1) }

func (c *connection) end() {
	c.since.Store(c.listener.elapsed())
	c.busy.Add(-1)
}

// answered ends a request, unless the client has taken it back meanwhile.
func (c *connection) answered(r *http.Request) {
	c.end()
	if r.Context().Err() == nil {
		c.spent.Store(0)
		c.paid.Store(c.since.Load())
	}
}

// connectionOf returns what lies beneath conn, also where TLS lies between; nil if
// it came through no bounded listener.
func connectionOf(conn net.Conn) *connection {
	for conn != nil {
		if c, ours := conn.(*connection); ours {
			return c
		}
		layer, ok := conn.(interface{ NetConn() net.Conn }) // as tls.Conn
		if !ok {
			return nil
		}
		conn = layer.NetConn()
	}
	return nil
}

type connectionKey struct{}

// withConnection lets requests find the connection that they came by.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	if c := connectionOf(conn); c != nil {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

// keepHijacked makes a connection that a handler has taken over count as in hand.
func keepHijacked(conn net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	if c := connectionOf(conn); c != nil {
		c.begin()
	}
}

// attended notes on its connection when a request is in hand: once all of it has
// come, until it is answered.
func attended(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ours := r.Context().Value(connectionKey{}).(*connection)
		if !ours {
			h.ServeHTTP(w, r)
			return
		}
		if r.Body == nil || r.Body == http.NoBody {
			c.begin()
			defer c.answered(r)
			h.ServeHTTP(w, r)
			return
		}
		c.since.Store(c.listener.elapsed())
		body := &arriving{ReadCloser: r.Body, c: c}
		r.Body = body
		defer body.leave(r)
		h.ServeHTTP(w, r)
	})
}

// An arriving body has its request in hand once it has been read to its end.
type arriving struct {
	io.ReadCloser
	c     *connection
	whole atomic.Bool
}

func (b *arriving) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && b.whole.CompareAndSwap(false, true) {
		b.c.begin()
	}
	return n, err
}

// leave ends what Read began, once.
func (b *arriving) leave(r *http.Request) {
	if !b.whole.CompareAndSwap(false, true) {
		b.c.answered(r)
	}
}
