package app

import (
	"sync"
	"time"
)

// steadyClock is a clock that never runs backwards, so that nothing that has ended
// or expired revives when somebody sets the time.
//
// It shows the wall's time. When the wall is set back it goes on by the machine's
// monotonic clock, a sixteenth slower, until the wall has caught up: so it never
// stands still, which would make old knowledge look fresh, and a clock that was
// set by a few seconds is right again within minutes.
type steadyClock struct {
	wall    func() time.Time
	elapsed func() time.Duration // since any fixed moment; never falls

	mu   sync.Mutex
	last time.Time
	at   time.Duration // elapsed at last
}

// catchUp is the part of elapsed time that the clock shows less of while it is
// ahead of the wall.
const catchUp = 16

// steady returns the steady clock over now; nil is the wall of this machine. An
// injected clock that is set back stands until it has caught up, because nothing
// else tells how much time has passed.
func steady(now func() time.Time) func() time.Time {
	c := &steadyClock{wall: now, elapsed: func() time.Duration { return 0 }}
	if now == nil {
		begun := time.Now()
		c.wall, c.elapsed = time.Now, func() time.Duration { return time.Since(begun) }
	}
	return c.now
}

func (c *steadyClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Round drops the monotonic reading, which would hide that the wall was set.
	at, elapsed := c.wall().Round(0), c.elapsed()
	run := elapsed - c.at
	if floor := c.last.Add(run - run/catchUp); at.Before(floor) {
		at = floor
	}
	c.last, c.at = at, elapsed
	return at
}
