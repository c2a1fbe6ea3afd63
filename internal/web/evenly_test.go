package web

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// V-80: who measures an answer learns the number of whole steps, and that of anything
// sooner than one is one.
func TestEvenly(t *testing.T) {
	wrong := errors.New("wrong")
	for took, want := range map[time.Duration]time.Duration{
		0: evenStep, time.Microsecond: evenStep, 3 * time.Millisecond: evenStep, evenStep - 1: evenStep,
		evenStep: 2 * evenStep, 3*evenStep + 1: 4 * evenStep,
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := evenly(t.Context(), func() error { <-time.After(took); return wrong })
			if got := time.Since(began); got != want || !errors.Is(err, wrong) {
				t.Errorf("work of %v is answered after %v with %v, want %v", took, got, err, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // nobody is waited for who has gone
		ctx, leave := context.WithCancel(t.Context())
		began := time.Now()
		err := evenly(ctx, func() error { leave(); return nil })
		if took := time.Since(began); took != 0 || err != nil {
			t.Errorf("it took %v: %v", took, err)
		}
	})
}
