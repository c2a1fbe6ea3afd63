package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/session"
)

// configure returns a configuration over a database in a folder of the test's own.
func configure(t *testing.T, settings map[string]string) config.Config {
	t.Helper()
	all := map[string]string{"database": "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db"), "listen": "127.0.0.1:0"}
	for name, text := range settings {
		all[name] = text
	}
	c, err := Configure(all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are for tests: hashing takes microseconds.
func options(c config.Config) Options {
	return Options{
		Config: c, Logger: slog.New(slog.DiscardHandler),
		Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1},
	}
}

// running is a server that answers.
type running struct {
	*App
	public  net.Addr
	metrics net.Addr
	stop    context.CancelFunc
	served  chan error
}

// start starts a server; adjust may change it before it serves.
func start(t *testing.T, o Options, adjust func(*App)) *running {
	t.Helper()
	a, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if adjust != nil {
		adjust(a)
	}
	public, metrics, err := a.Listen(t.Context())
	if err != nil {
		t.Fatal(err, a.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{App: a, public: public.Addr(), stop: stop, served: make(chan error, 1)}
	if metrics != nil {
		r.metrics = metrics.Addr()
	}
	go func() { r.served <- a.Serve(ctx, public, metrics); close(r.served) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

// get asks on a connection of its own, by the name of the default public URL.
func get(t *testing.T, address net.Addr, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost:8080"
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// dial opens a bare connection that gives up after ten seconds.
func dial(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

// signIn begins a session for a fresh person.
func signIn(t *testing.T, a *App, email string) session.Opened {
	t.Helper()
	proof, err := a.Accounts.SignUp(t.Context(), account.NewUser{Email: email, Password: "rain on a tin roof at night"}, audit.Origin{IP: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := a.Sessions.Begin(t.Context(), proof, session.Opening{Event: audit.SignedUp, Cookie: true, Tokens: true})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}
