package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/coatcheck/coatcheck"
	streams "github.com/coatcheck/coatcheck/internal/load"
)

const (
	// sampled is the number of verifiers of the root package that stand among the
	// others, and are asked themselves.
	sampled = 4
	// watched is of how many ends in a round the refusal is watched at them.
	watched = 20
	// perProcess is how many streams one process reads: a system has 28,000 ports, and
	// a process 20,000 handles.
	perProcess = 5000
)

// A pace is one rate of ends, and what is promised at it.
type pace struct {
	perSecond int
	limit     float64 // of the p99, in ms; 0: none
}

// A crowd is one number of verifiers, with the rates that are tried on it.
type crowd struct {
	verifiers int
	paces     []pace
}

func crowds(quick bool) []crowd {
	if quick {
		return []crowd{
			{100, []pace{{10, 0}, {100, 0}}},
			{1000, []pace{{10, 0}, {100, 50}}},
		}
	}
	return []crowd{
		{1, []pace{{10, 0}, {100, 0}}},
		{100, []pace{{10, 0}, {100, 0}}},
		{1000, []pace{{10, 0}, {100, 50}}},
		{10_000, []pace{{10, 150}, {100, 400}}},
	}
}

// runEnds measures how long after an end was acknowledged the last that it ended is
// refused by verifiers, and what a verifier costs the server.
func runEnds(ctx context.Context, r *rig) ([]figure, error) {
	var all []figure
	for _, c := range crowds(r.Quick) {
		figures, err := endsBefore(ctx, r, c)
		if err != nil {
			return nil, fmt.Errorf("%d verifiers: %w", c.verifiers, err)
		}
		all = append(all, figures...)
	}
	everyone, err := endEveryone(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("everyone: %w", err)
	}
	return append(all, everyone), nil
}

// endEveryone ends all sessions at once, and counts what each verifier has to hear.
func endEveryone(ctx context.Context, r *rig) (figure, error) {
	sessions := 1_000_000
	if r.Quick {
		sessions = 20_000
	}
	r.Note("%d sessions, to be ended at once", sessions)
	dir, err := r.folder("everyone")
	if err != nil {
		return figure{}, err
	}
	if _, err := fill(ctx, dir, "127.0.0.1:1", sessions); err != nil {
		return figure{}, err
	}
	s, err := r.serve(ctx, serving{Core: anyCore, Dir: dir})
	if err != nil {
		return figure{}, err
	}
	defer s.stop()
	const verifiers = 100
	fleet, err := subscribe(ctx, s, verifiers, 100)
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = fleet.Close() }() // what was measured is measured
	if _, err := s.run(ctx, "session", "end", "--all", "--yes"); err != nil {
		return figure{}, err
	}
	if err := fleet.Read(1, 20*time.Second); err != nil {
		return figure{}, err
	}
	counts, err := fleet.Counts()
	return figure{
		Name: fmt.Sprintf("entries that each verifier hears when %d sessions are ended at once", sessions), Unit: "entries",
		Ours: []float64{float64(counts.Entries) / verifiers}, Bar: bar{Limit: 1},
	}, err
}

// endsBefore measures one crowd: its rates take turns.
func endsBefore(ctx context.Context, r *rig, c crowd) ([]figure, error) {
	long := 3 * time.Second
	if r.Quick {
		long = time.Second
	}
	e, err := newEnder(ctx, r, r.Rounds*int(long/time.Second)*110+100)
	if err != nil {
		return nil, err
	}
	defer e.server.stop()
	defer e.http.CloseIdleConnections()

	before, _, err := memory(e.server.PID())
	if err != nil {
		return nil, err
	}
	fleet, err := subscribe(ctx, e.server, c.verifiers, len(e.cookies))
	if err != nil {
		return nil, err
	}
	defer func() { _ = fleet.Close() }() // what was measured is measured
	after, _, err := memory(e.server.PID())
	if err != nil {
		return nil, err
	}
	if e.real, err = realVerifiers(ctx, e.server); err != nil {
		return nil, err
	}
	defer func() {
		for _, v := range e.real {
			v.Close()
		}
	}()

	results := make([]result, len(c.paces))
	for range r.Rounds {
		for i, p := range c.paces {
			if err := e.round(ctx, fleet, p.perSecond, long, &results[i]); err != nil {
				return nil, err
			}
			r.Note("%d verifiers, %d ends a second: p50 %.1f ms, p99 %.1f ms, the last p99 %.1f ms, asked themselves %.1f ms",
				c.verifiers, p.perSecond, last(results[i].p50), last(results[i].p99), last(results[i].slowest), last(results[i].asked))
		}
	}
	figures := resultsOf(c, results)
	if c.verifiers >= 1000 {
		figures = append(figures, figure{
			Name: fmt.Sprintf("server memory per verifier, %d verifiers", c.verifiers), Unit: "B",
			Ours: []float64{max(0, after-before) / float64(c.verifiers)}, Bar: bar{Limit: 30_000},
		})
	}
	return figures, nil
}

func last(values []float64) float64 { return values[len(values)-1] }

// A result is what was measured at one pace, in ms, round by round.
type result struct{ p50, p99, slowest, asked []float64 }

func resultsOf(c crowd, results []result) []figure {
	var all []figure
	for i, p := range c.paces {
		name := fmt.Sprintf("%d verifiers, %d ends a second", c.verifiers, p.perSecond)
		all = append(all,
			figure{Name: "end to refusal p50, " + name, Unit: "ms", Ours: results[i].p50},
			figure{
				Name: "end to refusal p99, " + name, Unit: "ms", Ours: results[i].p99, Bar: bar{Limit: p.limit},
				Point: &point{Chart: "verifiers", Line: fmt.Sprintf("p99 with %d ends a second", p.perSecond), At: float64(c.verifiers)},
			},
			figure{Name: "end to refusal at the last of them p99, " + name, Unit: "ms", Ours: results[i].slowest},
			figure{Name: "end to refusal, verifiers asked themselves p99, " + name, Unit: "ms", Ours: results[i].asked},
		)
	}
	return all
}

// subscribe opens the streams, in processes of their own, and waits until all are
// whole.
func subscribe(ctx context.Context, s *server, n, keep int) (*streams.Processes, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := streams.Options{URL: s.URL, APIKey: s.APIKey, N: n, Keep: keep, Ramp: time.Duration(n) * 200 * time.Microsecond}
	fleet, err := streams.Spread(ctx, (n+perProcess-1)/perProcess, o, func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, self, "role", "subscribers")
	})
	if err != nil {
		return nil, err
	}
	if err := fleet.Ready(time.Minute); err != nil {
		return nil, errors.Join(err, fleet.Close())
	}
	return fleet, nil
}

// serveSubscribers is the role of a process of [streams.Spread].
func serveSubscribers(ctx context.Context, _ []string) error {
	return streams.ServeSubscribers(ctx, os.Stdin, os.Stdout)
}

func realVerifiers(ctx context.Context, s *server) ([]*coatcheck.Verifier, error) {
	var all []*coatcheck.Verifier
	for range sampled {
		v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: s.URL, Audience: s.URL, APIKey: s.APIKey, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		if err := v.Ready(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}
