package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Key is one setting's name and manual.
type Key struct {
	Name    string // as in coatcheck.toml, with its table: "session.idle"
	Default string // as one would write it; "" is none
	Manual  string // one sentence
	Secret  bool   // never a flag, never shown

	field func(*Config) value
}

// Flag returns the name of the key's flag without dashes, "session-idle", or ""
// for a secret.
func (k Key) Flag() string {
	if k.Secret {
		return ""
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.Name)
}

// Env returns the name of the key's environment variable.
func (k Key) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Form says how a value is written: "duration, 1m to 1d".
func (k Key) Form() string { return k.field(new(Config)).form }

// List reports whether the key takes any number of values: an array in
// coatcheck.toml, separated by commas elsewhere.
func (k Key) List() bool { return k.field(new(Config)).list }

const (
	envPrefix = "COATCHECK_"
	day       = 24 * time.Hour
)

// Keys returns all keys in the order of the manual. The result is the caller's.
func Keys() []Key { return slices.Clone(keys) }

// Reference returns the manual of all keys as a table in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| name | default | form | meaning |\n| --- | --- | --- | --- |\n")
	for _, k := range keys {
		standard := "none"
		if k.Default != "" {
			standard = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, standard, k.Form(), k.Manual)
	}
	return b.String()
}

// The files that hold a value instead of the configuration, by the value's name.
var files = map[string]string{"database": "database_file", "redis": "redis_file", "secret": "secret_file", "mail.password": "mail.password_file"}

