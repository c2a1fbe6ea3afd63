package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// overConnections runs a load whose workers have a connection each.
func (r *run) overConnections(ctx context.Context, workers int, call func(c *connection, worker int) error, load func(Call) Outcome) (Outcome, error) {
	open := make([]*connection, workers)
	defer func() {
		for _, c := range open {
			if c != nil {
				c.close()
			}
		}
	}()
	for i := range open {
		var err error
		if open[i], err = r.target.connect(ctx); err != nil {
			return Outcome{}, fmt.Errorf("open connection %d of %d: %w", i+1, workers, err)
		}
	}
	out := load(func(_ context.Context, w int) error { return call(open[w], w) })
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if out.Stopped == workers {
		return out, out.Failure
	}
	return out, nil
}

// closed is a closed loop over connections, as long as the measurement says.
func (r *run) closed(ctx context.Context, workers int, call func(c *connection, worker int) error) (Outcome, error) {
	return r.overConnections(ctx, workers, call, func(call Call) Outcome { return Closed(ctx, workers, r.Duration, call) })
}

// signIns finds how many people can sign in. Callers whom the server turns away
// because all its slots and the places to wait are taken leave it to the others.
func (r *run) signIns(ctx context.Context) ([]Figure, error) {
	workers := min(r.Connections, manyAtOnce)
	r.Note(fmt.Sprintf("sign-ins, %d at the same time", workers))
	out, err := r.closed(ctx, workers, func(c *connection, _ int) error {
		_, err := r.people.signIn(c, "cookie")
		return err
	})
	if err != nil {
		return nil, err
	}
	f := figureOf("sign_in", &out, &out)
	if isBusy(out.Failure) {
		f.Remark = fmt.Sprintf("%d at the same time: more the server turns away", workers-out.Stopped)
	} else if out.Failure != nil {
		return nil, out.Failure
	}
	return []Figure{f}, nil
}

// checks finds what it costs to be recognised by a cookie: first how many requests
// can be answered, then what one waits when half as many come.
func (r *run) checks(ctx context.Context) ([]Figure, error) {
	sessions := min(64, 4*r.Connections)
	r.Note("checks: signing in")
	all, err := r.people.begin(ctx, sessions, "cookie")
	if err != nil {
		return nil, err
	}
	var figures []Figure
	for _, what := range []struct{ name, path string }{{"session", "/v1/session"}, {"forward_auth", "/v1/forward-auth"}} {
		requests := make([][]byte, sessions)
		for i, a := range all {
			requests[i] = r.target.request("GET", what.path, nil, "Cookie", a.cookie, "X-Forwarded-Method", "GET")
		}
		turns := make([]int, r.Connections)
		call := func(c *connection, w int) error {
			turns[w]++
			_, err := c.send(requests[(w+turns[w])%sessions], nil)
			return err
		}
		r.Note("checks by " + what.path + ": as many as can be answered")
		rate, err := r.closed(ctx, r.Connections, call)
		if err != nil {
			return figures, err
		}
		half := max(1, rate.PerSecond()/2)
		r.Note(fmt.Sprintf("checks by %s: half of that, %.0f a second", what.path, half))
		latency, err := r.overConnections(ctx, r.Connections, call, func(call Call) Outcome {
			return Open(ctx, r.Connections, half, r.Duration, call)
		})
		if err != nil {
			return figures, err
		}
		figures = append(figures, figureOf(what.name, &rate, &latency))
	}
	return figures, nil
}

