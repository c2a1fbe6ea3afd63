package web

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// What is counted in the store is at least countEvery old before it is counted again, and
// countShare times as old as counting took: a hundredth of a database's core at most, for
// each node. A scrape waits for countWait, and nobody for longer than countLongest.
const (
	countEvery   = 15 * time.Second
	countShare   = 100
	countWait    = time.Second
	countLongest = 5 * time.Minute
)

// Metrics are the figures for Prometheus, in a registry of their own. Labels are
// taken from fixed sets (routes, codes of faults, kinds of entry, steps of the
// store), so nothing of a user or of a credential gets into them. A nil *Metrics
// measures nothing. It is safe for concurrent use.
type Metrics struct {
	registry    *prometheus.Registry
	signIns     *prometheus.CounterVec
	checks      *prometheus.CounterVec
	good        prometheus.Counter // of checks
	refreshes   *prometheus.CounterVec
	draws       *prometheus.CounterVec
	revocations *prometheus.CounterVec
	store       *prometheus.HistogramVec
	requests    *prometheus.HistogramVec
}

// NewMetrics returns figures that all stand at zero.
func NewMetrics() *Metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		registry:    prometheus.NewRegistry(),
		signIns:     counter("coatcheck_sign_ins_total", "Attempts to sign in, by outcome: ok or the code of the fault.", "outcome"),
		checks:      counter("coatcheck_checks_total", "Checks of a session's credential on this node, by result: ok or the code of the fault.", "result"),
		refreshes:   counter("coatcheck_refreshes_total", "Exchanges of a refresh token, by outcome: ok or the code of the fault.", "outcome"),
		revocations: counter("coatcheck_revocations_total", "Entries of the revocation log that this node has heard of since it started, by kind.", "kind"),
		draws: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coatcheck_tokens_total", Help: "Requests of clients at the token endpoint, by grant type and outcome: ok or the code of the error.",
		}, []string{"grant", "outcome"}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coatcheck_store_seconds", Help: "How long steps of the store took, waiting included.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .25, 1, 5},
		}, []string{"step"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coatcheck_request_seconds", Help: "How long requests took, by route and class of status. Streams count when they begin, or when they end where they are encrypted.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}, []string{"method", "route", "status"}),
	}
	m.good = m.checks.WithLabelValues(outcome(nil))
	m.registry.MustRegister(m.signIns, m.checks, m.refreshes, m.draws, m.revocations, m.store, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers a scrape. It belongs on a listener of its own.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// StoreLatency notes how long a step of the store took: it is for the store's
// options.
func (m *Metrics) StoreLatency(step string, took time.Duration) {
	if m != nil {
		m.store.WithLabelValues(step).Observe(took.Seconds())
	}
}

// times are the histograms of one route by class of status, each found at its first
// use. A nil *times measures nothing.
type times struct {
	of    func(class string) prometheus.Observer
	found [6]atomic.Pointer[prometheus.Observer]
}

func (m *Metrics) timesOf(rt *route) *times {
	if m == nil {
		return nil
	}
	return &times{of: func(class string) prometheus.Observer { return m.requests.WithLabelValues(rt.method, rt.path, class) }}
}

func (t *times) observe(status int, took time.Duration) {
	if t == nil {
		return
	}
	class := min(max(0, status/100), len(t.found)-1)
	histogram := t.found[class].Load()
	if histogram == nil {
		found := t.of(strconv.Itoa(class) + "xx")
		histogram = &found
		t.found[class].Store(histogram)
	}
	(*histogram).Observe(took.Seconds())
}

func (m *Metrics) signedIn(err error) {
	if m != nil {
		m.signIns.WithLabelValues(outcome(err)).Inc()
	}
}

func (m *Metrics) checked(err error) {
	switch {
	case m == nil:
	case err == nil:
		m.good.Inc()
	default:
		m.checks.WithLabelValues(outcome(err)).Inc()
	}
}

func (m *Metrics) refreshed(err error) {
	if m != nil {
		m.refreshes.WithLabelValues(outcome(err)).Inc()
	}
}

// drew counts a request at the token endpoint. What a client calls its grant type is a
// label only where there is such a one.
func (m *Metrics) drew(grant string, err error) {
	if m == nil {
		return
	}
	if !slices.Contains(oauth.GrantTypes, grant) {
		grant = "other"
	}
	code := outcome(nil)
	if err != nil {
		code, _ = oauthCode(fault.Of(err))
	}
	m.draws.WithLabelValues(grant, code).Inc()
}

// outcome is "ok" or the code of the declared fault.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return fault.Of(err).Code
}

