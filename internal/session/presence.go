package session

import (
	"context"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// presence knows the sessions that were seen lately, until that is written: in
// batches, beside the requests. A crash loses some seconds of idle extension: the
// safe direction. What was written stays known for a while, so that a reading of
// the store from just before is not taken for the last word.
//
// The zero presence is ready.
type presence struct {
	mu      sync.Mutex
	pending table
	queue   []*record // each pending session once, those first that are due first
}

const (
	// seenStep is how much later a session must be seen to be noted.
	seenStep = time.Second
	// seenGrain is how long a sighting waits to be written, so that a session in use
	// costs a write in as long a time.
	seenGrain = 10 * time.Second
	// seenEdge is the shortest time before the idle end in which a sighting is written
	// at once: the store must not take for over what memory knows to be in use.
	seenEdge = 30 * time.Second
	// seenBatch is how many sightings are written in one step: others wait for the
	// writer, too.
	seenBatch = 1 << 8
	// seenShare is the part of the time that may go into writing sightings. Where more
	// sessions are in use than that suffices for, each is written less often.
	seenShare = 100
)

// edge is how long before the idle end a sighting is written at once. It is an
// eighth of the idle time, so that sightings may wait long where there are many.
func edge(idle time.Duration) time.Duration { return max(seenEdge, idle/8) }

// touch notes that a session is seen at the given time.
func (p *presence) touch(r *record, now time.Time) {
	at := now.UnixNano()
	if at-r.seen.Load() < int64(seenStep) {
		return
	}
	r.raise(at)
	if r.pending.Load() { // after raise: whoever takes it out of presence looks again
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.pending.find(r.id); known != nil {
		known.raise(at) // another reading of the same session
		return
	}
	p.hold(r, now)
}

// raise notes a sighting; it never lowers one.
func (s *sighting) raise(at int64) {
	for known := s.seen.Load(); at > known && !s.seen.CompareAndSwap(known, at); {
		known = s.seen.Load()
	}
}

// hold puts a session into the queue. The caller holds the lock.
func (p *presence) hold(r *record, now time.Time) {
	r.pending.Store(true)
	r.due = secondOf(now.Add(seenGrain).Unix())
	p.pending.put(r)
	p.queue = append(p.queue, r)
}

// join makes a fresh reading of a session know what is pending of it, and stand for
// it from now on.
func (p *presence) join(r *record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.pending.find(r.id)
	if known == nil || known == r {
		return
	}
	r.due = known.due
	r.pending.Store(true)
	p.pending.put(r)
	known.pending.Store(false)
	r.raise(known.seen.Load()) // after that: a sighting of the other is noted here or there
	r.stored.Store(max(r.stored.Load(), known.stored.Load()))
}

// at returns when the session was last seen, as far as this node knows it better
// than the store; else zero.
func (p *presence) at(id string) time.Time {
	if r := p.find(id); r != nil {
		return time.Unix(0, r.seen.Load())
	}
	return time.Time{}
}

func (p *presence) find(id string) *record {
	number, ok := credential.ParseID(credential.Session, id)
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending.find(number)
}

// of returns what the store does not have, of one session.
func (p *presence) of(id string) []Seen {
	if r := p.find(id); r != nil {
		return r.unwritten(nil)
	}
	return nil
}

// all returns what the store does not have, of all sessions.
func (p *presence) all() (batch []Seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.queue {
		batch = p.pending.find(r.id).unwritten(batch)
	}
	return batch
}

// unwritten adds the sighting to a batch, unless the store has it.
func (r *record) unwritten(batch []Seen) []Seen {
	if at := r.seen.Load(); at > r.stored.Load() {
		return append(batch, Seen{SessionID: r.id.ID(credential.Session), At: time.Unix(0, at)})
	}
	return batch
}

// due returns up to limit sightings that are to be written now. It forgets sessions
// that were written and not seen since; the others have their next turn later.
func (p *presence) due(now time.Time, limit int) (batch []Seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken, turn := 0, secondOf(now.Unix())
	for ; taken < len(p.queue) && len(batch) < limit; taken++ {
		r := p.pending.find(p.queue[taken].id) // the latest reading, should there be several
		if r.due > turn {
			break
		}
		p.queue[taken] = nil
		if batch = r.unwritten(batch); !p.drop(r) {
			r.due = secondOf(now.Add(seenGrain).Unix())
			p.queue = append(p.queue, r)
		}
	}
	p.queue = p.queue[taken:]
	return batch
}

// drop forgets a session, unless the store does not have its last sighting, which may
// have come this moment. The caller holds the lock.
func (p *presence) drop(r *record) bool {
	r.pending.Store(false)
	if r.seen.Load() > r.stored.Load() {
		r.pending.Store(true)
		return false
	}
	p.pending.remove(r.id)
	return true
}

// wrote notes what the store has now.
func (p *presence) wrote(batch []Seen) {
	for _, seen := range batch {
		if r := p.find(seen.SessionID); r != nil {
			r.keep(seen.At.UnixNano())
		}
	}
}

// keep notes what the store has; it never lowers it.
func (s *sighting) keep(at int64) {
	for known := s.stored.Load(); at > known && !s.stored.CompareAndSwap(known, at); {
		known = s.stored.Load()
	}
}

// see notes that the holder of a session is here at the given time.
func (m *Manager) see(ctx context.Context, r *record, now time.Time) error {
	m.seen.touch(r, now)
	idle := r.terms.Value().idle
	if now.UnixNano()+int64(edge(idle)) < r.stored.Load()+int64(idle) {
		return nil
	}
	return m.writeSeen(ctx, m.seen.of(r.id.ID(credential.Session)))
}

// writeSeen writes a batch of sightings.
func (m *Manager) writeSeen(ctx context.Context, batch []Seen) error {
	if len(batch) == 0 {
		return nil
	}
	if err := m.upkeep.Touch(ctx, batch); err != nil {
		return unavailable("write when sessions were seen", err)
	}
	m.seen.wrote(batch)
	return nil
}
