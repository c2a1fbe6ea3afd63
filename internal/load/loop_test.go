package load

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A percentile is never less than the truth, and more by 1.6% at most.
func TestHistogramKnowsPercentiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 300).Draw(t, "values")
		share := rapid.SampledFrom([]float64{0.001, 0.5, 0.9, 0.99, 0.999, 1}).Draw(t, "share")
		var parts [2]Histogram
		for i, v := range values {
			parts[i%2].Record(time.Duration(v))
		}
		var all Histogram
		all.Add(&parts[0])
		all.Add(&parts[1])
		if all.Count() != len(values) {
			t.Fatalf("%d of %d counted", all.Count(), len(values))
		}
		slices.Sort(values)
		rank := 0
		for float64(rank+1) < share*float64(len(values))-1e-6 {
			rank++
		}
		want := values[rank]
		got := int64(all.Quantile(share))
		if got < want || float64(got) > float64(want)*(1+1.0/fine)+1 {
			t.Fatalf("%v of %v: %d, want %d", share, values, got, want)
		}
	})
}

func TestHistogramAtItsEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Count() != 0 {
		t.Error("an empty one knows something")
	}
	h.Record(-time.Second)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Errorf("below zero: %v", h.Quantile(1))
	}
	for bucket := range 40 * fine {
		if most := mostOf(bucket); bucketOf(most) != bucket || bucketOf(most+1) != bucket+1 {
			t.Fatalf("bucket %d ends at %v, which is in %d; the next in %d", bucket, most, bucketOf(most), bucketOf(most+1))
		}
	}
}

// lasting is a call that takes a time.
func lasting(d time.Duration) Call {
	return func(ctx context.Context, _ int) error {
		<-time.After(d)
		return nil
	}
}

func TestClosedCallsAsOftenAsItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := Closed(t.Context(), 4, 995*time.Millisecond, lasting(10*time.Millisecond))
		if out.Latency.Count() != 400 || out.PerSecond() != 400 || out.Stopped != 0 {
			t.Errorf("%d calls, %v a second, %d stopped", out.Latency.Count(), out.PerSecond(), out.Stopped)
		}
		if p99 := out.Latency.Quantile(0.99); p99 != 10*time.Millisecond {
			t.Errorf("p99 %v", p99)
		}
	})
}

// A server that stands still for a while keeps everybody waiting who comes meanwhile,
// and all of them count: not only the few whose calls were under way.
func TestOpenCountsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		stalls := func(context.Context, int) error {
			if since := time.Since(begin); since >= time.Second && since < 2*time.Second {
				<-time.After(2*time.Second - since)
			}
			return nil
		}
		out := Open(t.Context(), 2, 100, 3*time.Second, stalls)
		if n := out.Latency.Count(); n < 299 || n > 301 {
			t.Errorf("%d calls, want 100 a second for 3 s", n)
		}
		if p50, p80 := out.Latency.Quantile(0.5), out.Latency.Quantile(0.8); p50 != 0 || p80 < 300*time.Millisecond {
			t.Errorf("p50 %v, p80 %v: a third of the calls waited, half a second in the mean", p50, p80)
		}
	})
}

func TestAFailureStopsItsWorkerAlone(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		out := Closed(t.Context(), 3, 950*time.Millisecond, func(ctx context.Context, worker int) error {
			if worker == 1 {
				return broken
			}
			return lasting(100*time.Millisecond)(ctx, worker)
		})
		if out.Latency.Count() != 20 || out.Stopped != 1 || !errors.Is(out.Failure, broken) {
			t.Errorf("%d calls, %d stopped by %v", out.Latency.Count(), out.Stopped, out.Failure)
		}
	})
}

func TestLoadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		Open(ctx, 2, 0.1, time.Hour, lasting(0))
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
