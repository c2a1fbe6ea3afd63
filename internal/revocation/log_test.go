package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// tape is a log whose every fault can be played: what a failover, a restore or a
// dead database would show to a node.
type tape struct {
	mu    sync.Mutex
	epoch string
	rows  []Logged
	head  Position
	now   time.Time
	mark  time.Time
	err   error
	news  int // epochs begun
}

func newTape() *tape {
	return &tape{epoch: "e1", head: Position{Epoch: "e1"}, now: time.Unix(1_800_000_000, 0)}
}

func (s *tape) Since(_ context.Context, from uint64, limit int) (Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := Page{Head: s.head, Now: s.now, Mark: s.mark}
	for _, r := range s.rows {
		if r.Seq >= from && len(page.Rows) < limit {
			page.Rows = append(page.Rows, r)
		}
	}
	return page, s.err
}

func (s *tape) Prune(context.Context) (int, error)            { return 0, s.err }
func (s *tape) Hold(_ context.Context, _ time.Duration) error { return s.err }
func (s *tape) NewEpoch(_ context.Context, old string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Epoch == old {
		s.news++
		s.epoch = fmt.Sprintf("e%d", s.news+1)
		s.head.Epoch = s.epoch
	}
	return nil
}

// end appends an entry and returns it.
func (s *tape) end(kind feed.Kind, id string) feed.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := s.head.Seq + 1
	e := feed.Entry{Seq: seq, Kind: kind, ID: id, At: s.now.Unix(), Until: s.now.Unix() + 670}
	bits := uint16(seq*7 + 1)
	s.rows = append(s.rows, Logged{Entry: e, Bits: bits})
	s.head = Position{Epoch: s.epoch, Seq: seq, Bits: bits}
	return e
}

func (s *tape) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *tape) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func newLog(t *testing.T, s *tape) *Log {
	t.Helper()
	l := New(Config{}, s, s.clock, slog.New(slog.DiscardHandler))
	if err := l.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// poll reads the tail now, as Follow does at each poll.
func poll(t *testing.T, l *Log) {
	t.Helper()
	l.reading.Lock()
	defer l.reading.Unlock()
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func events(t *testing.T, frames ...[]byte) []feed.Event {
	t.Helper()
	r := feed.NewReader(bytes.NewReader(slices.Concat(frames...)))
	var all []feed.Event
	for {
		e, err := r.Next()
		if err != nil {
			return all
		}
		e.Data = bytes.Clone(e.Data)
		all = append(all, e)
	}
}

func names(all []feed.Event) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.Name)
	}
	return out
}

