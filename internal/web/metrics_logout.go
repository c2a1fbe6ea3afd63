package web

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coatcheck/coatcheck/internal/oauth"
)

// watchLogout adds the figures of the back channel that are read when they are asked for.
func (m *Metrics) watchLogout(p Parts) {
	if p.Provider == nil || p.Provider.Notices == nil {
		return
	}
	notices := p.Provider.Notices
	count := seldom(p.Now, func(ctx context.Context) (oauth.NoticeCounts, error) { return notices.Counts(ctx, "") })
	const about = "Sign-outs of which clients are to be told by the back channel, counted at most every 15 seconds: that wait to be sent, and that could not be."
	for state, pick := range map[string]func(oauth.NoticeCounts) int{
		"waiting": func(c oauth.NoticeCounts) int { return c.Waiting },
		"dead":    func(c oauth.NoticeCounts) int { return c.Dead },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "coatcheck_logout_notices", Help: about, ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			if c, known := count(); known {
				return float64(pick(c))
			}
			return math.NaN()
		}))
	}
	for name, figure := range map[string]struct {
		about string
		pick  func(oauth.NoticeFigures) uint64
	}{
		"coatcheck_logout_notices_sent_total":   {"Sign-outs that this node has told a client of.", func(f oauth.NoticeFigures) uint64 { return f.Sent }},
		"coatcheck_logout_notices_failed_total": {"Attempts to tell a client of a sign-out that failed on this node.", func(f oauth.NoticeFigures) uint64 { return f.Failed }},
		"coatcheck_logout_notices_buried_total": {"Sign-outs that this node has given up telling a client of.", func(f oauth.NoticeFigures) uint64 { return f.Buried }},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: figure.about},
			func() float64 { return float64(figure.pick(notices.Figures())) }))
	}
}
