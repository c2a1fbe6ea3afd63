package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// postgresEngine is a pool of connections. Every rule of a step is a
// compare-and-swap, so read committed is all the isolation it needs.
type postgresEngine struct {
	owner     *DB
	pool      *pgxpool.Pool
	db        *sql.DB // on the same pool
	log       *pgxpool.Pool
	tailing   *sql.DB // on the one connection of log
	lookUps   *sharing
	rotations *sharing
	answered  atomic.Int64 // when the database last did what it was asked for, in ns
	reset     atomic.Int64 // when the pool was last emptied, in ns
}

// What is assumed where the URL does not say.
const (
	poolSize       = 16
	connectTimeout = 5 * time.Second
)

// callTimeout bounds each round trip, waiting for a connection included: a database that
// accepts and does not answer must not gather requests without end.
const callTimeout = 5 * time.Second

// migrationLock is the advisory lock of openers: "coatchk" in ASCII.
const migrationLock = 0x636f617463686b

func openPostgres(ctx context.Context, db *DB, url string) (engine, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // whose text may quote the URL, password and all
		return nil, errors.New("the database URL cannot be read: write postgres://user:password@host:5432/database")
	}
	if !strings.Contains(url, "pool_max_conns=") {
		config.MaxConns = poolSize
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "coatcheck"
	}
	name := placeOf(config.ConnConfig)
	config.AfterConnect = planPlainly
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL at %s: %w", name, err)
	}
	config = config.Copy()
	config.MinConns, config.MinIdleConns, config.MaxConns = 0, 0, 1
	log, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open PostgreSQL at %s: %w", name, err)
	}
	e := &postgresEngine{
		owner: db, pool: pool, db: stdlib.OpenDBFromPool(pool), log: log, tailing: stdlib.OpenDBFromPool(log),
	}
	e.lookUps, e.rotations = share(0, e.lookUp), share(gatherFor, e.rotate)
	if err := e.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open PostgreSQL at %s: %w", name, err), e.close())
	}
	return e, nil
}

// placeOf says where a database is, for people: without user and password.
func placeOf(c *pgx.ConnConfig) string {
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
}

// check refuses a server that would acknowledge what it can lose by a crash.
func (e *postgresEngine) check(ctx context.Context) error {
	var commit string
	if err := e.db.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit')`).Scan(&commit); err != nil {
		return err
	}
	if commit == "off" {
		return errors.New("synchronous_commit is off: what is acknowledged could be lost")
	}
	return nil
}

// postgresReads are what reads run on.
type postgresReads struct{ *postgresEngine }

func (r postgresReads) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, cancel := limited(ctx, callTimeout)
	defer cancel()
	return r.db.ExecContext(ctx, query, args...)
}

func (r postgresReads) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := r.db.QueryContext(lasting(ctx, callTimeout), query, args...)
	return rows, unanswered(r.looked(err))
}

func (r postgresReads) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.db.QueryRowContext(lasting(ctx, callTimeout), query, args...)
}

func (r postgresReads) one(ctx context.Context, query string, args []any, dest ...any) error {
	ctx, cancel := limited(ctx, callTimeout)
	defer cancel()
	if many := lookUps[query]; many != "" {
		return unanswered(r.lookUps.do(ctx, &step{look: &look{query: many, clock: args[0], id: args[1].(string), dest: dest}}))
	}
	return unanswered(r.again(ctx, func() error { return r.pool.QueryRow(ctx, query, args...).Scan(dest...) }))
}

func (e *postgresEngine) read() reads { return postgresReads{e} }

// postgresTail is what the end of the log is read on: a connection that nothing else has.
// While steps take long and hold all others, a node must still learn what is over, or
// nobody would be let in by it.
type postgresTail struct{ runner }

func (t postgresTail) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := t.runner.QueryContext(lasting(ctx, callTimeout), query, args...)
	return rows, unanswered(err)
}

func (r postgresReads) tail() runner { return postgresTail{r.tailing} }

// unanswered marks an error that says nothing but that the database could not be asked.
func unanswered(err error) error {
	if err != nil && away(err) {
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	}
	return err
}

// again has a read begin once more, on another connection, if its own turned out to be
// broken.
func (e *postgresEngine) again(ctx context.Context, read func() error) error {
	err := e.looked(read())
	if ctx.Err() == nil && broken(err) {
		return e.looked(read())
	}
	return err
}

// broken reports whether err says that the connection is of no use, rather than that
// the database, or the step, refused something.
func broken(err error) bool {
	var failed *pgconn.PgError
	if errors.As(err, &failed) { // the server is going down or coming up, or has given this connection up
		return strings.HasPrefix(failed.Code, "57P") || strings.HasPrefix(failed.Code, "08") || failed.Code == "25P03"
	}
	return err != nil && away(err)
}

