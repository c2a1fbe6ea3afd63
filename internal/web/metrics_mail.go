package web

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// watchMail adds the figures of mails that are read when they are asked for.
func (m *Metrics) watchMail(p Parts) {
	if p.Outbox == nil {
		return
	}
	count := seldom(p.Now, p.Mails.Counts)
	const about = "Mails in the outbox, counted at most every 15 seconds: that wait to be sent, and that could not be."
	for state, pick := range map[string]func(mail.Counts) int{
		"waiting": func(c mail.Counts) int { return c.Waiting },
		"dead":    func(c mail.Counts) int { return c.Dead },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "coatcheck_mails", Help: about, ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			if c, known := count(); known {
				return float64(pick(c))
			}
			return math.NaN()
		}))
	}
	for name, figure := range map[string]struct {
		about string
		pick  func(mail.Figures) uint64
	}{
		"coatcheck_mails_sent_total":   {"Mails that this node has handed to the mail server.", func(f mail.Figures) uint64 { return f.Sent }},
		"coatcheck_mails_failed_total": {"Attempts to send a mail that failed on this node.", func(f mail.Figures) uint64 { return f.Failed }},
		"coatcheck_mails_buried_total": {"Mails that this node has given up.", func(f mail.Figures) uint64 { return f.Buried }},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: figure.about},
			func() float64 { return float64(figure.pick(p.Outbox.Figures())) }))
	}
}
