package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

const hasDevice = `
	SELECT EXISTS (SELECT 1 FROM session s WHERE s.account_id = $1), $2 <> '' AND EXISTS (
		SELECT 1 FROM (SELECT s.device, s.secret_hash FROM session s WHERE s.account_id = $1 AND s.client_id = '' ORDER BY s.id DESC LIMIT 1000) r
		WHERE r.device = $2 AND r.secret_hash = $3)`

// Devices tells of the devices of a user. See [session.HistoryStore].
func (db *DB) Devices(ctx context.Context, userID, device string) (signedIn, same bool, err error) {
	defer db.measure("devices", time.Now())
	var none credential.Hash
	if err := db.engine.read().one(ctx, hasDevice, []any{userID, device, none[:]}, &signedIn, &same); err != nil {
		return false, false, fmt.Errorf("read the devices of a user: %w", err)
	}
	return signedIn, same, nil
}

var keptSessions = `
	SELECT ` + sessionColumns + ` FROM session s JOIN account a ON a.id = s.account_id
	WHERE s.account_id = $1 AND s.id < $2 ORDER BY s.id DESC LIMIT $3`

var keptGrants = `
	SELECT ` + grantColumns + ` FROM session_grant g WHERE g.session_id IN (
		SELECT s.id FROM session s WHERE s.account_id = $1 AND s.id < $2 AND s.id >= $3)
	ORDER BY g.id`

// Kept lists all sessions of a user. See [session.HistoryStore].
func (db *DB) Kept(ctx context.Context, userID, before string, limit int) ([]session.Kept, error) {
	defer db.measure("kept_sessions", time.Now())
	if before == "" {
		before = aboveIDs
	}
	rows, err := db.engine.read().QueryContext(ctx, keptSessions, userID, before, limit)
	kept, err := collect(rows, err, func(r row) (k session.Kept, err error) {
		var record string
		var secret []byte
		if err := r.Scan(&record, &secret); err != nil {
			return k, err
		}
		k.Session, err = unpackSession(record, secret)
		return k, err
	})
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	rows, err = db.engine.read().QueryContext(ctx, keptGrants, userID, before, kept[len(kept)-1].Session.ID)
	grants, err := collect(rows, err, func(r row) (session.Grant, error) {
		var f grantFields
		if err := r.Scan(&f.record, &f.hash, &f.salt, &f.rotations); err != nil {
			return session.Grant{}, err
		}
		return f.value()
	})
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		of := func(k session.Kept) bool { return k.Session.ID == g.SessionID }
		if i := slices.IndexFunc(kept, of); i >= 0 {
			kept[i].Grants = append(kept[i].Grants, g)
		}
	}
	return kept, nil
}

const linksOf = `
	SELECT ` + linkColumns + ` FROM link WHERE account_id = $1 OR email_key = $2 AND $2 <> '' ORDER BY created_at, id`

// LinksOf lists the links of a user. See [account.LinkStore].
func (db *DB) LinksOf(ctx context.Context, userID, key string) ([]account.Link, error) {
	defer db.measure("links_of", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, linksOf, userID, key)
	return collect(rows, err, scanLink)
}

const lettersTo = `
	SELECT id, kind, recipient, language, link_id, details, created_at, expires_at, attempts, failure
	FROM outbox WHERE recipient = $1 ORDER BY created_at, id LIMIT $2`

// LettersTo lists the mails to an address. See [mail.RecipientStore].
func (db *DB) LettersTo(ctx context.Context, address string, limit int) ([]mail.Letter, error) {
	defer db.measure("letters_to", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, lettersTo, address, limit)
	return collect(rows, err, scanLetter)
}
