package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/coatcheck/coatcheck/internal/account"
)

// hashSlots is one for the one core that the server has.
const hashSlots = 1

// asksPerSecond is a moderate load of session checks, or of pages: a few hundredths of
// a core.
const asksPerSecond = 400

// floodAddresses is from how many addresses a flood of sign-ins comes, one caller each.
const floodAddresses = 200

// signInMemory is what the bar leaves the server beside its hashes, in MiB.
const signInMemory = 64

// runSignIn measures sign-ins with every hashing slot busy, beside the hash alone, and
// what they do to those who are signed in already.
func runSignIn(ctx context.Context, r *rig) ([]figure, error) {
	slice := 4 * time.Second
	if r.Quick {
		slice = 1500 * time.Millisecond
	}
	s, err := r.serve(ctx, serving{Core: serverCore, Settings: map[string]string{
		"hash.slots": strconv.Itoa(hashSlots), "proxies": "127.0.0.0/8",
	}})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	cookie, err := signInOnce(ctx, s)
	if err != nil {
		return nil, err
	}
	var m signInMeasures
	for round := range r.Rounds {
		r.Note("signin, round %d of %d", round+1, r.Rounds)
		if err := m.round(ctx, s, cookie, slice); err != nil {
			return nil, err
		}
	}
	mib := float64(account.DefaultHashParameters.MemoryKiB*hashSlots)/1024 + signInMemory
	return []figure{
		{Name: "sign-in, every hashing slot busy", Unit: "/s", Ours: m.signIns, Against: "the hash alone on the same core", Reference: m.hashes, Bar: bar{Ratio: true, AtLeast: true, Limit: 0.9}},
		{Name: "memory of the server during sign-ins, at most", Unit: "MiB", Ours: m.memory, Bar: bar{Limit: mib}},
		{Name: "session check during sign-ins, p99", Unit: "µs", Ours: m.busy.most, Against: "p99 without sign-ins", Reference: m.idle.most, Bar: bar{Ratio: true, Limit: 2}},
		{Name: "session check during a flood of sign-ins from 200 addresses, p50", Unit: "µs", Ours: m.flooded.half, Against: "p50 without sign-ins", Reference: m.idle.half, Bar: bar{Ratio: true, Limit: 2}},
		{Name: "session check during that flood, p99", Unit: "µs", Ours: m.flooded.most, Against: "p99 without sign-ins", Reference: m.idle.most},
		{Name: "sign-in page during that flood, p50", Unit: "µs", Ours: m.floodedPage.half, Against: "p50 without sign-ins", Reference: m.idlePage.half, Bar: bar{Ratio: true, Limit: 2}},
		{Name: "sign-in page during that flood, p99", Unit: "µs", Ours: m.floodedPage.most, Against: "p99 without sign-ins", Reference: m.idlePage.most},
	}, nil
}

type signInMeasures struct {
	hashes, signIns, memory []float64
	idle, busy, flooded     latencies // of session checks
	idlePage, floodedPage   latencies
}

// latencies are what half of the answers, and all but a hundredth of them, took at
// most, round by round, in microseconds.
type latencies struct{ half, most []float64 }

func (l *latencies) add(round [2]float64) {
	l.half, l.most = append(l.half, round[0]), append(l.most, round[1])
}

// What is asked for again and again while others sign in.
const (
	checkPath = "/v1/session"
	pagePath  = "/sign-in"
)

func (m *signInMeasures) round(ctx context.Context, s *server, cookie string, slice time.Duration) error {
	asks := func(path string) (took [2]float64, err error) {
		said, err := roleSays(ctx, loadCore, "asks", s.URL+path, cookieFor(path, cookie), slice.String())
		copy(took[:], said)
		return took, err
	}
	// beside measures what is asked for while the role is at work, which goes on for longer.
	beside := func(role, path string) (took [2]float64, err error) {
		var failed error
		var both sync.WaitGroup
		both.Go(func() { _, failed = roleSays(ctx, loadCore, role, s.URL, (slice + 500*time.Millisecond).String()) })
		both.Go(func() { took, err = asks(path) })
		both.Wait()
		return took, errors.Join(err, failed)
	}
	if err := forgetPeak(s.PID()); err != nil {
		return err
	}
	hashes, err := roleSays(ctx, serverCore, "hashes", slice.String())
	if err != nil {
		return err
	}
	alone, err := roleSays(ctx, loadCore, "sign-ins", s.URL, slice.String())
	if err != nil {
		return err
	}
	m.hashes, m.signIns = append(m.hashes, hashes...), append(m.signIns, alone...)
	for _, one := range []struct {
		into    *latencies
		measure func() ([2]float64, error)
	}{
		{&m.idle, func() ([2]float64, error) { return asks(checkPath) }},
		{&m.busy, func() ([2]float64, error) { return beside("sign-ins", checkPath) }},
		{&m.flooded, func() ([2]float64, error) { return beside("flood", checkPath) }},
		{&m.idlePage, func() ([2]float64, error) { return asks(pagePath) }},
		{&m.floodedPage, func() ([2]float64, error) { return beside("flood", pagePath) }},
	} {
		took, err := one.measure()
		if err != nil {
			return err
		}
		one.into.add(took)
	}
	_, most, err := memory(s.PID())
	m.memory = append(m.memory, most/(1<<20))
	return err
}

