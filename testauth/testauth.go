// Package testauth runs a real Coatcheck server for the tests of programs that
// rely on one: on a database of its own in a temporary folder, on a port of the
// loopback interface, gone when the test ends.
//
// It is the server that runs in production, over the same code, with one
// difference: passwords are hashed with parameters that take microseconds and
// protect nothing ([Server.SignIn] makes accounts), and it has no limits on how
// often anybody may try.
package testauth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// TB is what a server needs of a *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
	Output() io.Writer
}

// A Server is a running server. Its methods fail the test if something goes wrong,
// so they must be called from the goroutine that runs it.
type Server struct {
	// URL is the server's address and issuer: "http://127.0.0.1:40123".
	URL string
	// APIKey is good for everything: scopes introspect, revocations and admin.
	APIKey string

	t   TB
	app *app.App

	mu        sync.Mutex
	audiences []string
	scopes    []string
}

// Password is the password of every account that [Server.SignIn] makes.
const Password = "rain on a tin roof at night" // #nosec G101 -- of servers that live as long as a test

// hashing takes microseconds. It is for tests alone.
var hashing = account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}

// An Option changes the server that [New] starts.
type Option func(*options)

type options struct {
	settings map[string]string
	now      func() time.Time
}

// With sets a setting by its name in docs/configuration.md, written as in the
// environment: With("session.idle", "1h"). Claims of access tokens, for example,
// are With("token.claims", "roles,email").
func With(name, value string) Option {
	return func(o *options) { o.settings[name] = value }
}

// WithNow gives the server a clock, by which sessions and tokens expire. It must be
// safe for concurrent use. Give verifiers the same one.
func WithNow(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}

// New starts a server and stops it when the test ends.
func New(t TB, opts ...Option) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testauth: %v", err)
	}
	s := &Server{URL: "http://" + l.Addr().String(), t: t}
	o := options{settings: map[string]string{
		"public_url": s.URL, "listen": l.Addr().String(),
		"database":      "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"),
		"throttle.pair": "10000/1ms", "throttle.account": "10000/1ms", "throttle.address": "10000/1ms",
		"revocation.heartbeat": "1s",
	}}
	for _, opt := range opts {
		opt(&o)
	}
	s.start(l, o)
	_, s.APIKey, err = s.app.Accounts.AddAPIKey(context.Background(), "testauth", account.Scopes, "system", app.Origin)
	s.check("add an API key", err)
	return s
}

func (s *Server) start(l net.Listener, o options) {
	s.t.Helper()
	config, err := app.Configure(o.settings)
	s.check("configure", err)
	s.audiences, s.scopes = config.Token.Audiences, config.Token.Scopes
	life, stop := context.WithCancel(context.Background())
	logger := slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s.app, err = app.New(life, app.Options{Config: config, Now: o.now, Hash: &hashing, Logger: logger})
	if err != nil {
		stop()
	}
	s.check("start", err)
	served := make(chan error, 1)
	go func() { served <- s.app.Serve(life, l, nil) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			s.t.Errorf("testauth: stop: %v", err)
		}
	})
}

func (s *Server) check(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("testauth: %s: %v", what, err)
	}
}

// A SignedIn person holds everything that can be drawn on one session.
type SignedIn struct {
	UserID       string
	SessionID    string
	AccessToken  string // for the header Authorization: Bearer …
	RefreshToken string
	Cookie       *http.Cookie // for http.Request.AddCookie
}

// SignIn begins a session for the person with this email, who gets an account with
// [Password] if there is none. The access token is for the server itself, with no
// scope: see [Server.SignInFor] for a service's.
func (s *Server) SignIn(email string) SignedIn {
	s.t.Helper()
	return s.SignInFor(email, "", "")
}

