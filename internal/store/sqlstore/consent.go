package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// Whoever removes the user or the client waits for this, or this finds neither.
const putConsent = `
	INSERT INTO consent (id, account_id, client_id, scopes, audiences, given_at)
	SELECT a.id || ' ' || c.id, a.id, c.id, $3, $4, $5 FROM account a, client c WHERE a.id = $1 AND c.id = $2 AND c.removed_at IS NULL
	ON CONFLICT (account_id, client_id) DO UPDATE SET scopes = excluded.scopes, audiences = excluded.audiences, given_at = excluded.given_at`

// PutConsent keeps what was allowed. See [oauth.ConsentStore].
func (db *DB) PutConsent(ctx context.Context, c oauth.Consent, e audit.Entry) error {
	scopes, err := joinList(c.Scopes)
	if err != nil {
		return fmt.Errorf("write scopes: %w", err)
	}
	audiences, err := joinList(c.Audiences)
	if err != nil {
		return fmt.Errorf("write audiences: %w", err)
	}
	return db.step(ctx, "put_consent", func(s *step) error {
		n, err := s.exec(putConsent, c.UserID, c.ClientID, scopes, audiences, s.at.UnixMilli())
		if err != nil {
			return fmt.Errorf("put a consent: %w", err)
		}
		if n == 0 {
			return oauth.ErrNoClient
		}
		s.audit(e)
		return nil
	})
}

const findConsent = `SELECT account_id, client_id, scopes, audiences, given_at FROM consent WHERE account_id = $1 AND client_id = $2`

// FindConsent reads what was allowed. See [oauth.ConsentStore].
func (db *DB) FindConsent(ctx context.Context, userID, clientID string) (oauth.Consent, error) {
	defer db.measure("find_consent", time.Now())
	c, err := scanConsent(db.engine.read().QueryRowContext(ctx, findConsent, userID, clientID))
	if errors.Is(err, sql.ErrNoRows) {
		return oauth.Consent{}, oauth.ErrNoConsent
	}
	if err != nil {
		return oauth.Consent{}, fmt.Errorf("find a consent: %w", err)
	}
	return c, nil
}

const listConsents = `SELECT account_id, client_id, scopes, audiences, given_at FROM consent WHERE account_id = $1 ORDER BY client_id`

// Consents lists what a person has allowed. See [oauth.ConsentStore].
func (db *DB) Consents(ctx context.Context, userID string) ([]oauth.Consent, error) {
	defer db.measure("list_consents", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, listConsents, userID)
	return collect(rows, err, scanConsent)
}

const removeConsent = `DELETE FROM consent WHERE account_id = $1 AND client_id = $2`

// RemoveConsent forgets what was allowed. See [oauth.ConsentStore].
func (db *DB) RemoveConsent(ctx context.Context, userID, clientID string, e audit.Entry) error {
	return db.step(ctx, "remove_consent", func(s *step) error {
		n, err := s.exec(removeConsent, userID, clientID)
		if err != nil {
			return fmt.Errorf("remove a consent: %w", err)
		}
		if n == 0 {
			return oauth.ErrNoConsent
		}
		s.audit(e)
		return nil
	})
}

func scanConsent(r row) (oauth.Consent, error) {
	var c oauth.Consent
	var scopes, audiences string
	var given int64
	if err := r.Scan(&c.UserID, &c.ClientID, &scopes, &audiences, &given); err != nil {
		return oauth.Consent{}, err
	}
	c.Scopes, c.Audiences, c.GivenAt = splitList(scopes), splitList(audiences), instant(given)
	return c, nil
}
