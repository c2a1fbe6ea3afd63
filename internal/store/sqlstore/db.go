// Package sqlstore keeps every record of the house in SQLite or in PostgreSQL,
// from one portable SQL text that stands beside the method that runs it.
//
// It does facts and holds no rules: what a session or an account is allowed is
// decided above it. Every method is one atomic step, durable when it returns.
//
// It exports more than forty names because it has more than forty methods: those of
// the nine small interfaces that the nouns ask for.
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// Options says which database, and by which clock.
type Options struct {
	// URL is sqlite:FILE, relative or absolute, or postgres://….
	URL string
	// Now is the clock of the store. SQLite needs one. With PostgreSQL nil means
	// the database's own, which all nodes share; tests give one.
	Now func() time.Time
	// Latency is told how long each step took, waiting included; it may be nil and
	// is called from many goroutines.
	Latency func(step string, d time.Duration)
	// Logger may be nil.
	Logger *slog.Logger
	// Alone is the lock of who restores or moves a SQLite database and opens it for that;
	// nil shares the database with others, and refuses one that is being moved or was.
	Alone *Lock
}

// DB is the store. It is safe for concurrent use.
type DB struct {
	engine  engine
	now     func() time.Time // nil: the database's own
	latency func(string, time.Duration)
	logger  *slog.Logger
	heard   atomic.Pointer[func([]feed.Entry)]
	failed  atomic.Pointer[func()]
	posted  atomic.Pointer[func()]
	notices atomic.Pointer[func()]
	known   []migration   // by this binary
	slow    time.Duration // a commit that took longer may have missed tokens: see [DB.step]
}

// An engine is what differs between the databases.
type engine interface {
	// read returns what statements that change nothing run on.
	read() reads
	// write performs a step in a transaction and returns when it is durable; the
	// observer has heard of its entries then.
	write(ctx context.Context, s *step) error
	// single runs one statement in a transaction of its own.
	single(ctx context.Context, query string, args []any) (int64, error)
	// alone runs f in a transaction that no other opener of the database has
	// beside it.
	alone(ctx context.Context, f func(runner) error) error
	// hurry bounds how long the rest of the transaction can hold a counter.
	hurry(s *step) error
	// facts fills in what is known of this engine alone.
	facts(ctx context.Context, f *Facts) error
	// duplicate reports whether err says that a row breaks this unique constraint,
	// of which either the name or the column is given.
	duplicate(err error, constraint, column string) bool
	close() error
}

var (
	_ revocation.Store        = (*DB)(nil)
	_ keyring.Store           = (*DB)(nil)
	_ account.Store           = (*DB)(nil)
	_ account.SetupStore      = (*DB)(nil)
	_ account.APIKeyStore     = (*DB)(nil)
	_ session.Store           = (*DB)(nil)
	_ session.UpkeepStore     = (*DB)(nil)
	_ session.AttachmentStore = (*DB)(nil)
	_ session.HistoryStore    = (*DB)(nil)
	_ session.CodeStore       = (*DB)(nil)
	_ audit.Store             = (*DB)(nil)
	_ mail.Store              = (*DB)(nil)
	_ mail.RecipientStore     = (*DB)(nil)
	_ account.LinkStore       = (*DB)(nil)
)

// slowCommit leaves a second of the two that an entry's Before reaches beyond
// the time of its step.
const slowCommit = time.Second

