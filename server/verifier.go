package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/web"
)

// Verifier returns a verifier for the program that the server is part of: it checks
// who is calling as any service does, and reaches the server within the process, so
// it needs no address that leads here and no API key. Of the configuration Audience
// is required; Issuer, APIKey and HTTPClient are the server's own and must be empty.
// Close it before the server.
func (s *Server) Verifier(c coatcheck.Config) (*coatcheck.Verifier, error) {
	if c.Issuer != "" || c.APIKey != "" || c.HTTPClient != nil {
		return nil, errors.New("coatcheck: Issuer, APIKey and HTTPClient of a verifier in the server's own program are the server's: leave them empty")
	}
	c.Issuer, c.APIKey = s.issuer, "in-process"
	c.HTTPClient = &http.Client{Transport: s.inside.transport(s.app.Handler())}
	v, err := coatcheck.NewVerifier(c)
	if err != nil {
		return nil, fmt.Errorf("coatcheck: a verifier within the server's program: %w", err)
	}
	return v, nil
}

// inside is a way to the server that no network has: connections between two ends of
// the same memory. The zero value is ready for use.
type inside struct {
	once  sync.Once
	conns chan net.Conn
	over  chan struct{}
	http  http.Server
	loop  sync.WaitGroup
}

var errOver = errors.New("the server is closed")

// transport returns how a client reaches the handler.
func (i *inside) transport(h http.Handler) http.RoundTripper {
	i.once.Do(func() {
		i.conns, i.over = make(chan net.Conn), make(chan struct{})
		i.http = http.Server{
			Handler: h, ReadHeaderTimeout: 10 * time.Second,
			BaseContext: func(net.Listener) context.Context { return web.InProcess(context.Background()) },
		}
		i.loop.Go(func() { _ = i.http.Serve(i) }) // until it is closed
	})
	return &http.Transport{DialContext: i.dial, DialTLSContext: i.dial} // nobody is in between to encrypt for
}

func (i *inside) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case i.conns <- theirs:
		return ours, nil
	case <-i.over:
		return nil, errOver
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the next connection, as a listener does.
func (i *inside) Accept() (net.Conn, error) {
	select {
	case conn := <-i.conns:
		return conn, nil
	case <-i.over:
		return nil, net.ErrClosed
	}
}

// Close refuses new connections, as a listener does; only http.Server calls it, once.
func (i *inside) Close() error { return nil }

// Addr says where it listens.
func (i *inside) Addr() net.Addr { return &net.UnixAddr{Name: "in process", Net: "pipe"} }

// end closes every connection. It may be called more than once, and before transport.
func (i *inside) end() {
	i.once.Do(func() { i.over = make(chan struct{}) })
	select {
	case <-i.over:
	default:
		close(i.over)
	}
	_ = i.http.Close() // there is no socket to fail
	i.loop.Wait()
}
