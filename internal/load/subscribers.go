package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Options say which streams are opened. Zero members take the defaults.
type Options struct {
	URL    string // of the server: "http://127.0.0.1:8080"
	APIKey string // of the scope revocations
	N      int    // how many streams
	// Keep is of how many entries, from the first that comes, the times of arrival are
	// kept: 8 bytes each for every stream. 0 keeps none.
	Keep int
	// Ramp spreads the first connections over this time; 0 begins them at once.
	Ramp time.Duration
	// Pause bounds the pause at random before a stream is opened again. It doubles
	// with each failure, up to thirty times: 100 ms, as verifiers do.
	Pause time.Duration
}

// Subscribers are many readers of a revocation stream in one process, each with a
// connection of its own. Like verifiers they hold the stream to its order, resume
// where they were when it breaks off, and begin anew when they have missed something.
// They are safe for concurrent use.
type Subscribers struct {
	options Options
	target  target
	life    context.Context
	end     context.CancelFunc
	all     sync.WaitGroup

	whole, connects, refused, entries, gaps, resyncs, ends atomic.Int64
	failed                                                 atomic.Pointer[error]

	base atomic.Uint64 // the number before the first entry that is kept, plus 1; 0: none came yet
	kept []atomic.Pointer[arrival]
}

// Counts are what has happened to all streams together.
type Counts struct {
	Whole    int // streams that are open and have all there is up to the last heartbeat
	Connects int // streams that the server opened, also again
	Refused  int // attempts that failed
	Ends     int // streams that ended
	Entries  int // entries that were read
	Gaps     int // entries or heartbeats that did not continue what was read before: always 0
	Resyncs  int // markers that the stream does not continue
}

// An Arrival is when one entry arrived at every stream.
type Arrival struct {
	Seq   uint64
	ID    string // of what the entry ends
	First int64  // when it arrived at the first of them: Unix nanoseconds
	// After is how many microseconds later it arrived at each, in no order; [Missing]
	// for a stream that it has not arrived at.
	After []uint32
}

// Missing stands for the time of what has not arrived.
const Missing = math.MaxUint32

// An arrival is gathered while it happens.
type arrival struct {
	seq uint64
	id  string
	at  []atomic.Int64 // for each stream, Unix nanoseconds; 0: not yet
}

// Subscribe opens streams, and keeps them open until ctx ends or they are closed. It
// waits for none: see [Subscribers.Ready].
func Subscribe(ctx context.Context, o Options) (*Subscribers, error) {
	s, err := newSubscribers(o)
	if err != nil {
		return nil, err
	}
	s.start(ctx)
	return s, nil
}

func newSubscribers(o Options) (*Subscribers, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	if o.N < 1 {
		return nil, fmt.Errorf("want a stream at least, not %d", o.N)
	}
	if o.Pause == 0 {
		o.Pause = 100 * time.Millisecond
	}
	s := &Subscribers{options: o, kept: make([]atomic.Pointer[arrival], o.Keep)}
	s.target, err = targetOf(u)
	return s, err
}

func (s *Subscribers) start(ctx context.Context) {
	s.life, s.end = context.WithCancel(ctx)
	n := s.options.N
	for i := range n {
		s.all.Go(func() {
			r := &reader{of: s, index: i}
			r.run(time.Duration(i) * s.options.Ramp / time.Duration(n))
		})
	}
}

// Ready returns once all streams are whole. Its error is that of ctx, and names the
// last reason why a stream was refused.
func (s *Subscribers) Ready(ctx context.Context) error {
	return s.until(ctx, func(c Counts) bool { return c.Whole == s.options.N })
}

// Read returns once all streams together have read so many entries.
func (s *Subscribers) Read(ctx context.Context, entries int) error {
	return s.until(ctx, func(c Counts) bool { return c.Entries >= entries })
}

func (s *Subscribers) until(ctx context.Context, holds func(Counts) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c := s.Counts()
		if holds(c) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if failed := s.failed.Load(); failed != nil {
				return fmt.Errorf("%w with %+v; the last failure: %w", ctx.Err(), c, *failed)
			}
			return fmt.Errorf("%w with %+v", ctx.Err(), c)
		}
	}
}

// Counts returns what has happened so far.
func (s *Subscribers) Counts() Counts {
	return Counts{
		Whole: int(s.whole.Load()), Connects: int(s.connects.Load()), Refused: int(s.refused.Load()), Ends: int(s.ends.Load()),
		Entries: int(s.entries.Load()), Gaps: int(s.gaps.Load()), Resyncs: int(s.resyncs.Load()),
	}
}

// Arrivals returns what was kept, in order of the entries.
func (s *Subscribers) Arrivals() []Arrival {
	var all []Arrival
	for i := range s.kept {
		a := s.kept[i].Load()
		if a == nil {
			continue
		}
		out := Arrival{Seq: a.seq, ID: a.id, First: math.MaxInt64, After: make([]uint32, len(a.at))}
		for n := range a.at {
			if at := a.at[n].Load(); at != 0 {
				out.First = min(out.First, at)
			}
		}
		for n := range a.at {
			out.After[n] = Missing
			if at := a.at[n].Load(); at != 0 {
				out.After[n] = uint32(min((at-out.First)/1000, Missing-1))
			}
		}
		all = append(all, out)
	}
	return all
}

// Close ends all streams and waits for them.
func (s *Subscribers) Close() {
	s.end()
	s.all.Wait()
}

// slot returns where the arrivals of an entry are kept; nil if they are not.
func (s *Subscribers) slot(seq uint64, id []byte) *arrival {
	if len(s.kept) == 0 {
		return nil
	}
	base := s.base.Load()
	if base == 0 {
		s.base.CompareAndSwap(0, seq+1)
		base = s.base.Load()
	}
	at := seq + 1 - base // wraps around for what came before
	if at >= uint64(len(s.kept)) {
		return nil
	}
	if a := s.kept[at].Load(); a != nil {
		return a
	}
	s.kept[at].CompareAndSwap(nil, &arrival{seq: seq, id: string(id), at: make([]atomic.Int64, s.options.N)})
	return s.kept[at].Load()
}

// jitter returns a time at random below limit.
func jitter(limit time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand.Read ends the program instead
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(max(1, limit)))
}
