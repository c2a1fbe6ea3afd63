package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
)

const linkColumns = `id, kind, COALESCE(account_id, ''), email, email_key, browser, name, password, roles, decoy, guesses, created_at, expires_at`

func scanLink(r row) (account.Link, error) {
	var l account.Link
	var browser []byte
	var roles string
	var created, expires int64
	err := r.Scan(&l.ID, &l.Kind, &l.UserID, &l.Email, &l.EmailKey, &browser, &l.Name, &l.Password, &roles, &l.Decoy, &l.Guesses, &created, &expires)
	copy(l.Browser[:], browser)
	l.Roles, l.CreatedAt, l.ExpiresAt = splitList(roles), instant(created), instant(expires)
	return l, err
}

// endLinks marks links as spent, and keeps nothing of what a sign-up began with.
const endLinks = `UPDATE link SET spent_at = $1, name = '', password = '' WHERE spent_at IS NULL AND NOT decoy AND `

// What ends the links of a kind ($2) before a newer one: all of the user, or all to
// the address but the newest $4.
const (
	replaceOfUser    = endLinks + `kind = $2 AND account_id = $3`
	replaceOfAddress = endLinks + `kind = $2 AND email_key = $3 AND id NOT IN (
		SELECT l.id FROM link l
		WHERE l.kind = $2 AND l.email_key = $3 AND l.spent_at IS NULL AND NOT l.decoy AND l.expires_at > $1
		ORDER BY l.created_at DESC, l.id DESC LIMIT $4)`
)

// besides is how many links of a kind to an address live on beside a new one.
var besides = map[account.LinkKind]int{account.LinkSignUp: 4, account.LinkInvite: 0}

