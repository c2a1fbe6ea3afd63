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
	for _, opened := range people {
		for range 4 {
			all.Go(func() {
				mine := opened.Standing.User.ID
				for i := range 500 {
					h, err := w.CheckCookie(t.Context(), opened.Cookie)
					if i%2 == 1 {
						h, err = w.CheckToken(t.Context(), opened.Tokens.Access)
					}
					if err != nil || h.User().ID != mine || h.Session().UserID != mine {
						t.Errorf("answered %v", err)
						return
					}
				}
				if _, err := w.refresh(opened.Tokens.Refresh); err != nil {
					t.Errorf("a refresh answers %v", err)
				}
			})
		}
	}
	all.Wait()
}
