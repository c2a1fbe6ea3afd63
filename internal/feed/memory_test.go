package feed

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
)

// A ticket is something that is remembered.
type ticket struct {
	Hold
	credential string
	subject    Subject
	value      int
}

func (t *ticket) Is(credential string) bool { return t.credential == credential }

func (t *ticket) Subject() Subject { return t.subject }

func newMemory(s *Set, limit int) *Memory[ticket, *ticket] { return NewMemory[ticket](s, limit) }

func put(m *Memory[ticket, *ticket], credential string, subject Subject, expires int64, value int) {
	t := &ticket{credential: strings.Clone(credential), subject: subject, value: value}
	m.Put(credential, t, expires)
}

func TestMemoryHoldsToTheSet(t *testing.T) { // V-19
	var s Set
	m := newMemory(&s, 1000)
	put(m, "token", Subject{Session: "ses_1", User: "usr_1", IssuedAt: 100}, 500, 7)
	get := func(now int64, want Verdict) {
		t.Helper()
		if _, got := m.Get("token", now); got != want {
			t.Errorf("verdict %d at %d, want %d", got, now, want)
		}
	}
	get(200, Live)
	get(499, Live)
	get(500, Expired)
	s.Add(Entry{Kind: Session, ID: "ses_2", Until: 900})
	get(200, Live)
	s.Add(Entry{Kind: Changed, ID: "usr_1", Before: 100, Until: 900})
	get(200, Renew)
	s.Add(Entry{Kind: Session, ID: "ses_1", Until: 900})
	get(200, Over)
	get(200, Over)
	if got, _ := m.Get("token", 200); got == nil || got.value != 7 {
		t.Errorf("got %v, want the thing: the verdict comes beside it", got)
	}
	if none, got := m.Get("another", 200); got != Unknown || none != nil {
		t.Errorf("verdict %d on what was never put, want Unknown", got)
	}
}

func TestMemoryHoldsWhatIsPutAfterTheEnd(t *testing.T) {
	var s Set
	m := newMemory(&s, 1000)
	s.Add(Entry{Kind: Session, ID: "ses_1", Until: 900})
	put(m, "token", Subject{Session: "ses_1"}, 500, 1)
	if _, got := m.Get("token", 200); got != Over {
		t.Errorf("verdict %d on what was put after its end was heard, want Over", got)
	}
}

func TestMemoryIsBounded(t *testing.T) { // I-9
	var s Set
	const limit = 640
	m := newMemory(&s, limit)
	put(m, "the one in use", Subject{}, 500, 1)
	for i := range 20 * limit {
		put(m, fmt.Sprintf("token-%08d-%08x", i, i*2654435761), Subject{}, 500, i)
		m.Get("the one in use", 1)
	}
	if m.Len() > limit {
		t.Errorf("%d remembered, want at most %d", m.Len(), limit)
	}
	if _, got := m.Get("the one in use", 1); got != Live {
		t.Errorf("verdict %d on what was used all the time, want Live", got)
	}
}

func TestMemoryForgets(t *testing.T) {
	var s Set
	m := newMemory(&s, 100*shards)
	for i := range 100 {
		put(m, fmt.Sprintf("token-%d", i), Subject{Session: fmt.Sprint(i)}, int64(100+i), i)
	}
	put(m, "token-7", Subject{Session: "7"}, 107, 7)
	m.Forget("token-0")
	m.Forget("token-0")
	m.Forget("never put")
	if m.Len() != 99 {
		t.Errorf("%d remembered, want 99", m.Len())
	}
	s.Add(Entry{Kind: Session, ID: "99", Until: 900})
	m.Sweep(150) // 1 to 50 have expired
	if m.Len() != 48 {
		t.Errorf("%d remembered after the sweep, want 48", m.Len())
	}
	for i := 51; i < 99; i++ {
		if kept, got := m.Get(fmt.Sprintf("token-%d", i), 150); got != Live || kept.value != i {
			t.Errorf("token-%d: %v, verdict %d, want it Live", i, kept, got)
		}
	}
	m.Clear()
	if m.Len() != 0 {
		t.Errorf("%d remembered after Clear", m.Len())
	}
	put(m, "again", Subject{}, 500, 1)
	if _, got := m.Get("again", 1); got != Live {
		t.Error("nothing can be put after Clear")
	}
}

