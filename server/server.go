// Package server is the whole of Coatcheck as an [http.Handler], for a Go program
// that wants to bring its own authentication server along: the pages, the API, the
// revocation stream and everything that goes on behind them.
//
// It decides nothing of its own: what it serves is what the coatcheck binary
// serves, over the same database. To check who calls, services use the package
// github.com/coatcheck/coatcheck; for the same program [Server.Verifier] makes one of
// its verifiers.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
)

// Config says what to serve. The zero Config is the binary's without any: SQLite
// in ./coatcheck.db and http://localhost:8080. No file and no environment is read.
type Config struct {
	// PublicURL is the origin that people and services use, https except on a
	// loopback host: "https://auth.example.com". It is the issuer, and every link is
	// made from it. The handler must be mounted at the root of that origin; a program's own
	// pages take their paths from it, by patterns that are more specific.
	PublicURL string
	// Database is "sqlite:FILE", made if it is not there, or "postgres://…".
	Database string
	// Secret encrypts the signing keys at rest: 32 or more random bytes as base64url,
	// hex or plain text, the same for as long as the database lives. Required with
	// PostgreSQL; a new SQLite database gets one, in a file beside it.
	Secret string
	// Settings are all other settings by the names that docs/configuration.md lists,
	// written as in the environment: {"session.idle": "2d", "token.audiences":
	// "orders,stock"}. What is about listening (listen, tls, metrics, log) has no
	// effect: the program itself listens.
	Settings map[string]string
	// Templates stand in for what people see: NAME.html for a page, mail/NAME.txt and
	// mail/NAME.html for a mail, style.css, and LANGUAGE.toml for the words, such as
	// de.toml. What is not there is Coatcheck's own. It takes the place of the setting
	// pages.folder, and is read once. Nil: nothing is replaced.
	Templates fs.FS
	// Logger takes what an operator should know; nil means slog.Default. No secret is
	// ever logged.
	Logger *slog.Logger
}

// A Server is an authentication server. It is safe for concurrent use.
type Server struct {
	app    *app.App
	issuer string
	finish context.CancelFunc
	loops  sync.WaitGroup
	inside inside
	close  func() error
}

// New opens the database, makes the secret and the keys of a new one, and begins
// what goes on beside requests: following the log, rotating keys, forgetting what
// is over. Close ends it. An error about the Config tells of all mistakes at once.
func New(c Config) (*Server, error) {
	settings := maps.Clone(c.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	for name, text := range map[string]string{"public_url": c.PublicURL, "database": c.Database, "secret": c.Secret} {
		if _, twice := settings[name]; twice {
			return nil, fmt.Errorf("coatcheck: Settings: %s has a field of its own", name)
		}
		if text != "" {
			settings[name] = text
		}
	}
	config, err := app.Configure(settings)
	if err != nil {
		return nil, fmt.Errorf("coatcheck: %w", err)
	}
	logger := c.Logger
	if logger == nil {
		logger = slog.Default()
	}
	life, finish := context.WithCancel(context.Background())
	a, err := app.New(life, app.Options{Config: config, Pages: c.Templates, Logger: logger})
	if err != nil {
		finish()
		return nil, fmt.Errorf("coatcheck: %w", err)
	}
	s := &Server{app: a, issuer: config.PublicURL, finish: finish}
	s.close = sync.OnceValue(func() error { s.inside.end(); s.loops.Wait(); return a.Close() })
	s.loops.Go(func() { a.Run(life) })
	return s, nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.app.Handler().ServeHTTP(w, r) }

// Metrics answers GET /metrics for Prometheus. Serve it to operators alone, on
// another listener.
func (s *Server) Metrics() http.Handler { return s.app.Metrics() }

// SetupLink returns the link that makes the first administrator, good for an hour
// and until the next call; "" once one was ever used. It is a secret: show it to
// the operator, and log it nowhere.
func (s *Server) SetupLink(ctx context.Context) (string, error) {
	token, offered, err := s.app.Accounts.OfferSetup(ctx)
	if err != nil || !offered {
		return "", err
	}
	return s.issuer + "/setup?token=" + token, nil
}

// AddAPIKey makes an API key with which services ask and follow, with scopes out
// of introspect, revocations and admin. Its text is kept nowhere else.
func (s *Server) AddAPIKey(ctx context.Context, name string, scopes ...string) (string, error) {
	_, text, err := s.app.Accounts.AddAPIKey(ctx, name, scopes, "system", app.Origin)
	if err != nil {
		return "", fmt.Errorf("coatcheck: add an API key with scopes %s of %s: %w", strings.Join(scopes, ", "), strings.Join(account.Scopes, ", "), err)
	}
	return text, nil
}

// Stop turns /readyz to 503 and tells streams to connect elsewhere; requests are
// still answered. Call it as the first step of a graceful stop, for example by
// [http.Server.RegisterOnShutdown]: open streams would keep Shutdown waiting. It
// may be called more than once.
func (s *Server) Stop() { s.app.Stop() }

// Close stops what goes on beside requests, writes what is known, and closes the
// database. Call it when no request is being answered any more. It returns the
// context's error if that ends first; the rest then goes on in the background. It
// may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	s.app.Stop()
	s.finish()
	closed := make(chan error, 1)
	go func() { closed <- s.close() }()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("coatcheck: %w", err)
		}
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("coatcheck: close"), ctx.Err())
	}
}