// cookieFor is the cookie that a path is asked for with: pages greet strangers.
func cookieFor(path, cookie string) string {
	if path == pagePath {
		return ""
	}
	return cookie
}

// roleSays runs a role that prints a line of numbers, and returns them.
func roleSays(ctx context.Context, core int, name string, args ...string) (numbers []float64, err error) {
	p, err := startRole(ctx, core, name, args...)
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(p.Ready) {
		number, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, errors.Join(err, p.stop())
		}
		numbers = append(numbers, number)
	}
	return numbers, p.stop()
}

// sliceOf is how long a role works: the last of n arguments.
func sliceOf(args []string, n int) (time.Duration, error) {
	if len(args) != n {
		return 0, fmt.Errorf("%d arguments, want %d, the last of them how long", len(args), n)
	}
	return time.ParseDuration(args[n-1])
}

const signInBody = `{"email":"ada@example.com","password":"correct horse battery staple"}`

// signInOnce makes the person and returns a session cookie.
func signInOnce(ctx context.Context, s *server) (string, error) {
	return cookieFrom(ctx, s, "/v1/sign-up")
}

// cookieFrom signs the person up or in, as the path says, and returns the session cookie.
func cookieFrom(ctx context.Context, s *server, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+path, strings.NewReader(signInBody))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	_, _ = io.Copy(io.Discard, answer.Body) // the cookie says it
	_ = answer.Body.Close()
	for _, c := range answer.Cookies() {
		if c.Name == "coatcheck_dev" {
			return c.Value, nil
		}
	}
	return "", fmt.Errorf("%s answers %s and sets no cookie", path, answer.Status)
}

// hashAlone is the reference: the hash of every sign-in and nothing else, in as many
// slots. It prints hashes a second.
func hashAlone(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 1)
	if err != nil {
		return err
	}
	p := account.DefaultHashParameters
	var n atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range hashSlots {
		all.Go(func() {
			for time.Since(begun) < slice && ctx.Err() == nil {
				argon2.IDKey([]byte("correct horse battery staple"), make([]byte, 16), p.Time, p.MemoryKiB, p.Threads, 32)
				n.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Fprintln(os.Stdout, float64(n.Load())/time.Since(begun).Seconds())
	return nil
}

// signInAgainAndAgain keeps every slot busy, and one caller waiting for each. It prints
// sign-ins a second.
func signInAgainAndAgain(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 2)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * hashSlots}}
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 2*hashSlots)
	begun := time.Now()
	for i := range errs {
		all.Go(func() {
			for errs[i] == nil && time.Since(begun) < slice {
				var ignored json.RawMessage
				errs[i] = post(ctx, client, args[0]+"/v1/sign-in", json.RawMessage(signInBody), &ignored)
				n.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Fprintln(os.Stdout, float64(n.Load())/time.Since(begun).Seconds())
	return errors.Join(errs...)
}

// flood signs in from many addresses at once, again and again: who is told to come
// back later does. It prints sign-ins a second.
func flood(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 2)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: floodAddresses}}
	ctx, over := context.WithTimeout(ctx, slice)
	defer over()
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, floodAddresses)
	for i := range errs {
		all.Go(func() {
			for errs[i] == nil && ctx.Err() == nil {
				var signedIn bool
				if signedIn, errs[i] = signInFrom(ctx, client, args[0], fmt.Sprintf("198.51.100.%d", i)); signedIn {
					n.Add(1)
				}
			}
		})
	}
	all.Wait()
	fmt.Fprintln(os.Stdout, float64(n.Load())/slice.Seconds())
	return errors.Join(errs...)
}

// signInFrom signs in from an address, or waits for as long as the server asks to.
func signInFrom(ctx context.Context, client *http.Client, url, address string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/sign-in", strings.NewReader(signInBody))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Forwarded-For", address)
	answer, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			err = nil // the flood is over
		}
		return false, err
	}
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after, err := time.ParseDuration(answer.Header.Get("Retry-After") + "s")
		if err != nil {
			return false, err
		}
		select {
		case <-time.After(after):
		case <-ctx.Done():
		}
		return false, nil
	default:
		return false, fmt.Errorf("a sign-in answers %s", answer.Status)
	}
}

// askOpenLoop asks at a steady rate, whether or not what was asked before is answered,
// and prints what half of the answers, and all but a hundredth of them, took at most, in
// microseconds.
func askOpenLoop(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 3)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	took := make([]float64, int(slice.Seconds()*asksPerSecond))
	errs := make([]error, len(took))
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / asksPerSecond)
	defer tick.Stop()
	for i := range took {
		<-tick.C
		all.Go(func() {
			sent := time.Now()
			errs[i] = askOnce(ctx, client, args[0], args[1])
			took[i] = float64(time.Since(sent).Microseconds())
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(took)
	fmt.Fprintln(os.Stdout, took[len(took)/2], took[len(took)*99/100])
	return nil
}

func askOnce(ctx context.Context, client *http.Client, url, cookie string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if cookie != "" {
		request.Header.Set("Cookie", "coatcheck_dev="+cookie)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}
