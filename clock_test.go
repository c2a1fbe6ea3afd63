package coatcheck

import (
	"math"
	"testing"
	"time"
)

func TestClockNeverGoesBack(t *testing.T) { // I-10
	wall := newTestClock()
	c := clock{now: wall.Now}
	start := c.read().unix
	for _, step := range []struct{ by, want time.Duration }{
		{time.Second, time.Second},
		{time.Hour, time.Hour + time.Second},
		{-2 * time.Hour, time.Hour + time.Second}, // it stands
		{90 * time.Minute, time.Hour + time.Second},
		{31 * time.Minute, time.Hour + time.Minute + time.Second}, // and goes on
	} {
		wall.Add(step.by)
		if got := time.Duration(c.read().unix - start); got != step.want {
			t.Errorf("after a step of %v the time is %v after the start, want %v", step.by, got, step.want)
		}
	}
}

// reading returns a clock that stands, and what it reads.
func reading(at time.Time) (*clock, instant) {
	c := &clock{now: func() time.Time { return at }}
	return c, c.read()
}

func TestAge(t *testing.T) {
	var never *heard
	if got := never.age(instant{}); got != math.MaxInt64 {
		t.Errorf("before anything was heard: %v, want the largest duration", got)
	}
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	var wall time.Time
	c := &clock{now: func() time.Time { return wall }}
	heardNow := func() *heard { return &heard{clock: c, at: c.read(), old: 2 * time.Second} }
	wall = at(0)
	h := heardNow()
	for _, step := range []struct {
		at   float64
		want time.Duration
	}{
		{0, 2 * time.Second},
		{3, 5 * time.Second},
		{2.9, 5 * time.Second}, // set a little
		{3.5, 5500 * time.Millisecond},
		{1, math.MaxInt64}, // set back
		{4, math.MaxInt64}, // and nobody knows how long it took
	} {
		wall = at(step.at)
		if got := h.age(c.read()); got != step.want {
			t.Errorf("at %v: %v, want %v", step.at, got, step.want)
		}
	}
	if h = heardNow(); h.age(c.read()) != 2*time.Second {
		t.Error("the next sign of life does not count")
	}
	if wall = at(-3600); h.age(c.read()) != math.MaxInt64 {
		t.Error("a clock before the sign of life makes it fresh")
	}
}

func TestAgeOfAReadingThatWaited(t *testing.T) {
	wall := time.Unix(1000, 0)
	c := &clock{now: func() time.Time { return wall }}
	h := &heard{clock: c, at: c.read()}
	wall = wall.Add(time.Second)
	early := c.read()
	wall = wall.Add(2 * time.Second)
	h.age(c.read())
	if got := h.age(early); got != 3*time.Second {
		t.Errorf("a reading from before another's: %v, want the later one's 3s", got)
	}
}

func TestAgeCountsTheWallWhereTheMonotonicClockStood(t *testing.T) { // D-20: a suspended machine
	now := time.Now()
	c, start := reading(now)
	h := &heard{clock: c, at: start}
	h.at.wall -= int64(time.Hour)
	if got := h.age(start); got < time.Hour {
		t.Errorf("after an hour in which only the wall clock went: %v", got)
	}
	h = &heard{clock: c, at: start}
	h.at.wall += int64(2 * time.Hour)
	_, later := reading(now.Add(time.Minute))
	if got := h.age(later); got < time.Minute {
		t.Errorf("after a minute in which the wall clock was set back: %v", got)
	}
}