const addLink = `
	INSERT INTO link (id, kind, account_id, email, email_key, browser, name, password, roles, decoy, created_at, expires_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

// AddLink adds a link. See [account.LinkStore].
func (db *DB) AddLink(ctx context.Context, l account.Link, e audit.Entry, mails ...mail.Message) (account.Link, error) {
	err := db.step(ctx, "add_link", func(s *step) error {
		l.CreatedAt, l.ExpiresAt = s.at, s.at.Add(account.LinkLife)
		if err := s.replaceLinks(l); err != nil {
			return err
		}
		if err := s.addLink(l); err != nil {
			return err
		}
		if e.Event != "" {
			s.audit(e)
		}
		for _, m := range mails {
			if m.LinkID == l.ID {
				m.Expires = l.ExpiresAt
			}
			s.post(m)
		}
		return nil
	})
	if err != nil {
		return account.Link{}, err
	}
	return l, nil
}

// replaceLinks ends the links that the new one takes the place of. The row of the
// user is held before those of links, here and wherever links are spent, so that no
// two steps wait for each other. For a decoy the same statements run, and find
// nobody and nothing.
func (s *step) replaceLinks(l account.Link) error {
	user, key := l.UserID, l.EmailKey
	if _, err := s.holdUser(user); err != nil && (user != "" || !errors.Is(err, account.ErrNoUser)) {
		return err
	}
	if l.Decoy {
		user, key = "", ""
	}
	var err error
	if keep, byAddress := besides[l.Kind]; byAddress {
		_, err = s.exec(replaceOfAddress, s.at.UnixMilli(), string(l.Kind), key, keep)
	} else {
		_, err = s.exec(replaceOfUser, s.at.UnixMilli(), string(l.Kind), user)
	}
	if err != nil {
		return fmt.Errorf("replace older links: %w", err)
	}
	return nil
}

func (s *step) addLink(l account.Link) error {
	roles, err := joinList(l.Roles)
	if err != nil {
		return fmt.Errorf("write roles: %w", err)
	}
	var user, browser any
	if l.UserID != "" {
		user = l.UserID
	}
	if l.Browser != (credential.Hash{}) {
		browser = l.Browser[:]
	}
	_, err = s.exec(addLink, l.ID, string(l.Kind), user, l.Email, l.EmailKey, browser, l.Name, l.Password, roles, l.Decoy,
		l.CreatedAt.UnixMilli(), l.ExpiresAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("add a link: %w", err)
	}
	return nil
}

const findLink = `
	SELECT ` + linkColumns + ` FROM link CROSS JOIN ` + storeTime + `
	WHERE id = $2 AND spent_at IS NULL AND NOT decoy AND expires_at > t.now`

// FindLink reads a live link. See [account.LinkStore].
func (db *DB) FindLink(ctx context.Context, id string) (account.Link, error) {
	defer db.measure("find_link", time.Now())
	l, err := scanLink(db.engine.read().QueryRowContext(ctx, findLink, db.clock(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return account.Link{}, account.ErrLinkOver
	}
	if err != nil {
		return account.Link{}, fmt.Errorf("find a link: %w", err)
	}
	return l, nil
}

const guessLinks = `
	UPDATE link SET guesses = guesses + 1
	WHERE email_key = $1 AND kind IN ('sign_up', 'verify', 'email') AND spent_at IS NULL AND NOT decoy AND expires_at > $2
	RETURNING ` + linkColumns

// GuessLinks counts a guess. See [account.LinkStore].
func (db *DB) GuessLinks(ctx context.Context, key string) ([]account.Link, error) {
	var links []account.Link
	var now time.Time
	err := db.step(ctx, "guess_links", func(s *step) error {
		now = s.at
		rows, err := s.run.QueryContext(s.ctx, guessLinks, key, s.at.UnixMilli())
		links, err = collect(rows, err, scanLink)
		s.dirty = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count a guess: %w", err)
	}
	return slices.DeleteFunc(links, func(l account.Link) bool {
		return l.Guesses > account.MaxGuesses || now.Sub(l.CreatedAt) >= account.CodeLife
	}), nil
}

const spendLink = endLinks + `expires_at > $1 AND id = $2 RETURNING ` + linkColumns

// spend spends a live link of one of the kinds; of the rows that say who was first,
// this one decides.
func (s *step) spend(id string, kinds ...account.LinkKind) (account.Link, error) {
	l, err := scanLink(s.row(spendLink, s.at.UnixMilli(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return account.Link{}, account.ErrLinkOver
	}
	if err != nil {
		return account.Link{}, fmt.Errorf("spend a link: %w", err)
	}
	s.dirty = true
	if !slices.Contains(kinds, l.Kind) {
		return account.Link{}, account.ErrLinkOver
	}
	return l, nil
}

const endMakers = endLinks + `kind IN ('sign_up', 'invite') AND email_key = $2`

// AddUserByLink makes an account. See [account.LinkStore]. The account comes before the
// links: of those who make one of the same address by several links, one goes on, and
// the others wait at the address, where nobody waits for them.
func (db *DB) AddUserByLink(ctx context.Context, id string, u account.User, password string, e audit.Entry) (account.User, error) {
	var added account.User
	err := db.step(ctx, "add_user_by_link", func(s *step) (err error) {
		if added, err = s.addUser(u, password, e); err != nil {
			return err
		}
		l, err := s.spend(id, account.LinkSignUp, account.LinkInvite)
		if err != nil {
			return err
		}
		if l.EmailKey != u.EmailKey {
			return account.ErrLinkOver
		}
		if _, err := s.exec(endMakers, s.at.UnixMilli(), l.EmailKey); err != nil {
			return fmt.Errorf("end other links to the address: %w", err)
		}
		return nil
	})
	if errors.Is(err, account.ErrEmailTaken) {
		// Perhaps by whoever spent this link a moment ago.
		if _, gone := db.FindLink(ctx, id); errors.Is(gone, account.ErrLinkOver) {
			err = gone
		}
	}
	if err != nil {
		return account.User{}, err
	}
	return added, nil
}

const userOfLink = `SELECT COALESCE(account_id, '') FROM link WHERE id = $1`

// spendOfUser spends a live link about a user who may be in.
func (s *step) spendOfUser(id string, kinds ...account.LinkKind) (account.Link, account.User, error) {
	var userID string
	err := s.row(userOfLink, id).Scan(&userID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return account.Link{}, account.User{}, fmt.Errorf("find the user of a link: %w", err)
	}
	u, err := s.holdUser(userID)
	if errors.Is(err, account.ErrNoUser) {
		return account.Link{}, account.User{}, account.ErrLinkOver
	}
	if err != nil {
		return account.Link{}, account.User{}, err
	}
	l, err := s.spend(id, kinds...)
	if err == nil && u.Disabled {
		err = account.ErrLinkOver
	}
	return l, u, err
}

const resetPassword = `
	UPDATE account SET password = $2, password_version = password_version + 1, email_verified = TRUE WHERE id = $1`

const endTakeovers = endLinks + `kind IN ('reset', 'email') AND account_id = $2`

// endTakeovers ends the links of a user by which whoever asked for them under another
// password could still have the account.
func (s *step) endTakeovers(userID string) error {
	if _, err := s.exec(endTakeovers, s.at.UnixMilli(), userID); err != nil {
		return fmt.Errorf("end the links of a user: %w", err)
	}
	return nil
}

// ResetByLink sets a password. See [account.LinkStore].
func (db *DB) ResetByLink(ctx context.Context, id, password string, e audit.Entry, mails ...mail.Message) error {
	return db.step(ctx, "reset_by_link", func(s *step) error {
		l, u, err := s.spendOfUser(id, account.LinkReset)
		if err != nil {
			return err
		}
		if l.EmailKey != u.EmailKey {
			return account.ErrLinkOver
		}
		if _, err := s.exec(resetPassword, u.ID, password); err != nil {
			return fmt.Errorf("reset a password: %w", err)
		}
		if err := s.endUser(u.ID, "password"); err != nil {
			return err
		}
		if err := s.endTakeovers(u.ID); err != nil {
			return err
		}
		s.audit(e)
		s.post(mails...)
		return nil
	})
}

const setAddress = `UPDATE account SET email = $2, email_key = $3, email_verified = TRUE WHERE id = $1`

const endAllOfUser = endLinks + `account_id = $2`

// AddressByLink proves an address. See [account.LinkStore].
func (db *DB) AddressByLink(ctx context.Context, id string, e audit.Entry, mails ...mail.Message) (account.User, error) {
	var u account.User
	var done *step
	err := db.step(ctx, "address_by_link", func(s *step) (err error) {
		done = s
		var l account.Link
		if l, u, err = s.spendOfUser(id, account.LinkVerify, account.LinkEmail); err != nil {
			return err
		}
		if err := s.setAddress(&u, l); err != nil {
			return err
		}
		s.audit(e)
		s.post(mails...)
		return nil
	})
	if err != nil {
		return account.User{}, err
	}
	for _, e := range done.appended { // written after the user was read
		u.ChangedBefore = max(u.ChangedBefore, e.Before)
	}
	return u, nil
}

// setAddress gives the user the address that a link has proven.
func (s *step) setAddress(u *account.User, l account.Link) error {
	if l.Kind == account.LinkVerify && l.EmailKey != u.EmailKey {
		return account.ErrLinkOver
	}
	_, err := s.exec(setAddress, u.ID, l.Email, l.EmailKey)
	if s.db.engine.duplicate(err, "account_email_key", "account.email_key") {
		return account.ErrEmailTaken
	}
	if err != nil {
		return fmt.Errorf("set the address of a user: %w", err)
	}
	if l.Kind == account.LinkEmail {
		if _, err := s.exec(endAllOfUser, s.at.UnixMilli(), u.ID); err != nil {
			return fmt.Errorf("end the links of a user: %w", err)
		}
	}
	if !u.EmailVerified || u.Email != l.Email || u.EmailKey != l.EmailKey {
		s.end(feed.Changed, u.ID, "user")
	}
	u.Email, u.EmailKey, u.EmailVerified = l.Email, l.EmailKey, true
	return nil
}

// sweepLinks removes n links that are old.
func sweepLinks(n int) string {
	return `
	DELETE FROM link WHERE id IN (
		SELECT l.id FROM link l WHERE l.expires_at <= $1 ORDER BY l.expires_at LIMIT ` + strconv.Itoa(n) + `)`
}

// SweepLinks removes old links. See [account.LinkStore].
func (db *DB) SweepLinks(ctx context.Context, limit int) (int, error) {
	var n int64
	err := db.step(ctx, "sweep_links", func(s *step) (err error) {
		n, err = s.exec(sweepLinks(limit), s.at.UnixMilli())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep links: %w", err)
	}
	return int(n), nil
}
