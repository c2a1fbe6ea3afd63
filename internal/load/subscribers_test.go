package load

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// With this set, the test binary is a process of subscribers.
const asProcess = "COATCHECK_TEST_SUBSCRIBERS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) == "" {
		os.Exit(m.Run())
	}
	if err := ServeSubscribers(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A station is a server of a stream: it tells everyone what the test says.
type station struct {
	*httptest.Server
	mu      sync.Mutex
	streams map[chan []byte]string // with the Last-Event-ID that each came with
	opened  int
}

func newStation(t *testing.T, tls bool) *station {
	t.Helper()
	s := &station{streams: map[chan []byte]string{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.cut()
		s.Close()
	})
	return s
}

func (s *station) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer cka_test" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path != "/v1/revocations" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	tell := make(chan []byte, 1000)
	s.mu.Lock()
	s.streams[tell] = r.Header.Get("Last-Event-ID")
	s.opened++
	plain := s.opened%2 == 0
	s.mu.Unlock()
	if plain { // both forms are read
		w.Header().Set("Transfer-Encoding", "identity")
	}
	w.WriteHeader(http.StatusOK)
	for b := range tell {
		_, _ = w.Write(b) // the reader tells
		_ = http.NewResponseController(w).Flush()
	}
}

func (s *station) tell(frames ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		stream <- slices.Concat(frames...)
	}
}

func (s *station) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		close(stream)
		delete(s.streams, stream)
	}
}

// waitStreams waits until n streams are open.
func (s *station) waitStreams(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		s.mu.Lock()
		open := len(s.streams)
		s.mu.Unlock()
		if open == n {
			return
		}
		<-tick.C
	}
	t.Fatalf("there are not %d streams", n)
}

func frame(t *testing.T, event, id string, payload any) []byte {
	t.Helper()
	b, err := feed.Frame(event, id, payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func snapshotOf(t *testing.T, seq uint64, entries ...feed.Entry) []byte {
	return frame(t, feed.EventSnapshot, fmt.Sprint("e1:", seq), feed.Snapshot{Epoch: "e1", Seq: seq, Entries: entries})
}

func entryOf(seq uint64) feed.Entry {
	return feed.Entry{Seq: seq, Kind: feed.Session, ID: fmt.Sprint("ses_", seq), Before: 1, Reason: "signed_out", At: 1, Until: 2}
}

func revocationOf(t *testing.T, seq uint64) []byte {
	return frame(t, feed.EventRevocation, fmt.Sprint("e1:", seq), entryOf(seq))
}

func beatOf(t *testing.T, seq uint64) []byte {
	return frame(t, feed.EventHeartbeat, "", feed.Heartbeat{Epoch: "e1", Seq: seq})
}

// inTime is how long a test waits for what must come.
func inTime(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryEntryIsNotedAtEveryStream(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", tls), func(t *testing.T) {
			s := newStation(t, tls)
			const n = 20
			subs, err := newSubscribers(Options{URL: s.URL, APIKey: "cka_test", N: n, Keep: 10})
			if err != nil {
				t.Fatal(err)
			}
			if tls {
				subs.target.tls.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			}
			subs.start(t.Context())
			defer subs.Close()
			ctx := inTime(t)
			s.waitStreams(t, n)
			s.tell(snapshotOf(t, 7), beatOf(t, 7))
			if err := subs.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			began := time.Now().UnixNano()
			s.tell(revocationOf(t, 8), revocationOf(t, 9)[:30])
			s.tell(revocationOf(t, 9)[30:])
			if err := subs.Read(ctx, 2*n); err != nil {
				t.Fatal(err)
			}
			all := subs.Arrivals()
			if len(all) != 2 || all[0].ID != "ses_8" || all[1].Seq != 9 || all[0].First < began {
				t.Fatalf("arrivals %+v", all)
			}
			for _, a := range all {
				if len(a.After) != n || slices.Contains(a.After, Missing) || slices.Min(a.After) != 0 {
					t.Errorf("entry %d: %v", a.Seq, a.After)
				}
			}
			if c := subs.Counts(); c.Gaps != 0 || c.Whole != n || c.Connects != n {
				t.Errorf("%+v", c)
			}
		})
	}
}

