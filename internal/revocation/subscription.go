package revocation

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// slowReader is the reason of the marker for a reader that was too slow.
const slowReader = "slow"

// WriteTimeout is how long one write to a stream may take. Who does not read for so
// long is cut off, and resumes where it was.
const WriteTimeout = 10 * time.Second

// A Subscription is one reader of the log: its place, and what it is to be told
// before that. It is written by one of [Subscription.Serve] and
// [Subscription.HandOver], and by no two at a time.
type Subscription struct {
	hub     *hub
	owner   string
	opening [][]byte
	at      uint64 // the place in the ring
	beats   uint64 // the number of the last heartbeat that was told
	over    atomic.Pointer[ending]
}

// An ending is why a subscription is over, and up to where it is still told.
type ending struct {
	reason string
	limit  uint64
}

// Subscribe begins a stream for a reader that last saw the event with id last;
// empty for a new one. owner is the API key by which it came: when that key is
// removed its streams end. ErrBehind while this node cannot vouch for the log. Close
// it, unless Serve or HandOver was called.
//
// The place is taken before the set is copied, and nothing is told between the two:
// so a reader misses nothing, and every heartbeat has the number of the entry that
// the reader had before it.
func (l *Log) Subscribe(last, owner string) (*Subscription, error) {
	if !l.fresh() {
		return nil, ErrBehind
	}
	s := &Subscription{hub: &l.hub, owner: owner}
	l.mu.Lock()
	now, joined := l.hub.add(s)
	position, entries := l.position, l.entries
	l.mu.Unlock()
	if !joined {
		return nil, ErrStopping
	}
	var err error
	if s.opening, err = l.hub.opening(last, now, position, entries); err != nil {
		s.Close()
		return nil, err
	}
	if beat := l.heartbeat(position); beat != nil {
		s.opening = append(s.opening, beat)
	}
	return s, nil
}

// Subscribers returns how many streams there are.
func (l *Log) Subscribers() int {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return len(l.hub.subs)
}

// Dropped returns how many streams were cut because their reader was too slow.
func (l *Log) Dropped() uint64 { return l.hub.slow.Load() }

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() { s.hub.drop(s, "closed") }

// next returns frames that are due, as many as lie together, and moves the place
// behind them: nil if none are due now. last means that they are the farewell.
func (s *Subscription) next() (frames []byte, last bool) {
	if len(s.opening) > 0 {
		frames, s.opening = s.opening[0], s.opening[1:]
		return frames, false
	}
	s.opening = nil      // a snapshot is large, and the stream is long
	end := s.over.Load() // before the state, so that the state reaches the limit
	now := s.hub.state.Load()
	limit := now.end
	if end != nil {
		limit = end.limit
	}
	if s.at < now.first() && s.at < limit { // it fell out of the ring
		if end == nil {
			s.hub.drop(s, slowReader)
			end = s.over.Load()
		}
		return farewell(end.reason), true
	}
	if s.beats != now.beats && end == nil {
		if s.at == now.beatAt {
			s.beats = now.beats
			return now.beat, false
		}
		limit = now.beatAt
	}
	if frames = now.from(s.at, limit); frames != nil {
		s.at += uint64(len(frames))
		return frames, false
	}
	if end != nil {
		return farewell(end.reason), true
	}
	return nil, false
}

// Serve gives write what is due, whole frames each time, until the reader is done,
// write fails, or the subscription is over, and then closes it. The last write is
// the farewell. It returns the error of write.
func (s *Subscription) Serve(done <-chan struct{}, write func(frames []byte) error) error {
	defer s.Close()
	for {
		changed := s.hub.state.Load().changed // before next, so that no change is missed
		frames, last := s.next()
		if frames != nil {
			if err := write(frames); err != nil {
				s.failed(err)
				return err
			}
		}
		switch {
		case last:
			return nil
		case frames != nil:
			continue
		}
		select {
		case <-done:
			return nil
		case <-changed:
		}
	}
}

// failed ends the subscription after an error of writing.
func (s *Subscription) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.hub.drop(s, slowReader)
		return
	}
	s.Close()
}
