package revocation

import (
	"slices"
	"sync"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
)

const (
	// queueLength is how many frames a subscriber may be behind before it is dropped.
	queueLength = 512
	// snapshotPart is how many entries one snapshot event carries: each stays far
	// below the length that a line may have.
	snapshotPart = 2000
)

// ErrStopping is returned to who subscribes while the server stops.
var ErrStopping = fault.New(fault.Unavailable, "stopping", "This node is stopping. Please connect again.")

// hub gives every subscriber its own bounded queue of frames. A frame is encoded
// once, and its bytes are shared.
type hub struct {
	log    *Log
	mu     sync.Mutex
	subs   map[*Subscription]struct{}
	closed bool
	latest latest
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

// A Subscription is one reader of the log. Frames is closed when the reader was
// too slow, when the log does not continue, or when the server stops; Farewell
// then holds the last frame to send, if any.
type Subscription struct {
	// Opening are the frames to send first: nothing for a stream that resumes at
	// the log's end, else entries or a snapshot.
	Opening [][]byte
	hub     *hub
	queue   chan []byte
	owner   string
	reason  string
}

// Frames returns the queue of frames to send after Opening.
func (s *Subscription) Frames() <-chan []byte { return s.queue }

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() { s.hub.drop(s, "closed") }

// Farewell returns the frame that tells the reader why its stream ends. It is
// valid once Frames is closed.
func (s *Subscription) Farewell() []byte {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	frame, err := feed.Frame(feed.EventResync, "", feed.Resync{Reason: s.reason})
	if err != nil {
		return nil
	}
	return frame
}

// Subscribe begins a stream for a reader that last saw the event with id last;
// empty for a new one. owner is the API key by which it came: when that key is
// removed its streams end. ErrBehind while this node cannot vouch for the log.
//
// The queue is registered before the set is copied, and nothing is told between
// the two: so a reader misses nothing, and every heartbeat has the number of the
// entry that the reader had before it.
func (l *Log) Subscribe(last, owner string) (*Subscription, error) {
	if !l.fresh() {
		return nil, ErrBehind
	}
	s := &Subscription{hub: &l.hub, queue: make(chan []byte, queueLength), owner: owner}
	l.mu.Lock()
	joined, position, entries := l.hub.add(s), l.position, l.entries
	l.mu.Unlock()
	if !joined {
		return nil, ErrStopping
	}
	var err error
	if s.Opening, err = l.hub.opening(last, position, entries); err != nil {
		s.Close()
		return nil, err
	}
	if beat := l.heartbeat(position); beat != nil {
		s.Opening = append(s.Opening, beat)
	}
	return s, nil
}

// Subscribers returns how many streams there are.
func (l *Log) Subscribers() int {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return len(l.hub.subs)
}

// opening returns what a reader at the given event id has to be told first.
func (h *hub) opening(last string, position Position, entries []Logged) ([][]byte, error) {
	if last == "" {
		return h.latest.snapshot(position, entries)
	}
	at, ok := ParsePosition(last)
	reason := "invalid"
	if ok {
		var missed []Logged
		if missed, reason = after(at, position, entries); reason == "" {
			return frames(missed, position.Epoch)
		}
	}
	marker, err := feed.Frame(feed.EventResync, "", feed.Resync{Reason: reason})
	if err != nil {
		return nil, err
	}
	parts, err := h.latest.snapshot(position, entries)
	return append([][]byte{marker}, parts...), err
}

// after returns the entries above a position, or why they cannot be told exactly.
func after(at, end Position, entries []Logged) (missed []Logged, reason string) {
	switch {
	case at.Epoch != end.Epoch:
		return nil, "epoch"
	case at.Seq > end.Seq:
		return nil, "future"
	case at.Seq == end.Seq && at.Bits == end.Bits:
		return nil, ""
	case at.Seq == end.Seq:
		return nil, "diverged"
	}
	for i, e := range entries {
		if e.Seq == at.Seq && e.Bits == at.Bits {
			return entries[i+1:], ""
		}
		if e.Seq == at.Seq {
			return nil, "diverged"
		}
	}
	return nil, "compacted"
}

// snapshot encodes all entries. Only the last part bears an event id, so that a
// stream that breaks off within cannot be resumed with a hole.
func snapshot(at Position, entries []Logged) ([][]byte, error) {
	var parts [][]byte
	for {
		n := min(len(entries), snapshotPart)
		part := feed.Snapshot{Epoch: at.Epoch, Seq: at.Seq, Entries: make([]feed.Entry, n), More: n < len(entries)}
		for i := range n {
			part.Entries[i] = entries[i].Entry
		}
		id := ""
		if !part.More {
			id = at.String()
		}
		frame, err := feed.Frame(feed.EventSnapshot, id, part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, frame)
		if entries = entries[n:]; len(entries) == 0 {
			return parts, nil
		}
	}
}

func frames(entries []Logged, epoch string) ([][]byte, error) {
	out := make([][]byte, len(entries))
	for i, e := range entries {
		frame, err := feed.Frame(feed.EventRevocation, Position{epoch, e.Seq, e.Bits}.String(), e.Entry)
		if err != nil {
			return nil, err
		}
		out[i] = frame
	}
	return out, nil
}

// heartbeat encodes that this node can vouch for what it told up to a position; nil
// if it cannot.
func (l *Log) heartbeat(position Position) []byte {
	if !l.fresh() {
		return nil
	}
	frame, err := feed.Frame(feed.EventHeartbeat, "", feed.Heartbeat{
		Epoch: position.Epoch, Seq: position.Seq, At: l.now().Unix(), AgeMS: l.Age().Milliseconds(),
	})
	if err != nil {
		return nil
	}
	return frame
}

func (h *hub) add(s *Subscription) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.subs == nil {
		h.subs = make(map[*Subscription]struct{})
	}
	h.subs[s] = struct{}{}
	return true
}

func (h *hub) drop(s *Subscription, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s, reason)
}

func (h *hub) remove(s *Subscription, reason string) {
	if _, there := h.subs[s]; there {
		delete(h.subs, s)
		s.reason = reason
		close(s.queue)
	}
}

// send queues a frame for everyone; who has no room left is dropped, and will
// come back and be told what it missed.
func (h *hub) send(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.queue <- frame:
		default:
			h.remove(s, "slow")
		}
	}
}

// publish sends entries, and cuts the streams of API keys that are removed.
func (h *hub) publish(rows []Logged, epoch string) {
	encoded, err := frames(rows, epoch)
	if err != nil {
		h.log.logger.Error("entries could not be encoded: streams begin anew", "error", err)
		h.resync("encoding")
		return
	}
	for i, row := range rows {
		h.send(encoded[i])
		if row.Kind == feed.APIKey {
			h.cut(row.ID)
		}
	}
}

func (h *hub) cut(owner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.owner == owner {
			h.remove(s, "apikey_removed")
		}
	}
}

// beat sends a heartbeat to everyone. As in take, the log's mutex is held until it
// is queued, so that it stands behind the entries that it counts and before others.
func (h *hub) beat() {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	if frame := h.log.heartbeat(h.log.position); frame != nil {
		h.send(frame)
	}
}

func (h *hub) resync(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		h.remove(s, reason)
	}
}

// close ends all streams and takes no more.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.resync("stopping")
}
