package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// random is the text of a good secret.
const random = "3f6c1d0a9be8475263d1c0fe8a7b95240e1d6f73b8a29c5447f0e1d2c3b4a596"

// write puts text into a file called coatcheck.toml and makes its folder the
// current one, so that the file is found by default.
func write(t *testing.T, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile(DefaultPath, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, opts Options) *Loaded {
	t.Helper()
	l, err := Load(opts)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return l
}

func TestDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	l := load(t, Options{Environ: []string{"HOME=/root", "PATH=/bin"}})
	want := Config{
		Listen: "localhost:8080", PublicURL: "http://localhost:8080", Database: "sqlite:coatcheck.db",
		Transports: []string{"cookie", "token"}, SignUp: "open", VerifyEmail: "optional",
		Session:    Session{Idle: 7 * day, Absolute: 30 * day, Profile: "standard", Cached: 1_000_000},
		Token:      Token{Access: 10 * time.Minute, Algorithm: "ES256", MaxBytes: 1024},
		Refresh:    Refresh{Grace: 10 * time.Second},
		Cookie:     Cookie{SameSite: "lax"},
		Revocation: Revocation{Staleness: 10 * time.Second, Heartbeat: 2 * time.Second},
		Mail:       Mail{Port: 587, TLS: "starttls"},
		Password:   Password{MinLength: 8},
		Hash:       Hash{Slots: cores()},
		Throttle:   Throttle{Account: Rate{50, 20 * time.Second}, Address: Rate{100, time.Second}, Pair: Rate{10, 30 * time.Second}},
		Audit:      Audit{Keep: 400 * day},
		Log:        Log{Format: "auto"},
	}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	for _, s := range l.Table() {
		if !strings.HasPrefix(s.Source, "default") || l.Given(s.Name) {
			t.Errorf("%s comes from %s, want default", s.Name, s.Source)
		}
	}
	if path, ok := l.SQLite(); path != "coatcheck.db" || !ok || l.Secure() || !l.Loopback() || l.Host() != "localhost:8080" {
		t.Errorf("SQLite %q %t, Secure %t, Loopback %t, Host %q", path, ok, l.Secure(), l.Loopback(), l.Host())
	}
}

func TestPrecedence(t *testing.T) {
	write(t, "listen = ':1'\npublic_url = 'http://localhost:1'\n[session]\nidle = '1d'\nabsolute = '2d'\nmax = 3\n")
	l := load(t, Options{
		Environ: []string{"COATCHECK_SESSION_IDLE=2h", "COATCHECK_PUBLIC_URL=http://localhost:2"},
		Flags:   map[string]string{"public_url": "http://localhost:3"},
	})
	got := map[string]Setting{}
	for _, s := range l.Table() {
		got[s.Name] = s
	}
	for _, want := range []Setting{
		{"listen", ":1", "coatcheck.toml:1"},
		{"public_url", "http://localhost:3", "--public-url"},
		{"session.idle", "2h", "COATCHECK_SESSION_IDLE"},
		{"session.absolute", "2d", "coatcheck.toml:5"},
		{"session.max", "3", "coatcheck.toml:6"},
		{"refresh.grace", "10s", "default"},
	} {
		if got[want.Name] != want {
			t.Errorf("got %v, want %v", got[want.Name], want)
		}
	}
}

func TestEveryWayToWriteAList(t *testing.T) {
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8")}
	write(t, "proxies = [\n  '10.0.0.0/8', # inside\n  '192.0.2.7',\n  'fd00::/8',\n]\ntoken = { claims = ['email'], scopes = [] }\n")
	for name, opts := range map[string]Options{
		"file":        {},
		"environment": {Path: os.DevNull, Environ: []string{"COATCHECK_PROXIES=10.0.0.0/8,192.0.2.7, fd00::/8"}},
		"flag":        {Path: os.DevNull, Flags: map[string]string{"proxies": "10.0.0.0/8, 192.0.2.7, fd00::/8"}},
	} {
		if got := load(t, opts).Proxies; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := load(t, Options{Environ: []string{"COATCHECK_PROXIES="}}).Proxies; got != nil {
		t.Errorf("an empty variable gives %v, want none", got)
	}
}

func TestOneNameEverywhere(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		forms := []string{k.Name, k.Env()}
		if !k.Secret {
			forms = append(forms, "--"+k.Flag())
		}
		for _, form := range forms {
			if other, taken := seen[form]; taken {
				t.Errorf("%s is both %s and %s", form, k.Name, other)
			}
			seen[form] = k.Name
		}
	}
	k, _ := keyNamed("return_to.origins")
	if k.Flag() != "return-to-origins" || k.Env() != "COATCHECK_RETURN_TO_ORIGINS" || !k.List() {
		t.Errorf("flag %q, variable %q", k.Flag(), k.Env())
	}
}

