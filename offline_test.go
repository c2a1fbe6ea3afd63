package coatcheck

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// memoryStore is an OfflineStore for tests.
type memoryStore struct {
	mu    sync.Mutex
	state []byte
	fail  error
}

func (m *memoryStore) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return nil, fs.ErrNotExist
	}
	return m.state, nil
}

func (m *memoryStore) Save(_ context.Context, state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.state = state
	}
	return m.fail
}

func (m *memoryStore) holds(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Contains(m.state, []byte(text))
}

// deadClient reaches nothing.
var deadClient = &http.Client{Transport: deadTransport{}}

type deadTransport struct{}

func (deadTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}

func feedSession(id string) feed.Entry { return feed.Entry{Kind: feed.Session, ID: id} }

func offline(store OfflineStore) func(*Config) {
	return func(c *Config) { c.WhenStale, c.OfflineStore = Offline, store }
}

func TestOfflineOverARestart(t *testing.T) {
	store := &memoryStore{}
	s, v, clock := setUp(t, offline(store))
	fine, ended := s.Token("usr_ada", "ses_1"), s.Token("usr_ada", "ses_2")
	cookie := s.Cookie("usr_ada", "ses_1")
	s.Append(feedSession("ses_2"))
	eventually(t, "the end is kept", func() bool { return store.holds("ses_2") })
	v.Close()

	field := startVerifier(t, s, clock, offline(store), func(c *Config) { c.HTTPClient = deadClient })
	if err := field.Ready(t.Context()); err != nil {
		t.Fatalf("Ready without a network: %v", err)
	}
	clock.Add(time.Minute)
	if _, err := field.Verify(t.Context(), fine); err != nil {
		t.Errorf("a good token: %v", err)
	}
	if _, err := field.Verify(t.Context(), ended); !errors.Is(err, ErrRevoked) {
		t.Errorf("a token whose end was kept: %v, want ErrRevoked", err)
	}
	if _, err := field.checkCookie(t.Context(), cookie); !errors.Is(err, ErrStale) {
		t.Errorf("a cookie: %v, want ErrStale: Offline takes tokens only", err)
	}
	if got := field.Staleness(); got < time.Hour {
		t.Errorf("Staleness %v of a verifier that hears nothing", got)
	}
	clock.Add(10 * time.Minute)
	if _, err := field.Verify(t.Context(), fine); !errors.Is(err, ErrExpired) {
		t.Errorf("an expired token: %v, want ErrExpired", err)
	}
}

func TestOfflineRefusesATimeBelowItsMark(t *testing.T) { // I-10
	store := &memoryStore{}
	s, v, clock := setUp(t, offline(store))
	token := s.Token("usr_ada", "ses_1", func(c *jwt.Claims) { c.IssuedAt -= 3600; c.ExpiresAt += 36000 })
	clock.Add(2 * time.Hour)
	v.Close() // keeps the time

	dead := func(c *Config) { c.HTTPClient = deadClient }
	clock.Add(-time.Hour)
	field := verifierOf(t, s, clock, offline(store), dead)
	if _, err := field.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
		t.Errorf("an hour before the time that was kept: %v, want ErrStale", err)
	}
	clock.Add(time.Hour + time.Minute)
	if _, err := field.Verify(t.Context(), token); err != nil {
		t.Errorf("after that time again: %v", err)
	}
	clock.Add(-time.Minute)
	if _, err := field.Verify(t.Context(), token); !errors.Is(err, ErrStale) {
		t.Errorf("set back while running: %v, want ErrStale", err)
	}
}

func TestOfflineRemembersNoCookie(t *testing.T) {
	s, v, clock := setUp(t, offline(nil))
	cookie, token := s.Cookie("usr_ada", "ses_1"), s.Token("usr_ada", "ses_1")
	if _, err := v.checkCookie(t.Context(), cookie); err != nil {
		t.Fatalf("while the log is heard: %v", err)
	}
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(11 * time.Second)
	if _, err := v.checkCookie(t.Context(), cookie); !errors.Is(err, ErrStale) {
		t.Errorf("a remembered cookie: %v, want ErrStale", err)
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("a token: %v", err)
	}
}

func TestOfflineStoreThatCannotBeUsed(t *testing.T) {
	for name, kept := range map[string]string{
		"no JSON": "x", "another issuer": `{"version":1,"issuer":"https://other.example","keys":{"keys":[]}}`,
		"another version": `{"version":2}`, "no keys": `{"version":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			clock := newTestClock()
			s := NewStandIn(clock.Now)
			defer s.Stop()
			v := startVerifier(t, s, clock, offline(&memoryStore{state: []byte(kept)}), func(c *Config) { c.HTTPClient = deadClient })
			eventually(t, "the reading has failed", func() bool { return v.progress.failedKeys() })
			if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1")); !errors.Is(err, ErrStale) {
				t.Errorf("error %v, want ErrStale", err)
			}
		})
	}
}

func TestOfflineStoreThatFailsIsWrittenAgain(t *testing.T) {
	store := &memoryStore{fail: errors.New("disk full")}
	s, _, _ := setUp(t, offline(store))
	s.Append(feedSession("ses_9"))
	store.mu.Lock()
	store.fail = nil
	store.mu.Unlock()
	eventually(t, "the end is kept", func() bool { return store.holds("ses_9") })
}
