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

// checksPerSecond is a moderate load of session checks: a few hundredths of a core.
const checksPerSecond = 400

// signInMemory is what the bar leaves the server beside its hashes, in MiB.
const signInMemory = 64

// runSignIn measures sign-ins with every hashing slot busy, beside the hash alone, and
// what they do to those who are signed in already.
func runSignIn(ctx context.Context, r *rig) ([]figure, error) {
	slice := 4 * time.Second
	if r.Quick {
		slice = 1500 * time.Millisecond
	}
	s, err := r.serve(ctx, serving{Core: serverCore, Settings: map[string]string{"hash.slots": strconv.Itoa(hashSlots)}})
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
		{Name: "session check during sign-ins, p99", Unit: "µs", Ours: m.busy, Against: "p99 without sign-ins", Reference: m.idle, Bar: bar{Ratio: true, Limit: 2}},
	}, nil
}

type signInMeasures struct{ hashes, signIns, memory, idle, busy []float64 }

func (m *signInMeasures) round(ctx context.Context, s *server, cookie string, slice time.Duration) error {
	hashes, err := roleSays(ctx, serverCore, "hashes", slice.String())
	if err != nil {
		return err
	}
	idle, err := roleSays(ctx, loadCore, "checks", s.URL, cookie, slice.String())
	if err != nil {
		return err
	}
	if err := forgetPeak(s.PID()); err != nil {
		return err
	}
	alone, err := roleSays(ctx, loadCore, "sign-ins", s.URL, slice.String())
	if err != nil {
		return err
	}
	var busy float64
	var beside, failed error
	var both sync.WaitGroup
	both.Go(func() {
		_, beside = roleSays(ctx, loadCore, "sign-ins", s.URL, (slice + 500*time.Millisecond).String())
	})
	both.Go(func() { busy, failed = roleSays(ctx, loadCore, "checks", s.URL, cookie, slice.String()) })
	both.Wait()
	_, most, err := memory(s.PID())
	m.hashes, m.signIns = append(m.hashes, hashes), append(m.signIns, alone)
	m.idle, m.busy, m.memory = append(m.idle, idle), append(m.busy, busy), append(m.memory, most/(1<<20))
	return errors.Join(beside, failed, err)
}

// roleSays runs a role that prints one number, and returns it.
func roleSays(ctx context.Context, core int, name string, args ...string) (float64, error) {
	p, err := startRole(ctx, core, name, args...)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseFloat(p.Ready, 64)
	return number, errors.Join(err, p.stop())
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
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/sign-up", strings.NewReader(signInBody))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	_ = answer.Body.Close()
	for _, c := range answer.Cookies() {
		if c.Name == "coatcheck_dev" {
			return c.Value, nil
		}
	}
	return "", fmt.Errorf("sign-up answers %s and sets no cookie", answer.Status)
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

// checkOpenLoop sends session checks at a steady rate, whether or not those before are
// answered, and prints the 99th percentile of their latencies in microseconds.
func checkOpenLoop(ctx context.Context, args []string) error {
	slice, err := sliceOf(args, 3)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	took := make([]float64, int(slice.Seconds()*checksPerSecond))
	errs := make([]error, len(took))
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / checksPerSecond)
	defer tick.Stop()
	for i := range took {
		<-tick.C
		all.Go(func() {
			sent := time.Now()
			errs[i] = checkOnce(ctx, client, args[0], args[1])
			took[i] = float64(time.Since(sent).Microseconds())
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(took)
	fmt.Fprintln(os.Stdout, took[len(took)*99/100])
	return nil
}

func checkOnce(ctx context.Context, client *http.Client, url, cookie string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/session", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Cookie", "coatcheck_dev="+cookie)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("a session check answers %s", answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}
