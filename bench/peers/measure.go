package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// measure starts everything, makes sure that it works, and loads it round by round.
func (r *runner) measure(ctx context.Context, p plan, chosen []candidate) (*result, error) {
	note("A Redis, and an issuer with %d people who are signed in …", p.users)
	if err := r.redis(ctx); err != nil {
		return nil, err
	}
	i, err := newIssuer(ctx, r, p.users+spare)
	if err != nil {
		return nil, err
	}
	if err := i.handOut(r.shelf); err != nil {
		return nil, err
	}
	if err := r.packages(ctx); err != nil {
		return nil, err
	}
	addresses := make([]string, len(chosen))
	for k := range chosen {
		c := &chosen[k]
		note("%s: everybody once, and nobody else …", c.name)
		if addresses[k], err = r.candidate(c); err != nil {
			return nil, err
		}
		if err := c.check(ctx, r.shelf, addresses[k]); err != nil {
			return nil, err
		}
	}
	res, err := r.rounds(ctx, p, chosen, addresses)
	if err != nil {
		return nil, err
	}
	res.compare()
	return res, i.tell(ctx, res, chosen, addresses)
}

// rounds loads all candidates in turn, again and again: what else the machine does
// meets all of them.
func (r *runner) rounds(ctx context.Context, p plan, chosen []candidate, addresses []string) (*result, error) {
	res := newResult(p.users)
	for _, c := range chosen {
		label := c.label
		if c.module != "" {
			label += ", " + versionOf(c.module)
		}
		res.Rows = append(res.Rows, row{Name: c.name, Label: label, Runtime: c.runtime, Ended: c.ended})
	}
	for round := range p.rounds + 1 {
		each := p.each
		if round == 0 {
			each = p.warm
		}
		for at := range chosen {
			k := at
			if round%2 == 1 { // there and back, so that nobody always comes after the same one
				k = len(chosen) - 1 - at
			}
			rate, err := r.wrk(ctx, &chosen[k], addresses[k], each)
			if err != nil {
				return nil, err
			}
			note("round %d  %-18s %9s/s", round, chosen[k].name, thousands(rate))
			if round > 0 {
				res.Rows[k].Rate = append(res.Rows[k].Rate, rate)
			}
		}
	}
	return res, nil
}

// wrk loads a candidate with all credentials in turn, and returns requests a second.
func (r *runner) wrk(ctx context.Context, c *candidate, address string, d time.Duration) (float64, error) {
	// #nosec G204 -- all of it is our own
	cmd := exec.CommandContext(ctx, "taskset", "--cpu-list", r.load,
		"wrk", "--threads", "1", "--connections", fmt.Sprint(connections), "--duration", fmt.Sprintf("%ds", max(1, int(d.Seconds()))),
		"--script", filepath.Join(r.dir, "cycle.lua"), address+"/", "--", r.shelf.path(headersOf(c.name)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	var requests, microseconds, failures float64
	_, line, _ := strings.Cut(string(out), "result ")
	if _, err := fmt.Sscan(line, &requests, &microseconds, &failures); err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if failures > 0 {
		return 0, fmt.Errorf("%s: %.0f of %.0f requests failed", c.name, failures, requests)
	}
	return math.Round(requests / microseconds * 1e6), nil
}

// tell writes into the rows of ours how soon an end is felt.
func (i *issuer) tell(ctx context.Context, res *result, chosen []candidate, addresses []string) error {
	at := slices.IndexFunc(chosen, func(c candidate) bool { return c.ended == measured })
	if at < 0 {
		return nil
	}
	all, err := i.felt(ctx, addresses[at])
	if err != nil {
		return fmt.Errorf("end to refusal: %w", err)
	}
	for k := range res.Rows {
		if res.Rows[k].Ended == measured {
			res.Rows[k].Ended = fmt.Sprintf("%s later, without asking; at most %s in %d trials",
				milliseconds(all[len(all)/2]), milliseconds(all[len(all)-1]), len(all))
		}
	}
	return nil
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
