package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// silence is how long a stream may say nothing before it is opened again: heartbeats
// come more often.
const silence = 30 * time.Second

// A target is where the streams are.
type target struct {
	address, host string
	tls           *tls.Config
}

func targetOf(u *url.URL) (target, error) {
	t := target{host: u.Host}
	port := u.Port()
	switch {
	case u.Scheme == "https":
		t.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		if port == "" {
			port = "443"
		}
	case u.Scheme != "http":
		return t, fmt.Errorf("address of the server: scheme %q is neither http nor https", u.Scheme)
	case port == "":
		port = "80"
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// A reader is one stream, over all its connections.
type reader struct {
	of    *Subscribers
	index int
	last  []byte // id of the last event of which it holds everything
	epoch string
	seq   uint64
	known bool   // seq is its position
	whole bool   // has had a heartbeat on this connection
	fresh int    // entries that came and are not counted yet
	part  []byte // of a frame that has not come whole
}

// run reads the stream until the subscribers are closed.
func (r *reader) run(wait time.Duration) {
	for failures := 0; ; failures++ {
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-r.of.life.Done():
			pause.Stop()
			return
		}
		err := r.connect()
		if r.whole {
			r.whole, failures = false, 0
			r.of.whole.Add(-1)
		}
		if r.of.life.Err() != nil {
			return
		}
		if err != nil {
			r.of.failed.Store(&err)
		}
		limit := min(r.of.options.Pause<<min(failures, 6), 30*r.of.options.Pause)
		wait = limit/10 + jitter(limit-limit/10)
	}
}

// connect reads the stream over one connection.
func (r *reader) connect() error {
	conn, err := r.dial()
	if err != nil {
		r.of.refused.Add(1)
		return err
	}
	defer func() { _ = conn.Close() }() // all that came was read
	defer context.AfterFunc(r.of.life, func() { _ = conn.Close() })()
	head := bufio.NewReaderSize(conn, 4<<10)
	answer, err := r.ask(conn, head)
	if err != nil {
		r.of.refused.Add(1)
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	r.of.connects.Add(1)
	defer r.of.ends.Add(1)
	r.known, r.part = len(r.last) > 0, nil
	if socket, ok := conn.(*net.TCPConn); ok && len(answer.TransferEncoding) == 0 && answer.ContentLength < 0 {
		ahead, err := head.Peek(head.Buffered())
		if err == nil {
			err = r.take(ahead)
		}
		if err != nil {
			return err
		}
		return r.drain(socket)
	}
	return r.copy(conn, answer.Body)
}

func (r *reader) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.of.life, silence)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.of.target.address)
	if err != nil {
		return nil, err
	}
	if r.of.target.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, r.of.target.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// ask asks for the stream, from where the reader is.
