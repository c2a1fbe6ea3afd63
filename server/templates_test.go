package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/coatcheck/coatcheck/server"
)

// The program's own templates, words and styles stand in for ours; what would stand
// in for nothing is a mistake.
func TestTemplates(t *testing.T) {
	config := func(files fstest.MapFS) server.Config {
		return server.Config{
			Database: "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), Templates: files, Logger: slog.New(slog.DiscardHandler),
		}
	}
	s, err := server.New(config(fstest.MapFS{
		"signed_out.html": {Data: []byte(`{{define "main"}}<h1>So long</h1>{{end}}`)},
		"theme.css":       {Data: []byte(":root { --radius: 0 }")},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for path, want := range map[string]string{"/signed-out": "<h1>So long</h1>", "/sign-in": "password", "/static/style.css": "--radius: 0"} {
		if w := get(t, s, path, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %q: %s", path, w.Code, want, w.Body)
		}
	}
	if wrong, err := server.New(config(fstest.MapFS{"sing_in.html": {Data: []byte("x")}})); err == nil {
		_ = wrong.Close(t.Context())
		t.Error("a template of no page was accepted")
	} else if !strings.Contains(err.Error(), "sing_in.html") {
		t.Errorf("the mistake is not named: %v", err)
	}
}

// Mails are the program's own, too; without a mail server they are in its log.
func TestTemplatesOfMails(t *testing.T) {
	log := &lines{}
	s, err := server.New(server.Config{
		Database: "sqlite:" + filepath.Join(t.TempDir(), "auth.db"), Logger: slog.New(slog.NewTextHandler(log, nil)),
		Settings: map[string]string{"brand.name": "The Shop"},
		Templates: fstest.MapFS{
			"mail/reset_password.txt": {Data: []byte(`{{define "subject"}}A new key{{end}}{{define "content"}}A key for a door: {{.Link}}{{end}}`)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if w := send(t, s, http.MethodPost, "/v1/sign-up", `{"email": "ada@example.com", "password": "one process, one verifier"}`, ""); w.Code != http.StatusCreated {
		t.Fatalf("sign-up: %d %s", w.Code, w.Body)
	}
	if w := send(t, s, http.MethodPost, "/v1/password/forgot", `{"email": "ada@example.com"}`, ""); w.Code != http.StatusAccepted {
		t.Fatalf("forgot: %d %s", w.Code, w.Body)
	}
	within(t, "the mail is in the log", func() bool {
		text := log.String()
		return strings.Contains(text, "A key for a door") && strings.Contains(text, "http://localhost:8080/reset?token=ckl_") && strings.Contains(text, "The Shop")
	})
}

// Lines are written by the server and read by its test.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
