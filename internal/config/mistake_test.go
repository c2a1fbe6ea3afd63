package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

const known = "this secret can be guessed (an example, a pattern, or published somewhere): make one with \"openssl rand -hex 32\""

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", "lissten = ':1'", "coatcheck.toml:1: lissten: there is no such setting; did you mean listen?"},
		{"unknown key in a table", "[session]\n\nidel = '7d'", "coatcheck.toml:3: session.idel: there is no such setting; did you mean session.idle?"},
		{"forgotten table", "grace = '7s'", "coatcheck.toml:1: grace: there is no such setting; did you mean refresh.grace?"},
		{"unknown and unlike any", "quux = 1", "coatcheck.toml:1: quux: there is no such setting"},
		{"unknown table", "[sesion]\n", "coatcheck.toml:1: sesion: there is no such setting"},
		{"table of a value", "[listen]\nhost = 'x'", "coatcheck.toml:1: listen: this is no table: host:port\ncoatcheck.toml:2: listen.host: there is no such setting"},
		{"value of a table", "session = 5", "coatcheck.toml:1: session: this is a table of settings: write [session]"},
		{"array of tables", "[[session]]\nidle = '1d'", "coatcheck.toml:1: session: this is a table of settings: write [session]"},
		{"inline table", "listen = ':1'\nsession = { idle = '7x' }", "coatcheck.toml:2: session.idle: \"7x\" is no duration: …"},
		{"dotted key", "\nsession.idle = '7x'", "coatcheck.toml:2: session.idle: \"7x\" is no duration: …"},
		{"no TOML", "listen = \n", "coatcheck.toml:1: this is not TOML: …"},
		{"a name twice", "listen = ':1'\nlisten = ':2'", "coatcheck.toml:2: this is not TOML: …"},
		{"number for a duration", "[session]\nidle = 7", "coatcheck.toml:2: session.idle: \"7\" is no duration: write a number and a unit, such as \"90s\", \"10m\", \"1h30m\" or \"7d\""},
		{"truth for a text", "listen = true", "coatcheck.toml:1: listen: this takes a text in quotation marks: host:port"},
		{"list for one", "listen = [':1', ':2']", "coatcheck.toml:1: listen: this takes one value, not a list"},
		{"numbers in a list", "transports = [1]", "coatcheck.toml:1: transports: this takes a list of texts in quotation marks"},
		{
			"several at once", "listen = 'x'\n[refresh]\ngrace = '1s'\n[log]\nlevel = 'loud'",
			"coatcheck.toml:1: listen: …\ncoatcheck.toml:3: refresh.grace: 1s is out of range: 2s to 1m\ncoatcheck.toml:5: log.level: \"loud\" is not known in this version: it is debug, info, warn or error",
		},

		{"listen without port", "listen = 'localhost'", "coatcheck.toml:1: listen: \"localhost\" is no address to listen on: write \"host:port\", such as \"localhost:8080\" or \":8080\""},
		{"listen beyond ports", "listen = ':65536'", "coatcheck.toml:1: listen: \"65536\" is no port: a whole number from 0 to 65535"},
		{"listen on no host", "listen = 'a b:80'", "coatcheck.toml:1: listen: \"a b\" is neither a host name nor an IP address"},
		{"metrics on the same", "listen = ':1'\nmetrics.listen = ':1'", "coatcheck.toml:2: metrics.listen: metrics are for operators only and need an address of their own, not that of listen"}, // V-106
		{"no transport", "transports = []", "coatcheck.toml:1: transports: at least one is needed of cookie or token"},
		{"unknown transport", "transports = ['smoke']", "coatcheck.toml:1: transports: \"smoke\" is not known in this version: it is cookie or token"},
		{"one twice", "transports = ['token', 'token']", "coatcheck.toml:1: transports: \"token\" is there twice"},
		{"who may sign up", "sign_up = 'nobody'", "coatcheck.toml:1: sign_up: \"nobody\" is not known in this version: it is open, invite or closed"},
		{"unknown verification", "verify_email = 'maybe'", "coatcheck.toml:1: verify_email: \"maybe\" is not known in this version: it is required or optional"},
		{"public without a word on mail", "public_url = 'https://auth.example.com'", "verify_email: there is no mail.host, so nobody can prove that an address is theirs: set up mail, or write verify_email = \"optional\" …"},
		{"verification without mail", "public_url = 'https://auth.example.com'\nverify_email = 'required'", "coatcheck.toml:2: verify_email: there is no mail.host, so nobody could prove their address …"},
		{"a port in the mail server's name", "mail.from = 'a@b.example'\nmail.host = 'mail.example.com:25'", "coatcheck.toml:2: mail.host: \"mail.example.com:25\" is no host: …"},
		{"mail from nobody", "mail.host = 'mail.example.com'", "mail.from: mail.host is given, and mails need an address to be from, …"},
		{"mail from what is no address", "mail.host = 'mail.example.com'\nmail.from = 'Acme'", "coatcheck.toml:2: mail.from: \"Acme\" is nobody that mails can be from: …"},
		{"V-41 a header in mail.from", "mail.host = 'mail.example.com'\nmail.from = \"a@b.example\\r\\nBcc: c@d.example\"", "coatcheck.toml:2: mail.from: \"a@b.example\\r\\nBcc: c@d.example\" is nobody …"},
		{"mail in the clear", "mail.host = 'mail.example.com'\nmail.from = 'a@b.example'\nmail.tls = 'none'", "coatcheck.toml:3: mail.tls: none sends passwords, links and addresses for everyone on the way to read: …"},
		{"half of signing in to the mail server", "mail.host = 'mail.example.com'\nmail.from = 'a@b.example'\nmail.user = 'a'", "coatcheck.toml:3: mail.user: signing in to the mail server needs both mail.user and mail.password"},
		{"the other half", "mail.host = 'mail.example.com'\nmail.from = 'a@b.example'\nmail.password = 'a'", "coatcheck.toml:3: mail.password: signing in to the mail server needs both mail.user and mail.password"},
		{"password of mail and its file", "mail.password = 'a'\nmail.password_file = 'x'", "coatcheck.toml:2: mail.password_file: mail.password is given as well: which of the two is meant?"},
		{"proxies of everyone V-100", "proxies = ['0.0.0.0/0']", "coatcheck.toml:1: proxies: \"0.0.0.0/0\" is everyone: …"},
		{"proxies beyond the prefix", "proxies = ['10.1.0.0/8']", "coatcheck.toml:1: proxies: \"10.1.0.0/8\" has bits set beyond its prefix: write 10.0.0.0/8"},
		{"proxies by name", "proxies = ['localhost']", "coatcheck.toml:1: proxies: \"localhost\" is no network: …"},
		{"no database", "database = 'mysql://x'", "coatcheck.toml:1: database: this is no database: …"},
		{"no file for SQLite", "database = 'sqlite:'", "coatcheck.toml:1: database: sqlite: wants the path of a file after it, without ? and #"},
		{"parameters for SQLite", "database = 'sqlite:a.db?mode=ro'", "coatcheck.toml:1: database: sqlite: wants the path …"},
		{"no name of a database", "database = 'postgres://db'\nsecret = '" + random + "'", "coatcheck.toml:1: database: the address names no database: …"},
		{"PostgreSQL without a secret", "database = 'postgres:///x'", "secret: PostgreSQL needs it to be given, …"},

		{"idle over absolute", "session.idle = '31d'", "coatcheck.toml:1: session.idle: 31d is longer than session.absolute, 30d"},
		{"idle over aal2", "session.profile = 'aal2'\nsession.idle = '61m'", "coatcheck.toml:2: session.idle: 1h1m is longer than the profile aal2 allows, 1h"},
		{"absolute over aal2", "session.profile = 'aal2'\nsession.absolute = '25h'", "coatcheck.toml:2: session.absolute: 1d1h is longer than the profile aal2 allows, 1d"},
		{"unknown profile", "session.profile = 'aal3'", "coatcheck.toml:1: session.profile: \"aal3\" is not known in this version: it is standard or aal2"},
		{"no sessions", "session.max = 0", "coatcheck.toml:1: session.max: 0 is out of range: 1 to 10000, or the word none"},
		{"overflowing", "session.idle = '65535d2562047h'", "coatcheck.toml:1: session.idle: \"65535d2562047h\" is no duration: …"},
		{"token for a moment", "token.access = '59s'", "coatcheck.toml:1: token.access: 59s is out of range: 1m to 1d"},
		{"token for two days", "token.access = '25h'", "coatcheck.toml:1: token.access: 1d1h is out of range: 1m to 1d"},
		{"symmetric tokens V-02", "token.algorithm = 'HS256'", "coatcheck.toml:1: token.algorithm: \"HS256\" is not known in this version: it is ES256, EdDSA or RS256"},
		{"reserved claim V-70", "token.claims = ['sub']", "coatcheck.toml:1: token.claims: \"sub\" is not known in this version: it is email, email_verified, name or roles"},
		{"huge token", "token.max_bytes = 4097", "coatcheck.toml:1: token.max_bytes: 4097 is out of range: 256 to 4096"},
		{"space in an audience", "token.audiences = ['a b']", "coatcheck.toml:1: token.audiences: \"a b\" cannot be the name of an audience: …"},
		{"quotation mark in a scope", "token.scopes = ['\"']", "coatcheck.toml:1: token.scopes: \"\\\"\" cannot be the name of an scope: …"},
		{"seldom heartbeat", "revocation.heartbeat = '5s'", "coatcheck.toml:1: revocation.heartbeat: a heartbeat every 5s is too seldom …"},
		{"impatient verifiers", "revocation.staleness = '4s'", "coatcheck.toml:1: revocation.staleness: a heartbeat every 2s is too seldom …"},
		{"short passwords", "password.min_length = 7", "coatcheck.toml:1: password.min_length: 7 is out of range: 8 to 64"},
		{"short words", "password.words = ['a']", "coatcheck.toml:1: password.words: \"a\" is no word to look for: …"},
		{"SameSite none", "cookie.same_site = 'none'", "coatcheck.toml:1: cookie.same_site: \"none\" is not known in this version: it is lax or strict"},
		{"rate without a time", "throttle.pair = '10'", "coatcheck.toml:1: throttle.pair: \"10\" is no rate: …"},
		{"rate of nothing", "throttle.pair = '0/1s'", "coatcheck.toml:1: throttle.pair: \"0/1s\" is out of range: …"},
		{"no slots", "hash.slots = 0", "coatcheck.toml:1: hash.slots: 0 is out of range: 1 to 1024, or the word cores"},
		{"half of TLS", "tls.key = 'key.pem'", "coatcheck.toml:1: tls.key: TLS needs both tls.certificate and tls.key"},
		{"TLS for plain http", "tls.key = 'key.pem'\ntls.certificate = 'cert.pem'", "coatcheck.toml:2: tls.certificate: the server would speak TLS, but public_url is plain http: write https"},
		{"secret and its file", "secret = '" + random + "'\nsecret_file = 'x'", "coatcheck.toml:2: secret_file: secret is given as well: which of the two is meant?"},
		{"redis that is none", "redis = 'http://:hunter2@cache'", "coatcheck.toml:1: redis: this is no Redis: write redis://HOST:PORT, …"},
		{"redis with SQLite", "redis = 'redis://cache'", "coatcheck.toml:1: redis: it lets nodes wake each other, and with SQLite there is one: …"},
		{"secret file not there", "secret_file = '/nowhere'", "coatcheck.toml:1: secret_file: \"/nowhere\" cannot be read: no such file or directory"},
		{"secret file with an example", "secret_file = 'coatcheck.toml'", "coatcheck.toml:1: secret_file: in \"coatcheck.toml\": " + known},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, c.file)
			_, err := Load(Options{})
			wantMistakes(t, err, c.want)
		})
	}
}

