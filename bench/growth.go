package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/daemon"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// mayGrow is how much more a request may cost, or a session take, where there are a
// thousand times as many.
const mayGrow = 1.5

// runGrowth measures what requests cost, and what a session and an entry of the log
// take, at several numbers of sessions in PostgreSQL, with its durable defaults, and at
// last how long it takes to move there.
func runGrowth(ctx context.Context, r *rig) (figures []figure, err error) {
	sizes := []int{10_000, 100_000, 1_000_000, 10_000_000}
	if r.Quick {
		sizes = sizes[:2]
	}
	postgres, err := daemon.StartPostgres(daemon.PostgresOptions{Durable: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, postgres.Close()) }()
	for _, part := range []func(context.Context, *rig, *daemon.Postgres, []int) ([]figure, error){
		requestsGrown, logGrown, memoryGrown, moved,
	} {
		some, err := part(ctx, r, postgres, sizes)
		if err != nil {
			return nil, err
		}
		figures = append(figures, some...)
	}
	return figures, nil
}

// A request is what is measured at every size: how often in a round, and one of it, with
// a session that no other has used.
type request struct {
	name, unit string
	times      int
	do         func(ctx context.Context, c *multitude, n int) error
	before     func(ctx context.Context, c *multitude, n int) error // nil, or what is not measured
}

// requests use up sessions, of which there are enough for five rounds of the smallest
// size.
var requests = append([]request{
	{name: "first check of a session", unit: "µs", times: 400, do: firstCheck},
	{name: "first check of a session whose pages the database has in memory", unit: "µs", times: 100, do: firstCheck, before: fetchPages},
	{name: "refresh", unit: "µs", times: 300, do: refreshOnce},
	{name: "refresh of a session whose pages the database has in memory", unit: "µs", times: 100, do: refreshOnce, before: fetchPages},
}, otherRequests...)

func firstCheck(ctx context.Context, c *multitude, n int) error {
	cookie, _ := c.cookie(n)
	_, err := c.app.Sessions.CheckCookie(ctx, cookie)
	return err
}

func refreshOnce(ctx context.Context, c *multitude, n int) error {
	_, err := c.app.Sessions.Refresh(ctx, session.RefreshRequest{
		Token: c.keys.refreshToken(n), ClientID: session.FirstParty, Arrived: time.Now(), From: from,
	})
	return err
}

// fetchPages has the database read what a request will ask it for, of which the node
// remembers nothing.
func fetchPages(ctx context.Context, c *multitude, n int) error {
	_, ofSession := c.app.Store.OfSession(ctx, "ses_"+crowdOrdinal(n))
	_, ofGrant := c.app.Store.OfGrant(ctx, "grt_"+crowdOrdinal(n))
	return errors.Join(ofSession, ofGrant)
}