// Open opens the database, makes it if it is a SQLite file that is not there,
// checks that it keeps what it acknowledges, and brings its schema up to date.
// It returns [ErrHeld] while the database is restored or moved, and [ErrCarried] if it
// was moved away or half of another was moved into it. No error holds a password.
func Open(ctx context.Context, o Options) (*DB, error) {
	db, err := openAnyway(ctx, o)
	if err != nil || o.Alone != nil {
		return db, err
	}
	if err := db.checkTransfer(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openAnyway is Open for a database that a move has left its mark on, too.
func openAnyway(ctx context.Context, o Options) (*DB, error) {
	db, kind, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	all, err := knownMigrations(kind)
	if err == nil {
		db.known, err = all, db.migrate(ctx, all)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the database: %w", err), db.engine.close())
	}
	return db, nil
}

// connect is Open without a look at the schema. It also returns which engine it is:
// sqlite or postgres.
func connect(ctx context.Context, o Options) (*DB, string, error) {
	db := &DB{now: o.Now, latency: o.Latency, logger: o.Logger, slow: slowCommit}
	if db.logger == nil {
		db.logger = slog.New(slog.DiscardHandler)
	}
	if db.latency == nil {
		db.latency = func(string, time.Duration) {}
	}
	var kind string
	var err error
	switch scheme, _, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		kind = "sqlite"
		db.engine, err = openSQLite(ctx, db, o)
	case "postgres", "postgresql":
		kind = "postgres"
		db.engine, err = openPostgres(ctx, db, o.URL)
	default:
		err = errors.New("the database is neither sqlite:FILE nor postgres://…")
	}
	if err != nil {
		return nil, "", err
	}
	return db, kind, nil
}

// Close waits for what has begun and closes the database. Steps that come later
// fail.
func (db *DB) Close() error { return db.engine.close() }

// Heard sets the observer of the revocation log: it is given the entries of each
// commit of this DB after the commit and before any answer of it leaves. On
// PostgreSQL commits side by side call it side by side, in no order. Set it
// before the first step.
func (db *DB) Heard(observe func([]feed.Entry)) { db.heard.Store(&observe) }

func (db *DB) tell(entries []feed.Entry) {
	if observe := db.heard.Load(); observe != nil && len(entries) > 0 {
		(*observe)(entries)
	}
}

// clock is the argument that statements take the time from: the injected clock in
// milliseconds, or null for the database's own.
func (db *DB) clock() any {
	if db.now == nil {
		return nil
	}
	return db.now().UnixMilli()
}

// step performs body as one atomic step at the time of the store, and returns
// when it is durable.
//
// A token drawn while a commit was under way may have been stamped after the
// entries' Before, if the commit took longer than that reaches. Such a step
// appends its entries once more before it is acknowledged.
func (db *DB) step(ctx context.Context, name string, body func(*step) error) error {
	defer db.measure(name, time.Now())
	s := &step{db: db, name: name, body: body}
	for range 3 {
		if err := db.noticed(db.engine.write(ctx, s)); err != nil {
			return err
		}
		if len(s.posts) > 0 {
			db.tellPosted()
		}
		if s.mayTell() {
			db.tellNoticed()
		}
		if !s.late(db.slow) {
			return nil
		}
		db.logger.Warn("a commit was slow, its revocations are logged once more", "step", name, "took", time.Since(s.begun))
		ends := s.ends
		s = &step{db: db, name: name, body: func(again *step) error { again.ends = ends; return nil }}
	}
	return fmt.Errorf("%s: %w: the database is too slow to end anything in time", name, fault.ErrUnavailable)
}

// late reports whether a step that is durable now may have ended less than it says.
func (s *step) late(bound time.Duration) bool {
	if time.Since(s.begun) < bound {
		return false
	}
	for _, e := range s.ends {
		if e.timed() {
			return true
		}
	}
	return false
}

// bare is step for a body that appends nothing and takes no time of its own.
func (db *DB) bare(ctx context.Context, name string, body func(*step) error) error {
	defer db.measure(name, time.Now())
	return db.noticed(db.engine.write(ctx, &step{db: db, name: name, body: body, bare: true}))
}

// lean is bare for a body that changes nothing unless it succeeds.
func (db *DB) lean(ctx context.Context, name string, body func(*step) error) error {
	defer db.measure(name, time.Now())
	return db.noticed(db.engine.write(ctx, &step{db: db, name: name, body: body, bare: true, lean: true}))
}

// change is bare for a single statement, and returns the number of rows changed.
func (db *DB) change(ctx context.Context, name, query string, args ...any) (int64, error) {
	defer db.measure(name, time.Now())
	n, err := db.engine.single(ctx, query, args)
	return n, db.noticed(err)
}

// littleChunk is how many rows [DB.little] removes at a time: a few milliseconds' work.
const littleChunk = 1000

// little is change for a statement that removes at most chunk rows, again and again
// until it removes fewer: so nobody waits for long where much has gathered.
func (db *DB) little(ctx context.Context, name, query string, chunk int64, args ...any) (int, error) {
	sum := 0
	for {
		n, err := db.change(ctx, name, query, args...)
		if sum += int(n); err != nil || n < chunk {
			return sum, err
		}
	}
}

func (db *DB) measure(name string, start time.Time) { db.latency(name, time.Since(start)) }
