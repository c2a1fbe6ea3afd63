package throttle

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// A Limiter is the Store of a server that is one process. It counts by the generic cell rate algorithm
// (GCRA): of a key it knows one number, the time at which its allowance will be
// full again. It is safe for concurrent use.
//
// Memory is bounded. A full allowance is forgotten, since forgetting it changes
// nothing. Where there is no room for a new key, the one that is nearest to full
// gives way, so a person who wants to be forgotten must first fill the memory
// with keys that are further from full than his own, and each of those costs
// more refused attempts than the one he saves. Keys are kept as 128-bit hashes
// under seeds of this process: they hold no address and nobody can choose two
// that collide. Marks have as much memory of their own, so that many who are known
// push no counter out.
type Limiter struct {
	now    func() time.Time
	start  time.Time
	seeds  [2]maphash.Seed
	shards []shard
	marks  *Limiter // where a key that is not full is set; nil in itself
}

const (
	maxShards    = 64   // one bit each in a word: see locked
	keysPerShard = 1024 // fewer are not worth another lock
	sweep        = 2    // full keys dropped per shard and call, so that a burst is forgotten
)

type shard struct {
	mu   sync.Mutex
	keys table
}

// New returns a Limiter that remembers at most about maxKeys keys, some 100
// bytes each, and as many marks. now is read once per call; where it steps back, a key waits at
// most for one whole burst and never regains anything.
func New(now func() time.Time, maxKeys int) *Limiter {
	l := newLimiter(now, maxKeys)
	l.marks = newLimiter(now, maxKeys)
	return l
}

func newLimiter(now func() time.Time, maxKeys int) *Limiter {
	count := 1
	for count < maxShards && count*2*keysPerShard <= maxKeys {
		count *= 2
	}
	l := &Limiter{
		now: now, start: now(),
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		shards: make([]shard, count),
	}
	for i := range l.shards {
		l.shards[i].keys = newTable(max(1, maxKeys/count))
	}
	return l
}

// Take is described at [Store]. It never fails.
func (l *Limiter) Take(_ context.Context, limits ...Limit) (Waits, error) {
	var room [4]counter
	counters := l.counters(room[:0], limits)
	set, now := l.lock(counters)
	defer l.unlock(set)
	var waits Waits
	for _, c := range counters {
		if wait := c.rate.wait(l.full(c, now), now); wait > 0 {
			if waits == nil {
				waits = make(Waits, len(limits))
			}
			waits[c.place] = wait
		}
	}
	if waits != nil {
		return waits, nil
	}
	for _, c := range counters {
		l.at(c.key).put(c.key, l.full(c, now)+int64(c.rate.Every), now)
	}
	return nil, nil
}

// Return is described at [Store]. It never fails.
func (l *Limiter) Return(_ context.Context, mark Mark, limits ...Limit) error {
	l.giveBack(limits)
	if mark.Key != "" {
		l.marks.set(mark)
	}
	return nil
}

func (l *Limiter) giveBack(limits []Limit) {
	var room [4]counter
	counters := l.counters(room[:0], limits)
	set, now := l.lock(counters)
	defer l.unlock(set)
	for _, c := range counters {
		l.at(c.key).put(c.key, l.full(c, now)-int64(c.rate.Every), now)
	}
}

// Sweep is described at [Store]. Nothing grows for want of it.
func (l *Limiter) Sweep(_ context.Context, limit int) (int, error) {
	forgotten := 0
	for _, part := range []*Limiter{l, l.marks} {
		now := part.clock()
		for i := range part.shards {
			forgotten += part.shards[i].forget(now, limit-forgotten)
		}
	}
	return forgotten, nil
}

func (s *shard) forget(now int64, limit int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.sweep(now, limit)
}

// A counter is a limit that counts now, and its place among the limits of a call.
type counter struct {
	key   hash
	rate  Rate
	place int
}

// counters leaves out the limits whose mark is set.
func (l *Limiter) counters(room []counter, limits []Limit) []counter {
	for i, limit := range limits {
		if limit.Unless == "" || !l.marks.isSet(limit.Unless) {
			room = append(room, counter{l.hash(limit.Key), limit.Rate, i})
		}
	}
	return room
}

// full returns when the allowance of a counter is full, whose shard is locked.
func (l *Limiter) full(c counter, now int64) int64 {
	return c.rate.clamp(l.at(c.key).full(c.key, now), now)
}

func (l *Limiter) set(mark Mark) {
	key := l.hash(mark.Key)
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.clock()
	s.keys.sweep(now, sweep)
	s.keys.put(key, now+int64(mark.For), now)
}

func (l *Limiter) isSet(mark string) bool {
	key := l.hash(mark)
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.clock()
	return s.keys.full(key, now) > now
}

// clock returns nanoseconds since the Limiter was made, by the monotonic clock
// where now has one.
func (l *Limiter) clock() int64 { return int64(l.now().Sub(l.start)) }

func (l *Limiter) hash(key string) hash {
	return hash{maphash.String(l.seeds[0], key), maphash.String(l.seeds[1], key)}
}

func (l *Limiter) index(key hash) uint64   { return key[0] & uint64(len(l.shards)-1) }
func (l *Limiter) shardOf(key hash) *shard { return &l.shards[l.index(key)] }
func (l *Limiter) at(key hash) *table      { return &l.shardOf(key).keys }

// lock locks the shards of the keys, lowest first, so that two calls cannot wait
// for each other; then reads the clock, and drops a few full keys there. It
// returns the set of shards for unlock, a bit each.
func (l *Limiter) lock(counters []counter) (set uint64, now int64) {
	for _, c := range counters {
		set |= 1 << l.index(c.key)
	}
	for i := range l.shards {
		if set&(1<<i) != 0 {
			l.shards[i].mu.Lock()
		}
	}
	now = l.clock()
	for _, c := range counters {
		l.at(c.key).sweep(now, sweep)
	}
	return set, now
}

func (l *Limiter) unlock(set uint64) {
	for i := range l.shards {
		if set&(1<<i) != 0 {
			l.shards[i].mu.Unlock()
		}
	}
}
