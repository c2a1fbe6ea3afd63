// Package app puts the pieces together: read it as a table of contents. It is the
// only importer of stores; the server package and the commands are thin over it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/hashing"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/place"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
	"github.com/coatcheck/coatcheck/internal/throttle"
	"github.com/coatcheck/coatcheck/internal/wakeup"
	"github.com/coatcheck/coatcheck/internal/web"
)

// Version is what this build calls itself.
const Version = "0.1.0"

// Options say what to put together.
type Options struct {
	Config config.Config
	Now    func() time.Time        // nil: the wall, and PostgreSQL's own clock for what is stored
	Hash   *account.HashParameters // nil: account.DefaultHashParameters
	Sum    hashing.Sum             // nil: hashing.Here, in this process
	Logger *slog.Logger            // nil: nothing is logged
	// Transport takes the mails in the place of what the configuration says; nil: that.
	Transport mail.Transport
	// Pages is what stands in for our templates, mails, styles and words; nil: the folder
	// that pages.folder names, if it does.
	Pages fs.FS
	// Existing refuses to make a SQLite database that is not there.
	Existing bool
	// Drain is how long Serve goes on accepting connections after readiness has
	// turned false, so that a load balancer looks elsewhere first. At most 3 s.
	Drain time.Duration

	// restoring is the copy of a backup to open in the place of the configured database,
	// alone who holds the latter alone; nil: neither.
	restoring *sqlstore.Restoring
	alone     *sqlstore.Lock
}

// ErrNoDatabase means that there is no database file where the configuration says.
var ErrNoDatabase = errors.New("there is no database")

// An App is everything, wired and not yet serving.
type App struct {
	Accounts *account.Directory
	Sessions *session.Manager
	Provider *oauth.Provider
	Ring     *keyring.Ring
	Log      *revocation.Log
	Audit    audit.Store
	Store    *sqlstore.DB
	Outbox   *mail.Outbox

	config  config.Config
	web     *web.Server
	metrics *web.Metrics
	words   *catalogue.Catalogue
	now     func() time.Time
	logger  *slog.Logger
	limits  limits
	bell    *wakeup.Bell    // nil: no Redis is configured
	places  *place.Database // nil: none is configured
	printer *mail.Printer   // nil: mails are sent, or nobody gets any
	drain   time.Duration

	stopping atomic.Bool
}

