// Package outbound is the one client for calls that others make the server do: to the
// addresses that clients register for logout tokens and for their keys.
//
// Whoever names such an address must not reach by it what only the server can reach.
// So it calls https on few ports, looks a name up once and dials the very address that
// it has judged, calls no network that is not public unless the operator has allowed it,
// follows no redirect, uses no proxy, and bounds time and size of every answer.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// longest bounds a call from the look-up of its name to the end of its answer.
	longest = 10 * time.Second
	// mostHeader bounds the header of an answer, and mostAddress the length of an address.
	mostHeader  = 16 << 10
	mostAddress = 2048
	// unread is how much of an answer that nobody wants is read so that its connection
	// can be used again.
	unread = 4 << 10
	// idle connections are kept for a moment, a few for each host and some in all.
	idleFor, idleEach, idleAll = 30 * time.Second, 4, 64
)

// A Config says what a Client may call beside https on port 443 of public addresses.
type Config struct {
	// Allow are networks that may be called though they are not public. An address where
	// a cloud keeps its machines' secrets has to be allowed by itself, as a network of one.
	Allow []netip.Prefix
	// Ports may be called beside 443.
	Ports []uint16
	// Loopback lets this machine be called at any port, by plain http, too: where
	// somebody develops.
	Loopback bool
	// Roots vouch for whom is called; nil: those that this machine trusts.
	Roots *x509.CertPool
	// Agent is the User-Agent of every call.
	Agent string
	// Resolve looks a name up; nil: as this machine does.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
}

// A Client calls what its Config allows. It is safe for concurrent use.
type Client struct {
	rules     rules
	agent     string
	resolve   func(ctx context.Context, name string) ([]netip.Addr, error)
	transport *http.Transport
	dialer    net.Dialer

	called, refused, failed atomic.Uint64
}

// New returns a Client.
func New(c Config) *Client {
	client := &Client{
		rules: rules{allow: c.Allow, ports: append([]uint16{443}, c.Ports...), loopback: c.Loopback},
		agent: c.Agent, resolve: c.Resolve,
	}
	if client.resolve == nil {
		client.resolve = lookUp
	}
	client.transport = &http.Transport{
		Proxy: nil, DialContext: client.dial, ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots},
		MaxResponseHeaderBytes: mostHeader, IdleConnTimeout: idleFor, MaxIdleConns: idleAll, MaxIdleConnsPerHost: idleEach,
		TLSHandshakeTimeout: longest, ResponseHeaderTimeout: longest,
	}
	return client
}

func lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// A Refused error means that the Client does not call there: nothing was sent.
type Refused struct {
	Why string // a constant sentence and at most an address or a port; no part of a path or query
}

// Error returns Why.
func (r *Refused) Error() string { return r.Why }

// ErrTooLarge means that an answer was larger than its call had room for.
var ErrTooLarge = errors.New("the answer is too large")

// A Call is one request.
type Call struct {
	Method string // GET or POST
	URL    string
	Accept string // of GET: the type of answer that is wanted
	Type   string // of POST: the type of Body
	Body   []byte
	// Room is how many bytes of an answer are taken; more is [ErrTooLarge]. 0: no answer is
	// wanted, whatever its size.
	Room int64
}

// An Answer is what came back. A redirect is one like any other: it was not followed.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // nil with no Room
}

// Accepts returns a [Refused] error if an address cannot be called as it is written. What
// its name stands for is judged when it is called.
func (c *Client) Accepts(address string) error {
	_, err := c.rules.target(address)
	return err
}

// Do makes a call, which takes at most ten seconds, or until ctx ends. A [Refused] error
// says that it may not be made; no error names the path or the query of an address.
func (c *Client) Do(ctx context.Context, call Call) (Answer, error) {
	target, err := c.rules.target(call.URL)
	if err == nil {
		c.called.Add(1)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
		var answer Answer
		if answer, err = c.do(ctx, call, target); err == nil {
			return answer, nil
		}
	}
	var refused *Refused
	if errors.As(err, &refused) {
		c.refused.Add(1)
		return Answer{}, refused
	}
	c.failed.Add(1)
	return Answer{}, plain(ctx, err)
}

func (c *Client) do(ctx context.Context, call Call, target *url.URL) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, call.Method, target.String(), bytes.NewReader(call.Body))
	if err != nil {
		return Answer{}, err
	}
	request.Header.Set("User-Agent", c.agent)
	for name, value := range map[string]string{"Accept": call.Accept, "Content-Type": call.Type} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if call.Room == 0 {
		_, _ = io.CopyN(io.Discard, response.Body, unread) // its status is the answer
		return answer, nil
	}
	if answer.Body, err = io.ReadAll(io.LimitReader(response.Body, call.Room+1)); err != nil {
		return Answer{}, err
	}
	if int64(len(answer.Body)) > call.Room {
		return Answer{}, ErrTooLarge
	}
	return answer, nil
}

// plain returns the error without the address that was called.
func plain(ctx context.Context, err error) error {
	if ended := ctx.Err(); errors.Is(ended, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", longest, ended)
	}
	if named := (*url.Error)(nil); errors.As(err, &named) {
		err = named.Err
	}
	return err
}

// dial looks the name up once, judges every address it stands for, and connects to the
// first of them that answers.
func (c *Client) dial(ctx context.Context, network, where string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(where)
	if err != nil {
		return nil, err
	}
	addresses, err := c.find(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		if err := c.rules.admit(address); err != nil {
			return nil, err
		}
	}
	var failures []error
	for i, address := range addresses {
		conn, err := c.connect(ctx, network, net.JoinHostPort(address.String(), port), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func (c *Client) find(ctx context.Context, name string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address.Unmap()}, nil
	}
	addresses, err := c.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, errors.New("the name has no address")
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	return addresses, nil
}

// connect takes at most its share of the time that is left, so that one address of many
// that is dead does not use up the time of the others.
func (c *Client) connect(ctx context.Context, network, where string, shares int) (net.Conn, error) {
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
	}
	return c.dialer.DialContext(ctx, network, where)
}

// Figures are what a Client has done since it was made.
type Figures struct {
	Called  uint64 // addresses that are written as they should be
	Refused uint64 // calls that were not made
	Failed  uint64 // calls without an answer
}

// Figures returns what has been done so far.
func (c *Client) Figures() Figures {
	return Figures{Called: c.called.Load(), Refused: c.refused.Load(), Failed: c.failed.Load()}
}

// Close closes connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
