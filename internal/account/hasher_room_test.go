package account

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A testRoom is of a process that nothing else happens in.
type testRoom struct {
	room
	threads  int
	history  []int
	giveBack func() // what the lull ends in
}

func newTestRoom() *testRoom {
	r := &testRoom{threads: 2}
	set := func(n int) int {
		was := r.threads
		if n > 0 {
			r.threads, r.history = n, append(r.history, n)
		}
		return was
	}
	r.processors, r.restore = set, func(n int) { set(n) }
	r.after = func(_ time.Duration, f func()) *time.Timer {
		r.giveBack = f
		return time.NewTimer(time.Hour)
	}
	return r
}

// While passwords are hashed there are threads for whoever is signed in already.
func TestHashesLeaveThreadsToOthers(t *testing.T) {
	r := newTestRoom()
	r.enter(2)
	r.enter(2)
	r.leave()
	if r.giveBack != nil {
		t.Error("threads are to be given back while a hash is made")
	}
	r.leave()
	r.enter(2) // before the lull was over
	r.giveBack()
	if r.threads != 4 {
		t.Errorf("%d threads while a hash is made, want 4", r.threads)
	}
	r.enter(3) // another hasher
	r.leave()
	r.leave()
	r.giveBack()
	r.giveBack()
	if want := []int{4, 5, 2}; !slices.Equal(r.history, want) {
		t.Errorf("the number of threads was set to %v, want %v", r.history, want)
	}
	r.enter(1)
	if r.threads != 3 {
		t.Errorf("%d threads the next time, want 3", r.threads)
	}
}

func TestProcessorsAreRestored(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, n := range []int{before, before + 3} {
		runtime.GOMAXPROCS(n + 1)
		restoreProcessors(n)
		if got := runtime.GOMAXPROCS(0); got != n {
			t.Errorf("%d processors, want %d as before", got, n)
		}
	}
}

// A slot's memory is free when the slot is: hashing one after the other holds one.
func TestHashesDoNotPileUp(t *testing.T) {
	h := NewHasher(HashParameters{MemoryKiB: 19 * 1024, Time: 1, Threads: 1}, 1, 10)
	var most uint64
	for range 8 {
		if _, err := h.Hash(context.Background(), strings.Repeat("x", 20)); err != nil {
			t.Fatal(err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	}
	if most > 19<<20 {
		t.Errorf("after a hash %d MiB are in use", most>>20)
	}
}
