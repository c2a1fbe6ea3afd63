package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coatcheck/coatcheck/internal/wakeup"
)

// WatchWakeups adds the figures of what goes through Redis, where there is one. It is
// called at most once.
func (m *Metrics) WatchWakeups(b *wakeup.Bell) {
	count := func(direction string, read func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "coatcheck_wakeups_total", Help: "Words through Redis that the revocation log has grown: sent, and received from other nodes.",
			ConstLabels: prometheus.Labels{"direction": direction},
		}, func() float64 { return float64(read()) })
	}
	m.registry.MustRegister(count("sent", b.Sent), count("received", b.Received),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "coatcheck_redis_connected", Help: "1 while other nodes can wake this one through Redis, else 0.",
		}, func() float64 {
			if b.Connected() {
				return 1
			}
			return 0
		}))
}
