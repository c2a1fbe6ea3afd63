package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"
)

// runFootprint measures what a server takes before anybody uses it, and what it takes
// to remember a session.
func runFootprint(ctx context.Context, r *rig) (figures []figure, err error) {
	var idle, cold, size, each []float64
	n := 1_000_000
	if r.Quick {
		n = 100_000
	}
	for round := range r.Rounds {
		r.Note("footprint: round %d of %d", round+1, r.Rounds)
		start, rest, err := r.startCold(ctx)
		if err != nil {
			return nil, err
		}
		idle, cold = append(idle, rest/(1<<20)), append(cold, float64(start)/float64(time.Millisecond))
		bytes, err := r.remember(ctx, n)
		if err != nil {
			return nil, err
		}
		each = append(each, bytes)
	}
	binary, err := os.Stat(r.Binary)
	if err != nil {
		return nil, err
	}
	size = append(size, float64(binary.Size())/(1<<20))
	return []figure{
		{Name: "memory of an idle server", Unit: "MiB", Ours: idle, Bar: bar{Limit: 24}},
		{Name: "start on a new database, until ready", Unit: "ms", Ours: cold, Bar: bar{Limit: 100}},
		{Name: "the binary, static and stripped", Unit: "MiB", Ours: size, Bar: bar{Limit: 30}},
		{Name: "memory of a remembered session, of " + sizeText(n), Unit: "B", Ours: each, Bar: bar{Limit: 300}},
	}, nil
}

// settle is how long a server rests before it counts as idle.
const settle = 2 * time.Second

// startCold starts a server where there is no database, and returns how long that
// took and the bytes in memory when it has come to rest.
func (r *rig) startCold(ctx context.Context) (took time.Duration, idle float64, err error) {
	s, err := r.serve(ctx, serving{Core: anyCore, NoKey: true})
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(settle):
	}
	idle, _, err = memory(s.PID())
	return s.Start, idle, err
}

// remember returns how many bytes a remembered session takes in a process with n.
func (r *rig) remember(ctx context.Context, n int) (bytes float64, err error) {
	dir, err := r.folder("remembered")
	if err != nil {
		return 0, err
	}
	p, err := startRole(ctx, anyCore, "remembered", dir, strconv.Itoa(n))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	answer, err := p.ask("memory")
	if err != nil {
		return 0, err
	}
	return answer[0], nil
}