// keys is the one table behind flags, environment, file and manual.
var keys = []Key{
	{
		"listen", "localhost:8080", "Address to listen on, as host:port; an empty host is every interface.", false,
		func(c *Config) value { return address(&c.Listen, "") },
	},
	{
		"public_url", "http://localhost:8080", "The issuer: the origin that people and services use, from which every link is made.", false,
		func(c *Config) value { return origin(&c.PublicURL) },
	},
	{
		"database", "sqlite:coatcheck.db", "Where the records are: sqlite:PATH or postgres://USER@HOST/NAME.", false,
		func(c *Config) value { return database(&c.Database) },
	},
	{
		"database_file", "", "File that holds the value of database, for an address with a password in it.", false,
		func(c *Config) value { return path(&c.DatabaseFile) },
	},
	{
		"redis", "", "Redis that lets nodes on one PostgreSQL wake each other sooner: redis://, rediss:// or unix://, with a password if it has one.", true,
		func(c *Config) value { return redis(&c.Redis) },
	},
	{
		"redis_file", "", "File that holds the value of redis.", false,
		func(c *Config) value { return path(&c.RedisFile) },
	},
	{
		"secret", "", "32 or more random bytes that encrypt the signing keys, as base64url, hex or plain text.", true,
		func(c *Config) value { return secret(&c.Secret) },
	},
	{
		"secret_file", "", "File that holds the value of secret.", false,
		func(c *Config) value { return path(&c.SecretFile) },
	},
	{
		"transports", "cookie, token", "What sign-in may hand out: cookie, and token for access and refresh tokens in the body or as cookies.", false,
		func(c *Config) value { return some(&c.Transports, true, "cookie", "token") },
	},
	{
		"proxies", "", "Networks (CIDR) of reverse proxies whose X-Forwarded headers are believed.", false,
		func(c *Config) value { return networks(&c.Proxies) },
	},
	{
		"sign_up", "open", "Who may make an account: open is everyone, invite is who an administrator has invited by mail, closed is administrators only.", false,
		func(c *Config) value { return one(&c.SignUp, "open", "invite", "closed") },
	},
	{
		"verify_email", "required", "Whether an address must be proven before it has an account: required, the default with mail, or optional.", false,
		func(c *Config) value { return one(&c.VerifyEmail, "required", "optional") },
	},

	{
		"session.idle", "7d", "A session that nobody has used for this long is over.", false,
		func(c *Config) value { return duration(&c.Session.Idle, time.Minute, 400*day) },
	},
	{
		"session.absolute", "30d", "A session is over this long after sign-in, used or not.", false,
		func(c *Config) value { return duration(&c.Session.Absolute, time.Minute, 400*day) },
	},
	{
		"session.profile", profileStandard, "Profile of SP 800-63B-4: standard, or aal2 with at most 1h idle and 24h in all.", false,
		func(c *Config) value { return one(&c.Session.Profile, profileStandard, profileAAL2) },
	},
	{
		"session.max", "none", "Sessions that one person may hold, the oldest ends when another begins; none is no limit.", false,
		func(c *Config) value { return wholeOr("none", 0, &c.Session.Max, 1, 10_000) },
	},
	{
		"session.cached", "1000000", "Sessions that are remembered in memory, so that checking them asks no database; 300 bytes each.", false,
		func(c *Config) value { return whole(&c.Session.Cached, 1_000, 100_000_000) },
	},

	{
		"token.access", "10m", "Lifetime of an access token, shortened at random by up to 5 %.", false,
		func(c *Config) value { return duration(&c.Token.Access, time.Minute, day) },
	},
	{
		"token.algorithm", "ES256", "How access tokens are signed: ES256, EdDSA or RS256.", false,
		func(c *Config) value { return one(&c.Token.Algorithm, "ES256", "EdDSA", "RS256") },
	},
	{
		"token.claims", "", "Claims about the person to put into access tokens: email, email_verified, name and roles.", false,
		func(c *Config) value { return some(&c.Token.Claims, false, "email", "email_verified", "name", "roles") },
	},
	{
		"token.max_bytes", "1024", "Largest access token in bytes; more is refused when it would be made. Unless given, 1536 with RS256.", false,
		func(c *Config) value { return whole(&c.Token.MaxBytes, 256, 4096) },
	},
	{
		"token.audiences", "", "Services that the first-party client may ask tokens for, besides public_url.", false,
		func(c *Config) value { return names(&c.Token.Audiences, "audience") },
	},
	{
		"token.scopes", "", "Scopes that the first-party client may ask for.", false,
		func(c *Config) value { return names(&c.Token.Scopes, "scope") },
	},
	{
		"refresh.grace", "10s", "How long after its rotation a refresh token still gives the same successor, for tabs that race.", false,
		func(c *Config) value { return duration(&c.Refresh.Grace, 2*time.Second, time.Minute) },
	},

	{
		"cookie.domain", "", "Domain that shares the session cookie; none keeps it to the host of public_url, which is safer.", false,
		func(c *Config) value { return domain(&c.Cookie.Domain) },
	},
	{
		"cookie.same_site", "lax", "The SameSite attribute: lax or strict.", false,
		func(c *Config) value { return one(&c.Cookie.SameSite, "lax", "strict") },
	},
	{
		"cors.origins", "", "Exact origins of front ends elsewhere that may call the API with cookies.", false,
		func(c *Config) value { return origins(&c.CORS.Origins) },
	},
	{
		"return_to.origins", "", "Exact origins, besides public_url, to which sign-in may send people back.", false,
		func(c *Config) value { return origins(&c.ReturnTo.Origins) },
	},

	{
		"revocation.staleness", "10s", "How long a verifier may go without news before it stops trusting itself.", false,
		func(c *Config) value { return duration(&c.Revocation.Staleness, time.Second, 10*time.Minute) },
	},
	{
		"revocation.heartbeat", "2s", "How often the stream says that it is alive; less than half of revocation.staleness.", false,
		func(c *Config) value {
			return duration(&c.Revocation.Heartbeat, 100*time.Millisecond, 5*time.Minute)
		},
	},

	{
		"brand.name", "", "What the site is called; none is the host of public_url.", false,
		func(c *Config) value { return called(&c.Brand.Name) },
	},
	{
		"brand.logo", "", "Image file for the top of every page: SVG, PNG, JPEG or WebP, at most 32 KiB.", false,
		func(c *Config) value { return path(&c.Brand.Logo) },
	},
	{
		"brand.color", "", "Colour of buttons and links as #rrggbb; shades that are easy to read are made of it.", false,
		func(c *Config) value { return color(&c.Brand.Color) },
	},
	{
		"brand.privacy", "", "Address of the privacy notice.", false,
		func(c *Config) value { return link(&c.Brand.Privacy, "https", "http") },
	},
	{
		"brand.terms", "", "Address of the terms of use.", false,
		func(c *Config) value { return link(&c.Brand.Terms, "https", "http") },
	},
	{
		"brand.help", "", "Address where people find help, https: or mailto:.", false,
		func(c *Config) value { return link(&c.Brand.Help, "https", "http", "mailto") },
	},
	{
		"pages.folder", "", "Folder whose templates, mails, style.css, theme.css and languages stand in for ours.", false,
		func(c *Config) value { return path(&c.Pages.Folder) },
	},

	{
		"mail.host", "", "Name of the mail server; without one mails are printed, on a loopback public_url only.", false,
		func(c *Config) value { return host(&c.Mail.Host) },
	},
	{
		"mail.port", "587", "Port of the mail server. Unless given, 465 with mail.tls = \"implicit\".", false,
		func(c *Config) value { return whole(&c.Mail.Port, 1, 65535) },
	},
	{
		"mail.user", "", "Name to sign in to the mail server with; none is not to sign in.", false,
		func(c *Config) value { return visible(&c.Mail.User) },
	},
	{
		"mail.password", "", "Password to sign in to the mail server with.", true,
		func(c *Config) value { return password(&c.Mail.Password) },
	},
	{
		"mail.password_file", "", "File that holds the value of mail.password.", false,
		func(c *Config) value { return path(&c.Mail.PasswordFile) },
	},
	{
		"mail.tls", "starttls", "How the connection is encrypted: starttls after the greeting, implicit from its beginning, or none, for a server on this machine.", false,
		func(c *Config) value { return one(&c.Mail.TLS, "starttls", "implicit", "none") },
	},
	{
		"mail.from", "", "Address that mails are from, with or without a name: Example <no-reply@example.com>.", false,
		func(c *Config) value { return sender(&c.Mail.From) },
	},

	{
		"outbound.allow", "", "Networks (CIDR) that may be called though they are not public; an address of a cloud's metadata by itself, as /32 or /128.", false,
		func(c *Config) value { return networks(&c.Outbound.Allow) },
	},
	{
		"outbound.ports", "", "Ports that may be called besides 443.", false,
		func(c *Config) value { return ports(&c.Outbound.Ports) },
	},
	{
		"outbound.ca", "", "Certificates (PEM) of authorities that are believed besides those that this machine trusts.", false,
		func(c *Config) value { return path(&c.Outbound.CA) },
	},

	{
		"password.min_length", "8", "Fewest characters in a new password; common passwords are refused at any length.", false,
		func(c *Config) value { return whole(&c.Password.MinLength, 8, 64) },
	},
	{
		"password.words", "", "Words that new passwords must not be made of, such as the product's name.", false,
		func(c *Config) value { return words(&c.Password.Words) },
	},
	{
		"hash.slots", "cores", "Passwords hashed at the same time, each in 19 MiB of memory; cores is one per processor core.", false,
		func(c *Config) value { return wholeOr("cores", cores(), &c.Hash.Slots, 1, 1024) },
	},
	{
		"throttle.account", "50/20s", "Tries of one account over all addresses, except those it signed in from lately.", false,
		func(c *Config) value { return rate(&c.Throttle.Account) },
	},
	{
		"throttle.address", "100/1s", "Tries from one address over all accounts: an IPv4 address or an IPv6 /64.", false,
		func(c *Config) value { return rate(&c.Throttle.Address) },
	},
	{
		"throttle.pair", "10/30s", "Tries of one account from one address.", false,
		func(c *Config) value { return rate(&c.Throttle.Pair) },
	},

	{
		"tls.certificate", "", "Certificate chain (PEM), where the server speaks TLS itself.", false,
		func(c *Config) value { return path(&c.TLS.Certificate) },
	},
	{
		"tls.key", "", "Private key (PEM) of tls.certificate.", false,
		func(c *Config) value { return path(&c.TLS.Key) },
	},
	{
		"audit.keep", "400d", "How long audit entries are kept.", false,
		func(c *Config) value { return duration(&c.Audit.Keep, day, 3650*day) },
	},
	{
		"geo.database", "", "City or Country database in the MaxMind format (.mmdb), by which pages and mails name the place of an address.", false,
		func(c *Config) value { return path(&c.Geo.Database) },
	},
	{
		"metrics.listen", "off", "Address for Prometheus metrics, as host:port, apart from everything else; off is none.", false,
		func(c *Config) value { return address(&c.Metrics.Listen, "off") },
	},
	{
		"log.format", "auto", "Form of the log: text, json, or auto for text on a terminal and json elsewhere.", false,
		func(c *Config) value { return one(&c.Log.Format, "auto", "text", "json") },
	},
	{
		"log.level", "info", "Least serious entries to log: debug, info, warn or error.", false,
		func(c *Config) value { return level(&c.Log.Level) },
	},
}

// keyNamed returns the key of that name.
func keyNamed(name string) (Key, bool) {
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}
