package app

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// V-98, D-20: whoever sets the wall clock back revives nothing, and old knowledge
// goes on becoming older.
func TestSteadyClock(t *testing.T) {
	wall, elapsed := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), time.Duration(0)
	c := &steadyClock{read: func() (time.Time, time.Duration) { return wall, elapsed }}
	begun := c.now()
	pass := func(d time.Duration) { wall, elapsed = wall.Add(d), elapsed+d }
	show := func() time.Duration { return c.now().Sub(begun) }

	pass(time.Minute)
	if show() != time.Minute {
		t.Errorf("after a minute: %s", show())
	}
	wall = wall.Add(-time.Hour)
	if show() != time.Minute {
		t.Errorf("when the wall is set back: %s", show())
	}
	pass(16 * time.Second)
	if got := show(); got != time.Minute+15*time.Second {
		t.Errorf("16 s later it has gone on by %s", got-time.Minute)
	}
	for range 17 * 60 {
		before := c.now()
		pass(time.Minute)
		if !c.now().After(before) {
			t.Fatal("it stands still")
		}
	}
	if c.now() != wall {
		t.Errorf("it is still %s from the wall", c.now().Sub(wall))
	}
	wall = wall.Add(24 * time.Hour) // a suspended machine: the wall alone has moved
	if c.now() != wall {
		t.Error("it does not follow the wall ahead")
	}
}

func TestSteadyClockOfAnInjectedOne(t *testing.T) {
	at := time.Now()
	now := steady(func() time.Time { return at })
	first := now()
	at = at.Add(-time.Hour)
	if second := now(); second.Before(first) {
		t.Errorf("it ran back by %s", first.Sub(second))
	}
}

func TestSteadyClockOfThisMachine(t *testing.T) {
	now := steady(nil)
	if apart := time.Since(now()).Abs(); apart > time.Second {
		t.Errorf("it is %s from the wall", apart)
	}
}

// However many look at it at once, nobody is shown an earlier time than anybody was
// before.
func TestSteadyClockOfMany(t *testing.T) {
	var at atomic.Int64
	now := steady(func() time.Time { return time.Unix(0, 1e18+at.Add(1)%1000) }) // it runs back and forth
	var shown atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10_000 {
				before := shown.Load()
				mine := now().UnixNano()
				if mine < before {
					t.Errorf("it ran back by %d ns", before-mine)
					return
				}
				for known := before; mine > known && !shown.CompareAndSwap(known, mine); {
					known = shown.Load()
				}
			}
		})
	}
	all.Wait()
}