func TestPositionHasOneSpelling(t *testing.T) {
	p := Position{Epoch: "01k9", Seq: 122, Bits: 0x5f3a}
	if got := p.String(); got != "01k9:122:5f3a" {
		t.Errorf("event id %q", got)
	}
	if got, ok := ParsePosition(p.String()); !ok || got != p {
		t.Errorf("read back %v %v", got, ok)
	}
	for _, bad := range []string{"", ":", "a:1", "a:1:zz", "a:01:5f3a", "a:-1:5f3a", "a:1:5F3A", "a:1:5f3a:", ":1:5f3a", "a:99999999999999999999:5f3a"} {
		if _, ok := ParsePosition(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestBeforeIsTheEndPlusASecondRoundedUp(t *testing.T) {
	for ms, want := range map[int64]int64{1000: 2, 1001: 3, 1999: 3, 2000: 3} {
		if got := Before(time.UnixMilli(ms)); got != want {
			t.Errorf("an end at %d ms is before %d, want %d", ms, got, want)
		}
	}
}

// I-6: no gap unseen, resume exact, everything else an explicit resync.
func TestResume(t *testing.T) {
	s := newTape()
	s.end(feed.Session, "ses_1")
	second := s.end(feed.Session, "ses_2")
	s.end(feed.Session, "ses_3")
	l := newLog(t, s)
	at := func(epoch string, seq uint64, bits uint16) string { return Position{epoch, seq, bits}.String() }
	for name, c := range map[string]struct {
		last  string
		wants []string
	}{
		"a new reader gets a snapshot":              {"", []string{"snapshot", "heartbeat"}},
		"at the end nothing is told again":          {at("e1", 3, 22), []string{"heartbeat"}},
		"behind, exactly what was missed":           {at("e1", second.Seq, 15), []string{"revocation", "heartbeat"}},
		"another epoch is a resync":                 {at("e0", 3, 22), []string{"resync", "snapshot", "heartbeat"}},
		"the future is a resync":                    {at("e1", 9, 22), []string{"resync", "snapshot", "heartbeat"}},
		"other bits are a resync":                   {at("e1", 3, 23), []string{"resync", "snapshot", "heartbeat"}},
		"other bits of an older entry are a resync": {at("e1", 2, 16), []string{"resync", "snapshot", "heartbeat"}},
		"a compacted position is a resync":          {at("e1", 0, 0), []string{"resync", "snapshot", "heartbeat"}},
		"what we never wrote is a resync":           {"garbage", []string{"resync", "snapshot", "heartbeat"}},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := l.Subscribe(c.last, "api_1")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			if got := names(events(t, sub.Opening...)); !slices.Equal(got, c.wants) {
				t.Errorf("told %v, want %v", got, c.wants)
			}
		})
	}
}

func TestASnapshotThatBreaksOffCannotBeResumed(t *testing.T) {
	s := newTape()
	for i := range snapshotPart + 1 {
		s.end(feed.Session, fmt.Sprint("ses_", i))
	}
	l := newLog(t, s)
	sub, err := l.Subscribe("", "api_1")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	got := events(t, sub.Opening...)
	if len(got) != 3 || got[0].ID != "" || got[1].ID != s.head.String() {
		t.Errorf("ids of the parts: %q %q", got[0].ID, got[1].ID)
	}
	var part feed.Snapshot
	if err := got[0].Decode(&part); err != nil || !part.More {
		t.Errorf("the first part says more %v, %v", part.More, err)
	}
	if len(got[0].Data) > 1<<20 {
		t.Errorf("a line of %d bytes", len(got[0].Data))
	}
}

func TestEntriesReachEveryStreamInOrder(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	sub, err := l.Subscribe("", "api_1")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for i := range 5 {
		s.end(feed.Session, fmt.Sprint("ses_", i))
	}
	poll(t, l)
	for want := uint64(1); want <= 5; want++ {
		var e feed.Entry
		if err := events(t, <-sub.Frames())[0].Decode(&e); err != nil || e.Seq != want {
			t.Fatalf("got entry %d, want %d (%v)", e.Seq, want, err)
		}
	}
}

// Whoever subscribes while entries come must miss none: the queue is registered
// before the set is copied.
func TestNothingFallsBetweenSnapshotAndStream(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	const all = 200
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range all {
			s.end(feed.Session, fmt.Sprint("ses_", i))
			l.reading.Lock()
			_ = l.read(context.Background())
			l.reading.Unlock()
		}
	}()
	for range 20 {
		sub, err := l.Subscribe("", "api_1")
		if err != nil {
			t.Fatal(err)
		}
		var set feed.Set
		learn := func(frame []byte) {
			for _, e := range events(t, frame) {
				var entry feed.Entry
				var snap feed.Snapshot
				if e.Name == feed.EventRevocation && e.Decode(&entry) == nil {
					set.Add(entry)
				} else if e.Name == feed.EventSnapshot && e.Decode(&snap) == nil {
					set.Add(snap.Entries...)
				}
			}
		}
		for _, frame := range sub.Opening {
			learn(frame)
		}
		<-done
		for len(sub.Frames()) > 0 {
			learn(<-sub.Frames())
		}
		if set.Len() != all {
			t.Errorf("a stream knows %d of %d entries", set.Len(), all)
		}
		sub.Close()
	}
}

// R-11, D-10: a reader that does not read is dropped, and no other notices.
func TestASlowReaderIsDropped(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	slow, err := l.Subscribe("", "api_1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range queueLength + 1 {
		s.end(feed.Session, fmt.Sprint("ses_", i))
	}
	poll(t, l)
	if l.Subscribers() != 0 {
		t.Error("the slow reader is still there")
	}
	n := 0
	for range slow.Frames() {
		n++
	}
	if n != queueLength {
		t.Errorf("%d frames were queued, want %d", n, queueLength)
	}
	var said feed.Resync
	if got := events(t, slow.Farewell()); len(got) != 1 || got[0].Decode(&said) != nil || said.Reason != "slow" {
		t.Errorf("farewell %v", got)
	}
}

func TestRemovingAnAPIKeyCutsItsStreams(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	cut, err := l.Subscribe("", "api_1")
	if err != nil {
		t.Fatal(err)
	}
	stays, err := l.Subscribe("", "api_2")
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	s.end(feed.APIKey, "api_1")
	poll(t, l)
	<-cut.Frames() // the entry itself
	if _, open := <-cut.Frames(); open {
		t.Error("the stream of a removed key goes on")
	}
	if l.Subscribers() != 1 {
		t.Errorf("%d streams are left, want 1", l.Subscribers())
	}
}