// Forgetting and evicting move entries about; nothing may be lost or doubled.
func TestMemoryUnderChurn(t *testing.T) {
	var s Set
	m := newMemory(&s, shards*3)
	for i := range 5000 {
		put(m, fmt.Sprintf("key-%d", i%700), Subject{}, 500, i%700)
		m.Get(fmt.Sprintf("key-%d", i%13), 1)
		m.Forget(fmt.Sprintf("key-%d", (i*7)%700))
		if i%97 == 0 {
			m.Sweep(1)
		}
	}
	for i := range 700 {
		if kept, got := m.Get(fmt.Sprintf("key-%d", i), 1); got == Live && kept.value != i {
			t.Fatalf("key-%d has the value of key-%d", i, kept.value)
		}
	}
	sound(t, m)
}

// sound checks that all that is held can be found, and nothing else stands there.
func sound(t *testing.T, m *Memory[ticket, *ticket]) {
	t.Helper()
	for i := range m.shards {
		shard := &m.shards[i]
		var all []*ticket
		shard.sweep(func(one *ticket) bool { all = append(all, one); return false })
		if len(all) != shard.held {
			t.Fatalf("%d things stand there, %d are held", len(all), shard.held)
		}
		for _, one := range all {
			if got := m.Peek(one.credential); got != one {
				t.Fatalf("%q is held and not found", one.credential)
			}
		}
	}
}

// Whatever the hash does, a credential brings nothing but what is remembered of
// just this one.
func TestCollisionsDoNotMatter(t *testing.T) { // V-19
	hashes := map[string]func(string) uint64{
		"one hash for all":        func(string) uint64 { return 1<<40 | 3 },
		"one place for all":       func(c string) uint64 { return uint64(c[0]&3)<<33 | 7 },
		"one tag, several places": func(c string) uint64 { return uint64(c[len(c)-1] & 7) },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			var s Set
			m := newMemory(&s, 64*64)
			m.hash = hash
			for i := range 60 {
				put(m, fmt.Sprintf("%c-%d", 'a'+i%26, i), Subject{Session: fmt.Sprint(i)}, 500, i)
			}
			s.Add(Entry{Kind: Session, ID: "59", Until: 900})
			found, hashes := 0, map[uint64]bool{}
			for i := range 60 {
				credential := fmt.Sprintf("%c-%d", 'a'+i%26, i)
				hashes[hash(credential)] = true
				kept, verdict := m.Get(credential, 1)
				want := Live
				if i == 59 {
					want = Over
				}
				switch {
				case kept == nil && verdict == Unknown:
				case kept == nil || kept.value != i || verdict != want:
					t.Fatalf("%s brought %+v, verdict %d, want %d", credential, kept, verdict, want)
				default:
					found++
				}
				if _, verdict := m.Get(credential+"x", 1); verdict != Unknown {
					t.Fatalf("%sx was never put, and has verdict %d", credential, verdict)
				}
			}
			if found != m.Len() || found != len(hashes) {
				t.Errorf("%d found of %d remembered, want one for each of %d hashes", found, m.Len(), len(hashes))
			}
			sound(t, m)
			for i := range 60 {
				m.Forget(fmt.Sprintf("%c-%d", 'a'+i%26, i))
			}
			if m.Len() != 0 {
				t.Errorf("%d remembered after all were forgotten", m.Len())
			}
		})
	}
}

