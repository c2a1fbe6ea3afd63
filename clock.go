package coatcheck

import (
	"math"
	"sync/atomic"
	"time"
)

// A clock is the injected clock, held so that it never goes back: where the wall
// clock does, time stands until it has caught up. So nothing that was once
// expired or forgotten can be good again. Nor is it behind the issuer's clock, by
// which tokens are made to end: who starts with a clock that is set back learns what
// time it is with the first heartbeat, before which nothing is vouched for.
type clock struct {
	now    func() time.Time
	mark   atomic.Int64 // the highest time read, Unix nanoseconds
	issuer atomic.Int64 // the highest time that the issuer has told, likewise
}

// An instant is one reading of a clock.
type instant struct {
	at   time.Time // as it was read, with its monotonic reading if it has one
	wall int64     // the same, Unix nanoseconds
	unix int64     // Unix nanoseconds, never less than at an earlier reading: how long something takes
	late int64     // the same, or the issuer's time if that is later: what has expired
}

// grain is how finely the highest time is kept.
const grain = time.Millisecond

func (c *clock) read() instant {
	at := c.now()
	wall := at.UnixNano()
	mark := c.mark.Load()
	if wall > mark+int64(grain) {
		c.mark.CompareAndSwap(mark, wall) // if another was faster, it is within a moment
	}
	return instant{at: at, wall: wall, unix: max(wall, mark), late: max(wall, mark, c.issuer.Load())}
}

// raise sees to it that the time is not before the given one, Unix nanoseconds.
func (c *clock) raise(to int64) {
	for {
		mark := c.mark.Load()
		if mark >= to || c.mark.CompareAndSwap(mark, to) {
			return
		}
	}
}

// told takes the time that the issuer has told, in Unix seconds.
func (c *clock) told(unix int64) {
	for at := unix * int64(time.Second); ; {
		told := c.issuer.Load()
		if told >= at || c.issuer.CompareAndSwap(told, at) {
			return
		}
	}
}

// forget lets go of what the issuer has told: in a new epoch, in which nothing of the
// one before is good, its clock may have been set right.
func (c *clock) forget() { c.issuer.Store(0) }

func (t instant) seconds() int64 { return t.late / int64(time.Second) }

// time returns the instant as a time of the wall clock.
func (t instant) time() time.Time { return time.Unix(0, t.late) }

func (t instant) add(d time.Duration) int64 { return t.unix + int64(d) }

// heard is the last sign of life of the log.
type heard struct {
	clock *clock
	at    instant
	old   time.Duration // what it told was this old when it came
	peak  atomic.Int64  // the longest time that was ever counted since
}

// slack is by how much two readings of one clock may be out of order because
// they were taken at the same time, or because the clock was set a little.
const slack = 250 * time.Millisecond

// age returns how old the knowledge is: the age it came with and the time since,
// by whichever of wall and monotonic clock says more. Once the clock was seen to
// go back, nobody can say any more how long it is.
func (h *heard) age(now instant) time.Duration {
	if h == nil {
		return math.MaxInt64
	}
	elapsed := h.since(now.at, now.wall)
	peak := time.Duration(h.peak.Load())
	if elapsed < peak-slack {
		if elapsed = h.sinceNow(); elapsed < peak-slack { // not just a reading that waited
			h.peak.Store(math.MaxInt64)
			return math.MaxInt64
		}
	}
	if elapsed > peak+grain {
		h.peak.CompareAndSwap(int64(peak), int64(elapsed))
	}
	return h.old + max(elapsed, peak)
}

func (h *heard) since(at time.Time, wall int64) time.Duration {
	return max(at.Sub(h.at.at), time.Duration(wall-h.at.wall))
}

func (h *heard) sinceNow() time.Duration {
	at := h.clock.now()
	return h.since(at, at.UnixNano())
}
