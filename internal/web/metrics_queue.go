package web

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

// A queue is what the metrics tell of things that wait to be sent.
type queue struct {
	name  string // of the gauge; the counters have it before their own
	about string
	// backlog counts what waits and what is dead; known is false until it was counted once.
	backlog func() (waiting, dead int, known bool)
	// sums are what this node has done, by the name of the counter: sent, failed, buried.
	sums map[string]sum
}

type sum struct {
	about string
	read  func() uint64
}

// watchQueue adds the figures of a queue, which are read when they are asked for.
func (m *Metrics) watchQueue(q queue) {
	for state, pick := range map[string]func(waiting, dead int) int{
		"waiting": func(waiting, _ int) int { return waiting },
		"dead":    func(_, dead int) int { return dead },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: q.name, Help: q.about, ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			if waiting, dead, known := q.backlog(); known {
				return float64(pick(waiting, dead))
			}
			return math.NaN()
		}))
	}
	for name, s := range q.sums {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: q.name + "_" + name + "_total", Help: s.about},
			func() float64 { return float64(s.read()) }))
	}
}
