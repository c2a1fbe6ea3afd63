// Package throttle counts attempts and says when there were too many.
//
// It never looks at what is attempted, and it keeps nobody out for long: every
// refusal names the time at which the next attempt is let through.
package throttle

import (
	"context"
	"slices"
	"time"
)

// A Limit is one allowance that an attempt is counted against: which one, and
// how large it is. A key is always used with the same rate, and the keys of one
// call differ.
type Limit struct {
	Key  string
	Rate Rate
	// Unless names a mark: while it is set, the limit is as if it were not there.
	Unless string
}

// A Mark is something that is so for a while, such as that an address is known.
type Mark struct {
	Key string // empty: no mark at all
	For time.Duration
}

// Waits are how long each limit of a call is used up, in their order. None means that
// the attempt was counted and may go on.
type Waits []time.Duration

// Longest returns when to try again: the longest wait, or 0 if there is none.
func (w Waits) Longest() time.Duration {
	if len(w) == 0 {
		return 0
	}
	return slices.Max(w)
}

// Store keeps the counters of all who share it. Every method is one atomic step. A step
// that fails may have happened; whoever asked must not go on as if it had not.
type Store interface {
	// Take spends one from every limit at once, or from none: if one is used up it
	// spends nothing and says for how long each is. Of any number who race, no more
	// than an allowance has get through. A limit whose mark is set is neither looked
	// at nor spent.
	Take(ctx context.Context, limits ...Limit) (Waits, error)
	// Return gives back one spent by Take, and never more than a full allowance, so a
	// success in between does not wipe out failures. Then it sets the mark, anew where
	// it was set before.
	Return(ctx context.Context, mark Mark, limits ...Limit) error
	// Sweep forgets keys that are full and marks that are over, which changes nothing.
	// It looks at up to limit keys and returns how many.
	Sweep(ctx context.Context, limit int) (int, error)
}
