package session_test

import (
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/session"
)

// V-38: what is remembered is shared by all requests, and nobody gets another's
// answer. It is meant for the race detector, too.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	w := newWorld(t, defaults())
	people := []session.Opened{w.begin("ada@example.com"), w.begin("bob@example.com")}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				one, other := people[i%2], people[(i+1)%2]
				byCookie, err := w.CheckCookie(t.Context(), one.Cookie)
				if err != nil || byCookie.SessionID() != one.Standing.Session.ID || byCookie.UserID() != one.Standing.User.ID {
					t.Errorf("a cookie answers for another, or %v", err)
					return
				}
				byToken, err := w.CheckToken(t.Context(), other.Tokens.Access)
				if err != nil || byToken.SessionID() != other.Standing.Session.ID || byToken.UserID() != other.Standing.User.ID {
					t.Errorf("a token answers for another, or %v", err)
					return
				}
			}
		})
	}
	for _, mine := range people {
		all.Go(func() {
			next := mine.Tokens
			for range 100 {
				var err error
				if next, err = w.refresh(next.Refresh, func(r *session.RefreshRequest) { r.Audience = issuer }); err != nil {
					t.Errorf("a refresh answers %v", err)
					return
				}
				h, err := w.CheckToken(t.Context(), next.Access)
				if err != nil || h.SessionID() != mine.Standing.Session.ID || h.UserID() != mine.Standing.User.ID {
					t.Errorf("a refresh gives another's token, or %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}
