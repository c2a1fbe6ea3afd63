package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Call makes one request and returns once it is answered. Worker is the number of
// the caller, from 0: each makes one request at a time. An error stops the worker.
type Call func(ctx context.Context, worker int) error

// An Outcome is what a load met with.
type Outcome struct {
	Latency Histogram     // of the calls that were answered as they should be
	Took    time.Duration // until the last worker had stopped
	Stopped int           // workers that a failure stopped
	Failure error         // the first of them; nil if there was none
}

// PerSecond is how many calls were answered as they should be, in a second.
func (o *Outcome) PerSecond() float64 {
	if o.Took <= 0 {
		return 0
	}
	return float64(o.Latency.Count()) / o.Took.Seconds()
}

// Closed lets each worker call again as soon as it has its answer, for a time or until
// ctx ends: it finds how much the server can do.
func Closed(ctx context.Context, workers int, d time.Duration, call Call) Outcome {
	return spread(ctx, workers, d, call, func(context.Context, time.Time) (time.Time, bool) { return time.Now(), true })
}

// Open makes calls at a fixed rate, whether or not those before have been answered,
// as long as a worker is free; latency counts from when the call was due. It finds
// what people who come by themselves wait: a queue is seen, and not waited out.
func Open(ctx context.Context, workers int, perSecond float64, d time.Duration, call Call) Outcome {
	var calls atomic.Int64
	return spread(ctx, workers, d, call, func(ctx context.Context, begin time.Time) (time.Time, bool) {
		due := begin.Add(time.Duration(float64(calls.Add(1)-1) / perSecond * float64(time.Second)))
		wait := time.Until(due)
		if wait <= 0 {
			return due, true
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			return time.Now(), true // that a timer is late is not the server's fault
		case <-ctx.Done():
			return due, false
		}
	})
}

// spread runs workers, each of which calls when next lets it.
func spread(ctx context.Context, workers int, d time.Duration, call Call, next func(context.Context, time.Time) (time.Time, bool)) Outcome {
	begin := time.Now()
	over, cancel := context.WithDeadline(ctx, begin.Add(d))
	defer cancel()
	var mu sync.Mutex
	var out Outcome
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			var own Histogram
			var failure error
			for over.Err() == nil {
				from, ok := next(over, begin)
				if !ok {
					break
				}
				if failure = call(ctx, w); failure != nil {
					break
				}
				own.Record(time.Since(from))
			}
			mu.Lock()
			defer mu.Unlock()
			out.Latency.Add(&own)
			if failure != nil && ctx.Err() == nil {
				out.Stopped++
				if out.Failure == nil {
					out.Failure = failure
				}
			}
		})
	}
	all.Wait()
	out.Took = time.Since(begin)
	return out
}
