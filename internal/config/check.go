package config

import (
	"fmt"
	"strings"
	"time"
)

// check holds the values against each other. A value with a mistake of its own
// is left out, so that one slip is told once.
func (r *reading) check() {
	r.checkSession()
	r.checkToken()
	r.checkOrigin()
	r.checkMail()
	r.checkStorage()
	r.checkListeners()
	if r.sound("revocation.heartbeat", "revocation.staleness") && 2*r.Revocation.Heartbeat >= r.Revocation.Staleness {
		r.blame(fmt.Sprintf("a heartbeat every %s is too seldom where verifiers wait no longer than %s: less than half of it is needed",
			formatDuration(r.Revocation.Heartbeat), formatDuration(r.Revocation.Staleness)), "revocation.heartbeat", "revocation.staleness")
	}
}

// sound reports whether the named values have been read without a mistake.
func (r *reading) sound(names ...string) bool {
	for _, name := range names {
		if r.bad[name] {
			return false
		}
	}
	return true
}

// blame makes a mistake of the first of the named values that was given.
func (r *reading) blame(text string, names ...string) {
	for _, name := range names {
		if r.Given(name) {
			r.mistake(name, text)
			return
		}
	}
	r.mistake(names[0], text)
}

func (r *reading) checkSession() {
	if !r.sound("session.idle", "session.absolute", "session.profile") {
		return
	}
	if r.StrictPresence() {
		r.limit("session.idle", &r.Session.Idle, aal2Idle)
		r.limit("session.absolute", &r.Session.Absolute, aal2Absolute)
	}
	if !r.sound("session.idle", "session.absolute") || r.Session.Idle <= r.Session.Absolute {
		return
	}
	if !r.Given("session.idle") {
		r.Session.Idle = r.Session.Absolute
		r.sources["session.idle"] = source{where: "default, within session.absolute"}
		return
	}
	r.mistake("session.idle", fmt.Sprintf("%s is longer than session.absolute, %s", formatDuration(r.Session.Idle), formatDuration(r.Session.Absolute)))
}

// limit sets a duration that was not given to the profile's, and refuses a
// longer one that was.
func (r *reading) limit(name string, d *time.Duration, highest time.Duration) {
	if !r.Given(name) {
		*d = highest
		r.sources[name] = source{where: "session.profile"}
		return
	}
	if *d > highest {
		r.mistake(name, fmt.Sprintf("%s is longer than the profile aal2 allows, %s", formatDuration(*d), formatDuration(highest)))
	}
}

func (r *reading) checkToken() {
	const roomForRSA = 1536
	if r.Token.Algorithm == "RS256" && !r.Given("token.max_bytes") {
		r.Token.MaxBytes = roomForRSA
		r.sources["token.max_bytes"] = source{where: "default with RS256"}
	}
}

// checkOrigin checks what hangs on public_url.
func (r *reading) checkOrigin() {
	if !r.sound("public_url") {
		return
	}
	if domain := r.Cookie.Domain; r.sound("cookie.domain") && domain != "" {
		host := strings.TrimPrefix(r.PublicURL, "https://")
		host, _, _ = strings.Cut(host, ":")
		switch {
		case !r.Secure():
			r.mistake("cookie.domain", "a cookie for a whole domain needs https, and public_url is plain http")
		case host != domain && !strings.HasSuffix(host, "."+domain):
			r.mistake("cookie.domain", fmt.Sprintf("%s is not the host of public_url, %s, nor a domain above it: browsers would refuse the cookie", domain, host))
		}
	}
	if r.sound("tls.certificate", "tls.key") && r.TLS.Certificate != "" && r.TLS.Key != "" && !r.Secure() {
		r.blame("the server would speak TLS, but public_url is plain http: write https", "public_url", "tls.certificate")
	}
}

func (r *reading) checkStorage() {
	if _, sqlite := r.SQLite(); sqlite && r.Redis != "" && r.sound("database", "database_file", "redis", "redis_file") {
		r.blame("it lets nodes wake each other, and with SQLite there is one: leave it out, or name a PostgreSQL in database", "redis", "redis_file")
	}
	if _, sqlite := r.SQLite(); !sqlite && len(r.Secret) == 0 && r.sound("database", "database_file", "secret", "secret_file") {
		r.mistake("secret", `PostgreSQL needs it to be given, the same on every node: make one with "openssl rand -hex 32" and set COATCHECK_SECRET or secret_file`)
	}
}

func (r *reading) checkListeners() {
	if r.sound("tls.certificate", "tls.key") && (r.TLS.Certificate == "") != (r.TLS.Key == "") {
		r.blame("TLS needs both tls.certificate and tls.key", "tls.certificate", "tls.key")
	}
	if r.sound("listen", "metrics.listen") && r.Metrics.Listen == r.Listen && !strings.HasSuffix(r.Listen, ":0") {
		r.mistake("metrics.listen", "metrics are for operators only and need an address of their own, not that of listen")
	}
}
