package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

// I-10, D-20: what the store has recorded is the time, also for a token, when the clock
// is set back behind it: before a start nothing in memory would know better.
func TestATokenThatRanOutStaysSoWhenTheClockIsSetBack(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	w.pass(11 * time.Minute)
	w.must(w.log.Hold(t.Context())) // a step that records the time
	w.pass(3 * time.Second)
	w.must(w.log.Current(t.Context())) // reads it, as every start does
	w.pass(-time.Hour)
	if _, err := w.CheckToken(t.Context(), opened.Tokens.Access); !errors.Is(err, session.ErrTokenExpired) {
		t.Errorf("revived: %v", err)
	}
	if _, active, err := w.Introspect(t.Context(), opened.Tokens.Access, time.Time{}, ""); err != nil || active {
		t.Errorf("introspection: active %t, %v", active, err)
	}
}
