package session

import (
	"context"
	"sync"
	"time"
)

// presence keeps in memory when sessions were last seen, until a batch of it is
// written. A crash loses some seconds of idle extension: the safe direction.
// The zero presence is ready.
type presence struct {
	mu   sync.RWMutex
	last map[string]sighting
}

type sighting struct {
	at     time.Time // when the session was last seen
	stored time.Time // what the store knows
}

const (
	// seenStep is how much later a session must be seen to be noted.
	seenStep = time.Second
	// seenGrain is how much later it must be for a write, while it is in use.
	seenGrain = 10 * time.Second
	// seenEdge is how long before the idle end a sighting is written at once: the
	// store must not take for over what memory knows to be in use.
	seenEdge = 30 * time.Second
)

// at returns when the session was last seen, as far as memory knows.
func (p *presence) at(id string) time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.last[id].at
}

// touch notes that a session is seen now; stored is what the store knows.
func (p *presence) touch(id string, stored, now time.Time) {
	if now.Sub(later(p.at(id), stored)) < seenStep {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = make(map[string]sighting)
	}
	known := p.last[id]
	p.last[id] = sighting{at: later(now, known.at), stored: later(stored, known.stored)}
}

// stored returns what the store is known to have; zero if nothing is known.
func (p *presence) stored(id string) time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.last[id].stored
}

// unwritten returns the sightings that are worth a write at the given time: of
// sessions that are quiet since, and of those in use when enough has passed.
func (p *presence) unwritten(now time.Time) []Seen {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var batch []Seen
	for id, s := range p.last {
		if s.at.After(s.stored) && (s.at.Sub(s.stored) >= seenGrain || now.Sub(s.at) >= seenGrain) {
			batch = append(batch, Seen{SessionID: id, At: s.at})
		}
	}
	return batch
}

// of returns what the store does not have, of one session or, with an empty id, of
// all.
func (p *presence) of(id string) []Seen {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if id != "" {
		if s := p.last[id]; s.at.After(s.stored) {
			return []Seen{{SessionID: id, At: s.at}}
		}
		return nil
	}
	var batch []Seen
	for id, s := range p.last {
		if s.at.After(s.stored) {
			batch = append(batch, Seen{SessionID: id, At: s.at})
		}
	}
	return batch
}

// wrote notes what the store has now.
func (p *presence) wrote(batch []Seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seen := range batch {
		if s, found := p.last[seen.SessionID]; found {
			s.stored = later(seen.At, s.stored)
			p.last[seen.SessionID] = s
		}
	}
}

// forget drops what is written of sessions not seen since the given time: what
// is remembered of their records has been read anew since then.
func (p *presence) forget(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range p.last {
		if !s.at.After(s.stored) && s.at.Before(before) {
			delete(p.last, id)
		}
	}
}

// see notes that the holder of a session is here at the given time.
func (m *Manager) see(ctx context.Context, st *Standing, now time.Time) error {
	s := &st.Session
	m.seen.touch(s.ID, s.LastSeenAt, now)
	stored := later(m.seen.stored(s.ID), s.LastSeenAt)
	if now.Add(seenEdge).Before(stored.Add(s.Idle)) {
		return nil
	}
	return m.writeSeen(ctx, m.seen.of(s.ID))
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
