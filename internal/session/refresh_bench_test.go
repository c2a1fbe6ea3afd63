package session_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coatcheck/coatcheck/internal/session"
)

// BenchmarkRefresh is the whole of a refresh by 64 callers, each with a session of
// its own, on a database that keeps what it acknowledges.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b, defaults())
	proof := w.person("ada@example.com")
	held := make([]session.Tokens, 64)
	for i := range held {
		held[i] = w.beginFor(proof).Tokens
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for _, mine := range held {
		all.Go(func() {
			for int(next.Add(1)) <= b.N {
				var err error
				if mine, err = w.refresh(mine.Refresh); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}
