package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// asks is what a client is told of a token.
func (w *world) asks(token, clientID string) bool {
	w.t.Helper()
	_, active, err := w.Introspect(w.t.Context(), token, time.Time{}, clientID)
	w.must(err)
	return active
}

// A client that asks again is told from memory; the operator's services never are (INT-4).
func TestAClientIsToldFromMemory(t *testing.T) {
	w := newWorld(t, defaults())
	c := w.client()
	d, _ := w.drawn("ada@example.com", c)
	own, err := w.DrawForClient(t.Context(), c.ID, "", "")
	w.must(err)
	for _, token := range []string{d.Access, own.Access} {
		if !w.asks(token, c.ID) {
			t.Fatal("a good token is not active")
		}
	}
	w.faults.before, w.codes.before = errors.New("down"), errors.New("down")
	for _, token := range []string{d.Access, own.Access} {
		if !w.asks(token, c.ID) {
			t.Error("it is not remembered")
		}
		if w.asks(token, w.otherID()) {
			t.Error("another client is told of it (V-52)")
		}
		if _, _, err := w.Introspect(t.Context(), token, time.Time{}, ""); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("the operator is told from memory: %v", err)
		}
	}
}

func (w *world) otherID() string { return "cli_00000000000000000000000000" }

// What is remembered is over when anything is that stands behind the token, though the
// token may not name it, and when time says so.
func TestARememberedAnswerEnds(t *testing.T) { // I-1
	for name, end := range map[string]func(w *world, d session.Drawn, opened session.Opened, c session.ClientTerms){
		"its session": func(w *world, _ session.Drawn, o session.Opened, _ session.ClientTerms) {
			w.endWhat(session.Ending{Kind: "session", ID: o.Standing.Session.ID})
		},
		"its grant": func(w *world, d session.Drawn, _ session.Opened, _ session.ClientTerms) {
			w.endWhat(session.Ending{Kind: "grant", ID: d.GrantID})
		},
		"its user": func(w *world, _ session.Drawn, o session.Opened, _ session.ClientTerms) {
			w.endWhat(session.Ending{Kind: "user", ID: o.Standing.User.ID})
		},
		"its client": func(w *world, _ session.Drawn, _ session.Opened, c session.ClientTerms) {
			w.endWhat(session.Ending{Kind: "client", ID: c.ID})
		},
		"everything": func(w *world, _ session.Drawn, _ session.Opened, _ session.ClientTerms) {
			w.endWhat(session.Ending{Kind: "all"})
		},
		"its time": func(w *world, _ session.Drawn, _ session.Opened, _ session.ClientTerms) {
			w.at = w.at.Add(11 * time.Minute)
		},
		"its session's idle limit": func(w *world, _ session.Drawn, _ session.Opened, _ session.ClientTerms) {
			w.at = w.at.Add(5 * time.Minute)
		},
	} {
		for _, pairwise := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				config := defaults()
				config.Idle = 4 * time.Minute
				w := newWorld(t, config)
				c := w.client(func(c *session.ClientTerms) { c.Pairwise, c.Sector = pairwise, "shop.example" })
				d, opened := w.drawn("ada@example.com", c)
				if !w.asks(d.Access, c.ID) {
					t.Fatal("a good token is not active")
				}
				end(w, d, opened, c)
				w.must(w.log.Current(t.Context()))
				if w.asks(d.Access, c.ID) {
					t.Error("it is still active")
				}
			})
		}
	}
}
