package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/keyring"
)

const readKeys = `
	SELECT r.version, t.now, k.id, k.algorithm, k.sealed, k.public, k.created_at, k.active_at
	FROM keyring r CROSS JOIN ` + storeTime + ` LEFT JOIN signing_key k ON TRUE
	ORDER BY k.id NULLS LAST`

// Keys reads all signing keys. See [keyring.Store].
func (db *DB) Keys(ctx context.Context) ([]keyring.StoredKey, int64, time.Time, error) {
	defer db.measure("read_keys", time.Now())
	var version, clock int64
	rows, err := db.engine.read().QueryContext(ctx, readKeys, db.clock())
	keys, err := collect(rows, err, func(r row) (k keyring.StoredKey, err error) {
		var id, algorithm sql.NullString
		var created, active sql.NullInt64
		err = r.Scan(&version, &clock, &id, &algorithm, &k.Sealed, &k.Public, &created, &active)
		k.ID, k.Algorithm = id.String, jwt.Algorithm(algorithm.String)
		k.CreatedAt, k.ActiveAt = instant(created.Int64), instant(active.Int64)
		return k, err
	})
	if err != nil {
		return nil, 0, time.Time{}, fmt.Errorf("read signing keys: %w", err)
	}
	if len(keys) == 1 && keys[0].ID == "" { // the version alone
		keys = nil
	}
	return keys, version, instant(clock), nil
}

const readAlgorithms = `
	SELECT DISTINCT id_algorithm FROM client WHERE id_algorithm <> '' AND removed_at IS NULL ORDER BY id_algorithm`

// Algorithms lists what clients need. See [keyring.Store].
func (db *DB) Algorithms(ctx context.Context) ([]jwt.Algorithm, error) {
	defer db.measure("read_algorithms", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, readAlgorithms)
	names, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("read the algorithms of clients: %w", err)
	}
	all := make([]jwt.Algorithm, len(names))
	for i, name := range names {
		all[i] = jwt.Algorithm(name)
	}
	return all, nil
}

const swapKeyring = `UPDATE keyring SET version = version + 1 WHERE version = $1`

const putKey = `
	INSERT INTO signing_key (id, algorithm, sealed, public, created_at, active_at)
	VALUES ($1, $2, $3, $4, $5, $6)
	ON CONFLICT (id) DO UPDATE SET algorithm = excluded.algorithm, sealed = excluded.sealed, public = excluded.public,
		created_at = excluded.created_at, active_at = excluded.active_at`

const removeKey = `DELETE FROM signing_key WHERE id = $1`

// Change changes the signing keys. See [keyring.Store].
func (db *DB) Change(ctx context.Context, version int64, c keyring.Change, e *audit.Entry) error {
	return db.step(ctx, "change_keys", func(s *step) error {
		n, err := s.exec(swapKeyring, version)
		if err != nil {
			return fmt.Errorf("swap the keyring: %w", err)
		}
		if n == 0 {
			return keyring.ErrLost
		}
		for _, k := range c.Put {
			_, err := s.exec(putKey, k.ID, string(k.Algorithm), k.Sealed, k.Public,
				k.CreatedAt.UnixMilli(), k.ActiveAt.UnixMilli())
			if err != nil {
				return fmt.Errorf("put a signing key: %w", err)
			}
		}
		for _, id := range c.Remove {
			if _, err := s.exec(removeKey, id); err != nil {
				return fmt.Errorf("remove a signing key: %w", err)
			}
		}
		for _, id := range c.Distrust {
			s.end(feed.Key, id, "distrusted")
		}
		if c.Changed != "" {
			s.end(feed.Changed, c.Changed, "keys")
		}
		if e != nil {
			s.audit(*e)
		}
		return nil
	})
}