// wantMistakes compares line by line; a "…" at the end of a line stands for the
// rest of it.
func wantMistakes(t *testing.T, err error, want string) {
	t.Helper()
	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %v, want mistakes", err)
	}
	got, lines := strings.Split(err.Error(), "\n"), strings.Split(want, "\n")
	for i := range max(len(got), len(lines)) {
		switch {
		case i >= len(lines):
			t.Errorf("one too many: %s", got[i])
		case i >= len(got):
			t.Errorf("missing: %s", lines[i])
		default:
			start, cut := strings.CutSuffix(lines[i], "…")
			if got[i] != start && (!cut || !strings.HasPrefix(got[i], start)) {
				t.Errorf("got  %s\nwant %s", got[i], lines[i])
			}
		}
	}
}

func TestMistakesElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load(Options{
		Environ: []string{"COATCHECK_SESSION_IDEL=7d", "COATCHECK_LISTEN=x", "COATCHECK_SECRET="},
		Flags:   map[string]string{"session.idle": "7x", "nonsense": "1", "secret": random, "database": "postgres://a:hunter2@b/c"},
	})
	wantMistakes(t, err, `COATCHECK_LISTEN: listen: "x" is no address to listen on: …
COATCHECK_SECRET: secret: a secret is at least 32 random bytes: …
COATCHECK_SESSION_IDEL: there is no such setting; did you mean COATCHECK_SESSION_IDLE?
secret: a secret is never a flag, since every user of the machine sees those: use COATCHECK_SECRET or secret_file
--database: database: a password is never part of a flag, …
--nonsense: there is no such flag
--session-idle: session.idle: "7x" is no duration: …`)
	if strings.Contains(err.Error(), random) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is in the error:\n%v", err)
	}
}

