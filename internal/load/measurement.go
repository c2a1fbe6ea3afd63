package load

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Parts are what can be measured of a running server, in this order.
var Parts = []string{"signin", "check", "refresh", "ends"}

// A Measurement measures a running server over HTTP. It makes users of its own, whose
// email addresses begin with "bench-" and end with "@bench.invalid", and removes them
// afterwards, also when it fails or ctx ends.
type Measurement struct {
	URL         string        // of the server: "http://localhost:8080"
	APIKey      string        // of the scopes admin and, for "ends", revocations
	Duration    time.Duration // of each load; 0 is 10 s
	Connections int           // that call at the same time; 0 is 64
	Verifiers   int           // streams that hear of ends; 0 is 100
	Only        []string      // of Parts; empty is all
	Note        func(string)  // progress, for the person who waits; nil is nobody
}

// A Figure is what was measured of one kind of request.
type Figure struct {
	Name      string  `json:"name"`                 // sign_in, session, forward_auth, refresh, end_to_refusal
	PerSecond float64 `json:"per_second"`           // requests answered
	At        float64 `json:"latency_at,omitempty"` // the latencies are those at this rate; 0: at PerSecond
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Requests  int     `json:"requests"`         // that the latencies are of
	Remark    string  `json:"remark,omitempty"` // what one has to know to read it
}

// What can be mended by whoever measures.
var (
	ErrNoKey     = errors.New("the API key is missing or not one of this server's")
	ErrScope     = errors.New("the API key lacks a scope")
	ErrThrottled = errors.New("the server throttles sign-ins from this address")
	ErrName      = errors.New("the server answers under the name in its public_url alone")
)

// A run is a measurement under way.
type run struct {
	Measurement
	target target
	people *people
}

// Run measures. The figures that there were before an error are returned with it.
func (m Measurement) Run(ctx context.Context) (figures []Figure, err error) {
	u, err := url.Parse(m.URL)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	r := &run{Measurement: m}
	if r.target, err = targetOf(u); err != nil {
		return nil, err
	}
	r.fill()
	if err := r.examine(ctx); err != nil {
		return nil, err
	}
	r.people = newPeople(r)
	defer func() { err = errors.Join(err, r.people.remove(context.WithoutCancel(ctx))) }()
	r.Note("making users")
	if err := r.people.add(ctx, min(max(r.Connections, fewPeople), manyPeople)); err != nil {
		return nil, err
	}
	parts := map[string]func(context.Context) ([]Figure, error){"signin": r.signIns, "check": r.checks, "refresh": r.refreshes, "ends": r.ends}
	for _, name := range Parts {
		if !r.wants(name) {
			continue
		}
		some, err := parts[name](ctx)
		figures = append(figures, some...)
		if err != nil {
			return figures, explained(err)
		}
	}
	return figures, nil
}

func (r *run) fill() {
	if r.Duration == 0 {
		r.Duration = 10 * time.Second
	}
	if r.Connections == 0 {
		r.Connections = 64
	}
	if r.Verifiers == 0 {
		r.Verifiers = 100
	}
	if r.Note == nil {
		r.Note = func(string) {}
	}
}

func (r *run) wants(part string) bool { return len(r.Only) == 0 || slices.Contains(r.Only, part) }

// examine asks, before anything is made, whether the key is good for all of it.
func (r *run) examine(ctx context.Context) error {
	paths := []string{"/v1/session", "/v1/admin/users?limit=1"}
	if r.wants("ends") {
		paths = append(paths, "/v1/revocations")
	}
	for _, path := range paths {
		c, err := r.target.connect(ctx)
		if err != nil {
			return fmt.Errorf("no server answers at %s: %w", r.URL, err)
		}
		err = c.permitted(r.target.request("GET", path, nil, "Authorization", "Bearer "+r.APIKey))
		// The key is nobody's session; what is asked there is the name.
		if err = explained(err); path != "/v1/session" && err != nil || errors.Is(err, ErrName) {
			return err
		}
	}
	return nil
}

// explained adds to a refusal what it means here.
func explained(err error) error {
	var refused *Refusal
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case "invalid_api_key":
		return fmt.Errorf("%w: %w", ErrNoKey, err)
	case "insufficient_scope":
		return fmt.Errorf("%w: %w", ErrScope, err)
	case "misdirected":
		return fmt.Errorf("%w: %w", ErrName, err)
	case "too_many_attempts":
		return fmt.Errorf("%w: %w", ErrThrottled, err)
	}
	return err
}

// figureOf is what an outcome says, with what it was stopped by.
func figureOf(name string, rate, latency *Outcome) Figure {
	milliseconds := func(share float64) float64 {
		return float64(latency.Latency.Quantile(share).Round(time.Microsecond)) / float64(time.Millisecond)
	}
	f := Figure{
		Name: name, PerSecond: rate.PerSecond(), Requests: latency.Latency.Count(),
		P50: milliseconds(0.50), P99: milliseconds(0.99), P999: milliseconds(0.999),
	}
	if rate != latency {
		f.At = latency.PerSecond()
	}
	for _, o := range []*Outcome{rate, latency} {
		if o.Stopped > 0 {
			f.Remark = fmt.Sprintf("%d connections were stopped: %v", o.Stopped, o.Failure)
			break
		}
	}
	return f
}
