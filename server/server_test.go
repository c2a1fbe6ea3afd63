package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/server"
)

func open(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{
		Database: "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, h http.Handler, path, bearer string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:8080"+path, nil)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestServes(t *testing.T) {
	s := open(t)
	if w := get(t, s, "/readyz", ""); w.Code != http.StatusOK {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	if w := get(t, s, "/.well-known/jwks.json", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"kid":"key_`) {
		t.Errorf("keys: %d %s", w.Code, w.Body)
	}
	key, err := s.AddAPIKey(t.Context(), "deploy", "admin")
	if err != nil {
		t.Fatal(err)
	}
	if w := get(t, s, "/v1/admin/users", key); w.Code != http.StatusOK {
		t.Errorf("by API key: %d %s", w.Code, w.Body)
	}
	if _, err := s.AddAPIKey(t.Context(), "deploy", "everything"); err == nil {
		t.Error("an unknown scope was accepted")
	}
	if w := get(t, s, "/metrics", ""); w.Code != http.StatusNotFound {
		t.Errorf("V-106 metrics among the public routes: %d", w.Code)
	}
	if w := get(t, s.Metrics(), "/metrics", ""); w.Code != http.StatusOK {
		t.Errorf("metrics: %d", w.Code)
	}
}

func TestStopAndClose(t *testing.T) {
	s := open(t)
	s.Stop()
	if w := get(t, s, "/readyz", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("readyz after Stop: %d", w.Code)
	}
	if w := get(t, s, "/healthz", ""); w.Code != http.StatusOK {
		t.Errorf("healthz after Stop: %d", w.Code)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(over); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Close with a context that is over: %v", err)
	}
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestSetupLink(t *testing.T) {
	s := open(t)
	first, err := s.SetupLink(t.Context())
	if err != nil || !strings.HasPrefix(first, "http://localhost:8080/setup?token=") {
		t.Fatalf("%q, %v", first, err)
	}
	second, err := s.SetupLink(t.Context())
	if err != nil || second == first {
		t.Errorf("the second link is the first: %v", err)
	}
}

func TestMistakesAreToldAtOnce(t *testing.T) {
	canary := "hunter2hunter2"
	_, err := server.New(server.Config{
		PublicURL: "http://auth.example.com", Database: "mysql://x", Secret: canary,
		Settings: map[string]string{"session.idle": "soon", "session.idel": "1h"},
	})
	if err == nil {
		t.Fatal("no mistake was told")
	}
	for _, want := range []string{"public_url", "database", "secret", "session.idle", "session.idel"} {
		if !strings.Contains(err.Error(), want+":") {
			t.Errorf("nothing is said of %s in: %v", want, err)
		}
	}
	for _, never := range []string{canary, "COATCHECK_"} {
		if strings.Contains(err.Error(), never) {
			t.Errorf("%q in: %v", never, err)
		}
	}
	if _, err := server.New(server.Config{Settings: map[string]string{"secret": canary}}); err == nil {
		t.Error("a setting with a field of its own was accepted")
	}
}

func TestSecretIsNeverLogged(t *testing.T) { // V-104
	const secret = "P2wdCpvoR1Jj0cD-invVJA4db3O4opxUR_Dh0sO0pZY"
	log := &strings.Builder{}
	s, err := server.New(server.Config{
		Database: "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), Secret: secret,
		Logger: slog.New(slog.NewTextHandler(io.Writer(log), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	get(t, s, "/sign-in", "")
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("V-104 the secret is in the log:\n%s", log)
	}
}
