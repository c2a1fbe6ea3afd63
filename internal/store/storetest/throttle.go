package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/coatcheck/coatcheck/internal/throttle"
)

var throttlePromises = []promise{
	{"throttle.Store", "Every method is one atomic step.", []proof{
		{"of racers in every order, nobody is in another's way", counted(racersInEveryOrder)},
	}},
	{"throttle.Store", "A step that fails may have happened; whoever asked must not go on as if it had not.", []proof{
		{"what is asked in vain is not said to be free", counted(askedInVain)},
	}},
	{"throttle.Store.Take", "Take spends one from every limit at once, or from none: if one is used up it spends nothing and says for how long each is.", []proof{
		{"as a slow reference does", counted(asTheReference)},
		{"a burst, then one at a time", counted(burstThenSteady)},
		{"V-82 a refusal spends nothing", counted(allOrNone)},
		{"a rate that is none refuses nobody", counted(noLimit)},
		{"I-10 a clock set back makes nobody wait for longer than a burst", counted(burstAfterTheClock)},
	}},
	{"throttle.Store.Take", "Of any number who race, no more than an allowance has get through.", []proof{
		{"to a key that is new", counted(racersForANewKey)},
		{"to the last one of an allowance", counted(racersForTheLast)},
	}},
	{"throttle.Store.Take", "A limit whose mark is set is neither looked at nor spent.", []proof{
		{"until the mark is over", counted(markedLimit)},
	}},
	{"throttle.Store.Return", "Return gives back one spent by Take, and never more than a full allowance, so a success in between does not wipe out failures.", []proof{
		{"one and no more", counted(giveBackOne)},
		{"V-82 not to a limit whose mark is set", counted(giveBackMarked)},
	}},
	{"throttle.Store.Return", "Then it sets the mark, anew where it was set before.", []proof{
		{"for as long from now", counted(setAnew)},
	}},
	{"throttle.Store.Sweep", "Sweep forgets keys that are full and marks that are over, which changes nothing.", []proof{
		{"and none that is used up", counted(sweepChangesNothing)},
	}},
	{"throttle.Store.Sweep", "It looks at up to limit keys and returns how many.", []proof{
		{"until nothing is left", counted(sweepInParts)},
	}},
}

// counted is a proof that needs nothing but counters.
func counted(prove func(*testing.T, *counters)) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) { prove(t, &counters{f.Throttle, f.clock}) }
}

// counters are a store of counters and its clock.
type counters struct {
	throttle.Store
	clock *clock
}

// wants takes from the limits, and fails unless the wait is as given; 0: none.
func (c *counters) wants(t *testing.T, what string, wait time.Duration, limits ...throttle.Limit) {
	t.Helper()
	waits, err := c.Take(t.Context(), limits...)
	must(t, err)
	equal(t, what, waits.Longest(), wait)
}

func (c *counters) giveBack(t *testing.T, limits ...throttle.Limit) {
	t.Helper()
	must(t, c.Return(t.Context(), throttle.Mark{}, limits...))
}

func limitOf(key string, burst int, every time.Duration) throttle.Limit {
	return throttle.Limit{Key: key, Rate: throttle.Rate{Burst: burst, Every: every}}
}

func burstThenSteady(t *testing.T, c *counters) {
	limit := limitOf("ada", 3, 10*time.Second)
	for range 3 {
		c.wants(t, "one of a burst", 0, limit)
	}
	c.clock.Advance(4 * time.Second)
	c.wants(t, "one more", 6*time.Second, limit)
	c.clock.Advance(6 * time.Second)
	c.wants(t, "at the very time that the refusal named", 0, limit)
	c.wants(t, "a second where one had come back", 10*time.Second, limit)
}

func allOrNone(t *testing.T, c *counters) {
	wide, tight := limitOf("wide", 5, time.Second), limitOf("tight", 1, time.Minute)
	c.wants(t, "the first", 0, wide, tight)
	for range 20 {
		waits, err := c.Take(t.Context(), wide, tight)
		must(t, err)
		equal(t, "the waits", waits, throttle.Waits{0, time.Minute})
	}
	for range 4 {
		c.wants(t, "of the other limit", 0, wide)
	}
	c.wants(t, "when that is used up too", time.Minute, wide, tight)
}

func noLimit(t *testing.T, c *counters) {
	for range 50 {
		c.wants(t, "without a limit", 0, limitOf("none", 1, 0), limitOf("less", 0, -time.Second))
		c.wants(t, "under no limits", 0)
	}
}

func burstAfterTheClock(t *testing.T, c *counters) {
	limit := limitOf("ada", 2, 10*time.Second)
	c.wants(t, "the first", 0, limit)
	c.wants(t, "the second", 0, limit)
	c.clock.Advance(-time.Hour)
	c.wants(t, "an hour before that", 10*time.Second, limit)
}