// I-2, I-7: who cannot see the log vouches for nothing.
func TestAStaleTailVouchesForNothing(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	s.err = errors.New("gone")
	s.pass(FreshFor)
	if err := l.Current(t.Context()); !errors.Is(err, ErrBehind) {
		t.Errorf("Current says %v", err)
	}
	if _, err := l.Subscribe("", "api_1"); !errors.Is(err, ErrBehind) {
		t.Errorf("Subscribe says %v", err)
	}
	if l.heartbeat(l.position) != nil {
		t.Error("a heartbeat vouches for what is not known")
	}
	s.err = nil
	if err := l.Current(t.Context()); err != nil {
		t.Errorf("healed, and Current says %v", err)
	}
}

func TestWhoseClockIsOffIsNotReady(t *testing.T) {
	for name, c := range map[string]struct {
		store, mark time.Duration
		ready       bool
	}{
		"agreeing":                    {0, 0, true},
		"a little apart":              {MaxDrift, 0, true},
		"the store is ahead":          {MaxDrift + 1, 0, false},
		"the store is behind":         {-MaxDrift - 1, 0, false},
		"behind the highest recorded": {0, time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTape()
			local := s.now
			s.now = s.now.Add(c.store)
			if c.mark != 0 {
				s.mark = s.now.Add(c.mark)
			}
			l := New(Config{}, s, func() time.Time { return local }, slog.New(slog.DiscardHandler))
			if err := l.Ready(t.Context()); (err == nil) != c.ready {
				t.Errorf("Ready says %v", err)
			}
		})
	}
}

// I-6 and design "an end before our position, or another entry at it": a failover
// that lost entries begins a new epoch, and un-revokes nothing.
func TestALogThatWasSetBackBeginsANewEpoch(t *testing.T) {
	lost := map[string]func(*tape){
		"the last entry was lost":     func(s *tape) { s.rows = s.rows[:1]; s.head = Position{"e1", 1, s.rows[0].Bits} },
		"its number was used again":   func(s *tape) { s.rows[1].Bits++; s.rows[1].ID = "ses_other"; s.head.Bits = s.rows[1].Bits },
		"and the log went on from it": func(s *tape) { s.rows[1].Bits++; s.end(feed.Session, "ses_3") },
	}
	for name, lose := range lost {
		t.Run(name, func(t *testing.T) {
			s := newTape()
			s.end(feed.Session, "ses_1")
			s.end(feed.Session, "ses_2")
			l := newLog(t, s)
			sub, err := l.Subscribe("", "api_1")
			if err != nil {
				t.Fatal(err)
			}
			lose(s)
			poll(t, l)
			if s.news != 1 {
				t.Errorf("%d epochs were begun, want 1", s.news)
			}
			if _, open := <-sub.Frames(); open {
				t.Error("a stream goes on as if nothing had happened")
			}
			if !l.Set().Holds(feed.Session, "ses_2") {
				t.Error("what was over has revived")
			}
			if l.position != s.head {
				t.Errorf("the node is at %v, the log at %v", l.position, s.head)
			}
		})
	}
}

func TestHeardHoldsAtOnce(t *testing.T) {
	l := newLog(t, newTape())
	l.Heard([]feed.Entry{{Seq: 1, Kind: feed.Session, ID: "ses_1", Until: 1 << 40}})
	if l.Set().Verdict(feed.Subject{Session: "ses_1"}) != feed.Over {
		t.Error("an end that this process committed does not hold before it is answered")
	}
}

func TestPruningLeavesNoGap(t *testing.T) {
	s := newTape()
	s.end(feed.Session, "ses_1")
	s.pass(time.Hour)
	s.end(feed.Session, "ses_2")
	l := newLog(t, s)
	l.Prune()
	if len(l.entries) != 1 || l.entries[0].Seq != 2 || l.Set().Holds(feed.Session, "ses_1") {
		t.Errorf("kept %v", l.entries)
	}
	if l.position.Seq != 2 {
		t.Error("pruning moved the end of the log")
	}
}

// D-14: when all come back at once, the snapshot is encoded once.
func TestASnapshotIsEncodedOnce(t *testing.T) {
	s := newTape()
	s.end(feed.Session, "ses_1")
	l := newLog(t, s)
	first := func() *byte {
		sub, err := l.Subscribe("", "api_1")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		return &sub.Opening[0][0]
	}
	one := first()
	if first() != one {
		t.Error("the second reader's snapshot was encoded anew")
	}
	s.end(feed.Session, "ses_2")
	poll(t, l)
	if first() == one {
		t.Error("a snapshot lacks an entry that came since")
	}
}
