package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresEngine is a pool of connections. Every rule of a step is a
// compare-and-swap, so read committed is all the isolation it needs.
type postgresEngine struct {
	owner *DB
	pool  *pgxpool.Pool
	db    *sql.DB
}

// What is assumed where the URL does not say.
const (
	poolSize       = 16
	connectTimeout = 5 * time.Second
)

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
	name := net.JoinHostPort(config.ConnConfig.Host, strconv.Itoa(int(config.ConnConfig.Port))) + "/" + config.ConnConfig.Database
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL at %s: %w", name, err)
	}
	e := &postgresEngine{owner: db, pool: pool, db: stdlib.OpenDBFromPool(pool)}
	if err := e.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open PostgreSQL at %s: %w", name, err), e.close())
	}
	return e, nil
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
type postgresReads struct{ *sql.DB }

func (r postgresReads) one(ctx context.Context, query string, args []any, dest ...any) error {
	return r.QueryRowContext(ctx, query, args...).Scan(dest...)
}

func (e *postgresEngine) read() reads { return postgresReads{e.db} }

func (e *postgresEngine) write(ctx context.Context, s *step) error {
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
		n, err = affected(e.db.ExecContext(ctx, query, args...))
		return err
	})
	return n, err
}

func (e *postgresEngine) transact(ctx context.Context, f func(runner) error) error {
	tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
			return errors.Join(err, fmt.Errorf("roll back: %w", undo))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// What bounds how often, and how long after its beginning, a transaction that
// failed because of another one begins again.
const (
	retries    = 5
	retryUntil = 4 * time.Second
)

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
		switch failed.Code {
		case "40001", "40P01", "57014": // serialization failure, deadlock, statement timeout
		default:
			return err
		}
	}
}

func (e *postgresEngine) alone(ctx context.Context, f func(runner) error) error {
	return e.transact(ctx, func(run runner) error {
		if _, err := run.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return fmt.Errorf("wait for other openers: %w", err)
		}
		return f(run)
	})
}

// hurry has the server abort the transaction if the holder of a counter is silent,
// or waits for another, for two seconds.
func (e *postgresEngine) hurry(ctx context.Context, run runner) error {
	_, err := run.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = '2s'; SET LOCAL statement_timeout = '2s'`)
	return err
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
	err := e.db.Close()
	e.pool.Close()
	return err
}
