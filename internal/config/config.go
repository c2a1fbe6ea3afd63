// Package config says what an operator may decide, and reads it: from flags,
// the environment, coatcheck.toml and the defaults, in that order of precedence.
//
// A configuration that it returns has been checked as a whole: every value is in
// its range and no two contradict each other. It never touches a database, a
// socket or a certificate; what only those can tell is for coatcheck doctor.
//
// It exports more than forty names: seventeen are the tables of coatcheck.toml.
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config is the whole configuration. The first line of each field's comment is
// that field's manual, in coatcheck.toml, --help and the reference alike.
type Config struct {
	// Address to listen on, as host:port; an empty host is every interface.
	Listen string
	// The issuer: the origin that people and services use, from which every link is made.
	// Never taken from a request. Plain http is for loopback hosts only.
	PublicURL string
	// Where the records are: sqlite:PATH or postgres://USER@HOST/NAME.
	Database string
	// File that holds the value of database, for an address with a password in it.
	DatabaseFile string
	// Redis that lets nodes on one PostgreSQL wake each other sooner: redis://, rediss:// or unix://, with a password if it has one.
	// Empty means that they hear of ends at their next look at the database. It holds nothing.
	Redis string
	// File that holds the value of redis.
	RedisFile string
	// 32 or more random bytes that encrypt the signing keys, as base64url, hex or plain text.
	// Nil with SQLite means the one that is kept beside the database.
	Secret Secret
	// File that holds the value of secret.
	SecretFile string
	// What sign-in may hand out: cookie, and token for access and refresh tokens in the body or as cookies.
	Transports []string
	// Networks (CIDR) of reverse proxies whose X-Forwarded headers are believed.
	Proxies []netip.Prefix
	// Who may make an account: open is everyone, invite is who an administrator has invited by mail, closed is administrators only.
	SignUp string
	// Whether an address must be proven before it has an account: required, the default with mail, or optional.
	// It has to be said in words where public_url is not loopback and there is no mail.host.
	VerifyEmail string

	Session    Session
	Token      Token
	Refresh    Refresh
	Cookie     Cookie
	CORS       CORS
	Revocation Revocation
	Brand      Brand
	Pages      Pages
	Mail       Mail
	Outbound   Outbound
	Password   Password
	ReturnTo   ReturnTo
	TLS        TLS
	Hash       Hash
	Throttle   Throttle
	Audit      Audit
	Geo        Geo
	Metrics    Metrics
	Log        Log
}

// Session is the [session] table: how long a sign-in lasts.
type Session struct {
	// A session that nobody has used for this long is over.
	Idle time.Duration
	// A session is over this long after sign-in, used or not.
	Absolute time.Duration
	// Profile of SP 800-63B-4: standard, or aal2 with at most 1h idle and 24h in all.
	Profile string
	// Sessions that one person may hold, the oldest ends when another begins; none is no limit.
	// 0 stands for none.
	Max int
	// Sessions that are remembered in memory, so that checking them asks no database; 300 bytes each.
	// Fewer where the memory limit of the process (GOMEMLIMIT) is small: a quarter of it is for them.
	Cached int
}

// Token is the [token] table: the access tokens.
type Token struct {
	// Lifetime of an access token, shortened at random by up to 5 %.
	Access time.Duration
	// How access tokens are signed: ES256, EdDSA or RS256.
	Algorithm string
	// Claims about the person to put into access tokens: email, email_verified, name and roles.
	Claims []string
	// Largest access token in bytes; more is refused when it would be made. Unless given, 1536 with RS256.
	MaxBytes int
	// Services that the first-party client may ask tokens for, besides public_url.
	Audiences []string
	// Scopes that the first-party client may ask for.
	Scopes []string
}

// Refresh is the [refresh] table.
type Refresh struct {
	// How long after its rotation a refresh token still gives the same successor, for tabs that race.
	Grace time.Duration
}

// Cookie is the [cookie] table: the session cookie.
type Cookie struct {
	// Domain that shares the session cookie; none keeps it to the host of public_url, which is safer.
	Domain string
	// The SameSite attribute: lax or strict.
	SameSite string
}

// CORS is the [cors] table.
type CORS struct {
	// Exact origins of front ends elsewhere that may call the API with cookies.
	Origins []string
}

// Revocation is the [revocation] table: what verifiers are promised.
type Revocation struct {
	// How long a verifier may go without news before it stops trusting itself.
	Staleness time.Duration
	// How often the stream says that it is alive; less than half of revocation.staleness.
	Heartbeat time.Duration
}

