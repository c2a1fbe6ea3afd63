package server_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/server"
)

// A verifier in the program itself checks as any other does, before there is a
// listener and without an API key: it knows the cookie, and hears of its end.
func TestVerifierInProcess(t *testing.T) {
	s := open(t)
	v := verifier(t, s)
	mux := http.NewServeMux()
	mux.Handle("/", s)
	mux.Handle("GET /orders", v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "orders of "+coatcheck.CallerFrom(r.Context()).Claims["email"].(string))
	})))

	if w := send(t, mux, http.MethodGet, "/orders", "", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", w.Code, w.Body)
	}
	w := send(t, mux, http.MethodPost, "/v1/sign-up", `{"email": "ada@example.com", "password": "one process, one verifier"}`, "")
	if w.Code != http.StatusCreated {
		t.Fatalf("sign-up: %d %s", w.Code, w.Body)
	}
	cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	if w := send(t, mux, http.MethodGet, "/orders", "", cookie); w.Code != http.StatusOK || w.Body.String() != "orders of ada@example.com" {
		t.Errorf("with the cookie: %d %s", w.Code, w.Body)
	}
	if w := send(t, mux, http.MethodPost, "/v1/sign-out", "", cookie); w.Code != http.StatusNoContent {
		t.Fatalf("sign-out: %d %s", w.Code, w.Body)
	}
	within(t, "the verifier hears of the end", func() bool {
		return send(t, mux, http.MethodGet, "/orders", "", cookie).Code == http.StatusUnauthorized
	})
}

// It does not matter whether the public address leads here from this machine, or is
// https: what stays within the process is not encrypted.
func TestVerifierNeedsNoAddress(t *testing.T) {
	s, err := server.New(server.Config{
		PublicURL: "https://auth.example.com", Settings: map[string]string{"verify_email": "optional"},
		Database: "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, s)
	if age := v.Staleness(); age > time.Minute {
		t.Errorf("the log was last heard %s ago", age)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the program itself may ask without a key nobody else may, whatever they send,
// and administration is not among it.
func TestInProcessIsNoWayIn(t *testing.T) {
	s := open(t)
	v, err := s.Verifier(coatcheck.Config{Audience: "orders", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	for _, path := range []string{"/v1/revocations", "/v1/admin/users", "/v1/admin/apikeys"} {
		for _, key := range []string{"", "in-process", "cka_in-process"} {
			if code := statusOf(t, s, path, key); code != http.StatusUnauthorized {
				t.Errorf("%s by %q: %d", path, key, code)
			}
		}
	}
}

// statusOf asks, and does not listen for ever to a stream that it should not get.
func statusOf(t *testing.T, h http.Handler, path, bearer string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:8080"+path, nil)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestVerifierIsTheServersOwn(t *testing.T) {
	s := open(t)
	for name, c := range map[string]coatcheck.Config{
		"another issuer": {Audience: "orders", Issuer: "https://elsewhere.example"},
		"a key":          {Audience: "orders", APIKey: "cka_x"},
		"a client":       {Audience: "orders", HTTPClient: http.DefaultClient},
		"no audience":    {},
	} {
		if v, err := s.Verifier(c); err == nil {
			v.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}

// Closing the server ends its verifiers' streams, and a verifier that is used after
// it refuses everybody.
func TestVerifierOfAClosedServer(t *testing.T) {
	s := open(t)
	v := verifier(t, s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := s.Verifier(coatcheck.Config{Audience: "orders", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	over, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if after.Ready(over) == nil {
		t.Error("a verifier of a closed server is ready")
	}
	if _, err := v.Verify(t.Context(), "no.such.token"); err == nil {
		t.Error("a token was accepted")
	}
}

func verifier(t *testing.T, s *server.Server) *coatcheck.Verifier {
	t.Helper()
	v, err := s.Verifier(coatcheck.Config{Audience: "orders", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	ready, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := v.Ready(ready); err != nil {
		t.Fatal(err)
	}
	return v
}

// send asks as a page of the server's own origin does.
func send(t *testing.T, h http.Handler, method, path, body, cookie string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost:8080"+path, strings.NewReader(body))
	r.Header.Set("Origin", "http://localhost:8080")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// within waits for what another goroutine is about to do.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < time.Minute; <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}
