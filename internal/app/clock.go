package app

import (
	"sync/atomic"
	"time"
)

// steadyClock is a clock that never runs backwards, so that nothing that has ended
// or expired revives when somebody sets the time.
//
// It shows the wall's time. When the wall is set back it goes on by the machine's
// monotonic clock, a sixteenth slower, until the wall has caught up: so it never
// stands still for long, which would make old knowledge look fresh, and a clock that
// was set by a few seconds is right again within minutes.
//
// Every request looks at it several times, so nobody waits for anybody.
type steadyClock struct {
	read func() (wall time.Time, elapsed time.Duration) // elapsed since any fixed moment; it never falls

	shown atomic.Int64         // the latest that was shown, in ns
	mark  atomic.Pointer[mark] // from where a wall that was set back is told
}

// A mark is what the clock made of one reading.
type mark struct{ shown, elapsed int64 } // in ns

const (
	// catchUp is the part of elapsed time that the clock shows less of while it is
	// ahead of the wall.
	catchUp = 16
	// markEvery is how far the mark may lie back.
	markEvery = 100 * time.Millisecond
)

// SteadyClock returns the clock that a server goes by: the wall's, except that it
// never runs backwards.
func SteadyClock() func() time.Time { return steady(nil) }

// steady returns the steady clock over now; nil is the wall of this machine. An
// injected clock that is set back stands until it has caught up, because nothing
// else tells how much time has passed.
func steady(now func() time.Time) func() time.Time {
	c := &steadyClock{read: func() (time.Time, time.Duration) { return now(), 0 }}
	if now == nil {
		begun := time.Now()
		c.read = func() (time.Time, time.Duration) {
			at := time.Now()
			return wall(at), at.Sub(begun) // by the monotonic clock
		}
	}
	return c.now
}

func (c *steadyClock) now() time.Time {
	wall, elapsed := c.read()
	wall = wall.Round(0) // without the monotonic reading, which would hide that the wall was set
	begun, last := wall.UnixNano(), c.mark.Load()
	at := begun
	if last != nil {
		run := int64(elapsed) - last.elapsed
		at = max(at, last.shown+run-run/catchUp)
	}
	if last == nil || int64(elapsed)-last.elapsed >= int64(markEvery) {
		c.mark.CompareAndSwap(last, &mark{shown: at, elapsed: int64(elapsed)}) // else another has just done it
	}
	for {
		shown := c.shown.Load()
		if at <= shown {
			at = shown
			break
		}
		if c.shown.CompareAndSwap(shown, at) {
			break
		}
	}
	return wall.Add(time.Duration(at - begun))
}
