package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck"
	streams "github.com/coatcheck/coatcheck/internal/load"
)

// An ender ends sessions, each once.
type ender struct {
	server *server
	http   *http.Client
	real   []*coatcheck.Verifier

	cookies  []string // of sessions that live
	signedUp bool

	mu       sync.Mutex
	answered map[string]time.Time // by session: when its end was acknowledged
	asked    []time.Duration
	failed   error
}

// newEnder starts a server with so many sessions.
func newEnder(ctx context.Context, r *rig, sessions int) (*ender, error) {
	dir, err := r.folder("ends")
	if err != nil {
		return nil, err
	}
	e := &ender{answered: map[string]time.Time{}}
	if e.cookies, err = fill(ctx, dir, "127.0.0.1:1", sessions); err != nil {
		return nil, err
	}
	e.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}
	e.server, err = r.serve(ctx, serving{Core: anyCore, Dir: dir, Settings: map[string]string{"token.access": "1h"}})
	return e, err
}

// round ends sessions at a pace and adds what came of it. The pace does not wait for
// answers, so that a queue cannot hide.
func (e *ender) round(ctx context.Context, fleet *streams.Processes, perSecond int, long time.Duration, to *result) error {
	n := perSecond * int(long/time.Second)
	clear(e.answered)
	e.asked, e.failed = nil, nil
	all, err := e.choose(ctx, n)
	if err != nil {
		return err
	}
	counts, err := fleet.Counts()
	if err != nil {
		return err
	}
	var ends sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for _, one := range all {
		<-tick.C
		ends.Go(func() { e.end(ctx, one) })
	}
	ends.Wait()
	if e.failed != nil {
		return e.failed
	}
	perStream := (counts.Entries + n*counts.Whole) / counts.Whole
	if err := fleet.Read(perStream, 20*time.Second); err != nil {
		return err
	}
	return e.gather(fleet, n, to)
}

// A victim is a session that is about to end.
type victim struct {
	id    string
	token string // an access token drawn on it, if its refusal is watched
}

// choose returns sessions to end. Those that are watched belong to somebody who has
// just signed in.
func (e *ender) choose(ctx context.Context, n int) ([]victim, error) {
	all := make([]victim, n)
	every := max(1, n/watched)
	for i := range all {
		if i%every != every/2 {
			all[i].id, e.cookies = "ses_"+e.cookies[0][4:30], e.cookies[1:]
			continue
		}
		var err error
		if all[i], err = e.signIn(ctx); err != nil {
			return nil, fmt.Errorf("sign in: %w", err)
		}
		for _, v := range e.real {
			if _, err := v.Verify(ctx, all[i].token); err != nil {
				return nil, fmt.Errorf("before its end: %w", err)
			}
		}
	}
	return all, nil
}

// signIn begins a session of somebody who signs up the first time.
func (e *ender) signIn(ctx context.Context) (victim, error) {
	path, want := "/v1/sign-in", http.StatusOK
	if !e.signedUp {
		path, want = "/v1/sign-up", http.StatusCreated
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.server.URL+path, strings.NewReader(
		`{"email":"ended@example.com","password":"correct horse battery staple","transport":"token"}`))
	if err != nil {
		return victim{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := e.do(r, want)
	if err != nil {
		return victim{}, err
	}
	e.signedUp = true
	var in struct {
		Session struct{ ID string }
		Tokens  struct {
			Access string `json:"access_token"`
		}
	}
	err = json.Unmarshal(answer, &in)
	return victim{in.Session.ID, in.Tokens.Access}, err
}

func (e *ender) do(r *http.Request, want int) ([]byte, error) {
	answer, err := e.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s answers %s: %s", r.Method, r.URL.Path, answer.Status, body)
	}
	return body, err
}

// end ends a session, and where a token is given asks the real verifiers until all
// have refused it.
func (e *ender) end(ctx context.Context, v victim) {
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, e.server.URL+"/v1/admin/sessions/"+v.id, nil)
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+e.server.APIKey)
		_, err = e.do(r, http.StatusNoContent)
	}
	now := time.Now()
	e.mu.Lock()
	e.answered[v.id] = now
	e.failed = firstOf(e.failed, err)
	e.mu.Unlock()
	if v.token == "" || err != nil {
		return
	}
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for _, verifier := range e.real {
		for {
			if _, err := verifier.Verify(ctx, v.token); errors.Is(err, coatcheck.ErrRevoked) {
				break
			}
			if time.Since(now) > 20*time.Second {
				err = errors.New("a verifier has not refused what was ended, after 20 s")
				e.mu.Lock()
				e.failed = firstOf(e.failed, err)
				e.mu.Unlock()
				return
			}
			<-tick.C
		}
		e.mu.Lock()
		e.asked = append(e.asked, time.Since(now))
		e.mu.Unlock()
	}
}

// gather adds how long after its answer each end arrived at each verifier.
func (e *ender) gather(fleet *streams.Processes, n int, to *result) error {
	latest := map[string]float64{}
	var every []float32
	missing := 0
	err := fleet.Arrivals(func(a streams.Arrival) {
		at, ours := e.answered[a.ID]
		if !ours {
			return
		}
		for _, after := range a.After {
			if after == streams.Missing {
				missing++
				continue
			}
			ms := max(0, float64(a.First-at.UnixNano())/1e6+float64(after)/1e3)
			every = append(every, float32(ms))
			latest[a.ID] = max(latest[a.ID], ms)
		}
	})
	if err != nil {
		return err
	}
	if missing > 0 || len(latest) != n {
		return fmt.Errorf("of %d ends %d were heard of, and %d times one was not", n, len(latest), missing)
	}
	slices.Sort(every)
	to.p50 = append(to.p50, float64(every[len(every)/2]))
	to.p99 = append(to.p99, float64(every[len(every)*99/100]))
	var slowest []float64
	for _, ms := range latest {
		slowest = append(slowest, ms)
	}
	to.slowest = append(to.slowest, percentile99(slowest))
	var asked []float64
	for _, d := range e.asked {
		asked = append(asked, float64(d.Microseconds())/1e3)
	}
	to.asked = append(to.asked, percentile99(asked))
	return nil
}

func percentile99(values []float64) float64 {
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)*99/100]
}