// Brand is the [brand] table: what people see of you on the pages and in mails.
type Brand struct {
	// What the site is called; none is the host of public_url.
	Name string
	// Image file for the top of every page: SVG, PNG, JPEG or WebP, at most 32 KiB.
	Logo string
	// Colour of buttons and links as #rrggbb; shades that are easy to read are made of it.
	Color string
	// Address of the privacy notice.
	Privacy string
	// Address of the terms of use.
	Terms string
	// Address where people find help, https: or mailto:.
	Help string
}

// Pages is the [pages] table.
type Pages struct {
	// Folder whose templates, mails, style.css, theme.css and languages stand in for ours.
	Folder string
}

// Mail is the [mail] table: the mail server that takes our mails.
type Mail struct {
	// Name of the mail server; without one mails are printed, on a loopback public_url only.
	Host string
	// Port of the mail server. Unless given, 465 with mail.tls = "implicit".
	Port int
	// Name to sign in to the mail server with; none is not to sign in.
	User string
	// Password to sign in to the mail server with.
	Password Secret
	// File that holds the value of mail.password.
	PasswordFile string
	// How the connection is encrypted: starttls after the greeting, implicit from its beginning, or none, for a server on this machine.
	TLS string
	// Address that mails are from, with or without a name: Example <no-reply@example.com>.
	From string
}

// Outbound is the [outbound] table: what the server may call where others name the
// address, as clients do for their keys and for news of sign-outs.
type Outbound struct {
	// Networks (CIDR) that may be called though they are not public; an address of a cloud's metadata by itself, as /32 or /128.
	// Where public_url is loopback, this machine may be called without being named.
	Allow []netip.Prefix
	// Ports that may be called besides 443.
	Ports []uint16
	// Certificates (PEM) of authorities that are believed besides those that this machine trusts.
	CA string
}

// Password is the [password] table.
type Password struct {
	// Fewest characters in a new password; common passwords are refused at any length.
	MinLength int
	// Words that new passwords must not be made of, such as the product's name.
	Words []string
}

// ReturnTo is the [return_to] table.
type ReturnTo struct {
	// Exact origins, besides public_url, to which sign-in may send people back.
	Origins []string
}

// TLS is the [tls] table: both files or neither. They are read again when they change.
type TLS struct {
	// Certificate chain (PEM), where the server speaks TLS itself.
	Certificate string
	// Private key (PEM) of tls.certificate.
	Key string
}

// Hash is the [hash] table.
type Hash struct {
	// Passwords hashed at the same time, each in 19 MiB of memory; cores is one per processor core.
	Slots int
}

// Throttle is the [throttle] table: how often a password may be tried. "10/30s"
// is ten at once, then one more every 30 seconds.
type Throttle struct {
	// Tries of one account over all addresses, except those it signed in from lately.
	Account Rate
	// Tries from one address over all accounts: an IPv4 address or an IPv6 /64.
	Address Rate
	// Tries of one account from one address.
	Pair Rate
}

// A Rate is an allowance: Burst at once (1 to 10,000), then one more for every
// Every that passes (over zero, up to 24 hours).
type Rate struct {
	Burst int
	Every time.Duration
}

// Audit is the [audit] table.
type Audit struct {
	// How long audit entries are kept.
	Keep time.Duration
}

// Geo is the [geo] table.
type Geo struct {
	// City or Country database in the MaxMind format (.mmdb), by which pages and mails name the place of an address.
	// It is read again when it changes.
	Database string
}

// Metrics is the [metrics] table.
type Metrics struct {
	// Address for Prometheus metrics, as host:port, apart from everything else; off is none.
	// Empty stands for off.
	Listen string
}

// Log is the [log] table.
type Log struct {
	// Form of the log: text, json, or auto for text on a terminal and json elsewhere.
	Format string
	// Least serious entries to log: debug, info, warn or error.
	Level slog.Level
}

// Secure reports whether public_url is https. Where it is not, the host is
// loopback and cookies go without the Secure attribute.
func (c *Config) Secure() bool { return strings.HasPrefix(c.PublicURL, "https://") }

// Host returns the host of public_url, with its port if it has one.
func (c *Config) Host() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// Loopback reports whether public_url can be reached from this machine only.
func (c *Config) Loopback() bool {
	u, err := url.Parse(c.PublicURL)
	return err == nil && isLoopback(u.Hostname())
}

// SQLite returns the path of the SQLite file, or ok false with PostgreSQL.
func (c *Config) SQLite() (path string, ok bool) {
	return strings.CutPrefix(c.Database, "sqlite:")
}

// StrictPresence reports whether a refresh is no sign of the person's presence,
// which is so under the profile aal2.
func (c *Config) StrictPresence() bool { return c.Session.Profile == profileAAL2 }

// The values of session.profile, and what aal2 sets.
const (
	profileStandard = "standard"
	profileAAL2     = "aal2"
	aal2Idle        = time.Hour
	aal2Absolute    = 24 * time.Hour
)
