package drill

import (
	"fmt"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// A streamRecord is where one reader of the revocation stream has got to.
type streamRecord struct {
	epoch string
	next  uint64 // the number that must come next; 0 before the first snapshot
	torn  bool   // a resync, or a snapshot that is not whole: only a snapshot may follow

	// Up to where the reader has everything, and resumes.
	wholeEpoch string
	wholeNext  uint64
}

// Connected records that a reader has opened a stream. Unless it resumes, a snapshot
// must come first.
func (r *recorder) Connected(stream string, resumes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[stream]
	if s == nil || !resumes {
		r.streams[stream] = &streamRecord{torn: true}
		return
	}
	s.epoch, s.next, s.torn = s.wholeEpoch, s.wholeNext, s.wholeNext == 0
}

// Heard records one event of a stream. I-6
func (r *recorder) Heard(stream string, e feed.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[stream]
	if s == nil {
		s = &streamRecord{torn: true}
		r.streams[stream] = s
	}
	wrong := s.take(r, e)
	if !s.torn {
		s.wholeEpoch, s.wholeNext = s.epoch, s.next
	}
	if wrong != "" {
		r.wrong = append(r.wrong, fmt.Sprintf("I-6 stream %s: %s", stream, wrong))
	}
}

// take returns what is wrong with the next event.
func (s *streamRecord) take(r *recorder, e feed.Event) string {
	switch e.Name {
	case feed.EventSnapshot:
		var snapshot feed.Snapshot
		if err := e.Decode(&snapshot); err != nil {
			return err.Error()
		}
		s.epoch, s.next, s.torn = snapshot.Epoch, snapshot.Seq+1, snapshot.More
		for _, entry := range snapshot.Entries {
			if wrong := r.means(s.epoch, entry); wrong != "" {
				return wrong
			}
			if entry.Seq > snapshot.Seq {
				return fmt.Sprintf("a snapshot of %d holds number %d", snapshot.Seq, entry.Seq)
			}
		}
	case feed.EventRevocation:
		var entry feed.Entry
		if err := e.Decode(&entry); err != nil {
			return err.Error()
		}
		if s.torn {
			return fmt.Sprintf("number %d comes before a whole snapshot", entry.Seq)
		}
		if entry.Seq > s.next {
			return fmt.Sprintf("number %d follows %d", entry.Seq, s.next-1)
		}
		if entry.Seq == s.next {
			s.next++
		}
		return r.means(s.epoch, entry)
	case feed.EventHeartbeat:
		var beat feed.Heartbeat
		if err := e.Decode(&beat); err != nil {
			return err.Error()
		}
		if s.torn || beat.Epoch != s.epoch || beat.Seq != s.next-1 {
			return fmt.Sprintf("a heartbeat vouches for %d of %s, the stream is at %d of %s", beat.Seq, beat.Epoch, s.next-1, s.epoch)
		}
	case feed.EventResync:
		s.torn = true
	}
	return ""
}

// means returns what is wrong if a number means two things. The caller holds mu.
func (r *recorder) means(epoch string, entry feed.Entry) string {
	name := fmt.Sprintf("%s:%d", epoch, entry.Seq)
	if other, known := r.entries[name]; known && other != entry {
		return fmt.Sprintf("number %d is both %+v and %+v", entry.Seq, other, entry)
	}
	r.entries[name] = entry
	return ""
}
