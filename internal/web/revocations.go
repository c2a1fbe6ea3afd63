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
	if s.Log.Set().Holds(feed.APIKey, x.key.ID) { // removed before we subscribed: nothing will cut this stream
		sub.Close()
		return account.ErrNoAPIKey
	}
	h := x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	if x.ProtoMajor == 1 {
		// The end of the connection is the end of the stream: chunks would have to be
		// made for each reader, and its frames are shared by all.
		h.Set("Transfer-Encoding", "identity")
	}
	x.WriteHeader(http.StatusOK)
	if x.Method == http.MethodHead {
		sub.Close()
		return nil
	}
	err = s.stream(x, sub)
	if err != nil && x.Context().Err() == nil {
		return fmt.Errorf("write to a stream: %w", err)
	}
	return nil // also when the reader has gone, which is how streams end
}

// stream sees to it that the subscription is written. A plain connection is handed
// over, and this request is done with it; what is encrypted or shared by several
// requests is written here, until the reader goes, the subscription ends, or the
// server begins to stop.
func (s *Server) stream(x *exchange, sub *revocation.Subscription) error {
	out := http.NewResponseController(x)
	if err := out.Flush(); err != nil {
		sub.Close()
		return err
	}
	if x.ProtoMajor == 1 && x.TLS == nil {
		conn, _, err := out.Hijack()
		if err == nil {
			sub.HandOver(conn)
			return nil
		}
		if unlimited(err) != nil {
			sub.Close()
			return err
		}
	}
	// A stream outlives the limits that the listener sets for a whole request. What
	// is left is a limit for each write; it is one of the socket, hence by the wall.
	if err := out.SetReadDeadline(time.Time{}); unlimited(err) != nil {
		sub.Close()
		return err
	}
	return sub.Serve(x.Context().Done(), func(frames []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(revocation.WriteTimeout)); unlimited(err) != nil {
			return err
		}
		if _, err := x.Write(frames); err != nil {
			return err
		}
		return out.Flush()
	})
}

// unlimited passes over that a program which embeds the server has wrapped the
// connection in something that knows no deadlines, or gives no connection away.
func unlimited(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
