package account

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// A room is what hashing takes of the process. A hash never waits for anything, and the
// Go scheduler lets a goroutine run for 10 ms before another one gets its turn; so with
// as many hashes as processors whoever is signed in already would wait for those who
// sign in. While there are hashes, Go may therefore run as many threads more, and the
// system, which prefers a thread that has slept, shares the processors out.
type room struct {
	processors func(n int) int // sets how many threads run Go code, or tells for 0, and returns what it was
	restore    func(n int)     // sets it as nobody had set it, if that is n
	after      func(time.Duration, func()) *time.Timer

	mu    sync.Mutex
	users int // hashes that are made now
	usual int // how many threads there are without hashes; 0: it is so now
	extra int // how many there are beyond
	lull  *time.Timer
}

// The one room of the process: it has one number of threads.
var hashing = &room{processors: runtime.GOMAXPROCS, restore: restoreProcessors, after: time.AfterFunc}

// restoreProcessors lets Go follow the system's limits again, unless the program has
// chosen a number of its own.
func restoreProcessors(n int) {
	runtime.SetDefaultGOMAXPROCS()
	if runtime.GOMAXPROCS(0) != n {
		runtime.GOMAXPROCS(n)
	}
}

// lull is how long there must be no hash before threads are given back. To change
// their number stops the whole process for some microseconds.
const lull = time.Second

// enter makes room for one hash of so many that may be made at once. Call leave when
// it is made.
func (r *room) enter(slots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
	if r.usual == 0 {
		r.usual = r.processors(0)
	}
	if slots > r.extra {
		r.extra = slots
		r.processors(r.usual + slots)
	}
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users--
	if r.users > 0 {
		return
	}
	if r.lull == nil {
		r.lull = r.after(lull, r.giveBack)
	} else {
		r.lull.Reset(lull)
	}
}

// giveBack ends the extra threads, unless there are hashes again.
func (r *room) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users > 0 || r.usual == 0 {
		return
	}
	r.restore(r.usual)
	r.usual, r.extra = 0, 0
}

// What is to be collected at once: memory of a hash from here on, in KiB, while the
// rest of the process holds less than so much, in bytes.
const (
	muchMemory = 4 * 1024
	smallHeap  = 64 << 20
)

// collect gives back the memory of a hash that was made, so that a slot is not free
// before its memory is: the collector by itself would let the process double before
// it begins. Where the heap is larger the hashes are within what it leaves unused
// anyway, and to walk through it for each of them would cost more than the hash.
func (h *Hasher) collect(p HashParameters) {
	if p.MemoryKiB < muchMemory {
		return
	}
	hashes := uint64(cap(h.slots)) * uint64(p.MemoryKiB) * 1024
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 && live[0].Value.Uint64() < smallHeap+hashes {
		runtime.GC()
	}
}
