package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// byCheck returns the most serious finding of each check, the last of equals.
func byCheck(findings []Finding) map[string]Finding {
	rank := map[Level]int{Fine: 1, Note: 2, Serious: 3}
	worst := map[string]Finding{}
	for _, f := range findings {
		if rank[f.Level] >= rank[worst[f.Check].Level] {
			worst[f.Check] = f
		}
	}
	return worst
}

// examine fails the test unless the finding is of the level and says the words.
func examine(t *testing.T, findings []Finding, check string, level Level, words string) {
	t.Helper()
	f := byCheck(findings)[check]
	if f.Level != level || !strings.Contains(f.What+" "+f.Do, words) {
		t.Errorf("%s: got %+v, want %s with %q", check, f, level, words)
	}
	if f.Level == Serious && f.Do == "" {
		t.Errorf("%s: nothing is said about what to do: %+v", check, f)
	}
}

// healthy is a server that runs under the public URL that it is configured with.
func healthy(t *testing.T, settings map[string]string) (config.Config, *running) {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	address := front.Listener.Addr().String()
	_ = front.Listener.Close()
	all := map[string]string{"listen": address, "public_url": "http://" + address}
	for name, text := range settings {
		all[name] = text
	}
	c := configure(t, all)
	return c, start(t, options(c), nil)
}

func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	c, _ := healthy(t, nil)
	for _, f := range Examine(t.Context(), c, nil, nil) {
		if f.Level != Fine {
			t.Errorf("%+v", f)
		}
	}
}

func TestDoctorOnTheDatabase(t *testing.T) {
	t.Parallel()
	none := configure(t, nil)
	findings := Examine(t.Context(), none, nil, nil)
	examine(t, findings, "database", Note, "coatcheck serve makes it")
	path, _ := none.SQLite()
	if _, err := os.Stat(path); err == nil {
		t.Error("the doctor made a database")
	}

	broken, _ := begun(t)
	path, _ = broken.SQLite()
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	examine(t, Examine(t.Context(), broken, nil, nil), "database", Serious, "local disk")

	c := configure(t, map[string]string{"database": "postgres://coatcheck@127.0.0.1:1/none?connect_timeout=1", "secret": otherSecret})
	examine(t, Examine(t.Context(), c, nil, nil), "database", Serious, "Look whether PostgreSQL runs")
}

func TestDoctorOnTheSecret(t *testing.T) {
	t.Parallel()
	c, path := begun(t)
	other := secretOf(t, c, otherSecret)
	examine(t, Examine(t.Context(), other, nil, nil), "secret", Serious, "not the one that this database was made with")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	examine(t, Examine(t.Context(), c, nil, nil), "secret", Serious, "chmod 600")
	remove(t, path)
	examine(t, Examine(t.Context(), c, nil, nil), "secret", Serious, "Put back")
}