var otherRequests = []request{
	{name: "check of a remembered session", unit: "ns", times: 100, do: func(ctx context.Context, c *multitude, _ int) error {
		cookie, _ := c.cookie(0)
		for range 1000 { // in the ns of one, as many as µs of all
			if _, err := c.app.Sessions.CheckCookie(ctx, cookie); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "sign-in without the hash", unit: "µs", times: 200, do: func(ctx context.Context, c *multitude, n int) error {
		proof, err := c.app.Accounts.CheckPassword(ctx, emailOf(n/perPerson), crowdPassword, from)
		if err != nil {
			return err
		}
		_, err = c.app.Sessions.Begin(ctx, proof, session.Opening{From: from, Event: audit.SignedIn, Cookie: true, Tokens: true})
		return err
	}},
	{name: "list of a person's sessions", unit: "µs", times: 200, do: func(ctx context.Context, c *multitude, n int) error {
		list, err := c.app.Sessions.List(ctx, "usr_"+crowdOrdinal(n/perPerson), "", 100)
		if err == nil && len(list) == 0 {
			err = errors.New("a person has no sessions")
		}
		return err
	}},
	{name: "end of a session", unit: "µs", times: 200, do: func(ctx context.Context, c *multitude, n int) error {
		what := session.Ending{Kind: feed.Session, ID: "ses_" + crowdOrdinal(n), Reason: "signed_out"}
		ended, err := c.app.Sessions.End(ctx, what, "usr_"+crowdOrdinal(n/perPerson), from)
		if err == nil && ended != 1 {
			err = fmt.Errorf("%d sessions ended, want 1", ended)
		}
		return err
	}},
	{name: "list of the newest hundred sessions", unit: "µs", times: 50, do: func(ctx context.Context, c *multitude, _ int) error {
		_, err := c.app.Sessions.List(ctx, "", "", 100)
		return err
	}},
	{name: "sweep that finds nothing over", unit: "µs", times: 20, do: func(ctx context.Context, c *multitude, _ int) error {
		_, _, err := c.app.Store.Sweep(ctx, 30*24*time.Hour, 1000)
		return err
	}},
}

// requestsGrown measures requests, and the room that sessions take.
func requestsGrown(ctx context.Context, r *rig, postgres *daemon.Postgres, sizes []int) (figures []figure, err error) {
	var all []*multitude
	for _, n := range sizes {
		c, err := r.gather(ctx, postgres, n)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		all = append(all, c)
	}
	room := make([][]float64, len(all))
	counts := make([][]float64, len(all))
	for i, c := range all {
		bytes, err := c.room(ctx)
		if err != nil {
			return nil, err
		}
		room[i] = []float64{bytes}
		begun := time.Now()
		if _, err := c.app.Store.Count(ctx); err != nil {
			return nil, err
		}
		counts[i] = []float64{time.Since(begun).Seconds()}
	}
	took := make([][][]float64, len(requests)) // by request, size and round
	for i := range took {
		took[i] = make([][]float64, len(all))
	}
	for round := range r.Rounds {
		r.Note("growth: round %d of %d", round+1, r.Rounds)
		for i, what := range requests {
			for j, c := range all {
				middle, err := c.measure(ctx, what)
				if err != nil {
					return nil, fmt.Errorf("%s, %s sessions: %w", what.name, sizeText(c.n), err)
				}
				took[i][j] = append(took[i][j], middle)
			}
		}
	}
	for i, what := range requests {
		figures = append(figures, atSizes(what.name+", %s sessions in PostgreSQL", what.unit, sizes, took[i])...)
	}
	figures = append(figures, atSizes("size of a session with its grant in PostgreSQL, %s sessions", "B", sizes, room)...)
	last := len(sizes) - 1
	return append(figures, figure{Name: "count of all sessions, " + sizeText(sizes[last]) + " in PostgreSQL", Unit: "s", Ours: counts[last]}), nil
}

// measure returns what one request takes: the median of many, one after the other.
func (c *multitude) measure(ctx context.Context, what request) (float64, error) {
	const warm = 20
	took := make([]float64, 0, what.times)
	for i := range warm + what.times {
		n, err := c.next()
		if err != nil {
			return 0, err
		}
		if what.before != nil {
			if err := what.before(ctx, c, n); err != nil {
				return 0, err
			}
		}
		begun := time.Now()
		if err := what.do(ctx, c, n); err != nil {
			return 0, err
		}
		if i >= warm {
			took = append(took, float64(time.Since(begun))/float64(time.Microsecond))
		}
	}
	return median(took), nil
}

// atSizes are figures of one thing at several sizes. The last is held to the first; the
// others are for information. %s in the name is the size.
func atSizes(name, unit string, sizes []int, values [][]float64) []figure {
	var figures []figure
	for i, n := range sizes {
		f := figure{Name: fmt.Sprintf(name, sizeText(n)), Unit: unit, Ours: values[i]}
		if i > 0 {
			f.Against, f.Reference = "with "+sizeText(sizes[0]), slices.Clone(values[0])
		}
		if i > 0 && i == len(sizes)-1 {
			f.Bar = bar{Ratio: true, Limit: mayGrow}
		}
		figures = append(figures, f)
	}
	return figures
}

// memoryGrown measures what a remembered session takes in a node's memory, and what its
// check costs, where as many are remembered.
func memoryGrown(ctx context.Context, r *rig, _ *daemon.Postgres, sizes []int) ([]figure, error) {
	each, check, bare := make([][]float64, len(sizes)), make([][]float64, len(sizes)), make([][]float64, len(sizes))
	for i, n := range sizes {
		r.Note("growth: %s remembered sessions", sizeText(n))
		memory, nanos, floor, err := r.rememberMany(ctx, n)
		if err != nil {
			return nil, err
		}
		each[i], check[i], bare[i] = []float64{memory}, []float64{nanos}, []float64{floor}
	}
	figures := atSizes("memory of a remembered session among %s", "B", sizes, each)
	figures = append(figures, atSizes("check of a remembered session among %s, in process", "ns", sizes, check)...)
	floors := atSizes("a secret hashed and found in a map of %s", "ns", sizes, bare)
	floors[len(floors)-1].Bar = bar{} // it is the processor's caches, and nobody's to better
	return append(figures, floors...), nil
}