// A wrong value is told although another source overrides it, and the file comes
// before the environment.
func TestMistakesUnderneath(t *testing.T) {
	write(t, "[session]\nidle = '7x'")
	_, err := Load(Options{Environ: []string{"COATCHECK_SESSION_IDLE=1d", "COATCHECK_LISTEN=x"}})
	wantMistakes(t, err, "coatcheck.toml:2: session.idle: …\nCOATCHECK_LISTEN: listen: …")
}

func TestCookieDomain(t *testing.T) {
	for _, c := range []struct{ url, domain, want string }{
		{"https://auth.example.com", "example.com", ""},
		{"https://auth.example.com:8443", "auth.example.com", ""},
		{"https://auth.example.com", ".example.com", "is not the plain form: write example.com"},
		{"https://auth.example.com", "Example.com", "is not the plain form: write example.com"},
		{"https://auth.example.com", "com", "(a public suffix)"},
		{"https://shop.github.io", "github.io", "(a public suffix)"},
		{"https://auth.example.co.uk", "co.uk", "(a public suffix)"},
		{"https://localhost", "localhost", "(a public suffix)"},
		{"https://auth.example.com", "ple.com", "nor a domain above it"},
		{"https://auth.example.com", "other.auth.example.com", "nor a domain above it"},
		{"https://auth.example.com", "example.org", "nor a domain above it"},
		{"https://192.0.2.1", "192.0.2.1", "is no domain name"},
		{"https://192.0.2.1", "2.1", "is no domain name"},
		{"https://auth.example.com", "exämple.com", "is no domain name"},
		{"http://a.example.localhost", "example.localhost", "needs https"},
	} {
		_, err := Load(Options{Path: os.DevNull, Flags: map[string]string{"public_url": c.url, "cookie.domain": c.domain, "verify_email": "optional"}})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s under %s: %v", c.domain, c.url, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s under %s: got %v, want a mistake with %q", c.domain, c.url, err, c.want)
		}
	}
}
