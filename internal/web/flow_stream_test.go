package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// eventTimeout is how long a flow waits for an event that must come.
const eventTimeout = 10 * time.Second

// A stream is an open stream of events.
type stream struct {
	events chan feed.Event // closed when it ends
	cancel context.CancelFunc
}

func readStream(body io.ReadCloser, cancel context.CancelFunc) *stream {
	s := &stream{events: make(chan feed.Event, 1024), cancel: cancel}
	go func() {
		defer close(s.events)
		defer func() { _ = body.Close() }()
		for in := feed.NewReader(body); ; {
			e, err := in.Next()
			if err != nil {
				return
			}
			e.Data = slices.Clone(e.Data)
			s.events <- e
		}
	}()
	return s
}

// event waits for the next event of a stream and holds it to what is asserted.
// Heartbeats are passed over unless one is asked for.
func (r *run) event(words []string, expects []expectation) error {
	if len(words) != 2 {
		return errors.New("event takes the names of a stream and of an event")
	}
	s := r.streams[words[0]]
	if s == nil {
		return fmt.Errorf("there is no stream %s", words[0])
	}
	timeout := time.NewTimer(eventTimeout)
	defer timeout.Stop()
	for {
		select {
		case <-timeout.C:
			return fmt.Errorf("no event %s came", words[1])
		case e, open := <-s.events:
			switch {
			case !open && words[1] == "end":
				return nil
			case !open:
				return fmt.Errorf("the stream ended before an event %s", words[1])
			case e.Name == feed.EventHeartbeat && words[1] != feed.EventHeartbeat:
				continue
			case e.Name != words[1]:
				return fmt.Errorf("the event is %s %s, want %s", e.Name, e.Data, words[1])
			case len(expects) == 0:
				return nil
			}
			return r.meet([]exchanged{{answer: answer{body: e.Data, id: e.ID}}}, expects)
		}
	}
}
