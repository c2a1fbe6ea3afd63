package testauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/testauth"
)

// These tests run the public package against the real server: they are the proof
// that the two fit.

// eventually waits for what arrives over a connection, and so at a time of its own.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func verdict(v *coatcheck.Verifier, token string) error {
	_, err := v.Verify(context.Background(), token)
	return err
}

// get sends a request through a verifier's middleware and returns status and body.
func get(t *testing.T, v *coatcheck.Verifier, dress func(*http.Request), opts ...coatcheck.Option) (int, string) {
	t.Helper()
	h := v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := coatcheck.CallerFrom(r.Context())
		_, _ = fmt.Fprint(w, c.UserID, " ", c.SessionID)
	}), opts...)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://orders.test/", nil)
	dress(r)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// renew exchanges a refresh token at the server.
func renew(t *testing.T, auth *testauth.Server, refresh, audience string) string {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"refresh_token": refresh, "audience": audience})
	answer, err := http.Post(auth.URL+"/v1/token/refresh", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var renewed struct {
		Tokens struct {
			Access string `json:"access_token"`
		} `json:"tokens"`
	}
	text, _ := io.ReadAll(answer.Body)
	if err := json.Unmarshal(text, &renewed); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("renew: %d %s", answer.StatusCode, text)
	}
	return renewed.Tokens.Access
}

