package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
)

const addServiceKey = `INSERT INTO api_key (id, name, scopes, hash, created_at) VALUES ($1, $2, $3, $4, $5)`

// AddAPIKey adds an API key. See [account.APIKeyStore].
func (db *DB) AddAPIKey(ctx context.Context, k account.APIKey, e audit.Entry) (account.APIKey, error) {
	scopes, err := joinList(k.Scopes)
	if err != nil {
		return account.APIKey{}, fmt.Errorf("write scopes: %w", err)
	}
	err = db.step(ctx, "add_apikey", func(s *step) error {
		k.CreatedAt = s.at
		if _, err := s.exec(addServiceKey, k.ID, k.Name, scopes, k.Hash[:], k.CreatedAt.UnixMilli()); err != nil {
			return fmt.Errorf("add an API key: %w", err)
		}
		s.audit(e)
		return nil
	})
	if err != nil {
		return account.APIKey{}, err
	}
	return k, nil
}

const findServiceKey = `SELECT id, name, scopes, hash, created_at FROM api_key WHERE id = $1`

// FindAPIKey reads an API key. See [account.APIKeyStore].
func (db *DB) FindAPIKey(ctx context.Context, id string) (account.APIKey, error) {
	defer db.measure("find_apikey", time.Now())
	k, err := scanAPIKey(db.engine.read().QueryRowContext(ctx, findServiceKey, id))
	if errors.Is(err, sql.ErrNoRows) {
		return account.APIKey{}, account.ErrNoUser
	}
	if err != nil {
		return account.APIKey{}, fmt.Errorf("find an API key: %w", err)
	}
	return k, nil
}

const listServiceKeys = `SELECT id, name, scopes, hash, created_at FROM api_key ORDER BY created_at, id`

// APIKeys lists the API keys. See [account.APIKeyStore].
func (db *DB) APIKeys(ctx context.Context) ([]account.APIKey, error) {
	defer db.measure("list_apikeys", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, listServiceKeys)
	return collect(rows, err, scanAPIKey)
}

func scanAPIKey(r row) (k account.APIKey, err error) {
	var scopes string
	var hash []byte
	var created int64
	err = r.Scan(&k.ID, &k.Name, &scopes, &hash, &created)
	copy(k.Hash[:], hash)
	k.Scopes, k.CreatedAt = splitList(scopes), instant(created)
	return k, err
}

const removeServiceKey = `DELETE FROM api_key WHERE id = $1`

// RemoveAPIKey removes an API key. See [account.APIKeyStore].
func (db *DB) RemoveAPIKey(ctx context.Context, id string, e audit.Entry) error {
	return db.step(ctx, "remove_apikey", func(s *step) error {
		n, err := s.exec(removeServiceKey, id)
		if err != nil {
			return fmt.Errorf("remove an API key: %w", err)
		}
		if n == 0 {
			return account.ErrNoUser
		}
		s.end(feed.APIKey, id, "removed")
		s.audit(e)
		return nil
	})
}
