package sqlstore

import (
	"testing"
	"time"
)

// A rate is rounded to what the database counts in, never to a faster one.
func TestMicroseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{-time.Second: 0, 0: 0, 1: 1, time.Microsecond: 1, time.Microsecond + 1: 2, 24 * time.Hour: 86_400_000_000} {
		if got := microseconds(d); got != want {
			t.Errorf("%d ns are %d µs, want %d", d, got, want)
		}
	}
}