// watch adds the figures that are read off the parts when they are asked for. It
// is called once.
func (m *Metrics) watch(p Parts) {
	if m == nil {
		return
	}
	gauge := func(name, help string, labels prometheus.Labels, read func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
	}
	sessions := seldom(p.Now, p.Sessions.Count)
	gauge("coatcheck_sessions", "Live sessions, counted at most every 15 seconds, and the seldomer the longer that takes. NaN: not counted yet.", nil, func() float64 {
		if n, known := sessions(); known {
			return float64(n)
		}
		return math.NaN()
	})
	gauge("coatcheck_feed_subscribers", "Streams of the revocation log that this node serves.", nil, func() float64 { return float64(p.Log.Subscribers()) })
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "coatcheck_feed_dropped_total", Help: "Streams of the revocation log that were cut because their reader was too slow.",
	}, func() float64 { return float64(p.Log.Dropped()) }))
	gauge("coatcheck_feed_lag_seconds", "Since the start of the last good read of the revocation log.", nil, func() float64 {
		if age := p.Log.Age(); age < math.MaxInt64 {
			return age.Seconds()
		}
		return math.Inf(1)
	})
	slots := func(pick func(busy, waiting, slots int) int) func() float64 {
		return func() float64 { return float64(pick(p.Accounts.Hashing())) }
	}
	const hashing, about = "coatcheck_hashing_slots", "Slots for hashing passwords: busy, and all there are, and callers waiting for one."
	gauge(hashing, about, prometheus.Labels{"state": "busy"}, slots(func(busy, _, _ int) int { return busy }))
	gauge(hashing, about, prometheus.Labels{"state": "waiting"}, slots(func(_, waiting, _ int) int { return waiting }))
	gauge(hashing, about, prometheus.Labels{"state": "total"}, slots(func(_, _, slots int) int { return slots }))
	m.watchMail(p)
	m.watchLogout(p)
	p.Log.Watch(func(e feed.Entry) { m.revocations.WithLabelValues(kindLabel(e.Kind)).Inc() })
}

// kindLabel keeps the set of labels bounded, whatever a newer node writes.
func kindLabel(kind feed.Kind) string {
	switch kind {
	case feed.Session, feed.Grant, feed.User, feed.Client, feed.All, feed.Key, feed.APIKey, feed.Changed:
		return string(kind)
	}
	return "other"
}

// seldom returns what count returned last, which costs the store something, and has it
// counted anew when that is countEvery old, or countShare times as old as the counting
// took. A scrape does not wait for that longer than countWait: it shows the last
// number, and none before there is one. What cannot be counted shows as it was.
func seldom[T any](now func() time.Time, count func(context.Context) (T, error)) func() (n T, known bool) {
	var mu sync.Mutex
	var next time.Time
	var last T
	var known bool
	var counting chan struct{} // nil: nobody counts
	return func() (T, bool) {
		mu.Lock()
		if counting == nil && !now().Before(next) {
			counting = make(chan struct{})
			go func() {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), countLongest)
				defer cancel()
				n, err := count(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					last, known = n, true
				}
				next = now().Add(max(countEvery, countShare*time.Since(begun)))
				close(counting)
				counting = nil
			}()
		}
		done := counting
		mu.Unlock()
		if done != nil {
			late := time.NewTimer(countWait)
			defer late.Stop()
			select {
			case <-done:
			case <-late.C:
			}
		}
		mu.Lock()
		defer mu.Unlock()
		return last, known
	}
}
