package throttle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Rate is an allowance: Burst at once, then one more for every Every that
// passes, up to Burst again. A Burst under one counts as one. An Every of zero
// or less is no limit.
type Rate struct {
	Burst int
	Every time.Duration
}

// errRate is the mistake in a rate's text; it does not repeat the text.
var errRate = errors.New(`a rate is a count and a time, such as "10/30s": ten at once, then one every 30 seconds`)

// The largest rate, so that no sum of times overflows.
const (
	maxBurst = 10_000
	maxEvery = 24 * time.Hour
)

// ParseRate reads the text of a rate as configuration writes it, "10/30s": a
// Burst from 1 to 10,000 and an Every above zero and up to 24 hours.
func ParseRate(text string) (Rate, error) {
	count, every, found := strings.Cut(text, "/")
	burst, err := strconv.Atoi(count)
	if !found || err != nil || burst < 1 || burst > maxBurst {
		return Rate{}, errRate
	}
	d, err := time.ParseDuration(every)
	if err != nil || d <= 0 || d > maxEvery {
		return Rate{}, errRate
	}
	return Rate{Burst: burst, Every: d}, nil
}

// String returns the text that [ParseRate] reads.
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Burst, r.Every) }

// MarshalText returns [Rate.String].
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is [ParseRate].
func (r *Rate) UnmarshalText(text []byte) error {
	rate, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = rate
	return nil
}

// wait returns how long after now one may be spent of an allowance that is full
// at the given time; zero means at once.
func (r Rate) wait(full, now int64) time.Duration {
	earliest := full - int64(max(r.Burst, 1)-1)*int64(r.Every)
	return time.Duration(max(0, earliest-now))
}

// clamp returns the time at which an allowance is full, which lies between now
// and one whole burst away; it lies further only if the clock has stepped back.
func (r Rate) clamp(full, now int64) int64 {
	return max(now, min(full, now+int64(max(r.Burst, 1))*int64(r.Every)))
}
