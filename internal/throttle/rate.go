package throttle

import "time"

// A Rate is an allowance: Burst at once, then one more for every Every that
// passes, up to Burst again. A Burst under one counts as one. An Every of zero
// or less is no limit.
type Rate struct {
	Burst int
	Every time.Duration
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