// What a database says of itself, judged without one.
func TestDoctorJudgesFacts(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	sqlite := sqlstore.Facts{Engine: "SQLite", Journal: "wal", Synchronous: "2", ForeignKeys: true, Mark: now}
	postgres := sqlstore.Facts{Engine: "PostgreSQL", SynchronousCommit: "on", Mark: now}
	with := func(f sqlstore.Facts, change func(*sqlstore.Facts)) sqlstore.Facts { change(&f); return f }
	for name, c := range map[string]struct {
		facts sqlstore.Facts
		check string
		level Level
		words string
	}{
		"sqlite":                   {sqlite, "database", Fine, "writes to the disk"},
		"sqlite without a log":     {with(sqlite, func(f *sqlstore.Facts) { f.Journal = "delete" }), "database", Serious, "pragmas"},
		"sqlite in a hurry":        {with(sqlite, func(f *sqlstore.Facts) { f.Synchronous = "1" }), "database", Serious, "pragmas"},
		"sqlite without keys":      {with(sqlite, func(f *sqlstore.Facts) { f.ForeignKeys = false }), "database", Serious, "pragmas"},
		"alone":                    {postgres, "database", Note, "No standby"},
		"standby that nobody asks": {with(postgres, func(f *sqlstore.Facts) { f.Standbys = 1 }), "database", Serious, "commits wait for none"},
		"standby, commits local": {with(postgres, func(f *sqlstore.Facts) {
			f.Standbys, f.SyncStandbys, f.SynchronousStandbyNames, f.SynchronousCommit = 1, 1, "*", "local"
		}), "database", Serious, "commits wait for none"},
		"standby that is gone":  {with(postgres, func(f *sqlstore.Facts) { f.SynchronousStandbyNames = "b" }), "database", Serious, "they will hang"},
		"standby, asynchronous": {with(postgres, func(f *sqlstore.Facts) { f.Standbys, f.SynchronousStandbyNames = 2, "b" }), "database", Serious, "they will hang"},
		"standby, synchronous": {with(postgres, func(f *sqlstore.Facts) {
			f.Standbys, f.SyncStandbys, f.SynchronousStandbyNames = 2, 1, "ANY 1 (*)"
		}), "database", Fine, "survives a failover"},
		"commits in a hurry": {with(postgres, func(f *sqlstore.Facts) { f.SynchronousCommit = "off" }), "database", Serious, "synchronous_commit is off"},
		"clock":              {sqlite, "clock", Fine, "agrees"},
		"clock apart":        {with(postgres, func(f *sqlstore.Facts) { f.ClockAhead = -3 * time.Second }), "clock", Serious, "-3s from this machine's"},
		"clock behind":       {with(sqlite, func(f *sqlstore.Facts) { f.Mark = now.Add(time.Hour) }), "clock", Serious, "--accept-clock"},
		"clock a little off": {with(postgres, func(f *sqlstore.Facts) { f.ClockAhead = time.Second }), "clock", Fine, "agrees"},
	} {
		t.Run(name, func(t *testing.T) {
			examine(t, append(judgeStore(c.facts), judgeClock(c.facts, now)), c.check, c.level, c.words)
		})
	}
}

// A clock that ran far ahead leaves a mark; the doctor says so, and AcceptClock
// heals it.
func TestDoctorOnTheClock(t *testing.T) {
	t.Parallel()
	c, _ := begun(t)
	o := options(c)
	o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	ahead, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	opened := signIn(t, ahead, "ada@example.com")
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	examine(t, Examine(t.Context(), c, nil, nil), "clock", Serious, "behind the highest time")

	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Log.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "--accept-clock") {
		t.Errorf("readiness: %v", err)
	}
	if err := a.Store.AcceptClock(t.Context(), audit.New(audit.SessionsEnded, audit.OK, Origin)); err != nil {
		t.Fatal(err)
	}
	examine(t, Examine(t.Context(), c, nil, nil), "clock", Fine, "agrees")
	if _, err := a.Sessions.CheckCookie(t.Context(), opened.Cookie); err == nil {
		t.Error("a session from the time that never was is alive")
	}
}

func TestDoctorOnKeys(t *testing.T) {
	t.Parallel()
	c := configure(t, nil)
	a, err := Open(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Accounts.Add(t.Context(), account.NewUser{Email: "ada@example.com"}, "test", Origin); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	examine(t, Examine(t.Context(), c, nil, nil), "keys", Note, "when it starts")
}

// proxy passes requests on to a server, as change says.
func proxy(t *testing.T, to string, change func(*httputil.ProxyRequest)) string {
	t.Helper()
	target, err := url.Parse("http://" + to)
	if err != nil {
		t.Fatal(err)
	}
	p := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			change(r)
		},
		ModifyResponse: func(r *http.Response) error { r.Header.Set("Via", "1.1 proxy"); return nil },
	})
	t.Cleanup(p.Close)
	return p.URL
}

// behind starts a server behind a proxy, whose address is the public URL.
func behind(t *testing.T, settings map[string]string, change func(*httputil.ProxyRequest)) config.Config {
	t.Helper()
	listener := httptest.NewUnstartedServer(nil)
	address := listener.Listener.Addr().String()
	_ = listener.Listener.Close()
	all := map[string]string{"listen": address, "public_url": proxy(t, address, change)}
	for name, text := range settings {
		all[name] = text
	}
	c := configure(t, all)
	start(t, options(c), nil)
	return c
}

