package drill

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// D-24: no bytes at any listener, random or nearly right, harm the node or keep
// honest clients out.
func TestFuzzedListeners(t *testing.T) {
	outlasting := nodeOptions{Settings: map[string]string{"token.access": "1h"}} // the honest do not renew
	plain := startWatched(t, "", outlasting)
	secure := startWatched(t, "auth.drill.example", outlasting)
	length := time.Duration(size(2500, 600_000)) * time.Millisecond
	for _, w := range []*watchedNode{plain, secure} {
		name := strings.SplitN(w.URL, ":", 2)[0]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := w.mustSignUp(t, "token")
			base := w.mustFootprint(t)
			pid := w.PID()
			g := startHonest(t, w, h)
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			var sent atomic.Int64
			var all sync.WaitGroup
			for i, aim := range w.aims(t, h) {
				for j := range 3 {
					chance := rand.New(rand.NewPCG(uint64(i), uint64(j)))
					all.Go(func() {
						for ctx.Err() == nil {
							aim.fire(ctx, chance)
							sent.Add(1)
						}
					})
				}
			}
			g.passes(t, 30*time.Second)
			all.Wait()
			t.Logf("%d connections with fuzzed bytes", sent.Load())
			if w.PID() != pid || !w.Ready() {
				t.Error("the node is another, or not ready")
			}
			g.leave(t, base, footprint{goroutines: 5000, handles: 1000, memory: 192 << 20})
		})
	}
}

// An aim is where fuzzed bytes go, and what they are made from.
type aim struct {
	dial  func(context.Context) (net.Conn, error)
	seeds [][]byte
}

// aims are all listeners of the node, and what lies behind its TLS.
func (w *watchedNode) aims(t *testing.T, h *holder) []aim {
	t.Helper()
	over := func(address string, c *tls.Config) func(context.Context) (net.Conn, error) {
		if c != nil {
			d := tls.Dialer{Config: c}
			return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
		}
		var d net.Dialer
		return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	host := strings.TrimPrefix(strings.TrimPrefix(w.URL, "https://"), "http://")
	requests := [][]byte{
		[]byte("GET /v1/session HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + h.Access + "\r\n\r\n"),
		[]byte("POST /v1/token/refresh HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{\"refresh_token\":\"ckr_\"}"),
		[]byte("POST /v1/sign-up HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nX: y\r\n\r\n"),
		[]byte("GET /v1/forward-auth HTTP/1.1\r\nHost: " + host + "\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /a?b=c\r\nCookie: coatcheck_dev=cks_x; __Host-coatcheck=cks_y\r\n\r\n"),
		[]byte("POST /oauth2/introspect HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer cka_x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntoken=x"),
		[]byte("GET /v1/revocations HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer cka_x\r\nLast-Event-ID: a:1:b\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
		[]byte("OPTIONS * HTTP/1.0\r\n\r\n"),
	}
	frames := []byte(firstFrames(t, host, h))
	all := []aim{
		{over(w.Address, nil), append(requests, frames, hello(t, host))},
		{over(w.gauges, nil), append(requests, []byte("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))},
	}
	if w.roots != nil {
		all = append(all, aim{over(w.Address, w.tls("h2")), [][]byte{frames}}, aim{over(w.Address, w.tls("http/1.1")), requests})
	}
	return all
}

// firstFrames are what an HTTP/2 client says first: one request that is whole, and
// stream 3, of which the body is to come.
func firstFrames(t *testing.T, host string, h *holder) string {
	t.Helper()
	var said bytes.Buffer
	said.WriteString(http2.ClientPreface)
	r := &raw{Framer: http2.NewFramer(&said, nil), host: host, bearer: h.Access, stream: noStream}
	r.encoder = newEncoder(r)
	for _, err := range []error{
		r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}), r.WritePing(false, [8]byte{}),
		r.WriteWindowUpdate(0, 100), r.request("GET", "/v1/session", true), r.request("POST", "/v1/sign-in", false),
		r.WriteData(r.stream, false, []byte(`{"email":`)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return said.String()
}

// hello returns what a TLS client says first.
func hello(t *testing.T, host string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: host, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}).Handshake() // is never answered
	}()
	first := make([]byte, 16<<10)
	n, err := ours.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	return first[:n]
}

// fire opens a connection, sends what is nearly right or not at all, and reads for
// a moment what comes.
func (a aim) fire(ctx context.Context, chance *rand.Rand) {
	conn, err := a.dial(ctx)
	if err != nil {
		elapse(ctx, 5*time.Millisecond)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Duration(20+chance.IntN(80)) * time.Millisecond)) // a live one is never refused
	for range 1 + chance.IntN(3) {
		if _, err := conn.Write(mutate(a.seeds[chance.IntN(len(a.seeds))], chance)); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn) // until the deadline, or it is cut
}

// mutate returns bytes made from a seed, or out of nothing.
func mutate(seed []byte, chance *rand.Rand) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(chance.Uint32())
		}
		return b
	}
	if chance.IntN(10) == 0 {
		return random(1 + chance.IntN(4096))
	}
	out := bytes.Clone(seed)
	for range chance.IntN(8) {
		at := chance.IntN(len(out))
		switch chance.IntN(6) {
		case 0:
			out[at] = byte(chance.Uint32())
		case 1:
			out[at] ^= 1 << chance.IntN(8)
		case 2:
			out = append(out[:at], append(random(chance.IntN(64)), out[at:]...)...)
		case 3:
			out = append(out[:at], out[min(len(out), at+chance.IntN(32)):]...)
		case 4:
			out = append(out, out[at:]...)
		case 5:
			out = append(out[:at], append(bytes.Repeat(out[at:at+1], chance.IntN(9000)), out[at:]...)...)
		}
		if len(out) == 0 || len(out) > 1<<17 {
			return out
		}
	}
	return out
}
