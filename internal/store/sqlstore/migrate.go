package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coatcheck/coatcheck/internal/credential"
)

const createMigrationTable = `
	CREATE TABLE IF NOT EXISTS schema_migration (
		version    BIGINT PRIMARY KEY CHECK (version > 0),
		name       TEXT NOT NULL,
		checksum   TEXT NOT NULL,
		applied_at BIGINT NOT NULL
	)`

const readMigrations = `SELECT version, name, checksum, applied_at FROM schema_migration ORDER BY version`

const addMigration = `
	INSERT INTO schema_migration (version, name, checksum, applied_at)
	VALUES ($2, $3, $4, COALESCE(CAST($1 AS BIGINT), now_ms()))`

// servesSince is the migration that gives the table of migrations its column serves.
// Those before it are noted without.
const servesSince = 5

const readServes = `SELECT version, serves FROM schema_migration WHERE serves IS NOT NULL ORDER BY version`

const noteServes = `UPDATE schema_migration SET serves = $2 WHERE version = $1`

const addHead = `
	INSERT INTO revocation_head (id, epoch, seq, bits, mark) VALUES (1, $1, 0, 0, 0)
	ON CONFLICT (id) DO NOTHING`

// How long a migration waits for a database that others use, and between two tries.
const (
	migrationPatience = 2 * time.Minute
	migrationPause    = time.Second
)

// migrate brings the schema up to what this binary knows, one transaction for
// each migration, so that a crash leaves a whole number of them. Of several
// openers one works at a time, and the others find the work done.
func (db *DB) migrate(ctx context.Context, all []migration) error {
	begun, made := time.Now(), false
	for {
		next, err := db.migrateNext(ctx, all)
		switch {
		case err == nil && next == nil:
			return nil
		case err == nil:
			if made = made || next.version == 1; !made { // of a new database nobody wants to know
				db.logger.Info("the schema has moved on", "migration", next.String(), "serves", next.serves)
			}
			continue
		case !inUse(err) || time.Since(begun) > migrationPatience:
			return err
		}
		db.logger.Info("the database is in use, its schema is looked at again in a moment", "why", err)
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(migrationPause):
		}
	}
}

// inUse reports whether err says that others hold what a migration needs: another
// process the file, or a transaction a table. Nothing was changed then.
func inUse(err error) bool {
	const lockNotAvailable, deadlock = "55P03", "40P01"
	var failed *pgconn.PgError
	if errors.As(err, &failed) {
		return failed.Code == lockNotAvailable || failed.Code == deadlock
	}
	return isBusy(err)
}

// migrateNext applies the next migration and returns it, or nil if there is none.
func (db *DB) migrateNext(ctx context.Context, all []migration) (next *migration, err error) {
	err = db.engine.alone(ctx, func(run runner) error {
		next = nil
		if _, err := run.ExecContext(ctx, createMigrationTable); err != nil {
			return fmt.Errorf("create the table of migrations: %w", err)
		}
		applied, err := appliedMigrations(ctx, run)
		if err != nil {
			return err
		}
		if err := compareMigrations(applied, all); err != nil {
			return err
		}
		if len(applied) >= len(all) {
			if _, err := run.ExecContext(ctx, addHead, credential.NewOrdinal()); err != nil {
				return fmt.Errorf("begin the revocation log: %w", err)
			}
			return nil
		}
		next = &all[len(applied)]
		return db.apply(ctx, run, *next)
	})
	if err != nil {
		return nil, err
	}
	return next, nil
}

// apply applies one migration and notes it.
func (db *DB) apply(ctx context.Context, run runner, next migration) error {
	// Without arguments both drivers take a text of several statements.
	if _, err := run.ExecContext(ctx, next.sql); err != nil {
		return fmt.Errorf("migration %s: %w", next, err)
	}
	_, err := run.ExecContext(ctx, addMigration, db.clock(), next.version, next.name, next.checksum)
	if err == nil && next.version >= servesSince {
		_, err = run.ExecContext(ctx, noteServes, next.version, next.serves)
	}
	if err != nil {
		return fmt.Errorf("note migration %s: %w", next, err)
	}
	return nil
}

// appliedMigrations reads what was applied to a database that has the table of
// migrations.
func appliedMigrations(ctx context.Context, run runner) ([]migration, error) {
	rows, err := run.QueryContext(ctx, readMigrations)
	applied, err := collect(rows, err, func(r row) (m migration, err error) {
		err = r.Scan(&m.version, &m.name, &m.checksum, &m.applied)
		m.serves = m.version
		return m, err
	})
	if err != nil || len(applied) < servesSince {
		return applied, err
	}
	rows, err = run.QueryContext(ctx, readServes)
	said, err := collect(rows, err, func(r row) (m migration, err error) { return m, r.Scan(&m.version, &m.serves) })
	for _, m := range said {
		if i := slices.IndexFunc(applied, func(a migration) bool { return a.version == m.version }); i >= 0 {
			applied[i].serves = m.serves
		}
	}
	return applied, err
}
