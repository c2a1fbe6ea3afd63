package throttle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// asked is a store that counts how often it is asked, keeps the keys it was given, and
// fails when told to.
type asked struct {
	Store
	times  atomic.Int64
	keys   []string
	failed error
}

func (a *asked) Take(ctx context.Context, limits ...Limit) (Waits, error) {
	a.times.Add(1)
	for _, l := range limits {
		a.keys = append(a.keys, l.Key, l.Unless)
	}
	if a.failed != nil {
		return nil, a.failed
	}
	return a.Store.Take(ctx, limits...)
}

func (a *asked) Return(ctx context.Context, mark Mark, limits ...Limit) error {
	if a.failed != nil {
		return a.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return a.Store.Return(ctx, mark, limits...)
}

func shared(t *testing.T) (*Shared, *asked, *clock) {
	t.Helper()
	var c clock
	below := &asked{Store: New(c.now, 100_000)}
	s, err := NewShared(below, []byte("a secret of the server"), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return s, below, &c
}

// A flood on what is used up asks the store once a second, each attempt is told the
// right time, and nobody is refused for a moment longer than by the store. D-23
func TestAFloodOnAUsedUpKeyAsksSeldom(t *testing.T) {
	s, below, c := shared(t)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 2, Every: 5 * time.Second}}
	take(s, limit)
	take(s, limit)
	for step := range 5000 {
		if ok, retry := take(s, limit); ok || retry != 5*time.Second-time.Duration(step)*time.Millisecond {
			t.Fatalf("after %d ms: %v, retry in %s", step, ok, retry)
		}
		c.advance(time.Millisecond)
	}
	if got := below.times.Load(); got > 2+6 {
		t.Errorf("the store was asked %d times in five seconds", got)
	}
	if ok, _ := take(s, limit); !ok {
		t.Error("refused at the very time that every refusal named")
	}
}

// One who comes from an address that is known is not refused because others are.
func TestAMarkIsAskedAbout(t *testing.T) {
	s, _, _ := shared(t)
	account := Limit{Key: "account", Rate: Rate{Burst: 1, Every: time.Hour}, Unless: "home"}
	abroad := account
	abroad.Unless = "abroad"
	if err := s.Return(t.Context(), Mark{Key: "home", For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	take(s, abroad)
	for range 3 {
		if ok, _ := take(s, abroad); ok {
			t.Error("a stranger was let through")
		}
		if ok, _ := take(s, account); !ok {
			t.Error("strangers kept the person out")
		}
	}
}

// What is given back here can be taken here at once.
func TestWhatIsGivenBackIsNotForgotten(t *testing.T) {
	s, _, _ := shared(t)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 1, Every: time.Hour}}
	take(s, limit)
	take(s, limit)
	gone, cancel := context.WithCancel(t.Context())
	cancel() // who counted and went away has not spent for nothing
	if err := s.Return(gone, Mark{}, limit); err != nil {
		t.Fatal(err)
	}
	if ok, _ := take(s, limit); !ok {
		t.Error("what was given back could not be taken")
	}
}

// What is remembered is bounded, and what is not remembered is asked about.
func TestRefusalsAreBounded(t *testing.T) {
	s, below, c := shared(t)
	for i := range 3 * maxRefusals {
		limit := Limit{Key: fmt.Sprint(i), Rate: Rate{Burst: 1, Every: time.Hour}}
		take(s, limit)
		if ok, _ := take(s, limit); ok {
			t.Fatal("two were let through")
		}
		if i%maxRefusals == maxRefusals/2 {
			c.advance(400 * time.Millisecond)
		}
	}
	if got := len(s.recent) + len(s.previous); got > 2*maxRefusals {
		t.Errorf("%d refusals are remembered", got)
	}
	if got := below.times.Load(); got != 6*maxRefusals {
		t.Errorf("the store was asked %d times of %d", got, 6*maxRefusals)
	}
}

// A store that fails is no free attempt, and tells nothing of what was asked. I-7
func TestAFailingStoreLetsNobodyTry(t *testing.T) {
	s, below, _ := shared(t)
	limit := Limit{Key: "ada", Rate: Rate{Burst: 10, Every: time.Second}}
	below.failed = errors.New("connection refused")
	if _, err := s.Take(t.Context(), limit); !errors.Is(err, fault.ErrUnavailable) || !errors.Is(err, below.failed) {
		t.Errorf("Take: %v", err)
	}
	if err := s.Return(t.Context(), Mark{}, limit); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("Return: %v", err)
	}
	if wait, err := NewSignIn(s, Rates{}).Take(t.Context(), "ada", "192.0.2.1"); err == nil {
		t.Errorf("an attempt was let through, or after %s", wait)
	}
	below.failed = nil
	if ok, _ := take(s, limit); !ok {
		t.Error("refused when the store was back")
	}
}

// The store sees hashes of one length, which differ from server to server.
func TestTheStoreSeesNoAddress(t *testing.T) {
	s, below, c := shared(t)
	if _, err := NewSignIn(s, Rates{}).Take(t.Context(), "ada@example.com", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	other, err := NewShared(below, []byte("the secret of another"), c.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSignIn(other, Rates{}).Take(t.Context(), "ada@example.com", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, key := range below.keys {
		if key == "" {
			continue
		}
		if len(key) != sharedKeyBytes || seen[key] || strings.Contains(key, "ada") {
			t.Errorf("the store was given %q", key)
		}
		seen[key] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d keys were given, want three and a mark, twice", len(seen))
	}
}