// New puts together what serves: over what Open does, it states how long tokens
// may live, puts the keys in order, and declares what the operator's own
// applications may ask for. It answers nothing yet.
func New(ctx context.Context, o Options) (*App, error) {
	a, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{a.openPlaces, a.Log.Hold, a.Log.Current, a.Ring.Load, a.declareFirstParty} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// Open opens the store, checks that the secret is the one it was made with, and
// wires the pieces over it. In an existing database it changes nothing but an older
// schema, so it is what a command does beside a running server.
func Open(ctx context.Context, o Options) (*App, error) {
	a := &App{
		config: o.Config, now: steady(o.Now), logger: o.Logger, metrics: web.NewMetrics(),
		limits: usualLimits, drain: min(max(0, o.Drain), maxDrain),
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	secret, err := a.openStore(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := a.wire(o, secret); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// openStore opens the database, and finds or makes the secret that belongs to it.
func (a *App) openStore(ctx context.Context, o Options) ([]byte, error) {
	now := o.Now
	if _, sqlite := o.Config.SQLite(); sqlite {
		now = a.now
	}
	if o.Existing {
		if err := noDatabase(o.Config); err != nil {
			return nil, err
		}
	}
	where := o.Config.Database
	if o.restoring != nil {
		where = o.restoring.URL()
	}
	db, err := sqlstore.Open(ctx, sqlstore.Options{
		URL: where, Now: now, Latency: a.metrics.StoreLatency, Logger: a.logger, Alone: o.alone,
	})
	if err != nil {
		return nil, err
	}
	secret, err := findSecret(ctx, &o.Config, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	a.Store, a.Audit = db, db
	return secret, nil
}

func (a *App) wire(o Options, secret []byte) error {
	db, c := a.Store, &a.config
	a.Log = revocation.New(revocation.Config{Heartbeat: c.Revocation.Heartbeat, Lifetime: c.Token.Access}, db, a.now, a.logger)
	if err := a.wireWakeups(); err != nil {
		return err
	}
	db.WriteFailed(a.Log.WriteFailed)

	hash, sum := account.DefaultHashParameters, hashing.Here
	if o.Hash != nil {
		hash = *o.Hash
	}
	if o.Sum != nil {
		sum = o.Sum
	}
	counters, err := a.sharedCounters(secret)
	if err != nil {
		return err
	}
	a.Accounts, err = account.New(a.accountConfig(c),
		account.Stores{Users: db, Setup: db, APIKeys: db, Links: db, Audit: db, Throttle: counters},
		account.NewHasher(hash, c.Hash.Slots, queuePerSlot*c.Hash.Slots, sum), a.Log, secret, a.now, a.logger)
	if err != nil {
		return err
	}
	a.Ring, err = keyring.New(keyring.Config{Algorithm: jwt.Algorithm(c.Token.Algorithm), Access: c.Token.Access}, db, a.Log, secret, a.now, a.logger)
	if err != nil {
		return err
	}
	a.Sessions, err = session.New(a.sessionConfig(c),
		session.Stores{Sessions: db, Upkeep: db, Attachments: db, History: db, Codes: db, Throttle: counters}, a.Ring, a.Log, secret, a.now, a.logger)
	if err != nil {
		return err
	}
	if err := a.wireProvider(counters, secret); err != nil {
		return err
	}
	public, err := url.Parse(c.PublicURL)
	if err != nil {
		return fmt.Errorf("public_url: %w", err)
	}
	settings := webConfig(c, public)
	settings.Mail = a.Accounts.Mails()
	if settings.Brand, err = brandOf(c); err != nil {
		return err
	}
	if settings.Pages, a.words, err = o.readPages(); err != nil {
		return err
	}
	if err := a.wireMail(a.words, public, settings.Pages, o.Transport); err != nil {
		return err
	}
	a.web, err = web.New(settings, web.Parts{
		Accounts: a.Accounts, Sessions: a.Sessions, Provider: a.Provider, Ring: a.Ring, Log: a.Log, Audit: db, Words: a.words,
		Outbox: a.Outbox, Mails: db, Letters: db, Printer: a.printer,
		Metrics: a.metrics, Place: a.placeOf, Now: a.now, Logger: a.logger,
	})
	return err
}

func (a *App) wireProvider(counters throttle.Store, secret []byte) error {
	db := a.Store
	calls, err := outboundOf(&a.config)
	if err != nil {
		return err
	}
	a.Provider, err = oauth.New(oauth.Config{Issuer: a.config.PublicURL, Outbound: calls},
		oauth.Stores{Clients: db, Assertions: db, Consents: db, Notices: db, Audit: db, Throttle: counters}, a.Sessions, a.Ring, a.Log, secret, a.now, a.logger)
	if err != nil {
		return err
	}
	db.Noticed(a.Provider.Notices.Wake)
	return nil
}

// sharedCounters returns what counts attempts for all nodes on one PostgreSQL; nil with
// SQLite, whose one server counts in its memory.
func (a *App) sharedCounters(secret []byte) (throttle.Store, error) {
	if _, sqlite := a.config.SQLite(); sqlite {
		return nil, nil
	}
	return throttle.NewShared(a.Store.Allowances(), secret, a.now)
}

// queuePerSlot is how many sign-ins wait for each hashing slot: a fifth of a
// second each, so nobody waits for long before being told to come again.
const queuePerSlot = 8

func (a *App) accountConfig(c *config.Config) account.Config {
	return account.Config{
		SignUpClosed: c.SignUp == "closed", SignUpInvited: c.SignUp == "invite",
		VerifyRequired: c.VerifyEmail == "required", NoMail: !hasMail(c), Place: a.placeOf,
		Passwords: account.PasswordPolicy{MinLength: c.Password.MinLength, Context: c.Password.Words},
		Throttle: throttle.Rates{
			Pair: throttle.Rate(c.Throttle.Pair), Account: throttle.Rate(c.Throttle.Account), Address: throttle.Rate(c.Throttle.Address),
		},
	}
}

func (a *App) sessionConfig(c *config.Config) session.Config {
	return session.Config{
		Issuer: c.PublicURL, Idle: c.Session.Idle, Absolute: c.Session.Absolute, Strict: c.StrictPresence(),
		Max: c.Session.Max, Claims: c.Token.Claims, MaxTokenBytes: c.Token.MaxBytes,
		Grace: c.Refresh.Grace, Access: c.Token.Access,
		Cached: min(c.Session.Cached, cachedWithin(debug.SetMemoryLimit(-1))), Place: a.placeOf,
	}
}

// cachedWithin returns how many sessions may be remembered where the memory of the
// process is limited: a quarter of it is for them, and for the access tokens that are
// remembered beside them.
func cachedWithin(limit int64) int {
	const share, each = 4, 512
	return int(limit / share / each)
}

func webConfig(c *config.Config, public *url.URL) web.Config {
	site := http.SameSiteLaxMode
	if c.Cookie.SameSite == "strict" {
		site = http.SameSiteStrictMode
	}
	return web.Config{
		PublicURL: public, Transports: c.Transports, SignUpClosed: c.SignUp == "closed", SignUpInvite: c.SignUp == "invite",
		CookieDomain: c.Cookie.Domain, SameSite: site, CORSOrigins: c.CORS.Origins, ReturnTo: c.ReturnTo.Origins,
		Proxies: c.Proxies, Heartbeat: c.Revocation.Heartbeat, Version: Version,
	}
}

func (a *App) declareFirstParty(ctx context.Context) error {
	return a.FirstParty(ctx, a.config.Token.Audiences, a.config.Token.Scopes)
}

// FirstParty writes what the operator's own applications may ask for.
func (a *App) FirstParty(ctx context.Context, audiences, scopes []string) error {
	return a.Sessions.Declare(ctx, session.ClientTerms{
		ID: session.FirstParty, FirstParty: true, Access: a.config.Token.Access,
		Audiences: slices.Clone(audiences), Scopes: slices.Clone(scopes),
	})
}

// Issuer is who signs tokens, as their iss says it: public_url.
func (a *App) Issuer() string { return a.config.PublicURL }

// Handler answers all public requests.
func (a *App) Handler() http.Handler { return a.web }

// Metrics answers GET /metrics, for a listener of its own.
func (a *App) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	return mux
}

// Run does what goes on beside requests, until ctx ends and all of it has stopped.
func (a *App) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, loop := range []func(context.Context){a.Log.Follow, a.Ring.Run, a.Accounts.Run, a.Sessions.Run, a.Provider.Run, a.Outbox.Run, a.followWakeups, a.followSchema, a.followPlaces, a.forgetAudit} {
		all.Go(func() { loop(ctx) })
	}
	all.Wait()
}

// Stop turns readiness off and tells streams to move; requests are still served.
func (a *App) Stop() {
	a.stopping.Store(true)
	a.web.Stop()
}

// Close closes the store. Call it when Run has returned.
func (a *App) Close() error { return a.Store.Close() }

// forgetAudit removes audit entries that are older than audit.keep.
func (a *App) forgetAudit(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if _, err := a.Audit.Forget(ctx, a.now().Add(-a.config.Audit.Keep)); err != nil && ctx.Err() == nil {
			a.logger.Warn("old audit entries could not be removed, it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Origin is where an act comes from that no request asked for.
var Origin = audit.Origin{UserAgent: "coatcheck " + Version}

// ByCommand is who did what a command does, in the audit.
const ByCommand = "cli"