func (r *reader) ask(conn net.Conn, head *bufio.Reader) (*http.Response, error) {
	request := "GET /v1/revocations HTTP/1.1\r\nHost: " + r.of.target.host + "\r\nAuthorization: Bearer " + r.of.options.APIKey + "\r\n"
	if len(r.last) > 0 {
		request += "Last-Event-ID: " + string(r.last) + "\r\n"
	}
	if err := conn.SetDeadline(time.Now().Add(silence)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(head, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("the stream is refused with %s", answer.Status)
	}
	return answer, nil
}

// copy reads a stream that comes through TLS or in chunks.
func (r *reader) copy(conn net.Conn, body io.Reader) error {
	buffer := make([]byte, 4<<10)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		n, err := body.Read(buffer)
		if e := r.take(buffer[:n]); e != nil {
			return e
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var errMissed = errors.New("entries of the log were missed")

// take reads the frames of what came, and notes when they arrived once all were
// parsed.
func (r *reader) take(came []byte) error {
	from := 0
	if len(r.part) > 0 {
		from = len(r.part) - 1
		r.part = append(r.part, came...)
		came = r.part
	}
	var heard [64]*arrival
	entries := heard[:0]
	var err error
	for err == nil {
		end := bytes.Index(came[from:], []byte("\n\n"))
		if end < 0 {
			break
		}
		var a *arrival
		a, err = r.frame(came[:from+end+2])
		if a != nil {
			entries = append(entries, a)
		}
		came, from = came[from+end+2:], 0
	}
	now := time.Now().UnixNano()
	for _, a := range entries {
		a.at[r.index].CompareAndSwap(0, now)
	}
	r.of.entries.Add(int64(r.fresh)) // last, so that what is counted is noted
	r.fresh = 0
	r.part = append(r.part[:0], came...)
	if len(r.part) == 0 {
		r.part = nil
	}
	return err
}

// frame takes one event, and returns where its arrival is to be noted, if it is.
func (r *reader) frame(frame []byte) (*arrival, error) {
	if seq, subject, id, ok := scanEntry(frame); ok {
		return r.entry(seq, subject, id)
	}
	e, err := feed.NewReader(bytes.NewReader(frame)).Next()
	if err != nil {
		return nil, nil // a comment
	}
	switch e.Name {
	case feed.EventRevocation:
		var entry feed.Entry
		if err := e.Decode(&entry); err != nil {
			return nil, err
		}
		return r.entry(entry.Seq, []byte(entry.ID), []byte(e.ID))
	case feed.EventSnapshot:
		return nil, r.snapshot(e)
	case feed.EventHeartbeat:
		return nil, r.heartbeat(e)
	case feed.EventResync:
		r.of.resyncs.Add(1)
		r.known, r.last = false, nil
	}
	return nil, nil
}

// entry takes the next entry of the log.
func (r *reader) entry(seq uint64, subject, id []byte) (*arrival, error) {
	r.fresh++
	switch {
	case !r.known || seq <= r.seq:
		return nil, nil // heard before
	case seq != r.seq+1:
		return nil, r.missed()
	}
	r.seq = seq
	if len(id) > 0 {
		r.last = append(r.last[:0], id...)
	}
	return r.of.slot(seq, subject), nil
}

// snapshot takes all there is. What is in it has arrived, too.
func (r *reader) snapshot(e feed.Event) error {
	var s feed.Snapshot
	if err := e.Decode(&s); err != nil {
		return err
	}
	now := time.Now().UnixNano()
	if base := r.of.base.Load(); base != 0 {
		for _, entry := range s.Entries {
			if entry.Seq+1 < base {
				continue
			}
			if a := r.of.slot(entry.Seq, []byte(entry.ID)); a != nil {
				a.at[r.index].CompareAndSwap(0, now)
			}
		}
	}
	if !s.More {
		r.epoch, r.seq, r.last, r.known = s.Epoch, s.Seq, []byte(e.ID), true
	}
	return nil
}

// heartbeat holds the stream to its order.
func (r *reader) heartbeat(e feed.Event) error {
	var h feed.Heartbeat
	if err := e.Decode(&h); err != nil {
		return err
	}
	if !r.known {
		return nil
	}
	if h.Seq != r.seq || (r.epoch != "" && h.Epoch != r.epoch) {
		return r.missed()
	}
	if !r.whole {
		r.whole = true
		r.of.whole.Add(1)
	}
	return nil
}

func (r *reader) missed() error {
	r.of.gaps.Add(1)
	r.last = nil
	return errMissed
}

// scanEntry reads the frame of an entry as the server writes it, without the cost of
// a decoder. Whatever looks otherwise is left to one.
func scanEntry(frame []byte) (seq uint64, subject, id []byte, ok bool) {
	rest, ok := bytes.CutPrefix(frame, []byte("event: revocation\nid: "))
	if !ok {
		return 0, nil, nil, false
	}
	id, rest, ok = bytes.Cut(rest, []byte("\ndata: {\"seq\":"))
	if !ok {
		return 0, nil, nil, false
	}
	number, rest, ok := bytes.Cut(rest, []byte(","))
	if !ok || !bytes.HasSuffix(rest, []byte("}\n\n")) {
		return 0, nil, nil, false
	}
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, nil, nil, false
	}
	if _, after, found := bytes.Cut(rest, []byte(`"id":"`)); found {
		subject, _, _ = bytes.Cut(after, []byte(`"`))
	}
	return seq, subject, id, true
}
