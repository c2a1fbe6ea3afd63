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
	"testing/synctest"
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

	silent bool // Since does not answer
	asked  int  // calls of Since
}

func newTape() *tape {
	return &tape{epoch: "e1", head: Position{Epoch: "e1"}, now: time.Unix(1_800_000_000, 0)}
}

func (s *tape) Since(ctx context.Context, from uint64, limit int) (Page, error) {
	s.mu.Lock()
	s.asked++
	if s.silent {
		s.mu.Unlock()
		<-ctx.Done()
		return Page{}, ctx.Err()
	}
	defer s.mu.Unlock()
	page := Page{Head: s.head, Now: s.now, Mark: s.mark}
	for _, r := range s.rows {
		if r.Seq >= from && len(page.Rows) < limit {
			page.Rows = append(page.Rows, r)
		}
	}
	return page, s.err
}

func (s *tape) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
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
	if err := l.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, l *Log, owner string) *Subscription {
	t.Helper()
	sub, err := l.Subscribe("", owner)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// due returns all that a reader is to be told now.
func due(s *Subscription) [][]byte {
	var all [][]byte
	for {
		frames, last := s.next()
		if frames != nil {
			all = append(all, frames)
		}
		if last || frames == nil {
			return all
		}
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
			if got := names(events(t, due(sub)...)); !slices.Equal(got, c.wants) {
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
	got := events(t, due(sub)...)
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
	told := events(t, due(sub)...)
	if len(told) != 7 { // snapshot and heartbeat come first
		t.Fatalf("told %v", names(told))
	}
	for i, got := range told[2:] {
		var e feed.Entry
		if err := got.Decode(&e); err != nil || e.Seq != uint64(i+1) {
			t.Fatalf("got entry %d, want %d (%v)", e.Seq, i+1, err)
		}
	}
}

// Whoever subscribes while entries come must miss none: the place is taken before the
// set is copied.
func TestNothingFallsBetweenSnapshotAndStream(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	const all = 200
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range all {
			s.end(feed.Session, fmt.Sprint("ses_", i))
			_ = l.poll(context.Background())
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
		for _, frame := range due(sub) {
			learn(frame)
		}
		<-done
		for _, frame := range due(sub) {
			learn(frame)
		}
		if set.Len() != all {
			t.Errorf("a stream knows %d of %d entries", set.Len(), all)
		}
		sub.Close()
	}
}

// R-11, D-10: a reader that falls behind what is kept is dropped, comes back and is
// told what it missed; no other notices, and what is kept is bounded (I-9).
func TestASlowReaderIsDropped(t *testing.T) {
	s := newTape()
	s.end(feed.Session, "ses_first")
	l := newLog(t, s)
	l.hub.bound = 3 * segmentBytes
	l.hub.resync("test") // so that the ring begins where they do
	slow, quick := subscribe(t, l, "api_1"), subscribe(t, l, "api_1")
	read := due(quick)
	n, begin := 0, l.hub.state.Load().first()
	for ; l.hub.state.Load().first() == begin; n++ {
		s.end(feed.Session, fmt.Sprint("ses_", n))
		poll(t, l)
		read = append(read, due(quick)...)
	}
	if held := l.hub.state.Load(); held.end-held.first() > 4*segmentBytes {
		t.Errorf("%d bytes are kept for readers that are behind", held.end-held.first())
	}
	told := events(t, due(slow)...)
	if got := names(told); !slices.Equal(got, []string{"snapshot", "heartbeat", "resync"}) {
		t.Errorf("the slow reader was told %v", got)
	}
	var said feed.Resync
	if told[2].Decode(&said) != nil || said.Reason != "slow" {
		t.Errorf("it was sent away as %q", said.Reason)
	}
	if l.Subscribers() != 1 || l.Dropped() != 1 {
		t.Errorf("%d readers are left, %d were dropped", l.Subscribers(), l.Dropped())
	}
	if all := events(t, read...); len(all) != n+2 {
		t.Errorf("the other reader was told %d events, want %d", len(all), n+2)
	}
	back, err := l.Subscribe(told[0].ID, "api_1")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(events(t, due(back)...)); got != n+1 {
		t.Errorf("come again, it is told %d events, want %d and a heartbeat", got, n)
	}
}

// A burst drops nobody: as many entries as one statement ends are told at once.
func TestABurstDropsNobody(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	sub := subscribe(t, l, "api_1")
	for i := range 3 * pageSize {
		s.end(feed.Session, fmt.Sprint("ses_", i))
	}
	poll(t, l)
	frames := due(sub)
	if got := len(events(t, frames...)); got != 3*pageSize+2 {
		t.Errorf("told %d events, want %d", got, 3*pageSize+2)
	}
	if len(frames) > 20 {
		t.Errorf("the burst took %d writes, want frames that lie together in one", len(frames))
	}
}

// I-6, D-14: whatever was missed, and wherever it is taken from, it is the same.
func TestResumeFromTheRingIsExact(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	l.hub.bound = segmentBytes
	for i := range 2 * pageSize {
		s.end(feed.Session, fmt.Sprint("ses_", i))
	}
	poll(t, l)
	now := l.hub.state.Load()
	if held := now.segments[0].marks[0].seq; held < 10 || held > 2*pageSize-10 {
		t.Fatalf("the ring begins at entry %d, want it to hold some and not all", held)
	}
	for i := 0; i < len(s.rows); i += 23 {
		row := s.rows[i]
		missed, reason, err := since(Position{"e1", row.Seq, row.Bits}, now, l.position, l.entries)
		if err != nil || reason != "" {
			t.Fatalf("at %d: %s, %v", row.Seq, reason, err)
		}
		want, err := frames(s.rows[i+1:], "e1")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(slices.Concat(missed...), slices.Concat(want...)) {
			t.Fatalf("who missed all after %d is told something else", row.Seq)
		}
		if _, reason, _ = since(Position{"e1", row.Seq, row.Bits + 1}, now, l.position, l.entries); reason != "diverged" {
			t.Fatalf("other bits at %d: %q", row.Seq, reason)
		}
	}
}

func TestRemovingAnAPIKeyCutsItsStreams(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	cut, stays := subscribe(t, l, "api_1"), subscribe(t, l, "api_2")
	s.end(feed.APIKey, "api_1")
	poll(t, l)
	s.end(feed.Session, "ses_1")
	poll(t, l)
	if got := names(events(t, due(cut)...)); !slices.Equal(got, []string{"snapshot", "heartbeat", "revocation", "resync"}) {
		t.Errorf("the stream of a removed key was told %v", got)
	}
	if got := names(events(t, due(stays)...)); !slices.Equal(got, []string{"snapshot", "heartbeat", "revocation", "revocation"}) {
		t.Errorf("the stream of another key was told %v", got)
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

// D-04: all who need the tail of a store that says nothing wait for one reading, and
// for no longer than it could help. I-9
func TestASilentStoreKeepsNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTape()
		l := newLog(t, s)
		s.silent = true
		s.pass(FreshFor)
		asked, began := s.calls(), time.Now()
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if err := l.Current(t.Context()); !errors.Is(err, ErrBehind) {
					t.Errorf("Current says %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > FreshFor {
			t.Errorf("the callers waited for %v", took)
		}
		if now := s.calls(); now != asked+1 {
			t.Errorf("the store was asked %d times at once", now-asked)
		}
		l.abandon() // as at the end
	})
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
			lostBits := s.head.Bits
			lose(s)
			poll(t, l)
			if s.news != 1 {
				t.Errorf("%d epochs were begun, want 1", s.news)
			}
			if got := names(events(t, due(sub)...)); !slices.Equal(got, []string{"snapshot", "heartbeat", "resync"}) {
				t.Errorf("the stream was told %v: it goes on as if nothing had happened", got)
			}
			if !l.Set().Holds(feed.Session, "ses_2") {
				t.Error("what was over has revived")
			}
			if place, held := l.hub.state.Load().behind(2, lostBits); held {
				t.Errorf("a stream could resume at %d, behind what was lost", place)
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
		return &sub.opening[0][0]
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
