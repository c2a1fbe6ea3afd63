package sqlstore

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"time"
)

// Facts are what an operator may ask of a database. Members of the other engine
// are empty.
type Facts struct {
	Engine        string // SQLite or PostgreSQL
	ServerVersion string
	Schema        int           // the number of the last migration
	Mark          time.Time     // the highest time the store has recorded
	ClockAhead    time.Duration // the store's clock minus this machine's, to half the time of a round trip

	Journal     string // SQLite: the journal mode
	Synchronous string // SQLite: 2 is full
	ForeignKeys bool   // SQLite

	SynchronousCommit       string // PostgreSQL
	SynchronousStandbyNames string // PostgreSQL; empty: no commit waits for a standby
	Standbys                int    // PostgreSQL: that stream now, as far as the role may see
	SyncStandbys            int    // PostgreSQL: those of them that commits wait for
}

const storeFacts = `
	SELECT h.mark, COALESCE(CAST($1 AS BIGINT), now_ms()), (SELECT max(version) FROM schema_migration)
	FROM revocation_head h`

// Facts reads what is known of the database and its clock.
func (db *DB) Facts(ctx context.Context) (Facts, error) {
	var f Facts
	if err := db.engine.facts(ctx, &f); err != nil {
		return Facts{}, err
	}
	var mark, now int64
	asked := time.Now()
	err := db.engine.read().QueryRowContext(ctx, storeFacts, db.clock()).Scan(&mark, &now, &f.Schema)
	if err != nil {
		return Facts{}, fmt.Errorf("read the facts of the store: %w", err)
	}
	answered := time.Now()
	f.Mark = instant(mark)
	f.ClockAhead = instant(now).Sub(asked.Add(answered.Sub(asked) / 2)).Round(time.Millisecond)
	return f, nil
}

const readSeal = `SELECT seal FROM issuer`

const putSeal = `UPDATE issuer SET seal = $1 WHERE seal IS NULL`

// SealCheck compares a check of the server's secret, from which the secret cannot
// be told, with the one that the database was begun with. The first one given is
// kept: then known is false and match is true.
func (db *DB) SealCheck(ctx context.Context, check [32]byte) (known, match bool, err error) {
	err = db.bare(ctx, "seal_check", func(s *step) error {
		n, err := s.exec(putSeal, check[:])
		if err != nil {
			return fmt.Errorf("keep the check of the secret: %w", err)
		}
		var kept []byte
		if err := s.row(readSeal).Scan(&kept); err != nil {
			return fmt.Errorf("read the check of the secret: %w", err)
		}
		known, match = n == 0, subtle.ConstantTimeCompare(kept, check[:]) == 1
		return nil
	})
	if err != nil {
		return false, false, err
	}
	return known, match, nil
}

const countContents = `
	SELECT (SELECT count(*) FROM (SELECT id FROM account LIMIT 1) a), (SELECT count(*) FROM signing_key), i.seal
	FROM issuer i`

// IsNew reports whether the database holds nothing that a secret has sealed, nor
// anybody: whether it may still be given a fresh secret.
func (db *DB) IsNew(ctx context.Context) (bool, error) {
	var users, keys int
	var seal sql.Null[[]byte]
	if err := db.engine.read().QueryRowContext(ctx, countContents).Scan(&users, &keys, &seal); err != nil {
		return false, fmt.Errorf("look whether the database is new: %w", err)
	}
	return users == 0 && keys == 0 && !seal.Valid, nil
}
