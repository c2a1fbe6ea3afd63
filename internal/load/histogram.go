package load

import (
	"math/bits"
	"time"
)

// fine is how many buckets there are from one power of two to the next: a duration
// is known to a part in so many.
const fine = 64

// A Histogram counts durations in buckets that grow with them, so that every
// percentile is known to 1.6%, whether it is of microseconds or minutes. Its zero
// value is empty. It is not safe for concurrent use: each worker fills its own.
type Histogram struct {
	counts  []uint64
	total   uint64
	longest time.Duration
}

// Record counts one duration; below zero it counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(0, d)
	i := bucketOf(d)
	if i >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, i+1-len(h.counts))...)
	}
	h.counts[i]++
	h.total++
	h.longest = max(h.longest, d)
}

// Add counts all that another histogram holds.
func (h *Histogram) Add(other *Histogram) {
	if missing := len(other.counts) - len(h.counts); missing > 0 {
		h.counts = append(h.counts, make([]uint64, missing)...)
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.longest = max(h.longest, other.longest)
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() int { return int(h.total) }

// Quantile returns the least duration that at least this share, 0 to 1, of what was
// recorded does not exceed, rounded up by 1.6% at most; 0 if nothing was recorded.
func (h *Histogram) Quantile(share float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	// A hair less, lest 0.99 of 100 be 99.00000000000001.
	rank := max(1, uint64(share*float64(h.total)+1-1e-9))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(mostOf(i), h.longest)
		}
	}
	return h.longest
}

// bucketOf returns the bucket of a duration. The first ones are a nanosecond wide.
func bucketOf(d time.Duration) int {
	if d < fine {
		return int(d)
	}
	shift := bits.Len64(uint64(d)) - bits.Len64(fine)
	return shift*fine + int(d>>shift)
}

// mostOf returns the longest duration of a bucket.
func mostOf(bucket int) time.Duration {
	if bucket < fine {
		return time.Duration(bucket)
	}
	shift := bucket/fine - 1
	return time.Duration(bucket-shift*fine+1)<<shift - 1
}
