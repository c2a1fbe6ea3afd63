package revocation

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// I-6: a heartbeat has the number of the last entry that its reader was told, however
// entries, heartbeats and new readers meet. One that had another would send the reader
// away for a snapshot.
func TestHeartbeatsStandInOrder(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer close(done)
		for range 400 {
			s.end(feed.Session, "ses_1")
			poll(t, l)
		}
	})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				l.hub.beat()
			}
		}
	})
	for reader := range 20 {
		sub, err := l.Subscribe("", "")
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			var frames []byte
			if err := sub.Serve(done, func(b []byte) error {
				frames = append(frames, b...)
				return nil
			}); err != nil {
				t.Error(err)
			}
			inOrder(t, reader, events(t, frames))
		})
	}
	all.Wait()
}

// I-6: a reader that is behind is told a heartbeat where it stands, and of several the
// last alone; one that comes later is told none that went before.
func TestHeartbeatsStandBehindWhatTheyCount(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	behind := subscribe(t, l, "")
	end := func() {
		s.end(feed.Session, "ses_1")
		poll(t, l)
	}
	end()
	l.hub.beat()
	end()
	l.hub.beat()
	end()
	end()
	late := subscribe(t, l, "")
	end()
	told := events(t, due(behind)...)
	inOrder(t, 0, told)
	want := []string{"snapshot", "heartbeat", "revocation", "revocation", "heartbeat", "revocation", "revocation", "revocation"}
	if got := names(told); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	told = events(t, due(late)...)
	inOrder(t, 1, told)
	if got := names(told); !slices.Equal(got, []string{"snapshot", "heartbeat", "revocation"}) {
		t.Errorf("who came later was told %v", got)
	}
}

// inOrder follows the numbers of a stream as a verifier does.
func inOrder(t *testing.T, reader int, all []feed.Event) {
	t.Helper()
	var seq uint64
	for _, e := range all {
		var numbered struct{ Seq uint64 }
		if err := json.Unmarshal(e.Data, &numbered); err != nil {
			t.Error(err)
			return
		}
		switch {
		case e.Name == feed.EventSnapshot:
			seq = numbered.Seq
		case e.Name == feed.EventRevocation && numbered.Seq == seq+1:
			seq++
		case e.Name == feed.EventRevocation && numbered.Seq > seq+1, e.Name == feed.EventHeartbeat && numbered.Seq != seq:
			t.Errorf("reader %d: %s %d came after %d", reader, e.Name, numbered.Seq, seq)
			return
		}
	}
}
