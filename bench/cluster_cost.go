package main

import (
	"context"
	"os"
	"time"
)

// A spending is what processes were on a processor for each time something was done.
type spending struct {
	clients, nodes, database []float64 // µs for each
}

// spent has f measured, and notes for each that it counts what clients, nodes and database
// spent on it.
func (c *cluster) spent(
	ctx context.Context, s *spending, nodes []int, f func(context.Context, time.Duration) (float64, error),
) (float64, error) {
	postmaster, err := c.postgres.PID()
	if err != nil {
		return 0, err
	}
	look := func() (now [3]time.Duration) {
		now[0], _ = processTime(os.Getpid()) // it is there
		for _, pid := range nodes {
			now[1] += familyTime(pid)
		}
		now[2] = familyTime(postmaster)
		return now
	}
	before, begun := look(), time.Now()
	rate, err := f(ctx, c.slice())
	if err != nil {
		return 0, err
	}
	after, n := look(), rate*time.Since(begun).Seconds()
	for i, into := range []*[]float64{&s.clients, &s.nodes, &s.database} {
		*into = append(*into, float64((after[i]-before[i]).Microseconds())/n)
	}
	return rate, nil
}

// familyTime is how long a process and those that it has started were on a processor.
func familyTime(pid int) (sum time.Duration) {
	for _, one := range family(pid) {
		t, err := processTime(one)
		if err != nil {
			continue // it has ended
		}
		sum += t
	}
	return sum
}
