package feed

import (
	"fmt"
	"sync"
	"testing"
)

func TestMemoryHoldsToTheSet(t *testing.T) { // V-19
	var s Set
	m := NewMemory[string](&s, 1000)
	m.Put("token", Subject{Session: "ses_1", User: "usr_1", IssuedAt: 100}, 500, "ada")
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
	if value, _ := m.Get("token", 200); value != "ada" {
		t.Errorf("value %q, want ada: the verdict comes beside it", value)
	}
	if _, got := m.Get("another", 200); got != Unknown {
		t.Errorf("verdict %d on what was never put, want Unknown", got)
	}
}

func TestMemoryHoldsWhatIsPutAfterTheEnd(t *testing.T) {
	var s Set
	m := NewMemory[int](&s, 1000)
	s.Add(Entry{Kind: Session, ID: "ses_1", Until: 900})
	m.Put("token", Subject{Session: "ses_1"}, 500, 1)
	if _, got := m.Get("token", 200); got != Over {
		t.Errorf("verdict %d on what was put after its end was heard, want Over", got)
	}
}

func TestMemoryIsBounded(t *testing.T) { // I-9
	var s Set
	const limit = 640
	m := NewMemory[int](&s, limit)
	m.Put("the one in use", Subject{}, 500, 1)
	for i := range 20 * limit {
		m.Put(fmt.Sprintf("token-%08d-%08x", i, i*2654435761), Subject{}, 500, i)
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
	m := NewMemory[int](&s, 100*shards)
	for i := range 100 {
		m.Put(fmt.Sprintf("token-%d", i), Subject{Session: fmt.Sprint(i)}, int64(100+i), i)
	}
	m.Put("token-7", Subject{Session: "7"}, 107, 7)
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
		if value, got := m.Get(fmt.Sprintf("token-%d", i), 150); got != Live || value != i {
			t.Errorf("token-%d: value %d, verdict %d, want it Live", i, value, got)
		}
	}
	m.Clear()
	if m.Len() != 0 {
		t.Errorf("%d remembered after Clear", m.Len())
	}
	m.Put("again", Subject{}, 500, 1)
	if _, got := m.Get("again", 1); got != Live {
		t.Error("nothing can be put after Clear")
	}
}

// Forgetting and evicting move entries about; nothing may be lost or doubled.
func TestMemoryUnderChurn(t *testing.T) {
	var s Set
	m := NewMemory[int](&s, shards*3)
	for i := range 5000 {
		m.Put(fmt.Sprintf("key-%d", i%700), Subject{}, 500, i%700)
		m.Get(fmt.Sprintf("key-%d", i%13), 1)
		m.Forget(fmt.Sprintf("key-%d", (i*7)%700))
		if i%97 == 0 {
			m.Sweep(1)
		}
	}
	for i := range 700 {
		if value, got := m.Get(fmt.Sprintf("key-%d", i), 1); got == Live && value != i {
			t.Fatalf("key-%d has the value of key-%d", i, value)
		}
	}
	for i := range m.shards {
		shard := &m.shards[i]
		if len(shard.known) != len(shard.order) {
			t.Fatalf("%d known, %d in order", len(shard.known), len(shard.order))
		}
		for place, r := range shard.order {
			if r.place != place || shard.known[r.key] != r {
				t.Fatalf("what stands at %d says it stands at %d", place, r.place)
			}
		}
	}
}

func TestMemoryIsSafeForConcurrentUse(t *testing.T) {
	var s Set
	m := NewMemory[int](&s, 256)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				key := fmt.Sprintf("key-%d", (i*worker)%300)
				m.Put(key, Subject{Session: key}, int64(i), i)
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
	m := NewMemory[int](&s, 1<<16)
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("%0560d.%040x", i, i*2654435761)
		m.Put(keys[i], Subject{Session: keys[i]}, 500, i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m.Get(keys[i%len(keys)], 1)
		i++
	}
}
