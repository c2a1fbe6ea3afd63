// Package throttle counts attempts and says when there were too many.
//
// It never looks at what is attempted, and it keeps nobody out for long: every
// refusal names the time at which the next attempt is let through.
package throttle

import (
	"hash/maphash"
	"sync"
	"time"
)

// A Limit is one allowance that an attempt is counted against: which one, and
// how large it is. A key is always used with the same rate, and the keys of one
// call differ.
type Limit struct {
	Key  string
	Rate Rate
}

// A Limiter counts attempts, in memory, by the generic cell rate algorithm
// (GCRA): of a key it knows one number, the time at which its allowance will be
// full again. It is safe for concurrent use.
//
// Memory is bounded. A full allowance is forgotten, since forgetting it changes
// nothing. Where there is no room for a new key, the one that is nearest to full
// gives way, so a person who wants to be forgotten must first fill the memory
// with keys that are further from full than his own, and each of those costs
// more refused attempts than the one he saves. Keys are kept as 128-bit hashes
// under seeds of this process: they hold no address and nobody can choose two
// that collide.
type Limiter struct {
	now    func() time.Time
	start  time.Time
	seeds  [2]maphash.Seed
	shards []shard
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
// bytes each. now is read once per call; where it steps back, a key waits at
// most for one whole burst and never regains anything.
func New(now func() time.Time, maxKeys int) *Limiter {
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

// Take spends one from every limit at once, or from none: if one is used up it
// spends nothing and says when to try again, which is the longest wait of all.
func (l *Limiter) Take(limits ...Limit) (ok bool, retry time.Duration) {
	var room [4]hash
	keys := l.hashes(room[:0], limits)
	set, now := l.lock(keys)
	defer l.unlock(set)
	for i, limit := range limits {
		full := limit.Rate.clamp(l.at(keys[i]).full(keys[i], now), now)
		retry = max(retry, limit.Rate.wait(full, now))
	}
	if retry > 0 {
		return false, retry
	}
	for i, limit := range limits {
		keys, key := l.at(keys[i]), keys[i]
		full := limit.Rate.clamp(keys.full(key, now), now)
		keys.put(key, full+int64(limit.Rate.Every), now)
	}
	return true, 0
}

// Return gives back one spent by Take, because a success does not count against
// the person. It gives back that one only, and never more than a full allowance,
// so a success in between does not wipe out failures.
func (l *Limiter) Return(limits ...Limit) {
	var room [4]hash
	keys := l.hashes(room[:0], limits)
	set, now := l.lock(keys)
	defer l.unlock(set)
	for i, limit := range limits {
		keys, key := l.at(keys[i]), keys[i]
		full := limit.Rate.clamp(keys.full(key, now), now)
		keys.put(key, full-int64(limit.Rate.Every), now)
	}
}

// spent reports whether anything of a key's allowance is spent.
func (l *Limiter) spent(limit Limit) bool {
	key := l.hash(limit.Key)
	s := l.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := l.clock()
	return limit.Rate.clamp(s.keys.full(key, now), now) > now
}

// clock returns nanoseconds since the Limiter was made, by the monotonic clock
// where now has one.
func (l *Limiter) clock() int64 { return int64(l.now().Sub(l.start)) }

func (l *Limiter) hash(key string) hash {
	return hash{maphash.String(l.seeds[0], key), maphash.String(l.seeds[1], key)}
}

func (l *Limiter) hashes(room []hash, limits []Limit) []hash {
	for _, limit := range limits {
		room = append(room, l.hash(limit.Key))
	}
	return room
}

func (l *Limiter) index(key hash) uint64   { return key[0] & uint64(len(l.shards)-1) }
func (l *Limiter) shardOf(key hash) *shard { return &l.shards[l.index(key)] }
func (l *Limiter) at(key hash) *table      { return &l.shardOf(key).keys }

// lock locks the shards of the keys, lowest first, so that two calls cannot wait
// for each other; then reads the clock, and drops a few full keys there. It
// returns the set of shards for unlock, a bit each.
func (l *Limiter) lock(keys []hash) (set uint64, now int64) {
	for _, key := range keys {
		set |= 1 << l.index(key)
	}
	for i := range l.shards {
		if set&(1<<i) != 0 {
			l.shards[i].mu.Lock()
		}
	}
	now = l.clock()
	for _, key := range keys {
		l.at(key).sweep(now)
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
