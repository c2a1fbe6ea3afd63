package sqlstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// However few sessions are counted at a time, each is counted once.
func TestCountGoesInSteps(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		for range 5 {
			w.signIn(t)
		}
		for _, chunk := range []int{1, 2, 4, 5, 6} {
			if n, err := w.count(t.Context(), chunk); n != 5 || err != nil {
				t.Errorf("%d at a time: %d, %v, want 5", chunk, n, err)
			}
		}
	})
}

// What is removed little by little is all removed, and counted.
func TestLittleByLittle(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		for i := range 5 {
			must(t, w.Record(t.Context(), audit.Entry{Event: audit.SignedIn, Subject: fmt.Sprint(i)}))
			w.pass(time.Second)
		}
		for _, chunk := range []int{1, 2, 3} {
			n, err := w.little(t.Context(), "forget_audit", forgetAudit(chunk), int64(chunk), w.now().Add(-3500*time.Millisecond).UnixMilli())
			want := map[int]int{1: 3}[chunk] // with that of the user
			if n != want || err != nil {
				t.Errorf("%d at a time: removed %d, %v, want %d", chunk, n, err, want)
			}
		}
		entries, err := w.Entries(t.Context(), audit.Filter{}, 0, 10)
		must(t, err)
		if len(entries) != 3 || entries[2].Subject != "2" {
			t.Errorf("%d entries are left, the oldest %q", len(entries), entries[2].Subject)
		}
	})
}
