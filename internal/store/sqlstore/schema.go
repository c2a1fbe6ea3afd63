package sqlstore

import (
	"context"
	"errors"
	"fmt"
)

// A Schema says where a database stands against this binary.
type Schema struct {
	At      int         // the number of its last migration; 0 if it is empty
	Known   int         // that of the last one that this binary knows
	Pending []Migration // what [Open] would apply, in order
}

// A Migration is one numbered change of the schema.
type Migration struct {
	Version int
	Name    string
	Serves  int // servers that know this schema, or a newer one, can go on after it
}

// Stops reports whether servers of the schema that the database has cannot go on
// after what is pending: they have to be stopped before.
func (s Schema) Stops() bool {
	for _, m := range s.Pending {
		if s.At > 0 && m.Serves > s.At {
			return true
		}
	}
	return false
}

// The table of migrations is looked for by each engine in its own way.
var hasMigrations = map[string]string{
	"sqlite":   `SELECT count(*) FROM sqlite_master WHERE name = 'schema_migration'`,
	"postgres": `SELECT count(*) FROM pg_class WHERE oid = to_regclass('schema_migration')`,
}

// Plan says what [Open] would do to the schema, and changes nothing. It returns
// [ErrNewer], with the schema, where Open would refuse a newer one.
func Plan(ctx context.Context, o Options) (Schema, error) {
	db, kind, err := connect(ctx, o)
	if err != nil {
		return Schema{}, err
	}
	s, err := db.plan(ctx, kind)
	if err != nil {
		err = fmt.Errorf("look at the schema: %w", err)
	}
	return s, errors.Join(err, db.engine.close())
}

func (db *DB) plan(ctx context.Context, kind string) (Schema, error) {
	all, err := knownMigrations(kind)
	if err != nil {
		return Schema{}, err
	}
	s := Schema{Known: len(all)}
	var tables int
	if err := db.engine.read().QueryRowContext(ctx, hasMigrations[kind]).Scan(&tables); err != nil {
		return s, fmt.Errorf("look for the table of migrations: %w", err)
	}
	var applied []migration
	if tables > 0 {
		if applied, err = appliedMigrations(ctx, db.engine.read()); err != nil {
			return s, err
		}
	}
	if n := len(applied); n > 0 {
		s.At = applied[n-1].version
	}
	if err := compareMigrations(applied, all); err != nil {
		return s, err
	}
	for _, m := range all[min(len(applied), len(all)):] {
		s.Pending = append(s.Pending, Migration{m.version, m.name, m.serves})
	}
	return s, nil
}

// Serves looks whether this binary may go on with the schema, which another version may
// have moved on since [Open]: [ErrNewer] if it may not.
func (db *DB) Serves(ctx context.Context) error {
	applied, err := appliedMigrations(ctx, db.engine.read())
	if err != nil {
		return fmt.Errorf("look at the schema: %w", err)
	}
	return compareMigrations(applied, db.known)
}
