package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// logStore is a revocation log in memory, on a clock that the test moves.
type logStore struct {
	mu   sync.Mutex
	rows []revocation.Logged
	now  time.Time
}

func (s *logStore) Since(_ context.Context, from uint64, limit int) (revocation.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := revocation.Position{Epoch: "e1", Seq: uint64(len(s.rows))}
	rows := s.rows[min(int(max(from, 1))-1, len(s.rows)):]
	return revocation.Page{Head: head, Rows: slices.Clone(rows[:min(limit, len(rows))]), Now: s.now}, nil
}

func (s *logStore) Prune(context.Context) (int, error)        { return 0, nil }
func (s *logStore) NewEpoch(context.Context, string) error    { return nil }
func (s *logStore) Hold(context.Context, time.Duration) error { return nil }

func (s *logStore) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func logged(e feed.Entry) revocation.Logged { return revocation.Logged{Entry: e} }

// append adds n entries and lets the log read them.
func (s *logStore) append(t *testing.T, l *revocation.Log, n int) {
	t.Helper()
	s.mu.Lock()
	for range n {
		seq := uint64(len(s.rows) + 1)
		s.rows = append(s.rows, logged(feed.Entry{Seq: seq, Kind: feed.Session, ID: fmt.Sprint("ses_", seq), Until: s.now.Unix() + 600}))
	}
	s.now = s.now.Add(revocation.FreshFor) // so that the next question reads the tail
	s.mu.Unlock()
	if err := l.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A reader is the other end of a stream, as slow as the test wants it. It stands in
// for the connection.
type reader struct {
	header    http.Header
	mu        sync.Mutex
	got       bytes.Buffer
	writes    int
	deadlines []time.Duration // left, at each write
	next      time.Duration
	gate      chan struct{} // a write waits for it
	arrived   chan struct{} // told of each write before it waits
	fail      error         // of flushing
	late      error         // of writing
}

func newReader() *reader {
	return &reader{header: http.Header{}, gate: make(chan struct{}), arrived: make(chan struct{}, 10_000)}
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) FlushError() error   { return r.fail }

func (r *reader) SetReadDeadline(time.Time) error { return nil }
func (r *reader) SetWriteDeadline(at time.Time) error {
	r.next = time.Until(at)
	return nil
}

func (r *reader) Write(p []byte) (int, error) {
	r.arrived <- struct{}{}
	<-r.gate
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadlines, r.next = append(r.deadlines, r.next), 0
	r.writes++
	if r.late != nil {
		return 0, r.late
	}
	return r.got.Write(p)
}

func (r *reader) events(t *testing.T) []feed.Event {
	t.Helper()
	var all []feed.Event
	for in := feed.NewReader(&r.got); ; {
		e, err := in.Next()
		if err != nil {
			return all
		}
		e.Data = bytes.Clone(e.Data)
		all = append(all, e)
	}
}

// openStream begins a stream to a reader and returns what tells its end.
func openStream(t *testing.T, s *Server, to *reader) <-chan error {
	t.Helper()
	x := &exchange{
		ResponseWriter: to, Request: httptest.NewRequestWithContext(t.Context(), "GET", "/v1/revocations", nil),
		route: &route{path: "/v1/revocations"}, key: account.APIKey{ID: "api_1"},
	}
	ended := make(chan error, 1)
	go func() { ended <- s.getRevocations(x) }()
	return ended
}

// outcomeOf waits for the end of a stream that must end by itself.
func outcomeOf(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the stream does not end")
		return nil
	}
}

func newStreamServer(t *testing.T) (*Server, *logStore) {
	t.Helper()
	store := &logStore{now: time.Unix(1_800_000_000, 0)}
	log := revocation.New(revocation.Config{}, store, store.clock, slog.New(slog.DiscardHandler))
	if err := log.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &Server{Parts: Parts{Log: log}, stop: make(chan struct{})}, store
}

// R-11, D-10: a reader that does not read holds up nobody, every write has a
// deadline, and a burst that came meanwhile takes few writes.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	s, store := newStreamServer(t)
	slow := newReader()
	ended := openStream(t, s, slow)
	<-slow.arrived // it waits in the write of the snapshot
	for range 3 {
		store.append(t, s.Log, 400) // returns, although nobody reads
	}
	s.Stop()
	close(slow.gate)
	if err := outcomeOf(t, ended); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	all := slow.events(t)
	if len(all) != 1203 || slow.writes > 10 { // snapshot, heartbeat, resync
		t.Errorf("%d events came in %d writes, want all and a burst to take few", len(all), slow.writes)
	}
	for i, left := range slow.deadlines {
		if left < revocation.WriteTimeout/2 || left > revocation.WriteTimeout {
			t.Errorf("write %d had %v, want about %v", i, left, revocation.WriteTimeout)
		}
	}
}

// who does not take a write in time is cut off, and counted.
func TestWriteThatTakesTooLongEndsStream(t *testing.T) {
	s, _ := newStreamServer(t)
	slow := newReader()
	slow.late = os.ErrDeadlineExceeded
	close(slow.gate)
	if err := outcomeOf(t, openStream(t, s, slow)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the stream ended with %v", err)
	}
	if s.Log.Subscribers() != 0 || s.Log.Dropped() != 1 {
		t.Errorf("%d subscribers are left, %d were dropped", s.Log.Subscribers(), s.Log.Dropped())
	}
}

func TestStreamEndsAtStop(t *testing.T) { // D-25
	s, store := newStreamServer(t)
	r := newReader()
	close(r.gate)
	ended := openStream(t, s, r)
	<-r.arrived
	<-r.arrived // snapshot and heartbeat
	store.append(t, s.Log, 1)
	<-r.arrived
	s.Stop()
	s.Stop() // a second time does no harm
	if err := outcomeOf(t, ended); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	all := r.events(t)
	if last := all[len(all)-1]; last.Name != feed.EventResync || !strings.Contains(string(last.Data), "stopping") {
		t.Errorf("the last event is %s %s, want to be told to move", last.Name, last.Data)
	}
	if n := s.Log.Subscribers(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
	if err := outcomeOf(t, openStream(t, s, newReader())); !errors.Is(err, revocation.ErrStopping) {
		t.Errorf("a stream while stopping: %v, want ErrStopping", err)
	}
}

// an error that only flushing shows ends the stream.
func TestFlushErrorEndsStream(t *testing.T) {
	s, _ := newStreamServer(t)
	r := newReader()
	r.fail = errors.New("connection reset")
	close(r.gate)
	if err := outcomeOf(t, openStream(t, s, r)); !errors.Is(err, r.fail) {
		t.Errorf("the stream ended with %v, want the error of the flush", err)
	}
	if n := s.Log.Subscribers(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

// A key that was removed while its stream was about to open opens none: what cuts
// streams has passed already.
func TestStreamOfRemovedKey(t *testing.T) {
	s, _ := newStreamServer(t)
	s.Log.Set().Add(feed.Entry{Kind: feed.APIKey, ID: "api_1", Until: 1 << 40})
	if err := outcomeOf(t, openStream(t, s, newReader())); !errors.Is(err, account.ErrNoAPIKey) {
		t.Errorf("the stream ended with %v, want ErrNoAPIKey", err)
	}
	if n := s.Log.Subscribers(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}