func giveBackOne(t *testing.T, c *counters) {
	limit := limitOf("ada", 3, time.Hour)
	c.giveBack(t, limit) // nothing was spent
	for range 3 {
		c.wants(t, "one of a burst", 0, limit)
	}
	c.giveBack(t, limit)
	c.wants(t, "what was given back", 0, limit)
	c.wants(t, "one that was not", time.Hour, limit)
}

func markedLimit(t *testing.T, c *counters) {
	strangers := limitOf("account", 1, time.Hour)
	known := strangers
	known.Unless = "known"
	pair := limitOf("pair", 10, time.Hour)
	c.wants(t, "a stranger", 0, strangers)
	c.wants(t, "one who is not known", time.Hour, pair, known)
	must(t, c.Return(t.Context(), throttle.Mark{Key: "known", For: 30 * time.Minute}))
	waits, err := c.Take(t.Context(), pair, known)
	must(t, err)
	equal(t, "one who is known", waits.Longest(), time.Duration(0))
	c.wants(t, "another stranger", time.Hour, strangers)
	c.clock.Advance(30 * time.Minute)
	c.wants(t, "when the mark is over", 30*time.Minute, pair, known)
	c.clock.Advance(30 * time.Minute)
	c.wants(t, "an hour after the stranger", 0, pair, known)
}

func giveBackMarked(t *testing.T, c *counters) {
	account, mark := limitOf("account", 1, time.Hour), throttle.Mark{Key: "known", For: time.Hour}
	account.Unless = mark.Key
	c.wants(t, "a stranger", 0, account)
	must(t, c.Return(t.Context(), mark))
	for range 3 {
		c.wants(t, "who is known", 0, account)
		must(t, c.Return(t.Context(), mark, account))
	}
	account.Unless = ""
	c.wants(t, "another stranger", time.Hour, account)
}

func setAnew(t *testing.T, c *counters) {
	account, mark := limitOf("account", 1, 10*time.Hour), throttle.Mark{Key: "known", For: time.Hour}
	c.wants(t, "a stranger", 0, account)
	account.Unless = mark.Key
	must(t, c.Return(t.Context(), mark))
	c.clock.Advance(50 * time.Minute)
	must(t, c.Return(t.Context(), mark))
	c.clock.Advance(50 * time.Minute)
	c.wants(t, "who was known again", 0, account)
	c.clock.Advance(10 * time.Minute)
	c.wants(t, "an hour later", 8*time.Hour+10*time.Minute, account)
}

func racersForANewKey(t *testing.T, c *counters) {
	for round := range 10 {
		limit := limitOf(fmt.Sprint("new", round), 3, time.Hour)
		equal(t, "how many got through", c.race(t, 4*racers, func(int) []throttle.Limit { return []throttle.Limit{limit} }), 3)
	}
}

func racersForTheLast(t *testing.T, c *counters) {
	shared := limitOf("shared", 20, time.Hour)
	through := 0
	for round := range 5 {
		through += c.race(t, 2*racers, func(i int) []throttle.Limit {
			own := limitOf(fmt.Sprint("own", round, i), 1, time.Hour)
			if i%2 == 0 {
				return []throttle.Limit{own, shared}
			}
			return []throttle.Limit{shared, own}
		})
	}
	equal(t, "how many got through", through, 20)
}

// race takes side by side and returns how many got through.
func (c *counters) race(t *testing.T, n int, limits func(i int) []throttle.Limit) (through int) {
	t.Helper()
	errRefused := errors.New("refused")
	for _, err := range race(n, func(i int) error {
		waits, err := c.Take(t.Context(), limits(i)...)
		if err == nil && waits.Longest() > 0 {
			return errRefused
		}
		return err
	}) {
		switch {
		case err == nil:
			through++
		case !errors.Is(err, errRefused):
			t.Errorf("Take: %v", err)
		}
	}
	return through
}

// racersInEveryOrder has takers, givers and the sweeper meet at three keys.
func racersInEveryOrder(t *testing.T, c *counters) {
	keys := []throttle.Limit{limitOf("a", 200, time.Hour), limitOf("b", 200, time.Hour), limitOf("c", 200, time.Hour)}
	for range 20 {
		for _, err := range race(2*racers, func(i int) error {
			one, two := keys[i%3], keys[(i+1+i/3%2)%3]
			if i%4 == 3 {
				_, err := c.Sweep(t.Context(), 10)
				return err
			}
			if _, err := c.Take(t.Context(), one, two); err != nil {
				return err
			}
			return c.Return(t.Context(), throttle.Mark{Key: "known", For: time.Minute}, two, one)
		}) {
			must(t, err)
		}
	}
	for range keys[0].Rate.Burst {
		c.wants(t, "all that was given back", 0, keys[0])
	}
	c.wants(t, "what was not there", time.Hour, keys[0])
}