// refreshes finds how many refresh tokens can be exchanged, each caller going on with
// the successor it got.
func (r *run) refreshes(ctx context.Context) ([]Figure, error) {
	r.Note("refreshes: signing in")
	all, err := r.people.begin(ctx, r.Connections, "token")
	if err != nil {
		return nil, err
	}
	r.Note("refreshes")
	out, err := r.closed(ctx, r.Connections, func(c *connection, w int) error {
		var in struct {
			Tokens struct {
				Refresh string `json:"refresh_token"`
			}
		}
		_, err := c.send(r.target.request("POST", "/v1/token/refresh", map[string]any{"refresh_token": all[w].refresh}), &in)
		if err == nil && in.Tokens.Refresh == "" {
			err = errors.New("the server refreshes without a successor")
		}
		all[w].refresh = in.Tokens.Refresh
		return err
	})
	if err != nil {
		return nil, err
	}
	return []Figure{figureOf("refresh", &out, &out)}, nil
}

// endsPerSecond is how often a session is ended while ends are measured.
const endsPerSecond = 10

// ends finds how long after the answer to the call that ends a session each verifier
// knows of it.
func (r *run) ends(ctx context.Context) ([]Figure, error) {
	n := min(max(endsPerSecond, int(endsPerSecond*r.Duration.Seconds())), 20*endsPerSecond)
	r.Note(fmt.Sprintf("ends: signing in %d times", n))
	all, err := r.people.begin(ctx, n, "token")
	if err != nil {
		return nil, err
	}
	r.Note(fmt.Sprintf("ends: opening %d streams", r.Verifiers))
	// Others may end sessions of theirs on this server: their entries are kept, too.
	subscribers, err := Subscribe(ctx, Options{URL: r.URL, APIKey: r.APIKey, N: r.Verifiers, Keep: 2*n + 100, Ramp: time.Second})
	if err != nil {
		return nil, err
	}
	defer subscribers.Close()
	within, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := subscribers.Ready(within); err != nil {
		return nil, fmt.Errorf("open %d streams: %w", r.Verifiers, err)
	}
	r.Note(fmt.Sprintf("ends: %d a second", endsPerSecond))
	answered, err := r.endAll(ctx, all)
	if err != nil {
		return nil, err
	}
	latency, err := r.arrived(ctx, subscribers, answered)
	if err != nil {
		return nil, err
	}
	f := figureOf("end_to_refusal", &Outcome{}, latency)
	f.PerSecond, f.At = endsPerSecond, 0
	f.Remark = fmt.Sprintf("%d verifiers", r.Verifiers)
	return []Figure{f}, nil
}

// endAll ends the sessions one after the other, at the fixed rate, and returns when
// each call was answered, in Unix nanoseconds.
func (r *run) endAll(ctx context.Context, all []admitted) (map[string]int64, error) {
	const workers = 4
	answered := make(map[string]int64, len(all))
	left := make(chan string, len(all))
	for _, a := range all {
		left <- a.session
	}
	var mu sync.Mutex
	d := time.Duration(len(all)) * time.Second / endsPerSecond
	out, err := r.overConnections(ctx, workers, func(c *connection, _ int) error {
		var id string
		select {
		case id = <-left:
		default:
			return nil
		}
		_, err := c.send(r.target.request("DELETE", "/v1/admin/sessions/"+id, nil, "Authorization", "Bearer "+r.APIKey), nil)
		now := time.Now().UnixNano()
		mu.Lock()
		defer mu.Unlock()
		answered[id] = now
		return err
	}, func(call Call) Outcome { return Open(ctx, workers, endsPerSecond, d, call) })
	return answered, errors.Join(err, out.Failure)
}

// arrived waits until every verifier has heard of every end, and returns how long
// after its answer each did.
func (r *run) arrived(ctx context.Context, s *Subscribers, answered map[string]int64) (*Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		out, missing := &Outcome{}, len(answered)*r.Verifiers
		for _, a := range s.Arrivals() {
			at, ours := answered[a.ID]
			for _, after := range a.After {
				if ours && after != Missing {
					missing--
					out.Latency.Record(time.Duration(a.First - at + int64(min(after, math.MaxUint32-1))*1000))
				}
			}
		}
		if missing == 0 {
			return out, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d times a verifier did not hear of an end: %w", missing, ctx.Err())
		}
	}
}
