package throttle

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that moves only when told to.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func (l *Limiter) remembers() int {
	total := 0
	for i := range l.shards {
		total += len(l.shards[i].keys.heap)
	}
	return total
}

// take returns false after an error, which none of these stores has.
func take(s Store, limits ...Limit) (ok bool, retry time.Duration) {
	waits, err := s.Take(context.Background(), limits...)
	return err == nil && waits.Longest() == 0, waits.Longest()
}

func giveBack(s Store, limits ...Limit) { _ = s.Return(context.Background(), Mark{}, limits...) }

func TestBurstThenSteady(t *testing.T) {
	var c clock
	l := New(c.now, 100)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 3, Every: 10 * time.Second}}
	for i := range 3 {
		if ok, _ := take(l, limit); !ok {
			t.Fatalf("attempt %d of a burst of 3 was refused", i+1)
		}
	}
	c.advance(4 * time.Second)
	if ok, retry := take(l, limit); ok || retry != 6*time.Second {
		t.Errorf("fourth attempt: %v, retry in %s; want refused, 6s", ok, retry)
	}
	c.advance(6 * time.Second)
	if ok, _ := take(l, limit); !ok {
		t.Error("refused at the very time that the refusal named")
	}
	if ok, _ := take(l, limit); ok {
		t.Error("two were let through where one had come back")
	}
}

func TestTakeSpendsFromAllOrNone(t *testing.T) {
	var c clock
	l := New(c.now, 100_000)
	wide := Limit{Key: "wide", Rate: Rate{Burst: 5, Every: time.Second}}
	tight := Limit{Key: "tight", Rate: Rate{Burst: 1, Every: time.Minute}}
	if ok, _ := take(l, wide, tight); !ok {
		t.Fatal("the first attempt was refused")
	}
	for range 20 {
		if ok, retry := take(l, wide, tight); ok || retry != time.Minute {
			t.Fatalf("%v, retry in %s; want refused, and the longest wait", ok, retry)
		}
	}
	for i := range 4 {
		if ok, _ := take(l, wide); !ok {
			t.Fatalf("a refused call spent from another limit: %d of 4 left", i)
		}
	}
}

func TestReturnGivesBackOne(t *testing.T) {
	var c clock
	l := New(c.now, 100)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 3, Every: time.Hour}}
	giveBack(l, limit) // nothing was spent: nothing comes back
	for range 3 {
		take(l, limit)
	}
	giveBack(l, limit)
	if ok, _ := take(l, limit); !ok {
		t.Error("what was given back could not be taken")
	}
	if ok, _ := take(l, limit); ok {
		t.Error("one given back was two to take")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var c clock
	for _, most := range []int{1, 100, 5000, 70_000} {
		l := New(c.now, most)
		for i := range 2*most + 1000 {
			take(l, Limit{Key: fmt.Sprint(i), Rate: Rate{Burst: 1, Every: time.Minute}})
		}
		if got := l.remembers(); got > most {
			t.Errorf("%d keys remembered, want at most %d", got, most)
		}
	}
}

func TestFullAllowancesAreForgotten(t *testing.T) {
	var c clock
	l := New(c.now, 10_000)
	for i := range 5000 {
		take(l, Limit{Key: fmt.Sprint("old", i), Rate: Rate{Burst: 1, Every: time.Second}})
	}
	c.advance(time.Minute)
	for i := range 6000 {
		take(l, Limit{Key: fmt.Sprint("new", i%10), Rate: Rate{Burst: 1000, Every: time.Nanosecond}})
		take(l, Limit{Key: fmt.Sprint("other", i), Rate: Rate{Burst: 1000, Every: time.Nanosecond}})
		c.advance(time.Microsecond)
	}
	if got := l.remembers(); got > 100 {
		t.Errorf("%d keys remembered long after their allowance was full again", got)
	}
}

func TestFloodDoesNotResetAUsedUpCounter(t *testing.T) {
	var c clock
	l := New(c.now, 50)
	guessed := Limit{Key: "guessed", Rate: Rate{Burst: 10, Every: 30 * time.Second}}
	for range 10 {
		take(l, guessed)
	}
	for i := range 100_000 {
		take(l, Limit{Key: fmt.Sprint("flood", i), Rate: Rate{Burst: 10, Every: 30 * time.Second}})
	}
	if ok, _ := take(l, guessed); ok {
		t.Error("a flood of fresh keys pushed out the counter that was used up")
	}
}

func TestTableLosesTheNearestToFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size, now = 12, 0
		keys := newTable(size)
		want := map[hash]int64{}
		for range 200 {
			key := hash{rapid.Uint64Range(1, 40).Draw(t, "key")}
			full := rapid.Int64Range(-5, 1000).Draw(t, "full")
			if _, known := want[key]; !known && full > now && len(want) == size {
				least := key
				for other := range want {
					if least == key || want[other] < want[least] {
						least = other
					}
				}
				if keys.heap[0].full != want[least] {
					t.Fatalf("would lose one that is full at %d, not at %d", keys.heap[0].full, want[least])
				}
				delete(want, keys.heap[0].key)
			}
			keys.put(key, full, now)
			if want[key] = full; full <= now {
				delete(want, key)
			}
			got := map[hash]int64{}
			for key := range keys.place {
				got[key] = keys.full(key, now)
			}
			if !maps.Equal(got, want) || len(keys.heap) != len(want) {
				t.Fatalf("remembers %v, want %v", got, want)
			}
		}
	})
}

func TestClockStepsBack(t *testing.T) { // I-10
	var c clock
	l := New(c.now, 100)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 2, Every: 10 * time.Second}}
	take(l, limit)
	take(l, limit)
	c.advance(-time.Hour)
	if ok, retry := take(l, limit); ok || retry > 10*time.Second {
		t.Errorf("after an hour back: %v, retry in %s; want refused, and at most 10s", ok, retry)
	}
}

func TestRacersNeverOverdraw(t *testing.T) {
	var c clock
	l := New(c.now, 100_000)
	shared := Limit{Key: "shared", Rate: Rate{Burst: 100, Every: time.Hour}}
	var passed atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own := Limit{Key: fmt.Sprint("own", i), Rate: Rate{Burst: 1000, Every: time.Hour}}
			for j := range 100 {
				limits := []Limit{own, shared}
				if j%2 == 0 {
					limits = []Limit{shared, own}
				}
				if ok, _ := take(l, limits...); ok {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d of 800 attempts passed, want 100", passed.Load())
	}
}

// Everybody who is known takes none of the room of those who are not.
func TestMarksPushNoCounterOut(t *testing.T) {
	var c clock
	l := New(c.now, 50)
	guessed := Limit{Key: "guessed", Rate: Rate{Burst: 1, Every: time.Minute}}
	take(l, guessed)
	for i := range 1000 {
		if err := l.Return(context.Background(), Mark{Key: fmt.Sprint("known", i), For: 30 * 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if ok, _ := take(l, guessed); ok {
		t.Error("many who are known pushed out the counter that was used up")
	}
	if got := l.marks.remembers(); got > 50 {
		t.Errorf("%d marks remembered, want at most 50", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(time.Now, 100_000)
	limits := []Limit{{Key: "pair", Rate: Rate{10, 1}}, {Key: "account", Rate: Rate{50, 1}, Unless: "known"}, {Key: "address", Rate: Rate{100, 1}}}
	b.ReportAllocs()
	for b.Loop() {
		take(l, limits...)
	}
}
