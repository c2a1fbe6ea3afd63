package sqlstore

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/coatcheck/coatcheck/internal/credential"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A migration is one numbered change of the schema. Its checksum guards that
// what a database was made with is what this binary was made with.
type migration struct {
	version  int
	name     string
	sql      string
	checksum string // SHA-256 of the text, in hex
}

// loadMigrations reads 0001_name.sql and so on, in order and without a gap. In
// the place of one portable file there may be one for each engine, such as
// 0001_name.sqlite.sql beside 0001_name.postgres.sql.
func loadMigrations(files fs.FS, engine string) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	var all []migration
	for _, file := range names {
		number, name, found := strings.Cut(strings.TrimSuffix(path.Base(file), ".sql"), "_")
		name, only, _ := strings.Cut(name, ".")
		if only != "" && only != engine {
			continue
		}
		version, err := strconv.Atoi(number)
		if err != nil || !found || version != len(all)+1 {
			return nil, fmt.Errorf("migration %s is out of order", path.Base(file))
		}
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{version, name, string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}

const createMigrationTable = `
	CREATE TABLE IF NOT EXISTS schema_migration (
		version    BIGINT PRIMARY KEY CHECK (version > 0),
		name       TEXT NOT NULL,
		checksum   TEXT NOT NULL,
		applied_at BIGINT NOT NULL
	)`

const readMigrations = `SELECT version, name, checksum FROM schema_migration ORDER BY version`

const addMigration = `
	INSERT INTO schema_migration (version, name, checksum, applied_at)
	VALUES ($2, $3, $4, COALESCE(CAST($1 AS BIGINT), now_ms()))`

const addHead = `
	INSERT INTO revocation_head (id, epoch, seq, bits, mark) VALUES (1, $1, 0, 0, 0)
	ON CONFLICT (id) DO NOTHING`

// migrate brings the schema up to what this binary knows, one transaction for
// each migration, so that a crash leaves a whole number of them. Of several
// openers one works at a time, and the others find the work done.
func (db *DB) migrate(ctx context.Context, all []migration) error {
	for {
		more, err := db.migrateNext(ctx, all)
		if err != nil || !more {
			return err
		}
	}
}

func (db *DB) migrateNext(ctx context.Context, all []migration) (more bool, err error) {
	err = db.engine.alone(ctx, func(run runner) error {
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
		if len(applied) == len(all) {
			if _, err := run.ExecContext(ctx, addHead, credential.NewOrdinal()); err != nil {
				return fmt.Errorf("begin the revocation log: %w", err)
			}
			return nil
		}
		next := all[len(applied)]
		// Without arguments both drivers take a text of several statements.
		if _, err := run.ExecContext(ctx, next.sql); err != nil {
			return fmt.Errorf("migration %04d_%s: %w", next.version, next.name, err)
		}
		more = true
		if _, err := run.ExecContext(ctx, addMigration, db.clock(), next.version, next.name, next.checksum); err != nil {
			return fmt.Errorf("note migration %04d_%s: %w", next.version, next.name, err)
		}
		return nil
	})
	return more && err == nil, err
}

func appliedMigrations(ctx context.Context, run runner) ([]migration, error) {
	rows, err := run.QueryContext(ctx, readMigrations)
	return collect(rows, err, func(r row) (m migration, err error) {
		return m, r.Scan(&m.version, &m.name, &m.checksum)
	})
}

// compareMigrations refuses a database that this binary does not understand.
func compareMigrations(applied, all []migration) error {
	if len(applied) > len(all) {
		return fmt.Errorf("this database was made by a newer coatcheck (schema %d, this one knows %d): use that version, or restore a backup made before it",
			applied[len(applied)-1].version, len(all))
	}
	for i, m := range applied {
		if m.version != all[i].version || m.checksum != all[i].checksum {
			return fmt.Errorf("migration %04d_%s of this database is not the one that this coatcheck was built with: it was made by another build, or its schema was changed by hand", m.version, m.name)
		}
	}
	return nil
}
