package throttle

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// Shared is the Store of one node among many, over the one that all of them share. It
// is safe for concurrent use.
//
// The keys that it passes on are hashes under a key that is derived from the server's
// secret: whoever reads the store learns no address. What the store refused is
// remembered here for up to a second, so a flood of attempts on what is used up asks
// it about once a second and not each time; and it costs nobody an attempt, but where
// another node gave one back, up to that second. A store that fails or does not answer
// within five seconds is [fault.ErrUnavailable] and never an attempt for free.
type Shared struct {
	store Store
	now   func() time.Time
	key   []byte // of the hashes

	mu       sync.Mutex
	turned   time.Time         // when recent was begun
	recent   map[string]usedUp // what was refused since then
	previous map[string]usedUp // and in the second before
}

// A usedUp limit is known to be so until a time, unless one is given back.
type usedUp struct{ from, until time.Time }

const (
	rememberFor    = time.Second
	maxRefusals    = 20_000 // in each of the two maps; others are asked about each time
	storeTimeout   = 5 * time.Second
	sharedKeyBytes = 16 // of an HMAC-SHA256
)

// NewShared returns a Shared over store, for the server that has this secret.
func NewShared(store Store, secret []byte, now func() time.Time) (*Shared, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck allowance", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of counters: %w", err)
	}
	return &Shared{store: store, now: now, key: key, recent: map[string]usedUp{}}, nil
}

// Take is described at [Store].
func (s *Shared) Take(ctx context.Context, limits ...Limit) (Waits, error) {
	limits = s.hashed(limits)
	if waits := s.refused(limits); waits != nil {
		return waits, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	asked := s.now()
	waits, err := s.store.Take(ctx, limits...)
	if err != nil {
		return nil, fmt.Errorf("count an attempt: %w: %w", fault.ErrUnavailable, err)
	}
	s.remember(limits, waits, asked)
	return waits, nil
}

// Return is described at [Store]. It goes on when ctx ends: who counted and went away
// must not have spent for nothing.
func (s *Shared) Return(ctx context.Context, mark Mark, limits ...Limit) error {
	limits = s.hashed(limits)
	if mark.Key != "" {
		mark.Key = s.hash(mark.Key)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := s.store.Return(ctx, mark, limits...); err != nil {
		return fmt.Errorf("give back an attempt: %w: %w", fault.ErrUnavailable, err)
	}
	s.forget(limits)
	return nil
}

// Sweep is described at [Store].
func (s *Shared) Sweep(ctx context.Context, limit int) (int, error) {
	n, err := s.store.Sweep(ctx, limit)
	if err != nil {
		return n, fmt.Errorf("sweep counters: %w: %w", fault.ErrUnavailable, err)
	}
	return n, nil
}

// hashed returns the limits as the store knows them.
func (s *Shared) hashed(limits []Limit) []Limit {
	all := make([]Limit, len(limits))
	for i, limit := range limits {
		all[i] = Limit{Key: s.hash(limit.Key), Rate: limit.Rate}
		if limit.Unless != "" {
			all[i].Unless = s.hash(limit.Unless)
		}
	}
	return all
}

func (s *Shared) hash(key string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(key)) // never fails, as hash.Hash says
	return string(mac.Sum(nil)[:sharedKeyBytes])
}

// name is what a refusal is remembered by. With another mark, or none, the same
// allowance may be no limit.
func (l Limit) name() string { return l.Key + l.Unless }

// refused returns how long to wait for what is remembered to be used up; nil if
// nothing is.
func (s *Shared) refused(limits []Limit) (waits Waits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for i, limit := range limits {
		for _, known := range []map[string]usedUp{s.recent, s.previous} {
			u, found := known[limit.name()]
			age := now.Sub(u.from)
			if !found || age < 0 || age >= rememberFor || !now.Before(u.until) {
				continue
			}
			if waits == nil {
				waits = make(Waits, len(limits))
			}
			waits[i] = u.until.Sub(now)
			break
		}
	}
	return waits
}

// remember notes what the store has refused, to which it was asked at a time.
func (s *Shared) remember(limits []Limit, waits Waits, asked time.Time) {
	if waits.Longest() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := asked.Sub(s.turned); age < 0 || age >= rememberFor {
		s.turned, s.previous, s.recent = asked, s.recent, map[string]usedUp{}
	}
	for i, limit := range limits {
		if waits[i] > 0 && len(s.recent) < maxRefusals {
			s.recent[limit.name()] = usedUp{from: asked, until: asked.Add(waits[i])}
		}
	}
}

func (s *Shared) forget(limits []Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, limit := range limits {
		delete(s.recent, limit.name())
		delete(s.previous, limit.name())
	}
}
