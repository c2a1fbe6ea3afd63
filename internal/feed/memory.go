package feed

import (
	"sync"
	"sync/atomic"
)

// A Memory remembers credentials that were found good, so that seeing one again
// costs no signature check and no question, and holds each to the [Set] on every
// call. The key is the whole credential, so no collision can matter.
//
// It is bounded: when full it drops what was not used lately. Nothing in it is
// the only copy of anything. It is safe for concurrent use.
type Memory[V any] struct {
	set    *Set
	shards [shards]shard[V]
	limit  int // per shard
}

const shards = 64

type shard[V any] struct {
	mu    sync.RWMutex
	known map[string]*remembered[V]
	order []*remembered[V] // a clock: the hand passes over what was used since it last came by
	hand  int
}

type remembered[V any] struct { // what every Get looks at comes first, to lie together
	value   V
	expires int64         // Unix seconds
	checked atomic.Uint64 // the set's version at which it was last found live, plus one
	used    atomic.Bool
	place   int // in order
	key     string
	subject Subject
}

// NewMemory returns a memory of at most about limit credentials, held to set.
func NewMemory[V any](set *Set, limit int) *Memory[V] {
	return &Memory[V]{set: set, limit: max(1, limit/shards)}
}

// shard picks by characters before the last: in a signature or a secret they are
// random, and hashing the whole credential once, in the map, is enough.
func (m *Memory[V]) shard(key string) *shard[V] {
	if len(key) < 4 {
		return &m.shards[0]
	}
	a, b := uint(key[len(key)-2]), uint(key[len(key)-3])
	return &m.shards[(a^b<<3)%shards]
}

// Get returns what was remembered for key and the verdict on it at the given
// time (Unix seconds): [Unknown], [Expired], or what the set says.
func (m *Memory[V]) Get(key string, now int64) (V, Verdict) {
	s := m.shard(key)
	s.mu.RLock()
	r := s.known[key]
	s.mu.RUnlock()
	if r == nil {
		var none V
		return none, Unknown
	}
	if !r.used.Load() {
		r.used.Store(true)
	}
	if now >= r.expires {
		return r.value, Expired
	}
	version := m.set.Version()
	if r.checked.Load() == version+1 {
		return r.value, Live
	}
	verdict := m.set.Verdict(r.subject)
	if verdict == Live {
		r.checked.Store(version + 1)
	}
	return r.value, verdict
}

// Put remembers a credential until it expires (Unix seconds). The value is
// shared by all later callers and must not be changed afterwards.
func (m *Memory[V]) Put(key string, c Subject, expires int64, value V) {
	s := m.shard(key)
	r := &remembered[V]{key: key, value: value, subject: c, expires: expires}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]*remembered[V])
	}
	switch old := s.known[key]; {
	case old != nil:
		r.place = old.place
	case len(s.order) < m.limit:
		r.place = len(s.order)
		s.order = append(s.order, nil)
	default:
		r.place = s.evict()
	}
	s.order[r.place] = r
	s.known[key] = r
}

// evict frees one place and returns it.
func (s *shard[V]) evict() int {
	for {
		s.hand = (s.hand + 1) % len(s.order)
		if r := s.order[s.hand]; !r.used.Swap(false) {
			delete(s.known, r.key)
			return s.hand
		}
	}
}

// Forget drops one credential.
func (m *Memory[V]) Forget(key string) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.known[key]
	if r == nil {
		return
	}
	delete(s.known, key)
	last := len(s.order) - 1
	s.order[r.place] = s.order[last]
	s.order[r.place].place = r.place
	s.order[last] = nil
	s.order = s.order[:last]
}

// Clear drops everything.
func (m *Memory[V]) Clear() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.known, s.order, s.hand = nil, nil, 0
		s.mu.Unlock()
	}
}

// Sweep drops what has expired by the given time (Unix seconds) or is over.
func (m *Memory[V]) Sweep(now int64) {
	for i := range m.shards {
		for _, key := range m.shards[i].dead(m.set, now) {
			m.Forget(key)
		}
	}
}

func (s *shard[V]) dead(set *Set, now int64) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for key, r := range s.known {
		if now >= r.expires || set.Verdict(r.subject) == Over {
			keys = append(keys, key)
		}
	}
	return keys
}

// Len returns how many credentials are remembered.
func (m *Memory[V]) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		n += len(s.known)
		s.mu.RUnlock()
	}
	return n
}
