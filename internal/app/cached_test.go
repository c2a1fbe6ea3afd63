package app

import (
	"math"
	"testing"
)

// D-26: with little memory few sessions are remembered, and without a limit as many as
// are configured.
func TestCachedWithinMemory(t *testing.T) {
	for limit, want := range map[int64]int{128 << 20: 65_536, 1 << 30: 524_288} {
		if got := cachedWithin(limit); got != want {
			t.Errorf("%d bytes: %d sessions, want %d", limit, got, want)
		}
	}
	if got := cachedWithin(math.MaxInt64); got < 100_000_000 {
		t.Errorf("without a limit: %d", got)
	}
}