// I-6: a stream is resumed where it was, and what it misses is a gap.
func TestStreamsResumeAndNoticeGaps(t *testing.T) {
	s := newStation(t, false)
	subs, err := Subscribe(t.Context(), Options{URL: s.URL, APIKey: "cka_test", N: 3, Keep: 10, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer subs.Close()
	ctx := inTime(t)
	s.waitStreams(t, 3)
	s.tell(snapshotOf(t, 1), beatOf(t, 1), revocationOf(t, 2))
	if err := subs.Read(ctx, 3); err != nil {
		t.Fatal(err)
	}
	s.cut()
	s.waitStreams(t, 3)
	for _, last := range s.streams {
		if last != "e1:2" {
			t.Errorf("resumed after %q", last)
		}
	}
	s.tell(revocationOf(t, 3), beatOf(t, 3))
	if err := subs.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if c := subs.Counts(); c.Gaps != 0 || c.Connects != 6 || c.Ends != 3 {
		t.Errorf("%+v", c)
	}
	s.tell(revocationOf(t, 5))
	if err := subs.until(ctx, func(c Counts) bool { return c.Gaps == 3 }); err != nil {
		t.Error(err)
	}
	// A heartbeat of another number is a gap, too; and a snapshot brings what was missed.
	s.cut()
	s.waitStreams(t, 3)
	s.tell(snapshotOf(t, 6, entryOf(4), entryOf(6)), beatOf(t, 7))
	if err := subs.until(ctx, func(c Counts) bool { return c.Gaps == 6 }); err != nil {
		t.Error(err)
	}
	missing := 0
	for _, a := range subs.Arrivals() {
		if slices.Contains(a.After, Missing) {
			missing++
		}
	}
	if got := len(subs.Arrivals()); got != 4 || missing != 0 {
		t.Errorf("%d entries arrived, %d not everywhere", got, missing)
	}
}

func TestRefusedStreamsAreCounted(t *testing.T) {
	s := newStation(t, false)
	subs, err := Subscribe(t.Context(), Options{URL: s.URL, APIKey: "cka_other", N: 1, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer subs.Close()
	if err := subs.until(inTime(t), func(c Counts) bool { return c.Refused > 2 }); err != nil {
		t.Error(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := subs.Ready(over); err == nil || !bytes.Contains([]byte(err.Error()), []byte("401")) {
		t.Errorf("says %v", err)
	}
}

func TestProcessesCountTogether(t *testing.T) {
	s := newStation(t, false)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Spread(t.Context(), 2, Options{URL: s.URL, APIKey: "cka_test", N: 5, Keep: 4}, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), asProcess+"=1")
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	s.waitStreams(t, 5)
	s.tell(snapshotOf(t, 1), beatOf(t, 1), revocationOf(t, 2))
	if err := p.Ready(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.Read(1, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if c, err := p.Counts(); err != nil || c.Whole != 5 || c.Entries != 5 || len(p.PIDs()) != 2 {
		t.Errorf("%+v %v", c, err)
	}
	at := 0
	if err := p.Arrivals(func(a Arrival) { at += len(a.After) }); err != nil || at != 5 {
		t.Errorf("%d arrivals, %v", at, err)
	}
	if err := p.Read(2, time.Millisecond); err == nil {
		t.Error("waiting for what does not come ends well")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What the quick reader takes from a frame is what a decoder finds in it.
func TestScanEntryAgreesWithTheDecoder(t *testing.T) {
	for _, e := range []feed.Entry{
		entryOf(1), {Seq: 1 << 60, Kind: feed.All, Before: 3, At: 1, Until: 9}, {Seq: 3, Kind: "new", ID: "x_1", Reason: `"id":"no`, At: 1},
	} {
		seq, subject, id, ok := scanEntry(frame(t, feed.EventRevocation, "e1:1:abcd", e))
		if !ok || seq != e.Seq || string(subject) != e.ID || string(id) != "e1:1:abcd" {
			t.Errorf("%+v: %d %q %q %v", e, seq, subject, id, ok)
		}
	}
	for _, other := range [][]byte{beatOf(t, 1), snapshotOf(t, 1), []byte(": hello\n\n"), []byte("event: revocation\nid: x\ndata: {\"seq\":x,\"id\":\"y\"}\n\n")} {
		if _, _, _, ok := scanEntry(other); ok {
			t.Errorf("%s is read as an entry", other)
		}
	}
}