func TestOneSignInTwoCredentialsOneEnd(t *testing.T) {
	t.Parallel()
	auth := testauth.New(t)
	v := auth.Verifier("orders")
	ada := auth.SignInFor("ada@example.com", "orders", "read")
	other := auth.SignInFor("ada@example.com", "orders", "read")
	want := ada.UserID + " " + ada.SessionID

	if status, body := get(t, v, bearer(ada.AccessToken), coatcheck.Scope("read")); status != http.StatusOK || body != want {
		t.Errorf("token: %d %s", status, body)
	}
	if status, body := get(t, v, func(r *http.Request) { r.AddCookie(ada.Cookie) }); status != http.StatusOK || body != want {
		t.Errorf("cookie: %d %s", status, body)
	}
	caller, err := v.Verify(t.Context(), ada.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	done := caller.Done()
	select {
	case <-done:
		t.Fatal("Done is closed while the session lives")
	default:
	}

	auth.End(ada.SessionID)
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatal("Done is never closed")
	}
	if err := verdict(v, ada.AccessToken); !errors.Is(err, coatcheck.ErrRevoked) {
		t.Errorf("token after the end: %v", err)
	}
	status, body := get(t, v, func(r *http.Request) { r.AddCookie(ada.Cookie) })
	if status != http.StatusUnauthorized || !strings.Contains(body, "session_ended") {
		t.Errorf("cookie after the end: %d %s", status, body)
	}
	if err := verdict(v, other.AccessToken); err != nil { // V-53
		t.Errorf("V-53 another session of the same person: %v", err)
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	auth := testauth.New(t)
	v := auth.Verifier("orders")
	stranger := testauth.New(t).SignInFor("ada@example.com", "orders", "")
	for name, token := range map[string]string{
		"V-16 another audience": auth.SignInFor("ada@example.com", "stock", "").AccessToken,
		"V-16 the server's own": auth.SignIn("ada@example.com").AccessToken,
		"another issuer":        stranger.AccessToken,
		"a refresh token":       auth.SignInFor("ada@example.com", "orders", "").RefreshToken,
	} {
		if err := verdict(v, token); !errors.Is(err, coatcheck.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if status, body := get(t, v, func(r *http.Request) { r.AddCookie(stranger.Cookie) }); status != http.StatusUnauthorized {
		t.Errorf("another server's cookie: %d %s", status, body)
	}
}

// Who was disabled is signed out; whose roles or keys have changed renews, and
// goes on.
func TestEndsAndChanges(t *testing.T) {
	t.Parallel()
	auth := testauth.New(t, testauth.With("token.claims", "roles"))
	var ahead atomic.Int64
	v := verifierBy(t, auth, &ahead, nil)

	ada := auth.SignInFor("ada@example.com", "orders", "")
	auth.SetRoles("ada@example.com", "admin")
	eventually(t, "the old token to be due", func() bool { return errors.Is(verdict(v, ada.AccessToken), coatcheck.ErrExpired) })
	caller, err := v.Verify(t.Context(), renew(t, auth, ada.RefreshToken, "orders"))
	if err != nil {
		t.Fatalf("the renewed token: %v", err)
	}
	if roles := fmt.Sprint(caller.Claims["roles"]); roles != "[admin]" {
		t.Errorf("roles of the renewed token: %s", roles)
	}

	bob := auth.SignInFor("bob@example.com", "orders", "")
	auth.DistrustKeys()
	eventually(t, "trust in the key to end", func() bool { return errors.Is(verdict(v, bob.AccessToken), coatcheck.ErrExpired) })
	fresh := renew(t, auth, bob.RefreshToken, "orders")
	eventually(t, "a token of the new key to be good", func() bool { return verdict(v, fresh) == nil })

	eve := auth.SignInFor("eve@example.com", "orders", "")
	if err := verdict(v, eve.AccessToken); err != nil {
		t.Fatal(err)
	}
	auth.Disable("eve@example.com")
	eventually(t, "the disabled to be refused", func() bool { return errors.Is(verdict(v, eve.AccessToken), coatcheck.ErrRevoked) })
}

// A wire is a client whose connections can be cut and mended.
type wire struct {
	cut  atomic.Bool
	mu   sync.Mutex
	live []io.Closer
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.cut.Load() {
		return nil, errors.New("the wire is cut")
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		w.mu.Lock()
		w.live = append(w.live, answer.Body)
		w.mu.Unlock()
	}
	return answer, err
}

func (w *wire) sever() {
	w.cut.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, body := range w.live {
		_ = body.Close()
	}
}

// verifierBy returns a verifier whose clock is ahead of the server's, and whose
// bound is a minute.
func verifierBy(t *testing.T, auth *testauth.Server, ahead *atomic.Int64, w http.RoundTripper) *coatcheck.Verifier {
	t.Helper()
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer: auth.URL, Audience: "orders", APIKey: auth.APIKey, Staleness: time.Minute,
		HTTPClient: &http.Client{Transport: w}, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

// A verifier whose stream was killed refuses by itself once it is stale, and never
// before it has to; when the stream is back it has missed nothing. V-56
func TestKilledStream(t *testing.T) {
	t.Parallel()
	auth := testauth.New(t)
	ada, bob := auth.SignInFor("ada@example.com", "orders", ""), auth.SignInFor("bob@example.com", "orders", "")
	var ahead atomic.Int64
	w := &wire{}
	v := verifierBy(t, auth, &ahead, w)
	caller, err := v.Verify(t.Context(), ada.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	done := caller.Done()

	w.sever()
	auth.End(bob.SessionID)
	if err := verdict(v, ada.AccessToken); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	ahead.Add(int64(61 * time.Second))
	if err := verdict(v, ada.AccessToken); !errors.Is(err, coatcheck.ErrStale) {
		t.Errorf("past the bound: %v", err)
	}
	if status, body := get(t, v, bearer(ada.AccessToken)); status != http.StatusServiceUnavailable || !strings.Contains(body, "verifier_stale") {
		t.Errorf("past the bound: %d %s", status, body)
	}
	if v.Staleness() < time.Minute {
		t.Errorf("Staleness says %s", v.Staleness())
	}
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Error("Done stays open although nobody can tell any more")
	}

	w.cut.Store(false)
	eventually(t, "the verifier to recover", func() bool { return verdict(v, ada.AccessToken) == nil })
	if err := verdict(v, bob.AccessToken); !errors.Is(err, coatcheck.ErrRevoked) {
		t.Errorf("what ended meanwhile: %v", err)
	}
}

// Sessions and tokens expire by the clock that was given.
func TestGivenClock(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	auth := testauth.New(t, testauth.WithNow(now), testauth.With("session.idle", "1h"))
	ada := auth.SignIn("ada@example.com")
	ask := func() int {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, auth.URL+"/v1/session", nil)
		r.AddCookie(ada.Cookie)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	if status := ask(); status != http.StatusOK {
		t.Errorf("at once: %d", status)
	}
	ahead.Store(int64(59 * time.Minute))
	if status := ask(); status != http.StatusOK {
		t.Errorf("before the idle end: %d", status)
	}
	ahead.Store(int64(3 * time.Hour))
	if status := ask(); status != http.StatusUnauthorized {
		t.Errorf("after the idle end: %d", status)
	}
}
