package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A population is how many live sessions there are, with what is measured at that
// size, round by round.
type population struct {
	n                int
	remembered       *process // checks in process
	ours, floor      *process // over HTTP; nil: not at this size
	files            [2]string
	nanos, allocs    []float64
	bare             []float64 // nanoseconds of a look-up and nothing else
	forward, session compared
	oneHeader        []float64 // of the floor, with all headers in one
}

// compared are requests a second, or what each costs.
type compared struct{ ours, floor []float64 }

// runCheck measures checks of sessions, in process and over HTTP, at several numbers
// of live sessions.
func runCheck(ctx context.Context, r *rig) (figures []figure, err error) {
	all := []*population{{n: 10_000}, {n: 100_000}, {n: 1_000_000}}
	last := len(all) - 1
	if r.Quick {
		last = 1
	}
	all = all[:last+1]
	for i, p := range all {
		r.Note("check: making %s sessions", sizeText(p.n))
		err := p.start(ctx, r, i == 0 || i == last)
		defer func() { err = errors.Join(err, p.stop()) }()
		if err != nil {
			return nil, err
		}
	}
	for round := range r.Rounds {
		r.Note("check: round %d of %d", round+1, r.Rounds)
		for _, p := range all {
			if err := p.round(ctx, r); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range all {
		figures = append(figures, p.figures(p.n == all[last].n)...)
	}
	return append(figures, growth(all[0], all[last])...), nil
}

func (p *population) start(ctx context.Context, r *rig, overHTTP bool) error {
	dir, err := r.folder("remembered")
	if err != nil {
		return err
	}
	count := strconv.Itoa(p.n)
	if p.remembered, err = startRole(ctx, serverCore, "remembered", dir, count); err != nil || !overHTTP {
		return err
	}
	for i, start := range []struct {
		role string
		into **process
	}{{"sessions", &p.ours}, {"floor", &p.floor}} {
		if dir, err = r.folder(start.role); err != nil {
			return err
		}
		p.files[i] = filepath.Join(dir, "cookies")
		if *start.into, err = startRole(ctx, anyCore, start.role, dir, count); err != nil {
			return err
		}
	}
	return nil
}

func (p *population) stop() error {
	var errs []error
	for _, each := range []*process{p.remembered, p.ours, p.floor} {
		if each != nil {
			errs = append(errs, each.stop())
		}
	}
	return errors.Join(errs...)
}

func (p *population) round(ctx context.Context, r *rig) error {
	measured, err := p.remembered.ask("check")
	if err != nil {
		return err
	}
	p.nanos, p.allocs = append(p.nanos, measured[0]), append(p.allocs, measured[1])
	if measured, err = p.remembered.ask("floor"); err != nil {
		return err
	}
	p.bare = append(p.bare, measured[0])
	if p.ours == nil {
		return nil
	}
	for _, one := range []struct {
		of   *process
		file string
		path string
		into *[]float64
	}{
		{p.floor, p.files[1], "/v1/forward-auth", &p.forward.floor},
		{p.ours, p.files[0], "/v1/forward-auth", &p.forward.ours},
		{p.floor, p.files[1], "/one-header", &p.oneHeader},
		{p.floor, p.files[1], "/v1/session", &p.session.floor},
		{p.ours, p.files[0], "/v1/session", &p.session.ours},
	} {
		// The original method is what a gateway tells of the request that it asks about.
		script := `wrk.headers["X-Forwarded-Method"] = "GET"` + eachLine("Cookie", "coatcheck_dev=", one.file)
		before, err := processTime(one.of.PID)
		if err != nil {
			return err
		}
		m, err := r.wrk(ctx, load{URL: "http://" + one.of.Ready + one.path, Script: script, Connections: 32, Duration: r.slice()})
		if err != nil {
			return fmt.Errorf("%s with %d sessions: %w", one.path, p.n, err)
		}
		after, err := processTime(one.of.PID)
		if err != nil {
			return err
		}
		*one.into = append(*one.into, float64(m.Requests)/(after-before).Seconds())
	}
	return nil
}

// processTime is how long a process has been on a processor. Answers are counted for
// each second of it, so that neighbours do not count: on a machine of one's own the
// server is on its core all the time.
func processTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d has no times", pid)
	}
	var ticks int64
	for _, field := range fields[11:13] { // in user mode, and in the kernel
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// figures are those of one size; over HTTP the bars are those of the largest.
func (p *population) figures(largest bool) []figure {
	size := sizeText(p.n)
	at := func(line string) *point { return &point{Chart: "sessions", Line: line, At: float64(p.n)} }
	figures := []figure{
		{Name: "session check in process, " + size + " sessions", Unit: "ns", Ours: p.nanos, Against: "a secret hashed and found in a map", Reference: p.bare, Bar: bar{Limit: 1000}, Point: at("session check in process")},
		{Name: "allocations of a session check, " + size + " sessions", Unit: "allocs", Ours: p.allocs, Bar: bar{Limit: 2}},
	}
	if p.ours == nil {
		return figures
	}
	forward, whole := bar{Ratio: true, AtLeast: true, Limit: 0.9}, bar{Ratio: true, AtLeast: true, Limit: 0.8}
	if !largest {
		forward, whole = bar{}, bar{}
	}
	const floor, oneHeader = "the floor handler, same answer", "the floor handler, its headers in one"
	return append(figures,
		figure{
			Name: "/v1/forward-auth, " + size + " sessions", Unit: "/s", Ours: p.forward.ours, Against: floor, Reference: p.forward.floor,
			Bar: forward, Point: at("/v1/forward-auth"),
		},
		figure{Name: "/v1/forward-auth beside a floor with one header, " + size + " sessions", Unit: "/s", Ours: p.forward.ours, Against: oneHeader, Reference: p.oneHeader},
		figure{
			Name: "/v1/session, " + size + " sessions", Unit: "/s", Ours: p.session.ours, Against: floor, Reference: p.session.floor,
			Bar: whole, Point: at("/v1/session"),
		})
}

// growth is how much worse each figure is with many sessions than with few.
func growth(few, many *population) []figure {
	against, size := "with "+sizeText(few.n), sizeText(many.n)
	grown := bar{Ratio: true, Limit: 1.3}
	return []figure{
		{Name: "growth of a session check in process, to " + size, Unit: "ns", Ours: many.nanos, Against: against, Reference: few.nanos, Bar: grown},
		{Name: "growth of a secret hashed and found in a map, to " + size, Unit: "ns", Ours: many.bare, Against: against, Reference: few.bare},
		{Name: "growth of /v1/forward-auth, to " + size, Unit: "µs", Ours: each(many.forward.ours), Against: against, Reference: each(few.forward.ours), Bar: grown},
		{Name: "growth of /v1/session, to " + size, Unit: "µs", Ours: each(many.session.ours), Against: against, Reference: each(few.session.ours), Bar: grown},
	}
}

// each turns requests a second into microseconds for each.
func each(rates []float64) []float64 {
	micros := make([]float64, len(rates))
	for i, rate := range rates {
		micros[i] = 1e6 / rate
	}
	return micros
}

func sizeText(n int) string { return grouped(strconv.Itoa(n)) }