// What a table shows can be written back and means the same.
func TestShownValuesCanBeWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	first := load(t, Options{Flags: map[string]string{
		"session.idle": "1h30m", "session.max": "4", "token.claims": "email, name", "proxies": "::1", "throttle.pair": "3/1d",
		"log.level": "debug", "metrics.listen": "localhost:9100", "cors.origins": "https://a.example,https://b.example",
	}})
	flags := map[string]string{}
	for _, s := range first.Table() {
		if k, _ := keyNamed(s.Name); !k.Secret {
			flags[s.Name] = s.Value
		}
	}
	second := load(t, Options{Flags: flags})
	if diff := cmp.Diff(first.Config, second.Config, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

func TestProfile(t *testing.T) { // NIST-6
	t.Chdir(t.TempDir())
	for name, c := range map[string]struct {
		flags          map[string]string
		idle, absolute time.Duration
	}{
		"alone":               {map[string]string{"session.profile": "aal2"}, time.Hour, 24 * time.Hour},
		"stricter by words":   {map[string]string{"session.profile": "aal2", "session.idle": "15m", "session.absolute": "12h"}, 15 * time.Minute, 12 * time.Hour},
		"shorter as a whole":  {map[string]string{"session.absolute": "1d"}, day, day},
		"shorter under aal2":  {map[string]string{"session.profile": "aal2", "session.absolute": "30m"}, 30 * time.Minute, 30 * time.Minute},
		"standard in so many": {map[string]string{"session.profile": "standard"}, 7 * day, 30 * day},
	} {
		l := load(t, Options{Flags: c.flags})
		if l.Session.Idle != c.idle || l.Session.Absolute != c.absolute {
			t.Errorf("%s: idle %s, absolute %s, want %s and %s", name, l.Session.Idle, l.Session.Absolute, c.idle, c.absolute)
		}
	}
	if got := load(t, Options{Flags: map[string]string{"session.profile": "aal2"}}).Source("session.idle"); got != "session.profile" {
		t.Errorf("session.idle comes from %q", got)
	}
}

func TestRoomForRSA(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := load(t, Options{Flags: map[string]string{"token.algorithm": "RS256"}}).Token.MaxBytes; got != 1536 {
		t.Errorf("token.max_bytes with RS256 is %d, want 1536", got)
	}
	if got := load(t, Options{Flags: map[string]string{"token.algorithm": "RS256", "token.max_bytes": "2048"}}).Token.MaxBytes; got != 2048 {
		t.Errorf("token.max_bytes is %d, want what was given", got)
	}
}

func TestValuesInFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	address := "postgres://ada:pa55@db/coatcheck"
	l := load(t, Options{Flags: map[string]string{
		"secret_file": put("secret", random+"\n"), "database_file": put("database", address+"\r\n"),
	}})
	if held := load(t, Options{Environ: []string{"COATCHECK_DATABASE=" + address, "COATCHECK_SECRET=" + random}, Path: put("redis.toml", "redis_file = '"+put("redis", "rediss://:pa55@cache\n")+"'\n")}); held.Redis != "rediss://:pa55@cache" {
		t.Errorf("redis %q", held.Redis)
	} else if i := slices.IndexFunc(held.Table(), func(s Setting) bool { return s.Name == "redis" }); held.Table()[i].Value != hidden {
		t.Errorf("redis is shown as %q", held.Table()[i].Value)
	}
	if l.Database != address || len(l.Secret) != 32 || l.Source("secret") != "--secret-file" {
		t.Errorf("database %q, %d bytes of secret from %s", l.Database, len(l.Secret), l.Source("secret"))
	}
	l = load(t, Options{Environ: []string{"COATCHECK_SECRET=" + random}, Path: put("own.toml", "secret_file = '/nowhere'\n")})
	if len(l.Secret) != 32 || l.Source("secret") != "COATCHECK_SECRET" {
		t.Errorf("a secret of higher precedence came from %s", l.Source("secret"))
	}
}

func TestWhichFile(t *testing.T) {
	write(t, "listen = ':1'")
	if err := os.WriteFile("other.toml", []byte("listen = ':2'"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"by default":         {Options{}, ":1"},
		"by variable":        {Options{Environ: []string{"COATCHECK_CONFIG=other.toml"}}, ":2"},
		"flag over variable": {Options{Path: "coatcheck.toml", Environ: []string{"COATCHECK_CONFIG=other.toml"}}, ":1"},
		"none":               {Options{Path: os.DevNull}, "localhost:8080"},
	} {
		if got := load(t, c.opts).Listen; got != c.want {
			t.Errorf("%s: listen is %q, want %q", name, got, c.want)
		}
	}
	_, err := Load(Options{Path: "missing.toml"})
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || err.Error() != "missing.toml: cannot be read: no such file or directory" {
		t.Errorf("a missing file gives %v", err)
	}
}

// The variables that Kubernetes sets in each container of a service named
// coatcheck, and those of programs that use the server, are nobody's mistake.
func TestVariablesOfOthers(t *testing.T) {
	t.Chdir(t.TempDir())
	load(t, Options{Environ: []string{
		"COATCHECK_API_KEY=cka_x", "COATCHECK_SERVICE_HOST=10.0.0.1", "COATCHECK_SERVICE_PORT=80", "COATCHECK_SERVICE_PORT_HTTP=80",
		"COATCHECK_PORT=tcp://10.0.0.1:80", "COATCHECK_PORT_80_TCP=tcp://10.0.0.1:80", "COATCHECK_PORT_80_TCP_PROTO=tcp",
		"COATCHECK_PORT_80_TCP_PORT=80", "COATCHECK_PORT_80_TCP_ADDR=10.0.0.1", "COATCHECK_METRICS_SERVICE_HOST=10.0.0.2",
	}})
}

func TestSecretsAreHidden(t *testing.T) { // V-104
	t.Chdir(t.TempDir())
	const canary = "hunter2hunter2"
	l := load(t, Options{Environ: []string{
		"COATCHECK_SECRET=" + random,
		"COATCHECK_DATABASE=postgres://ada:" + canary + "@db/coatcheck?sslpassword=" + canary,
	}})
	var all strings.Builder
	for _, s := range l.Table() {
		all.WriteString(s.Value + "\n")
	}
	text, err := l.Secret.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	all.Write(text)
	all.WriteString(l.Secret.String() + l.Secret.GoString() + l.Secret.LogValue().String())
	if shown := all.String(); strings.Contains(shown, canary) || strings.Contains(shown, random[:8]) {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if !strings.Contains(all.String(), "postgres://ada:hidden@db/coatcheck") {
		t.Errorf("the database is not shown:\n%s", all.String())
	}
}