func askedInVain(t *testing.T, c *counters) {
	limit := limitOf("ada", 1, time.Hour)
	c.wants(t, "the first", 0, limit)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if waits, err := c.Take(gone, limit); err == nil && waits.Longest() == 0 {
		t.Error("an attempt for which nobody waited any more was let through")
	}
	c.wants(t, "the next", time.Hour, limit)
}

func sweepChangesNothing(t *testing.T, c *counters) {
	limit, mark := limitOf("ada", 3, time.Minute), throttle.Mark{Key: "known", For: time.Hour}
	account := limitOf("account", 1, 10*time.Hour)
	c.wants(t, "an account", 0, account)
	account.Unless = mark.Key
	must(t, c.Return(t.Context(), mark))
	for range 3 {
		c.wants(t, "one of a burst", 0, limit)
	}
	for range 17 {
		c.clock.Advance(7 * time.Second)
		_, err := c.Sweep(t.Context(), 100)
		must(t, err)
	}
	c.wants(t, "the one that was earned", 0, limit)
	c.wants(t, "one more", time.Second, limit)
	c.wants(t, "who is known", 0, account)
	c.clock.Advance(time.Hour)
	for range 2 {
		_, err := c.Sweep(t.Context(), 100)
		must(t, err)
	}
	c.wants(t, "when all is full", 0, limit)
	c.wants(t, "who is no longer known", 9*time.Hour-119*time.Second, account)
}

func sweepInParts(t *testing.T, c *counters) {
	for i := range 25 {
		c.wants(t, "one", 0, limitOf(fmt.Sprint("key", i), 1, time.Second))
	}
	c.clock.Advance(time.Hour)
	c.wants(t, "one that is not full", 0, limitOf("late", 1, time.Hour))
	total, most := 0, 0
	for n := 1; n > 0; {
		var err error
		n, err = c.Sweep(t.Context(), 10)
		must(t, err)
		total, most = total+n, max(most, n)
	}
	if most > 10 || total == 0 || total > 26 {
		t.Errorf("%d keys were looked at, up to %d at once", total, most)
	}
}

// A reference keeps of an allowance what is left, in time, one being Every.
type reference struct {
	rate throttle.Rate
	left time.Duration
	at   time.Duration
}

func (r *reference) wait(now time.Duration) time.Duration {
	whole := time.Duration(r.rate.Burst) * r.rate.Every
	r.left = min(whole, r.left+now-r.at)
	r.at = now
	return max(0, r.rate.Every-r.left)
}

func asTheReference(t *testing.T, c *counters) {
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++ // each with keys of its own
		slow := make([]*reference, 3)
		limits := make([]throttle.Limit, 3)
		for i := range limits {
			limits[i] = limitOf(fmt.Sprint(run, "key", i), rapid.IntRange(1, 5).Draw(r, "burst"), time.Duration(rapid.IntRange(1, 40).Draw(r, "every"))*time.Second)
			slow[i] = &reference{rate: limits[i].Rate, left: time.Duration(limits[i].Rate.Burst) * limits[i].Rate.Every}
		}
		var now time.Duration
		for step := range 12 {
			passed := time.Duration(rapid.IntRange(0, 20_000).Draw(r, "ms")) * time.Millisecond
			now += passed
			c.clock.Advance(passed)
			c.stepOfReference(t, r, step, now, limits, slow)
		}
	})
}

func (c *counters) stepOfReference(t *testing.T, r *rapid.T, step int, now time.Duration, limits []throttle.Limit, slow []*reference) {
	var some []throttle.Limit
	var those []*reference
	var want time.Duration
	for mask, i := rapid.IntRange(1, 7).Draw(r, "limits"), 0; i < len(limits); i++ {
		if mask&(1<<i) != 0 {
			some, those = append(some, limits[i]), append(those, slow[i])
			want = max(want, slow[i].wait(now))
		}
	}
	if rapid.IntRange(0, 4).Draw(r, "give back") == 0 {
		if err := c.Return(t.Context(), throttle.Mark{}, some...); err != nil {
			r.Fatal(err)
		}
		for _, ref := range those {
			ref.left += ref.rate.Every
			ref.wait(now) // caps at a full allowance
		}
		return
	}
	waits, err := c.Take(t.Context(), some...)
	if err != nil {
		r.Fatal(err)
	}
	if waits.Longest() != want {
		r.Fatalf("step %d: wait %s; the reference says %s", step, waits.Longest(), want)
	}
	for _, ref := range those {
		if want == 0 {
			ref.left -= ref.rate.Every
		}
	}
}