func TestDoctorOnProxies(t *testing.T) {
	t.Parallel()
	forward := func(r *httputil.ProxyRequest) { r.SetXForwarded() }
	examine(t, Examine(t.Context(), behind(t, nil, forward), nil, nil), "proxies", Serious, "does not believe it")
	examine(t, Examine(t.Context(), behind(t, map[string]string{"proxies": "192.0.2.0/24"}, forward), nil, nil), "proxies", Serious, "does not believe it")
	examine(t, Examine(t.Context(), behind(t, map[string]string{"proxies": "127.0.0.0/8"}, forward), nil, nil), "proxies", Fine, "believes the proxy")

	c, _ := healthy(t, nil)
	if f, found := byCheck(Examine(t.Context(), c, nil, nil))["proxies"]; found {
		t.Errorf("without a proxy: %+v", f)
	}
	c.Listen = "localhost:9999" // a port that somebody redirects
	examine(t, Examine(t.Context(), c, nil, nil), "proxies", Note, "different ports")
}

func TestDoctorOnThePublicURL(t *testing.T) {
	t.Parallel()
	answering := func(h http.HandlerFunc) config.Config {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return configure(t, map[string]string{"public_url": s.URL})
	}
	metadata := func(issuer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, `{"issuer":%q}`, issuer) }
	}
	other, _ := healthy(t, nil)
	alias := strings.Replace(other.PublicURL, "127.0.0.1", "localhost", 1)
	for name, c := range map[string]struct {
		config config.Config
		level  Level
		words  string
	}{
		"nobody answers":  {configure(t, map[string]string{"public_url": "http://127.0.0.1:1"}), Serious, "cannot be reached"},
		"something else":  {answering(http.NotFound), Serious, "not Coatcheck"},
		"a redirect":      {answering(http.RedirectHandler("https://www.example.com/", http.StatusMovedPermanently).ServeHTTP), Serious, `Set public_url = "https://www.example.com"`},
		"another issuer":  {answering(metadata("https://auth.example.com")), Serious, "calls itself https://auth.example.com"},
		"another name":    {configure(t, map[string]string{"public_url": alias}), Serious, "calls itself " + other.PublicURL},
		"name is dropped": {behind(t, nil, func(r *httputil.ProxyRequest) { r.Out.Host = "backend" }), Serious, "does not arrive"},
		"others may come": {configure(t, map[string]string{"listen": ":8080"}), Note, "for this one only"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := Examine(t.Context(), c.config, nil, nil)
			if c.level == Serious {
				examine(t, findings, "public_url", c.level, c.words)
				return
			}
			for _, f := range findings {
				if f.Check == "public_url" && f.Level == c.level && strings.Contains(f.What, c.words) {
					return
				}
			}
			t.Errorf("no %s with %q in %+v", c.level, c.words, findings)
		})
	}
}

// roundTrip answers for a server that is not there.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A public server is examined from inside: what stands before it is told by what it
// cannot be otherwise.
func TestDoctorOnAPublicServer(t *testing.T) {
	t.Parallel()
	c := configure(t, map[string]string{"public_url": "https://auth.example.com", "verify_email": "optional", "cookie.domain": "example.com"})
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server":
			_, _ = w.WriteString(`{"issuer":"https://auth.example.com"}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
		return w.Result(), nil
	})}
	findings := Examine(context.Background(), c, nil, client)
	examine(t, findings, "proxies", Serious, "does not believe it")
	examine(t, findings, "clock", Serious, "from this machine's")
	examine(t, findings, "cookies", Note, "__Secure-coatcheck")
	examine(t, findings, "mail", Note, "No mail is sent")
}

func TestDoctorOnTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	c := configure(t, map[string]string{"public_url": "https://localhost:1", "tls.certificate": cert, "tls.key": key})
	examine(t, Examine(t.Context(), c, nil, nil), "tls", Serious, "cannot be loaded")
	for _, one := range []struct {
		left  time.Duration
		level Level
		words string
	}{
		{-time.Hour, Serious, "has expired"}, {48 * time.Hour, Note, "expires on"}, {60 * 24 * time.Hour, Fine, "good until"},
	} {
		writePairUntil(t, cert, key, 1, time.Now().Add(one.left))
		examine(t, Examine(t.Context(), c, nil, nil), "tls", one.level, one.words)
	}
}
