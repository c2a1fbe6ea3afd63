package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

const (
	// frameTimeout is how long one write to a stream may take. Who does not read
	// for so long is cut off, and resumes where it was.
	frameTimeout = 10 * time.Second
	// frameBatch is how many bytes of frames go into one write, about.
	frameBatch = 64 << 10
)

// getRevocations streams the revocation log: what the reader has missed or all
// there is, then every entry as it comes, and heartbeats.
func (s *Server) getRevocations(x *exchange) error {
	if s.stopping() {
		return revocation.ErrStopping
	}
	if err := s.Log.Current(x.Context()); err != nil {
		return err
	}
	sub, err := s.Log.Subscribe(x.Request.Header.Get("Last-Event-ID"), x.key.ID)
	if err != nil {
		return err
	}
	defer sub.Close()
	if s.Log.Set().Holds(feed.APIKey, x.key.ID) { // removed before we subscribed: nothing will cut this stream
		return account.ErrNoAPIKey
	}
	h := x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	x.WriteHeader(http.StatusOK)
	if x.Method == http.MethodHead {
		return nil
	}
	err = s.stream(x, sub)
	if err != nil && x.Context().Err() == nil {
		return fmt.Errorf("write to a stream: %w", err)
	}
	return nil // also when the reader has gone, which is how streams end
}

// stream writes frames until the reader goes, the subscription ends, or the server
// begins to stop.
func (s *Server) stream(x *exchange, sub *revocation.Subscription) error {
	out := http.NewResponseController(x)
	// A stream outlives the limits that the listener sets for a whole request. What
	// is left is a limit for each write; it is one of the socket, hence by the wall.
	if err := out.SetReadDeadline(time.Time{}); unlimited(err) != nil {
		return err
	}
	write := func(frames []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(frameTimeout)); unlimited(err) != nil {
			return err
		}
		if _, err := x.Write(frames); err != nil {
			return err
		}
		return out.Flush()
	}
	for _, frame := range sub.Opening {
		if err := write(frame); err != nil {
			return err
		}
	}
	sub.Opening = nil // a snapshot is large, and the stream is long
	var batch []byte
	for {
		select {
		case <-x.Context().Done():
			return nil
		case <-s.stop:
			return write(farewell("stopping"))
		case frame, open := <-sub.Frames():
			if !open {
				return write(sub.Farewell())
			}
			batch = coalesce(append(batch[:0], frame...), sub.Frames())
			if err := write(batch); err != nil {
				return err
			}
			if cap(batch) > 2*frameBatch {
				batch = nil
			}
		}
	}
}

// unlimited passes over that a program which embeds the server has wrapped the
// connection in something that knows no deadlines.
func unlimited(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// coalesce adds the frames that are waiting to the batch, so that a burst costs one
// write for each reader and not one for each entry.
func coalesce(batch []byte, frames <-chan []byte) []byte {
	for len(batch) < frameBatch {
		select {
		case frame, open := <-frames:
			if !open {
				return batch
			}
			batch = append(batch, frame...)
		default:
			return batch
		}
	}
	return batch
}

// farewell tells the reader that its stream ends and that it is to connect anew.
func farewell(reason string) []byte {
	frame, err := feed.Frame(feed.EventResync, "", feed.Resync{Reason: reason})
	if err != nil {
		return nil
	}
	return frame
}
