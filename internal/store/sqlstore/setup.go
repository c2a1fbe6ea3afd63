package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
)

const offerSetup = `
	INSERT INTO setup (id, link, expires_at, spent) VALUES (1, $1, $2, FALSE)
	ON CONFLICT (id) DO UPDATE SET link = excluded.link, expires_at = excluded.expires_at WHERE NOT setup.spent`

// OfferSetup puts a link in the place of the one before. See [account.SetupStore].
func (db *DB) OfferSetup(ctx context.Context, link credential.Hash, good time.Duration) (bool, error) {
	var n int64
	err := db.step(ctx, "offer_setup", func(s *step) (err error) {
		n, err = s.exec(offerSetup, link[:], s.at.Add(good).UnixMilli())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("offer a setup link: %w", err)
	}
	return n == 1, nil
}

const setupOpen = `
	SELECT count(*) FROM setup CROSS JOIN ` + storeTime + `
	WHERE setup.link = $2 AND NOT setup.spent AND setup.expires_at > t.now`

// SetupOpen reports whether a link is open. See [account.SetupStore].
func (db *DB) SetupOpen(ctx context.Context, link credential.Hash) (bool, error) {
	defer db.measure("setup_open", time.Now())
	var n int
	if err := db.engine.read().QueryRowContext(ctx, setupOpen, db.clock(), link[:]).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a setup link: %w", err)
	}
	return n == 1, nil
}

const spendSetup = `UPDATE setup SET spent = TRUE WHERE link = $1 AND NOT spent AND expires_at > $2`

// ClaimSetup spends the link for the first administrator. See [account.Store].
func (db *DB) ClaimSetup(ctx context.Context, link credential.Hash, u account.User, password string, e audit.Entry) (account.User, error) {
	var added account.User
	err := db.step(ctx, "claim_setup", func(s *step) error {
		n, err := s.exec(spendSetup, link[:], s.at.UnixMilli())
		if err != nil {
			return fmt.Errorf("spend a setup link: %w", err)
		}
		if n == 0 {
			return account.ErrSetupOver
		}
		added, err = s.addUser(u, password, e)
		return err
	})
	return added, err
}
