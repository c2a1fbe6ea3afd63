package web_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/hashing"
)

// A stage is a real server for one flow, on a clock that the flow moves.
type stage struct {
	t        testing.TB
	settings map[string]string // by key; the defaults are the product's
	hash     account.HashParameters
	clock    *clock
	log      *logBuffer
	post     *postbox       // where its mails arrive
	prints   bool           // they are printed instead
	hashes   atomic.Int64   // of passwords that were made
	made     func(*app.App) // told of each app before it serves; may be nil

	app    *app.App
	origin *url.URL // public_url
	addr   string   // where it listens
	end    func()   // stops the server and waits for it
	jars   map[string]*cookiejar.Jar
}

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A logBuffer keeps everything that the server logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newStage prepares a server on the given database; "" is a new SQLite file.
func newStage(t testing.TB, database string) *stage {
	dir := t.TempDir()
	if database == "" {
		database = "sqlite:" + filepath.Join(dir, "coatcheck.db")
	}
	return &stage{
		t: t, clock: &clock{now: time.Now().Truncate(time.Second)}, log: &logBuffer{}, post: &postbox{},
		hash: account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1},
		jars: map[string]*cookiejar.Jar{},
		settings: map[string]string{
			"database": database, "listen": "127.0.0.1:0", "secret": credential.NewSecret().Encode(),
			"revocation.heartbeat": "100ms", "revocation.staleness": "1s",
		},
	}
}

// start puts the server on. It is put off when the test ends, if not before.
func (s *stage) start() error {
	environ := []string{}
	for name, value := range maps.All(s.settings) {
		environ = append(environ, "COATCHECK_"+strings.ToUpper(strings.ReplaceAll(name, ".", "_"))+"="+value)
	}
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: environ})
	if err != nil {
		return err
	}
	if s.origin, err = url.Parse(loaded.PublicURL); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	options := app.Options{Config: loaded.Config, Now: s.clock.read, Hash: &s.hash, Sum: s.sum, Transport: s.post, Logger: logger}
	if s.prints {
		options.Transport = nil
	}
	s.app, err = app.New(ctx, options)
	if err != nil {
		cancel()
		return err
	}
	if s.made != nil {
		s.made(s.app)
	}
	public, metrics, err := s.app.Listen(ctx)
	if err != nil {
		cancel()
		return err
	}
	s.addr = public.Addr().String()
	served, serving := make(chan struct{}), s.app
	go func() {
		defer close(served)
		_ = serving.Serve(ctx, public, metrics) // a store that the flow broke is not closed without an error
	}()
	s.end = sync.OnceFunc(func() {
		cancel()
		<-served
	})
	s.t.Cleanup(s.end)
	return nil
}

// sum makes a hash, and counts it.
func (s *stage) sum(j hashing.Job) ([]byte, error) {
	s.hashes.Add(1)
	return hashing.Here(j)
}

// restart stops the server in order and starts another over the same database.
func (s *stage) restart() error {
	s.end()
	return s.start()
}

// wait moves the clock and lets the log hear what happened until then.
func (s *stage) wait(d time.Duration) {
	s.clock.move(d)
	_ = s.app.Log.Current(context.Background()) // a broken store is part of some flows
}

// client returns who sends requests with the named jar's cookies; without a name
// it keeps none. It follows no redirect, and reaches the server under whatever
// name: https is spoken as if a proxy in front of the server had ended TLS.
func (s *stage) client(jar string) (*http.Client, error) {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, s.addr)
	}
	c := &http.Client{
		Transport:     &http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if jar == "" {
		return c, nil
	}
	if s.jars[jar] == nil {
		fresh, err := cookiejar.New(nil)
		if err != nil {
			return nil, err
		}
		s.jars[jar] = fresh
	}
	c.Jar = s.jars[jar]
	return c, nil
}
