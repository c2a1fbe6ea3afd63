package throttle

import (
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

func TestBurstThenSteady(t *testing.T) {
	var c clock
	l := New(c.now, 100)
	limit := Limit{"ada", Rate{Burst: 3, Every: 10 * time.Second}}
	for i := range 3 {
		if ok, _ := l.Take(limit); !ok {
			t.Fatalf("attempt %d of a burst of 3 was refused", i+1)
		}
	}
	c.advance(4 * time.Second)
	if ok, retry := l.Take(limit); ok || retry != 6*time.Second {
		t.Errorf("fourth attempt: %v, retry in %s; want refused, 6s", ok, retry)
	}
	c.advance(6 * time.Second)
	if ok, _ := l.Take(limit); !ok {
		t.Error("refused at the very time that the refusal named")
	}
	if ok, _ := l.Take(limit); ok {
		t.Error("two were let through where one had come back")
	}
}

func TestTakeSpendsFromAllOrNone(t *testing.T) {
	var c clock
	l := New(c.now, 100_000)
	wide := Limit{"wide", Rate{Burst: 5, Every: time.Second}}
	tight := Limit{"tight", Rate{Burst: 1, Every: time.Minute}}
	if ok, _ := l.Take(wide, tight); !ok {
		t.Fatal("the first attempt was refused")
	}
	for range 20 {
		if ok, retry := l.Take(wide, tight); ok || retry != time.Minute {
			t.Fatalf("%v, retry in %s; want refused, and the longest wait", ok, retry)
		}
	}
	for i := range 4 {
		if ok, _ := l.Take(wide); !ok {
			t.Fatalf("a refused call spent from another limit: %d of 4 left", i)
		}
	}
}

func TestReturnGivesBackOne(t *testing.T) {
	var c clock
	l := New(c.now, 100)
	limit := Limit{"ada", Rate{Burst: 3, Every: time.Hour}}
	l.Return(limit) // nothing was spent: nothing comes back
	for range 3 {
		l.Take(limit)
	}
	l.Return(limit)
	if ok, _ := l.Take(limit); !ok {
		t.Error("what was given back could not be taken")
	}
	if ok, _ := l.Take(limit); ok {
		t.Error("one given back was two to take")
	}
}

// The reference keeps every spend that is not yet earned back and counts.
type reference struct {
	rate Rate
	left time.Duration // of the allowance, one being Every
	at   time.Duration
}

func (r *reference) wait(now time.Duration) time.Duration {
	whole := time.Duration(r.rate.Burst) * r.rate.Every
	r.left = min(whole, r.left+now-r.at)
	r.at = now
	return max(0, r.rate.Every-r.left)
}

func TestAgainstASlowReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		l := New(c.now, 100_000)
		slow := map[string]*reference{}
		limits := make([]Limit, 3)
		for i := range limits {
			rate := Rate{
				Burst: rapid.IntRange(1, 5).Draw(t, "burst"),
				Every: time.Duration(rapid.IntRange(1, 40).Draw(t, "every")) * time.Second,
			}
			limits[i] = Limit{fmt.Sprint("key", i), rate}
			slow[limits[i].Key] = &reference{rate: rate, left: time.Duration(rate.Burst) * rate.Every}
		}
		for now, step := time.Duration(0), 0; step < 60; step++ {
			passed := time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond
			now += passed
			c.advance(passed)
			var some []Limit
			for mask, i := rapid.IntRange(1, 7).Draw(t, "limits"), 0; i < len(limits); i++ {
				if mask&(1<<i) != 0 {
					some = append(some, limits[i])
				}
			}
			var want time.Duration
			for _, limit := range some {
				want = max(want, slow[limit.Key].wait(now))
			}
			if rapid.IntRange(0, 4).Draw(t, "give back") == 0 {
				l.Return(some...)
				for _, limit := range some {
					slow[limit.Key].left += limit.Rate.Every
					slow[limit.Key].wait(now) // caps at a full allowance
				}
				continue
			}
			ok, retry := l.Take(some...)
			if ok != (want == 0) || retry != want {
				t.Fatalf("step %d: got %v, %s; the reference says wait %s", step, ok, retry, want)
			}
			if ok {
				for _, limit := range some {
					slow[limit.Key].left -= limit.Rate.Every
				}
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	var c clock
	for _, most := range []int{1, 100, 5000, 70_000} {
		l := New(c.now, most)
		for i := range 2*most + 1000 {
			l.Take(Limit{fmt.Sprint(i), Rate{Burst: 1, Every: time.Minute}})
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
		l.Take(Limit{fmt.Sprint("old", i), Rate{Burst: 1, Every: time.Second}})
	}
	c.advance(time.Minute)
	for i := range 6000 {
		l.Take(Limit{fmt.Sprint("new", i%10), Rate{Burst: 1000, Every: time.Nanosecond}})
		l.Take(Limit{fmt.Sprint("other", i), Rate{Burst: 1000, Every: time.Nanosecond}})
		c.advance(time.Microsecond)
	}
	if got := l.remembers(); got > 100 {
		t.Errorf("%d keys remembered long after their allowance was full again", got)
	}
}

func TestFloodDoesNotResetAUsedUpCounter(t *testing.T) {
	var c clock
	l := New(c.now, 50)
	guessed := Limit{"guessed", Rate{Burst: 10, Every: 30 * time.Second}}
	for range 10 {
		l.Take(guessed)
	}
	for i := range 100_000 {
		l.Take(Limit{fmt.Sprint("flood", i), Rate{Burst: 10, Every: 30 * time.Second}})
	}
	if ok, _ := l.Take(guessed); ok {
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
	limit := Limit{"ada", Rate{Burst: 2, Every: 10 * time.Second}}
	l.Take(limit)
	l.Take(limit)
	c.advance(-time.Hour)
	if ok, retry := l.Take(limit); ok || retry > 10*time.Second {
		t.Errorf("after an hour back: %v, retry in %s; want refused, and at most 10s", ok, retry)
	}
}

func TestRacersNeverOverdraw(t *testing.T) {
	var c clock
	l := New(c.now, 100_000)
	shared := Limit{"shared", Rate{Burst: 100, Every: time.Hour}}
	var passed atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own := Limit{fmt.Sprint("own", i), Rate{Burst: 1000, Every: time.Hour}}
			for j := range 100 {
				limits := []Limit{own, shared}
				if j%2 == 0 {
					limits = []Limit{shared, own}
				}
				if ok, _ := l.Take(limits...); ok {
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

func BenchmarkTake(b *testing.B) {
	l := New(time.Now, 100_000)
	limits := []Limit{{"pair", Rate{10, 1}}, {"account", Rate{50, 1}}, {"address", Rate{100, 1}}}
	b.ReportAllocs()
	for b.Loop() {
		l.Take(limits...)
	}
}
