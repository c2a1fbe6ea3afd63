package keyring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// A schedule says when keys come and go: for each algorithm that is needed there is
// one that signs, and a next one. What clients need besides the configured algorithm
// is in the store, so that all nodes agree.
type schedule struct {
	config     Config
	sealer     sealer
	algorithms []jwt.Algorithm // those that are needed, the configured one first
}

func (r *Ring) needed(ctx context.Context) (schedule, error) {
	s := schedule{config: r.config, sealer: r.sealer, algorithms: []jwt.Algorithm{r.config.Algorithm}}
	wanted, err := r.store.Algorithms(ctx)
	if err != nil {
		return s, fmt.Errorf("read by which algorithms clients want ID tokens signed: %w", err)
	}
	for _, algorithm := range wanted {
		if !slices.Contains(s.algorithms, algorithm) {
			s.algorithms = append(s.algorithms, algorithm)
		}
	}
	return s, nil
}

// due says what is to happen to the keys at the given time. A key signs until the next
// one of its algorithm does; so there must always be a next one.
func (s schedule) due(stored []StoredKey, now time.Time) (Change, error) {
	var c Change
	for _, algorithm := range s.algorithms {
		if err := s.dueOf(&c, stored, algorithm, now); err != nil {
			return c, err
		}
	}
	for _, algorithm := range algorithmsOf(stored) {
		if slices.Contains(s.algorithms, algorithm) {
			continue
		}
		for _, k := range ofAlgorithm(stored, algorithm) {
			if k.ActiveAt.After(now) || s.lapsed(k, now) { // it never signed, or its last token is over
				c.Remove = append(c.Remove, k.ID)
			}
		}
	}
	return c, nil
}

// dueOf is due for one algorithm that is needed.
func (s schedule) dueOf(c *Change, stored []StoredKey, algorithm jwt.Algorithm, now time.Time) error {
	own := ofAlgorithm(stored, algorithm)
	current := -1
	for i, k := range own {
		if k.ActiveAt.After(now) {
			break
		}
		current = i
		if i > 0 && now.After(k.ActiveAt.Add(s.config.Access+revocation.Margin)) {
			c.Remove = append(c.Remove, own[i-1].ID)
		}
	}
	switch {
	case current < 0 && s.mayWait(stored, algorithm, now):
		if len(own) == 0 {
			return s.put(c, algorithm, now, now.Add(Lead))
		}
		return nil
	case current < 0:
		if err := s.put(c, algorithm, now, now); err != nil || len(own) > 0 {
			return err
		}
		return s.put(c, algorithm, now, now.Add(Period))
	case current < len(own)-1:
		return nil
	}
	active := own[current].ActiveAt.Add(Period)
	if soonest := now.Add(Lead); active.Before(soonest) {
		active = soonest
	}
	return s.put(c, algorithm, now, active)
}

// mayWait reports whether the first key of an algorithm may be published for Lead
// before it signs: that of the configured one, while one of another algorithm signs.
func (s schedule) mayWait(stored []StoredKey, algorithm jwt.Algorithm, now time.Time) bool {
	return algorithm == s.config.Algorithm && slices.ContainsFunc(stored, func(k StoredKey) bool {
		return k.Algorithm != algorithm && !k.ActiveAt.After(now) && !s.lapsed(k, now)
	})
}

// lapsed reports whether a key whose algorithm nobody needs any more is of no use: it
// has signed for Period, and the last of its tokens is over.
func (s schedule) lapsed(k StoredKey, now time.Time) bool {
	return now.After(k.ActiveAt.Add(Period + s.config.Access + revocation.Margin))
}

// rotation lets the next key of each algorithm sign as soon as it may, and says from
// when on that of the configured algorithm does.
func (s schedule) rotation(stored []StoredKey, now time.Time) (c Change, from time.Time, err error) {
	for _, algorithm := range s.algorithms {
		own := ofAlgorithm(stored, algorithm)
		i := slices.IndexFunc(own, func(k StoredKey) bool { return k.ActiveAt.After(now) })
		if i < 0 {
			if algorithm == s.config.Algorithm {
				return Change{}, from, ErrNoKey
			}
			continue
		}
		next := own[i]
		next.ActiveAt = now
		if ready := next.CreatedAt.Add(Lead); ready.After(now) {
			next.ActiveAt = ready
		}
		c.Put = append(c.Put, next)
		if err := s.put(&c, algorithm, now, next.ActiveAt.Add(Period)); err != nil {
			return Change{}, from, err
		}
		if algorithm == s.config.Algorithm {
			c.Changed, from = next.ID, next.ActiveAt
		}
	}
	return c, from, nil
}

func (s schedule) put(c *Change, algorithm jwt.Algorithm, created, active time.Time) error {
	k, err := s.sealer.generate(algorithm, created, active)
	if err == nil {
		c.Put = append(c.Put, k)
	}
	return err
}

// ofAlgorithm returns the keys of one algorithm, in their order.
func ofAlgorithm(stored []StoredKey, algorithm jwt.Algorithm) []StoredKey {
	return slices.DeleteFunc(slices.Clone(stored), func(k StoredKey) bool { return k.Algorithm != algorithm })
}

// algorithmsOf returns the algorithms of keys, by name.
func algorithmsOf(stored []StoredKey) []jwt.Algorithm {
	var all []jwt.Algorithm
	for _, k := range stored {
		all = append(all, k.Algorithm)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
