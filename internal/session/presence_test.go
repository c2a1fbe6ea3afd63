package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// readAt returns a reading of a session that the store last saw at the start.
func readAt(t testing.TB, id string) *record {
	t.Helper()
	r, err := newRecord(&Standing{
		Session: Session{ID: id, LastSeenAt: start, Idle: time.Hour, ExpiresAt: start.Add(24 * time.Hour)},
		User:    account.User{ID: credential.NewID(credential.User), Email: "ada@example.com"},
		Now:     start,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A sighting waits for the grain, is written once, and is known for as long again, for
// those who have read the store just before. Each is written that was not yet.
func TestSightingsWaitAndAreWrittenOnce(t *testing.T) {
	var p presence
	id := credential.NewID(credential.Session)
	r := readAt(t, id)
	at := func(d time.Duration) time.Time { return start.Add(d) }

	p.touch(r, at(seenStep-1))
	if !p.at(id).IsZero() {
		t.Error("a sighting just after the last is noted")
	}
	p.touch(r, at(2*time.Second))
	p.touch(r, at(5*time.Second))
	if got := p.due(at(2*time.Second+seenGrain-1), 10); got != nil {
		t.Errorf("written too early: %v", got)
	}
	want := []Seen{{SessionID: id, At: time.Unix(0, at(5*time.Second).UnixNano())}}
	first := at(2*time.Second + seenGrain)
	got := p.due(first, 10)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("what is due (-want +got):\n%s", diff)
	}
	if again := p.due(first, 10); again != nil {
		t.Errorf("due twice: %v", again)
	}
	p.wrote(got)
	if !p.at(id).Equal(at(5 * time.Second)) {
		t.Error("what was just written is no longer known")
	}
	if p.of(id) != nil || p.all() != nil {
		t.Error("what was written is to be written again")
	}
	if got := p.due(first.Add(seenGrain), 10); got != nil || !p.at(id).IsZero() || len(p.queue) != 0 {
		t.Errorf("long after, %v is due and %s is known", got, p.at(id))
	}
	p.touch(r, first.Add(time.Minute))
	if len(p.of(id)) != 1 {
		t.Error("a later sighting is not noted")
	}
}

// Nothing is lost when a batch could not be written.
func TestSightingsThatWereNotWrittenComeAgain(t *testing.T) {
	var p presence
	r := readAt(t, credential.NewID(credential.Session))
	now := start.Add(time.Minute)
	p.touch(r, now)
	for range 3 {
		now = now.Add(seenGrain)
		if got := p.due(now, 10); len(got) != 1 {
			t.Fatalf("%d are due", len(got))
		}
	}
}

// A record that is evicted and read anew knows what is pending, both ways: nothing is
// lost, whichever of the two readings is in whose hands.
func TestReadingsOfOneSessionShareWhatIsPending(t *testing.T) {
	var p presence
	id := credential.NewID(credential.Session)
	old, fresh := readAt(t, id), readAt(t, id)
	p.touch(old, start.Add(time.Minute))
	p.join(fresh)
	if got := fresh.seen.Load(); got != start.Add(time.Minute).UnixNano() {
		t.Error("the fresh reading does not know of the sighting")
	}
	p.touch(old, start.Add(2*time.Minute)) // by a request that still has it
	if got := p.of(id); len(got) != 1 || !got[0].At.Equal(start.Add(2*time.Minute)) {
		t.Errorf("pending is %v", got)
	}
	if got := p.due(start.Add(time.Hour), 10); len(got) != 1 || len(p.queue) != 1 {
		t.Errorf("%v is due, of %d in the queue", got, len(p.queue))
	}
}

// Those who have waited longest are first, and a turn takes no more than its batch.
func TestSightingsAreWrittenInTurn(t *testing.T) {
	var p presence
	var ids []string
	for i := range 100 {
		ids = append(ids, credential.NewID(credential.Session))
		p.touch(readAt(t, ids[i]), start.Add(time.Duration(i)*time.Second+time.Minute))
	}
	late := start.Add(time.Hour)
	for i := 0; i < 100; i += 20 {
		batch := p.due(late, 20)
		if len(batch) != 20 || batch[0].SessionID != ids[i] || batch[19].SessionID != ids[i+19] {
			t.Fatalf("the batch from %d on has %d", i, len(batch))
		}
		p.wrote(batch)
	}
	if got := p.due(late, 20); got != nil {
		t.Errorf("%d more are due", len(got))
	}
}

// However checks, readings and writes meet, the last sighting of each session is
// written in the end. It is meant for the race detector, too.
func TestNoSightingIsLost(t *testing.T) {
	var p presence
	const sessions, steps = 8, 500
	ids := make([]string, sessions)
	var last [sessions]time.Time
	var all, writer sync.WaitGroup
	done := make(chan struct{})
	written := map[string]time.Time{}
	flush := func(at time.Time) {
		batch := p.due(at, 3)
		for _, s := range batch {
			written[s.SessionID] = later(written[s.SessionID], s.At)
		}
		p.wrote(batch)
	}
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				flush(start.Add(time.Duration(i) * time.Second))
			}
		}
	})
	for i := range sessions {
		ids[i] = credential.NewID(credential.Session)
		all.Go(func() {
			r := readAt(t, ids[i])
			p.join(r)
			for step := range steps {
				if step%7 == 0 {
					fresh := readAt(t, ids[i])
					fresh.stored.Store(r.stored.Load())
					p.join(fresh)
					r = fresh
				}
				last[i] = start.Add(time.Duration(step+1) * 2 * time.Second)
				p.touch(r, last[i])
			}
		})
	}
	all.Wait()
	close(done)
	writer.Wait()
	for range 4 * sessions {
		flush(start.Add(48 * time.Hour))
	}
	for i, id := range ids {
		if !written[id].Equal(last[i]) {
			t.Errorf("session %d was last seen at %s, and %s is written", i, last[i], written[id])
		}
	}
}

