package feed

import (
	"hash/maphash"
	"math"
	"sync/atomic"
)

// A Memory remembers credentials that were found good, so that seeing one again
// costs no signature check and no question, and holds each to the [Set] on every
// call.
//
// Things are looked up by a hash of the end of their credential and told apart by
// the whole credential, so no collision can matter. Beside the thing itself, one
// takes 15 to 30 bytes. A look-up that finds takes no lock.
//
// It is bounded: when full it drops what was not used lately. Nothing in it is
// the only copy of anything. It is safe for concurrent use.
type Memory[T any, R Remembered[T]] struct {
	set    *Set
	hash   func(credential string) uint64
	shards [shards]table[T, R]
}

// Remembered is what a [Memory] needs of what it remembers: a pointer to a struct
// that embeds [Hold]. Its methods are called from many goroutines, so what they
// tell must not change once the thing was put.
type Remembered[T any] interface {
	*T
	// Is reports whether the thing is what is remembered of just this credential:
	// the whole of it is to be compared.
	Is(credential string) bool
	// Subject returns what entries of the log can end it by.
	Subject() Subject
	hold() *Hold
}

// A Hold is what a [Memory] notes on a thing. It is to be embedded, and belongs
// to the one Memory that the thing is put into.
type Hold struct {
	checked atomic.Uint64 // the set's version at which it was last found live, plus one
	expires atomic.Int64  // Unix seconds
	hash    uint32        // the part that chooses the place; the rest is the tag beside it
	used    atomic.Uint32 // 1: since the clock's hand last came by
}

func (h *Hold) hold() *Hold { return h }

// Expires returns when the thing expires, Unix seconds.
func (h *Hold) Expires() int64 { return h.expires.Load() }

// Until notes when the thing expires, Unix seconds, as [Memory.Put] does for what
// is put.
func (h *Hold) Until(expires int64) { h.expires.Store(expires) }

const (
	shards    = 64
	shardBits = 6
	tail      = 64 // bytes of a credential that are hashed: in a signature or a secret they are random
)

// NewMemory returns a memory of at most about limit credentials, held to set.
func NewMemory[T any, R Remembered[T]](set *Set, limit int) *Memory[T, R] {
	seed := maphash.MakeSeed()
	m := &Memory[T, R]{set: set}
	m.hash = func(credential string) uint64 {
		return maphash.String(seed, credential[max(0, len(credential)-tail):])
	}
	for i := range m.shards {
		m.shards[i].limit = max(1, limit/shards)
	}
	return m
}

func (m *Memory[T, R]) shard(hash uint64) *table[T, R] { return &m.shards[hash>>(64-shardBits)] }

// Get returns what was remembered of a credential and the verdict on it at the
// given time (Unix seconds): [Unknown], [Expired], or what the set says. It is
// nil if it is Unknown.
func (m *Memory[T, R]) Get(credential string, now int64) (R, Verdict) {
	hash := m.hash(credential)
	r := m.shard(hash).find(hash, credential)
	if r == nil {
		return nil, Unknown
	}
	h := r.hold()
	if h.used.Load() == 0 {
		h.used.Store(1)
	}
	if now >= h.expires.Load() {
		return r, Expired
	}
	version := m.set.Version()
	if h.checked.Load() == version+1 {
		return r, Live
	}
	verdict := m.set.Verdict(r.Subject())
	if verdict == Live {
		h.checked.Store(version + 1)
	}
	return r, verdict
}

// Peek returns what is remembered of a credential, whatever is to be said of it
// now, or nil. It does not count as use.
func (m *Memory[T, R]) Peek(credential string) R {
	hash := m.hash(credential)
	return m.shard(hash).find(hash, credential)
}

// Put remembers r, which must not be in a memory yet, for its credential until it
// expires (Unix seconds), in the place of what was remembered of the same one.
func (m *Memory[T, R]) Put(credential string, r R, expires int64) {
	hash := m.hash(credential)
	r.hold().expires.Store(expires)
	m.shard(hash).put(hash, r)
}

// Expire makes a credential count as expired, whatever the time, without
// forgetting it.
func (m *Memory[T, R]) Expire(credential string) {
	if r := m.Peek(credential); r != nil {
		r.hold().expires.Store(math.MinInt64)
	}
}

// Forget drops one credential.
func (m *Memory[T, R]) Forget(credential string) {
	hash := m.hash(credential)
	m.shard(hash).remove(hash, func(r R) bool { return r.Is(credential) })
}

// Clear drops everything.
func (m *Memory[T, R]) Clear() {
	for i := range m.shards {
		m.shards[i].clear()
	}
}

// Sweep drops what has expired by the given time (Unix seconds) or is over.
func (m *Memory[T, R]) Sweep(now int64) {
	for i := range m.shards {
		m.shards[i].sweep(func(r R) bool {
			return now >= r.hold().expires.Load() || m.set.Verdict(r.Subject()) == Over
		})
	}
}

// Len returns how many credentials are remembered.
func (m *Memory[T, R]) Len() int {
	n := 0
	for i := range m.shards {
		n += m.shards[i].len()
	}
	return n
}