// looked has the pool forget its connections if err says that one was broken, because
// the others most likely are, too; at most once a second. Where nothing came in time,
// the database may have much to do: then they are forgotten only if it has answered
// nobody for as long. It returns err.
func (e *postgresEngine) looked(err error) error {
	now := time.Now().UnixNano()
	switch {
	case err == nil:
		e.answered.Store(now)
		return nil
	case !broken(err), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded) && now-e.answered.Load() < int64(callTimeout):
		return err
	}
	if last := e.reset.Load(); now-last > int64(time.Second) && e.reset.CompareAndSwap(last, now) {
		e.pool.Reset()
	}
	return err
}

func (e *postgresEngine) write(ctx context.Context, s *step) error {
	if s.swap != nil {
		ctx, cancel := limited(ctx, 2*callTimeout)
		defer cancel()
		return e.rotations.do(ctx, s)
	}
	return e.retry(ctx, func() error {
		if err := e.transact(ctx, func(run runner) error { return s.perform(ctx, run) }); err != nil {
			return err
		}
		e.owner.tell(s.appended)
		return nil
	})
}

func (e *postgresEngine) single(ctx context.Context, query string, args []any) (n int64, err error) {
	err = e.retry(ctx, func() error {
		ctx, cancel := limited(ctx, callTimeout)
		defer cancel()
		tag, err := e.pool.Exec(ctx, query, args...)
		n = tag.RowsAffected()
		return e.looked(err)
	})
	return n, err
}

// transact runs f in a transaction.
func (e *postgresEngine) transact(ctx context.Context, f func(runner) error) error {
	return e.within(ctx, callTimeout, f)
}

// within is transact with another bound for each round trip; 0: none.
func (e *postgresEngine) within(ctx context.Context, bound time.Duration, f func(runner) error) error {
	t, err := e.begin(ctx, bound)
	if err != nil {
		return e.looked(err)
	}
	if err := f(t); err != nil {
		return errors.Join(e.looked(err), t.abandon(ctx))
	}
	return e.looked(t.commit(ctx))
}

// What bounds how often, and how long after its beginning, a transaction that
// failed because of another one begins again.
const (
	retries    = 5
	retryUntil = 4 * time.Second
)

// passing reports whether a transaction failed because of another one.
func passing(failed *pgconn.PgError) bool {
	switch failed.Code {
	case "40001", "40P01", "57014": // serialization failure, deadlock, statement timeout
		return true
	}
	return false
}

// retry repeats what failed because of another transaction alone: a deadlock, a
// conflict under a stricter isolation, or a wait for a counter whose holder was
// silent for as long as it may be. Nothing of it was committed.
func (e *postgresEngine) retry(ctx context.Context, f func() error) error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := f()
		var failed *pgconn.PgError
		if !errors.As(err, &failed) || ctx.Err() != nil || try == retries || time.Since(begun) > retryUntil {
			return err
		}
		if !passing(failed) {
			return err
		}
	}
}

func (e *postgresEngine) alone(ctx context.Context, f func(runner) error) error {
	return e.within(ctx, 0, func(run runner) error {
		if _, err := run.ExecContext(ctx, unhurried); err != nil {
			return fmt.Errorf("let a migration take its time: %w", err)
		}
		if _, err := run.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return fmt.Errorf("wait for other openers: %w", err)
		}
		if _, err := run.ExecContext(ctx, boundedWait); err != nil {
			return fmt.Errorf("bound the wait for a table: %w", err)
		}
		return f(run)
	})
}

// Openers wait for each other as long as it takes, whatever the role's settings say.
// But for a table that others use a migration waits a quarter of a second: while it
// does, everyone who comes after it stands behind it, and behind the tables that it
// holds already. So one that changes four tables keeps nobody for longer than a second.
// See [DB.migrate], which tries again.
const (
	unhurried   = `SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0`
	boundedWait = `SET LOCAL lock_timeout = '250ms'`
)

// hurry has the server abort the transaction if the holder of a counter is silent,
// or waits for another, for two seconds.
func (e *postgresEngine) hurry(s *step) error {
	return s.later(`SELECT set_config('idle_in_transaction_session_timeout', '2s', TRUE), set_config('statement_timeout', '2s', TRUE)`)
}

const postgresFacts = `
	SELECT current_setting('server_version'), current_setting('synchronous_commit'),
	       current_setting('synchronous_standby_names'),
	       (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'),
	       (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))`

func (e *postgresEngine) facts(ctx context.Context, f *Facts) error {
	f.Engine = "PostgreSQL"
	err := e.db.QueryRowContext(ctx, postgresFacts).Scan(
		&f.ServerVersion, &f.SynchronousCommit, &f.SynchronousStandbyNames, &f.Standbys, &f.SyncStandbys)
	if err != nil {
		return fmt.Errorf("read the settings of PostgreSQL: %w", err)
	}
	return nil
}

func (e *postgresEngine) duplicate(err error, constraint, _ string) bool {
	var failed *pgconn.PgError
	return errors.As(err, &failed) && failed.Code == "23505" && failed.ConstraintName == constraint
}

func (e *postgresEngine) close() error {
	e.lookUps.close()
	e.rotations.close()
	err := errors.Join(e.db.Close(), e.tailing.Close())
	e.pool.Close()
	e.log.Close()
	return err
}
