package feed

import (
	"sync"
	"sync/atomic"
)

// A table is one shard of a [Memory]: a hash table with open addressing, which is
// read without a lock and changed under one. A reader may look while things are
// moved about. What it finds is right all the same, since it compares the whole
// credential; when it finds nothing, it looks again under the lock.
type table[T any, R Remembered[T]] struct {
	slots atomic.Pointer[slots[T]]
	limit int

	mu   sync.Mutex // guards what follows, and changes of the slots
	held int
	hand int // a clock: it passes over what was used since it last came by
}

// slots are places for things, a power of two of them. A thing stands in the first
// free one from where its hash points to.
type slots[T any] struct {
	tags   []atomic.Uint32 // of the things' hashes, to look at few things; 0: empty
	things []atomic.Pointer[T]
}

const leastSlots = 8

func newSlots[T any](n int) *slots[T] {
	return &slots[T]{tags: make([]atomic.Uint32, n), things: make([]atomic.Pointer[T], n)}
}

// tagOf returns the half of a hash that does not choose the place.
func tagOf(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// find returns the thing of a credential, or nil.
func (t *table[T, R]) find(hash uint64, credential string) R {
	if r := t.look(hash, credential); r != nil || t.slots.Load() == nil {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.look(hash, credential)
}

func (t *table[T, R]) look(hash uint64, credential string) R {
	s := t.slots.Load()
	if s == nil {
		return nil
	}
	tag, mask := tagOf(hash), len(s.tags)-1
	for i, n := int(uint32(hash))&mask, 0; n <= mask; i, n = (i+1)&mask, n+1 {
		switch s.tags[i].Load() {
		case tag:
			if r := R(s.things[i].Load()); r != nil && r.Is(credential) {
				return r
			}
		case 0:
			return nil
		}
	}
	return nil
}

// put takes r in. Two credentials that end alike have one hash, which anybody can
// bring about: the later replaces the earlier, so that no look-up grows long.
func (t *table[T, R]) put(hash uint64, r R) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.hold().hash = uint32(hash)
	if at := t.place(hash, func(R) bool { return true }); at >= 0 {
		t.slots.Load().things[at].Store((*T)(r))
		return
	}
	if t.held >= t.limit {
		t.evict()
	}
	t.grow()
	t.slots.Load().add(uint32(hash), tagOf(hash), (*T)(r))
	t.held++
}

// place returns where the thing of that hash is, if it is wanted, or -1. The caller
// holds the lock.
func (t *table[T, R]) place(hash uint64, wanted func(R) bool) int {
	s := t.slots.Load()
	if s == nil {
		return -1
	}
	tag, mask := tagOf(hash), len(s.tags)-1
	for i := int(uint32(hash)) & mask; s.tags[i].Load() != 0; i = (i + 1) & mask {
		if r := R(s.things[i].Load()); s.tags[i].Load() == tag && r.hold().hash == uint32(hash) && wanted(r) {
			return i
		}
	}
	return -1
}

// grow sees to it that at least a fifth of the places stays free with one thing
// more. The caller holds the lock.
func (t *table[T, R]) grow() {
	old := t.slots.Load()
	if old == nil {
		t.slots.Store(newSlots[T](leastSlots))
		return
	}
	if 5*(t.held+1) <= 4*len(old.tags) {
		return
	}
	wider := newSlots[T](2 * len(old.tags))
	for i := range old.things {
		if r := R(old.things[i].Load()); r != nil {
			wider.add(r.hold().hash, old.tags[i].Load(), (*T)(r))
		}
	}
	t.slots.Store(wider)
}

func (s *slots[T]) add(hash, tag uint32, r *T) {
	mask := len(s.tags) - 1
	i := int(hash) & mask
	for s.tags[i].Load() != 0 {
		i = (i + 1) & mask
	}
	s.things[i].Store(r)
	s.tags[i].Store(tag)
}

// evict drops one thing. The caller holds the lock.
func (t *table[T, R]) evict() {
	s := t.slots.Load()
	for {
		t.hand = (t.hand + 1) & (len(s.tags) - 1)
		if r := R(s.things[t.hand].Load()); r != nil && r.hold().used.Swap(0) == 0 {
			t.drop(t.hand)
			return
		}
	}
}

// remove drops the thing of that hash that is wanted, if it is there.
func (t *table[T, R]) remove(hash uint64, wanted func(R) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.place(hash, wanted); at >= 0 {
		t.drop(at)
	}
}

// drop empties a place and moves up what stands behind it because of it. The
// caller holds the lock.
func (t *table[T, R]) drop(at int) {
	s := t.slots.Load()
	mask := len(s.tags) - 1
	for next := (at + 1) & mask; s.tags[next].Load() != 0; next = (next + 1) & mask {
		r := s.things[next].Load()
		if home := int(R(r).hold().hash) & mask; (next-home)&mask < (next-at)&mask {
			continue // it would stand before its home
		}
		s.things[at].Store(r)
		s.tags[at].Store(s.tags[next].Load())
		at = next
	}
	s.tags[at].Store(0)
	s.things[at].Store(nil)
	t.held--
}

func (t *table[T, R]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slots.Store(nil)
	t.held, t.hand = 0, 0
}

// sweep drops what is dead.
func (t *table[T, R]) sweep(dead func(R) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slots.Load()
	if s == nil {
		return
	}
	for i := range s.things {
		for r := R(s.things[i].Load()); r != nil && dead(r); r = s.things[i].Load() {
			t.drop(i) // which may move another here
		}
	}
}

func (t *table[T, R]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}