// Credentials that end alike cost one place, however many somebody makes of them.
func TestCredentialsThatEndAlike(t *testing.T) { // I-9
	var s Set
	m := newMemory(&s, 1000*shards)
	end := strings.Repeat("e", tail)
	for i := range 1000 {
		put(m, fmt.Sprint(i)+end, Subject{}, 500, i)
	}
	if m.Len() != 1 {
		t.Errorf("%d remembered, want the latest alone", m.Len())
	}
	if kept, _ := m.Get("999"+end, 1); kept == nil || kept.value != 999 {
		t.Errorf("got %v, want the latest", kept)
	}
	if _, verdict := m.Get("998"+end, 1); verdict != Unknown {
		t.Errorf("verdict %d on what was replaced, want Unknown", verdict)
	}
}

func TestExpireAndPeek(t *testing.T) {
	var s Set
	m := newMemory(&s, 1000)
	put(m, "token", Subject{}, 500, 1)
	m.Expire("token")
	m.Expire("never put")
	if kept, verdict := m.Get("token", math.MinInt64); verdict != Expired || kept == nil {
		t.Errorf("%v, verdict %d, want it Expired at any time", kept, verdict)
	}
	if kept := m.Peek("token"); kept == nil || kept.value != 1 {
		t.Errorf("Peek brought %v, want the thing", kept)
	}
	if m.Peek("never put") != nil {
		t.Error("Peek brought what was never put")
	}
}

// A look-up that has passed a place when something moves there finds it all the same.
func TestLookUpDuringAMove(t *testing.T) {
	var s Set
	m := NewMemory[hooked](&s, 1000)
	m.hash = func(c string) uint64 { return uint64(c[0]) * leastSlots } // one home and one tag for all, but not one hash
	for _, name := range []string{"a", "b", "c"} {
		m.Put(name, &hooked{name: name}, 500)
	}
	forgets := false
	m.Peek("b").met = func() {
		if !forgets {
			forgets = true
			m.Forget("a") // b and c move up, c to where the look-up is
		}
	}
	if kept, verdict := m.Get("c", 1); verdict != Live || kept.name != "c" || !forgets {
		t.Errorf("%v, verdict %d, want c", kept, verdict)
	}
}

// A hooked thing does something when it is looked at.
type hooked struct {
	Hold
	name string
	met  func()
}

func (h *hooked) Is(credential string) bool {
	if h.met != nil {
		h.met()
	}
	return h.name == credential
}

func (h *hooked) Subject() Subject { return Subject{} }

// A look-up that runs while others come and go finds what stays.
func TestLookUpsDuringChurn(t *testing.T) {
	var s Set
	m := newMemory(&s, 1<<16)
	m.hash = func(c string) uint64 { return uint64(c[len(c)-1]&15) | uint64(len(c))<<33 } // one crowd
	put(m, "stays-9", Subject{}, 500, 9)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%0*d-%d", 8+worker*8+i%8, i, i%16)
				put(m, key, Subject{}, 500, i)
				m.Forget(key)
			}
		})
	}
	for range 100_000 {
		if kept, verdict := m.Get("stays-9", 1); verdict != Live || kept.value != 9 {
			t.Errorf("%v, verdict %d, want it Live all the time", kept, verdict)
			break
		}
	}
	close(stop)
	group.Wait()
	sound(t, m)
}

func TestMemoryIsSafeForConcurrentUse(t *testing.T) {
	var s Set
	m := newMemory(&s, 256)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				key := fmt.Sprintf("key-%d", (i*worker)%300)
				put(m, key, Subject{Session: key}, int64(i), i)
				m.Get(key, int64(i))
				switch i % 50 {
				case 0:
					m.Sweep(int64(i))
				case 1:
					s.Add(Entry{Kind: Session, ID: key, Until: 900})
				case 2:
					m.Forget(key)
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkMemory(b *testing.B) {
	var s Set
	m := newMemory(&s, 1<<16)
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("%0560d.%040x", i, i*2654435761)
		put(m, keys[i], Subject{Session: keys[i]}, 500, i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m.Get(keys[i%len(keys)], 1)
		i++
	}
}