// A table finds what was put into it and not removed, in any order of both.
func TestTable(t *testing.T) {
	var table table
	held := map[credential.Number]*record{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var id credential.Number
		id[15], id[14] = byte(random.IntN(256)), byte(random.IntN(3))
		if random.IntN(2) == 0 {
			r := &record{id: id}
			table.put(r)
			held[id] = r
		} else {
			table.remove(id)
			delete(held, id)
		}
		if table.held != len(held) || table.find(id) != held[id] {
			t.Fatalf("%d are held, want %d", table.held, len(held))
		}
	}
	for id, r := range held {
		if table.find(id) != r {
			t.Errorf("%x is lost", id)
		}
	}
	for id := range held {
		table.remove(id)
	}
	if table.held != 0 || len(table.slots) > 16 {
		t.Errorf("an empty table holds %d, in %d slots", table.held, len(table.slots))
	}
}

// touchStore notes what is written, or refuses to.
type touchStore struct {
	UpkeepStore
	seen []Seen
	err  error
}

func (s *touchStore) Touch(_ context.Context, batch []Seen) error {
	if s.err == nil {
		s.seen = append(s.seen, batch...)
	}
	return s.err
}

// Within an eighth of the idle time before the end, and half a minute at least, a
// sighting is written before the check is answered; a check whose sighting cannot be
// written then is not answered by yes.
func TestTheEdgeIsAnEighthOfTheIdleTime(t *testing.T) {
	for _, c := range []struct {
		after time.Duration // of an hour's idle time
		now   bool
	}{{52 * time.Minute, false}, {53 * time.Minute, true}} {
		t.Run(fmt.Sprint(c.after), func(t *testing.T) {
			store := &touchStore{}
			m := &Manager{upkeep: store}
			r := readAt(t, credential.NewID(credential.Session))
			if err := m.see(t.Context(), r, start.Add(c.after)); err != nil || (len(store.seen) == 1) != c.now {
				t.Errorf("%d written, %v", len(store.seen), err)
			}
			store.err = errors.New("disk full")
			r = readAt(t, credential.NewID(credential.Session))
			if err := m.see(t.Context(), r, start.Add(c.after)); (err != nil) != c.now {
				t.Errorf("not written, and answered %v", err)
			}
		})
	}
}

// A session that is seen just as it would be forgotten is not forgotten.
func TestASightingAtTheLastMomentIsKept(t *testing.T) {
	var p presence
	r := readAt(t, credential.NewID(credential.Session))
	p.touch(r, start.Add(time.Minute))
	p.wrote(p.all())
	r.raise(start.Add(2 * time.Minute).UnixNano()) // after it was found to be written
	if p.drop(r) || !r.pending.Load() || p.pending.find(r.id) != r {
		t.Error("it is forgotten")
	}
}