// SignInFor is SignIn with an access token for a service: its name, as a
// verifier's Audience, and scopes separated by spaces. Neither has to be
// configured before.
func (s *Server) SignInFor(email, audience, scope string) SignedIn {
	s.t.Helper()
	ctx := context.Background()
	s.allow(audience, scope)
	s.user(email)
	from := audit.Origin{IP: "127.0.0.1", UserAgent: "testauth"}
	proof, err := s.app.Accounts.CheckPassword(ctx, email, Password, from)
	s.check("sign in "+email, err)
	opened, err := s.app.Sessions.Begin(ctx, proof, session.Opening{
		From: from, Event: audit.SignedIn, Device: "test", Cookie: true, Tokens: true, Audience: audience, Scope: scope,
	})
	s.check("sign in "+email, err)
	return SignedIn{
		UserID: opened.Standing.User.ID, SessionID: opened.Standing.Session.ID,
		AccessToken: opened.Tokens.Access, RefreshToken: opened.Tokens.Refresh,
		Cookie: &http.Cookie{Name: "coatcheck_dev", Value: opened.Cookie}, // #nosec G124 -- it is for requests, which carry no attributes
	}
}

// allow lets first-party tokens have an audience and scopes.
func (s *Server) allow(audience, scope string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range strings.Fields(audience) {
		if !slices.Contains(s.audiences, name) && name != s.URL {
			s.audiences = append(s.audiences, name)
		}
	}
	for _, name := range strings.Fields(scope) {
		if !slices.Contains(s.scopes, name) {
			s.scopes = append(s.scopes, name)
		}
	}
	s.check("declare what tokens may be for", s.app.FirstParty(context.Background(), s.audiences, s.scopes))
}

// user returns the person with this email, made if there is none.
func (s *Server) user(email string) account.User {
	s.t.Helper()
	u, err := s.app.Accounts.FindByEmail(context.Background(), email)
	if err == nil {
		return u
	}
	name, _, _ := strings.Cut(email, "@")
	u, err = s.app.Accounts.Add(context.Background(), account.NewUser{
		Email: email, Name: name, Password: Password, Verified: true,
	}, "system", app.Origin)
	s.check(fmt.Sprintf("add %s", email), err)
	return u
}

// End ends a session, as an administrator does. What was drawn on it is refused by
// the server at once, and by verifiers as soon as they hear of it.
func (s *Server) End(sessionID string) {
	s.t.Helper()
	n, err := s.app.Sessions.End(context.Background(), session.Ending{Kind: feed.Session, ID: sessionID, Reason: "administrator"}, "system", app.Origin)
	s.check("end "+sessionID, err)
	if n == 0 {
		s.t.Fatalf("testauth: end %s: no such session is live", sessionID)
	}
}

// SetRoles gives a person these roles and no others; the only one there is is
// "admin". Their tokens become due for renewal.
func (s *Server) SetRoles(email string, roles ...string) {
	s.t.Helper()
	_, err := s.app.Accounts.Change(context.Background(), s.user(email).ID, account.UserChange{Roles: &roles}, "system", app.Origin)
	s.check("set the roles of "+email, err)
}

// Disable keeps a person out and ends all their sessions.
func (s *Server) Disable(email string) {
	s.t.Helper()
	yes := true
	_, err := s.app.Accounts.Change(context.Background(), s.user(email).ID, account.UserChange{Disabled: &yes}, "system", app.Origin)
	s.check("disable "+email, err)
}

// DistrustKeys ends trust in all signing keys, as after a leak, and makes new ones:
// access tokens become due for renewal, sessions go on.
func (s *Server) DistrustKeys() {
	s.t.Helper()
	e := audit.New(audit.KeysDistrusted, audit.OK, app.Origin)
	e.Actor = "system"
	s.check("distrust the keys", s.app.Ring.Distrust(context.Background(), e))
}

// Verifier returns a verifier of this server's credentials for the audience, with
// Deny when stale, which is ready and is closed when the test ends. The access
// tokens of [Server.SignInFor] with the same audience are for it.
func (s *Server) Verifier(audience string) *coatcheck.Verifier {
	s.t.Helper()
	v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: s.URL, Audience: audience, APIKey: s.APIKey})
	s.check("make a verifier", err)
	s.t.Cleanup(v.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.check("wait for the verifier", v.Ready(ctx))
	return v
}
