package drill

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A raw connection speaks HTTP/2 frame by frame, as no honest client would.
type raw struct {
	*http2.Framer
	conn    net.Conn
	host    string
	bearer  string
	encoded bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32 // the last that was used
}

// noStream is the one before the first.
const noStream = 1<<32 - 1

func newEncoder(r *raw) *hpack.Encoder { return hpack.NewEncoder(&r.encoded) }

// dialRaw opens a connection, and reads what comes unless told not to.
func (w *watchedNode) dialRaw(ctx context.Context, h *holder, deaf bool) (*raw, error) {
	d := tls.Dialer{Config: w.tls("h2")}
	conn, err := d.DialContext(ctx, "tcp", w.Address)
	if err != nil {
		return nil, err
	}
	r := &raw{Framer: http2.NewFramer(conn, conn), conn: conn, host: w.URL[len("https://"):], bearer: h.Access, stream: noStream}
	r.encoder = newEncoder(r)
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if !deaf {
		go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the connection
	}
	return r, nil
}

// headers returns the encoded header of a request.
func (r *raw) headers(method, path string) []byte {
	r.encoded.Reset()
	for _, f := range [][2]string{
		{":method", method},
		{":scheme", "https"},
		{":authority", r.host},
		{":path", path},
		{"authorization", "Bearer " + r.bearer},
		{"content-type", "application/json"},
	} {
		_ = r.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return r.encoded.Bytes()
}

// request opens the next stream.
func (r *raw) request(method, path string, last bool) error {
	r.stream += 2
	return r.WriteHeaders(http2.HeadersFrameParam{
		StreamID: r.stream, BlockFragment: r.headers(method, path), EndStream: last, EndHeaders: true,
	})
}

// floods are what one connection does again and again until the server has had
// enough of it. Those that are deaf never read an answer.
var floods = []struct {
	name string
	deaf bool
	more func(r *raw) error
}{
	// CVE-2023-44487
	{"rapid reset", false, func(r *raw) error {
		return errors.Join(r.request("GET", "/v1/session", true), r.WriteRSTStream(r.stream, http2.ErrCodeCancel))
	}},
	{"rapid reset of a body", false, func(r *raw) error {
		return errors.Join(r.request("POST", "/v1/sign-in", false), r.WriteRSTStream(r.stream, http2.ErrCodeCancel))
	}},
	// The server itself resets what is wrong.
	{"made you reset", false, func(r *raw) error {
		return errors.Join(r.request("GET", "/v1/session", false), r.WriteWindowUpdate(r.stream, 1<<31-1))
	}},
	// CVE-2023-45288
	{"continuation", false, func(r *raw) error {
		if r.stream == noStream {
			r.stream += 2
			return r.WriteHeaders(http2.HeadersFrameParam{StreamID: r.stream, BlockFragment: r.headers("GET", "/healthz")})
		}
		r.encoded.Reset()
		_ = r.encoder.WriteField(hpack.HeaderField{Name: "x-more", Value: string(make([]byte, 4000)), Sensitive: true}) // into memory
		return r.WriteContinuation(r.stream, false, r.encoded.Bytes())
	}},
	{"empty continuation", false, func(r *raw) error {
		if r.stream == noStream {
			r.stream += 2
			return r.WriteHeaders(http2.HeadersFrameParam{StreamID: r.stream, BlockFragment: r.headers("GET", "/healthz")})
		}
		return r.WriteContinuation(r.stream, false, nil)
	}},
	{"settings", false, func(r *raw) error {
		return r.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096})
	}},
	{"settings, never read", true, func(r *raw) error {
		return r.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096})
	}},
	{"ping", false, func(r *raw) error { return r.WritePing(false, [8]byte{1}) }},
	{"ping, never read", true, func(r *raw) error { return r.WritePing(false, [8]byte{1}) }},
	{"priority", false, func(r *raw) error {
		r.stream += 2
		return r.WritePriority(r.stream, http2.PriorityParam{StreamDep: 0, Weight: 1})
	}},
	{"empty data", false, func(r *raw) error {
		if r.stream == noStream {
			return r.request("POST", "/v1/sign-in", false)
		}
		return r.WriteData(r.stream, false, nil)
	}},
	{"answers never read", true, func(r *raw) error { return r.request("GET", "/openapi.json", true) }},
	{"requests without end", false, func(r *raw) error { return r.request("POST", "/v1/sign-in", false) }},
}

// D-15, I-9: no flood of frames keeps honest clients out, or takes more than its
// share.
func TestHTTP2Floods(t *testing.T) {
	w := startWatched(t, "auth.drill.example", nodeOptions{})
	h := w.mustSignUp(t, "token")
	if a := w.session(t.Context(), h.as()); !a.OK() {
		t.Fatalf("session: %v", a)
	}
	base := w.mustFootprint(t)
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			g := startHonest(t, w, h)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var frames, connections atomic.Int64
			var attackers sync.WaitGroup
			for range size(2, 20) {
				attackers.Go(func() {
					for ctx.Err() == nil {
						r, err := w.dialRaw(ctx, h, flood.deaf)
						if err != nil {
							elapse(ctx, 50*time.Millisecond)
							continue
						}
						connections.Add(1)
						stop := context.AfterFunc(ctx, func() { _ = r.conn.Close() })
						for ctx.Err() == nil && flood.more(r) == nil {
							frames.Add(1)
						}
						stop()
						_ = r.conn.Close() // it is broken, or we are done
					}
				})
			}
			elapse(ctx, time.Duration(size(100, 10000))*time.Millisecond)
			g.passes(t, 30*time.Second)
			cancel()
			attackers.Wait()
			t.Logf("%d frames on %d connections", frames.Load(), connections.Load())
			if frames.Load() == 0 {
				t.Error("nothing was sent: the drill shows nothing")
			}
			g.leave(t, base, footprint{goroutines: 20000, handles: 1000, memory: float64(size(192, 512)) * (1 << 20)})
		})
	}
	if !w.Ready() {
		t.Error("the node is not ready")
	}
}
