package main

import (
	"context"
	"fmt"
	"slices"
)

// An experiment measures figures that belong together, each beside its reference
// in the same run.
type experiment struct {
	name  string // as -only takes it: verifier, check, refresh, signin, ends, cluster, growth, provider, footprint
	about string // one line for -help
	run   func(ctx context.Context, r *rig) ([]figure, error)
}

// experiments are all there are, in the order of the table.
var experiments = []experiment{
	{"verifier", "credentials at a verifier, seen before and new, in process", runVerifier},
	{"check", "checks of sessions, in process and over HTTP, at several numbers of them", runCheck},
	{"refresh", "a refresh that is durable, beside the driver's own commits", runRefresh},
	{"signin", "sign-ins with every hashing slot busy, and session checks meanwhile", runSignIn},
	{"ends", "from the answer of an end to its refusal at every verifier", runEnds},
	{"cluster", "three nodes on PostgreSQL: refreshes, checks, ends across them, and their rest", runCluster},
	{"growth", "what requests cost, and what is kept, from 10 k to 10 M sessions in PostgreSQL, and a move there", runGrowth},
	{"provider", "what applications ask by OAuth 2: tokens for machines, refreshes, introspection, code flows", runProvider},
	{"footprint", "what a server takes at rest, and to remember a session", runFootprint},
}

// A figure is one line of the table: what was measured in each round, and what it
// is held to.
type figure struct {
	Name      string    `json:"name"`                // "access token seen before"; no other figure has it
	Unit      string    `json:"unit"`                // of Ours and Reference: ns, µs, ms, B, MiB, /s, allocs
	Ours      []float64 `json:"ours"`                // one for each round
	Against   string    `json:"against,omitempty"`   // what the reference is: "raw ES256 signature check"
	Reference []float64 `json:"reference,omitempty"` // of the same rounds, interleaved with Ours
	Bar       bar       `json:"bar"`
	Point     *point    `json:"point,omitempty"` // nil: in no chart
}

// A bar is what a figure has to keep: a bound of its median, or of the median of
// its ratio to the reference, round by round.
type bar struct {
	Ratio   bool    `json:"ratio,omitempty"`    // Limit is of Ours / Reference
	AtLeast bool    `json:"at_least,omitempty"` // else: at most
	Limit   float64 `json:"limit,omitempty"`    // 0: no bar, for information
	Nothing bool    `json:"nothing,omitempty"`  // the limit is 0: none of it at all
}

// A point is the place of a figure's median in a chart: "sessions" is cost against
// the number of sessions (a figure in /s counts as the µs that one request costs),
// "verifiers" latency against the number of verifiers.
type point struct {
	Chart string  `json:"chart"`
	Line  string  `json:"line"` // "/v1/session", "p99 with 10 ends a second"; the reference gets a line of its own
	At    float64 `json:"at"`   // 1000000
}

// median returns the middle of the values, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// check refuses a figure from which nothing can be said.
func (f *figure) check() error {
	switch {
	case f.Name == "" || f.Unit == "":
		return fmt.Errorf("a figure has no name or unit: %+v", *f)
	case len(f.Ours) == 0:
		return fmt.Errorf("%s: nothing was measured", f.Name)
	case len(f.Reference) > 0 && len(f.Reference) != len(f.Ours):
		return fmt.Errorf("%s: %d rounds of ours, and %d of the reference", f.Name, len(f.Ours), len(f.Reference))
	case len(f.Reference) > 0 && f.Against == "":
		return fmt.Errorf("%s: nobody knows what the reference is", f.Name)
	case f.Bar.Ratio && len(f.Reference) == 0:
		return fmt.Errorf("%s: held to a ratio, without a reference", f.Name)
	case slices.Contains(f.Reference, 0):
		return fmt.Errorf("%s: the reference was 0 in a round", f.Name)
	}
	return nil
}

// ratios are ours to the reference, round by round.
func (f *figure) ratios() []float64 {
	ratios := make([]float64, len(f.Reference))
	for i, reference := range f.Reference {
		ratios[i] = f.Ours[i] / reference
	}
	return ratios
}

// set reports whether there is a bar at all.
func (b bar) set() bool { return b.Limit != 0 || b.Nothing }

// kept reports whether the figure keeps its bar. Without one it does.
func (f *figure) kept() bool {
	if !f.Bar.set() {
		return true
	}
	value := median(f.Ours)
	if f.Bar.Ratio {
		value = median(f.ratios())
	}
	if f.Bar.AtLeast {
		return value >= f.Bar.Limit
	}
	return value <= f.Bar.Limit
}
