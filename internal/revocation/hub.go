package revocation

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// ErrStopping is returned to who subscribes while the server stops.
var ErrStopping = fault.New(fault.Unavailable, "stopping", "This node is stopping. Please connect again.")

// A hub fans the log out. It writes what it has to say once, into a state that all
// readers share; each reader keeps its place in it, and is woken when there is a new
// one. So an end costs the hub the same, however many readers there are.
type hub struct {
	log    *Log
	bound  uint64        // of the ring, in bytes
	limit  time.Duration // of one write
	state  atomic.Pointer[state]
	slow   atomic.Uint64 // readers that were dropped for being too slow
	latest latest
	shards [shards]shard

	mu     sync.Mutex // held to change anything below, and to change the state
	subs   map[*Subscription]struct{}
	held   map[*handed]struct{} // connections that were handed over and are not closed yet
	closed bool
	active sync.WaitGroup // of all that write to them
}

// A state is what there is to tell: the frames, and the last heartbeat, which stands
// behind the entries that it counts. It never changes; changed is closed when there
// is another.
type state struct {
	ring
	beat    []byte
	beatAt  uint64 // the offset at which the heartbeat stands
	beats   uint64 // its number
	changed chan struct{}
}

func (h *hub) init(l *Log) {
	h.log, h.bound, h.limit = l, ringBytes, WriteTimeout
	h.subs, h.held = make(map[*Subscription]struct{}), make(map[*handed]struct{})
	h.state.Store(&state{changed: make(chan struct{})})
	for i := range h.shards {
		h.shards[i].hub = h
		h.shards[i].wake = make(chan struct{}, 1)
	}
}

// update puts a changed state in the place of the present one and wakes everyone.
// The caller holds mu.
func (h *hub) update(change func(*state)) {
	old := h.state.Load()
	next := *old
	next.changed = make(chan struct{})
	change(&next)
	h.state.Store(&next)
	close(old.changed)
}

// add begins a subscription at the end of what there is. Who calls it holds the
// log's mutex, so that nothing is told in between.
func (h *hub) add(s *Subscription) (*state, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	now := h.state.Load()
	s.at, s.beats = now.end, now.beats
	h.subs[s] = struct{}{}
	return now, true
}

func (h *hub) drop(s *Subscription, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s, reason)
}

// remove ends a subscription: what stands in the ring up to now is its last. The
// caller holds mu, and wakes the readers.
func (h *hub) remove(s *Subscription, reason string) {
	if _, there := h.subs[s]; !there {
		return
	}
	delete(h.subs, s)
	if reason == slowReader {
		h.slow.Add(1)
	}
	s.over.Store(&ending{reason: reason, limit: h.state.Load().end})
}

// removeAll ends the subscriptions that are meant, and wakes their readers.
func (h *hub) removeAll(reason string, meant func(*Subscription) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if meant(s) {
			h.remove(s, reason)
		}
	}
	h.update(func(*state) {})
}

func everyone(*Subscription) bool { return true }

// publish tells entries, and cuts the streams of API keys that are removed. The
// caller holds the log's mutex.
func (h *hub) publish(rows []Logged, epoch string) {
	if len(rows) == 0 {
		return
	}
	encoded, err := frames(rows, epoch)
	if err != nil {
		h.log.logger.Error("entries could not be encoded: streams begin anew", "error", err)
		h.resync("encoding")
		return
	}
	h.mu.Lock()
	h.update(func(s *state) { s.ring = s.add(rows, encoded, h.bound) })
	h.mu.Unlock()
	for _, row := range rows {
		if row.Kind == feed.APIKey {
			h.removeAll("apikey_removed", func(s *Subscription) bool { return s.owner == row.ID })
		}
	}
}

// beat sends a heartbeat to everyone. As in take, the log's mutex is held until it
// has its place, so that it stands behind the entries that it counts and before
// others.
func (h *hub) beat() {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	frame := h.log.heartbeat(h.log.position)
	if frame == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.update(func(s *state) { s.beat, s.beatAt, s.beats = frame, s.end, s.beats+1 })
}

// resync ends all streams because what follows does not continue what was told.
func (h *hub) resync(reason string) {
	h.removeAll(reason, everyone)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.update(func(s *state) { s.ring = s.clear() })
}

// latest is the snapshot that was encoded last. When a server comes back all its
// verifiers ask for the same one: it is encoded once, and its bytes are shared.
type latest struct {
	mu      sync.Mutex
	at      Position
	entries int
	parts   [][]byte
}

// snapshot returns the encoded snapshot of a position. Entries leave a position only
// by pruning, so their number tells two readings of it apart.
func (s *latest) snapshot(at Position, entries []Logged) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil || s.at != at || s.entries != len(entries) {
		parts, err := snapshot(at, entries)
		if err != nil {
			return nil, err
		}
		s.at, s.entries, s.parts = at, len(entries), parts
	}
	return slices.Clone(s.parts), nil
}
