package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
)

const addUser = `
	INSERT INTO account (id, email, email_key, email_verified, name, roles, password, disabled, created_at, over_before, changed_before)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// AddUser adds a user. See [account.Store].
func (db *DB) AddUser(ctx context.Context, u account.User, password string, e audit.Entry) (account.User, error) {
	var added account.User
	err := db.step(ctx, "add_user", func(s *step) (err error) {
		added, err = s.addUser(u, password, e)
		return err
	})
	return added, err
}

func (s *step) addUser(u account.User, password string, e audit.Entry) (account.User, error) {
	roles, err := joinList(u.Roles)
	if err != nil {
		return account.User{}, fmt.Errorf("write roles: %w", err)
	}
	u.CreatedAt = s.at
	_, err = s.exec(addUser, u.ID, u.Email, u.EmailKey, u.EmailVerified, u.Name, roles, password, u.Disabled,
		u.CreatedAt.UnixMilli(), u.OverBefore, u.ChangedBefore)
	if s.db.engine.duplicate(err, "account_email_key", "account.email_key") {
		return account.User{}, account.ErrEmailTaken
	}
	if err != nil {
		return account.User{}, fmt.Errorf("add a user: %w", err)
	}
	s.audit(e)
	return u, nil
}

// userColumns are of the table account under an alias, or under none where a
// statement returns them.
func userColumns(alias string) string {
	numbers := []string{"email_verified", "disabled", "created_at", "over_before", "changed_before", "password_version"}
	texts := []string{"id", "email", "email_key", "name", "roles"}
	for _, list := range [][]string{numbers, texts} {
		for i := range list {
			list[i] = alias + list[i]
		}
	}
	return packed(numbers, texts)
}

// unpackUser reads userColumns.
func unpackUser(text string) (account.User, error) {
	var user account.User
	var roles string
	u := unpacker{rest: text}
	user.EmailVerified, user.Disabled, user.CreatedAt = u.flag(), u.flag(), instant(u.number())
	user.OverBefore, user.ChangedBefore, user.PasswordVersion = u.number(), u.number(), u.number()
	err := u.texts(&user.ID, &user.Email, &user.EmailKey, &user.Name, &roles)
	user.Roles = splitList(roles)
	return user, err
}

var findUser = `SELECT ` + userColumns("a.") + `, a.password FROM account a WHERE a.id = $1`

// FindUser reads a user. See [account.Store].
func (db *DB) FindUser(ctx context.Context, id string) (account.User, string, error) {
	return db.findUser(ctx, findUser, id)
}

var findByEmail = `SELECT ` + userColumns("a.") + `, a.password FROM account a WHERE a.email_key = $1`

// FindByEmail reads a user. See [account.Store].
func (db *DB) FindByEmail(ctx context.Context, key string) (account.User, string, error) {
	return db.findUser(ctx, findByEmail, key)
}

func (db *DB) findUser(ctx context.Context, query, by string) (account.User, string, error) {
	defer db.measure("find_user", time.Now())
	var record, password string
	err := db.engine.read().one(ctx, query, []any{by}, &record, &password)
	if errors.Is(err, sql.ErrNoRows) {
		return account.User{}, "", account.ErrNoUser
	}
	if err != nil {
		return account.User{}, "", fmt.Errorf("find a user: %w", err)
	}
	u, err := unpackUser(record)
	return u, password, err
}

var listUsers = `SELECT ` + userColumns("a.") + ` FROM account a WHERE a.id > $1 ORDER BY a.id LIMIT $2`

// Users lists users. See [account.Store].
func (db *DB) Users(ctx context.Context, after string, limit int) ([]account.User, error) {
	defer db.measure("list_users", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, listUsers, after, limit)
	return collect(rows, err, scanUser)
}

func scanUser(r row) (account.User, error) {
	var record string
	if err := r.Scan(&record); err != nil {
		return account.User{}, err
	}
	return unpackUser(record)
}

// holdUser changes nothing, so that no other step changes the row before this one
// is over, and what is read stays true.
var holdUser = `UPDATE account AS a SET name = a.name WHERE a.id = $1 RETURNING ` + userColumns("")

const changeUser = `
	UPDATE account SET name = $2, roles = $3, email_verified = $4, disabled = $5 WHERE id = $1`

// ChangeUser changes a user. See [account.Store].
func (db *DB) ChangeUser(ctx context.Context, id string, c account.UserChange, e audit.Entry) (account.User, error) {
	var u account.User
	var done *step
	err := db.step(ctx, "change_user", func(s *step) (err error) {
		done = s
		if u, err = s.holdUser(id); err != nil {
			return err
		}
		changed := applyChange(&u, c)
		roles, err := joinList(u.Roles)
		if err != nil {
			return fmt.Errorf("write roles: %w", err)
		}
		if c.Disabled != nil && *c.Disabled {
			if err := s.endUser(id, "disabled"); err != nil {
				return err
			}
		}
		if _, err := s.exec(changeUser, id, u.Name, roles, u.EmailVerified, u.Disabled); err != nil {
			return fmt.Errorf("change a user: %w", err)
		}
		if changed {
			s.end(feed.Changed, id, "user")
		}
		s.audit(e)
		return nil
	})
	if err != nil {
		return account.User{}, err
	}
	for _, e := range done.appended { // written after the user was read
		if e.ID == u.ID && e.Kind == feed.User {
			u.OverBefore = max(u.OverBefore, e.Before)
		} else if e.ID == u.ID {
			u.ChangedBefore = max(u.ChangedBefore, e.Before)
		}
	}
	return u, nil
}

func (s *step) holdUser(id string) (account.User, error) {
	u, err := scanUser(s.row(holdUser, id))
	if errors.Is(err, sql.ErrNoRows) {
		return account.User{}, account.ErrNoUser
	}
	if err != nil {
		return account.User{}, fmt.Errorf("hold a user: %w", err)
	}
	return u, nil
}

// applyChange reports whether what tokens may say of the user has changed.
func applyChange(u *account.User, c account.UserChange) bool {
	old := *u
	if c.Name != nil {
		u.Name = *c.Name
	}
	if c.Roles != nil {
		u.Roles = slices.Clone(*c.Roles)
	}
	if c.EmailVerified != nil {
		u.EmailVerified = *c.EmailVerified
	}
	if c.Disabled != nil {
		u.Disabled = *c.Disabled
	}
	return u.Name != old.Name || u.EmailVerified != old.EmailVerified || !slices.Equal(u.Roles, old.Roles)
}

const setPassword = `
	UPDATE account SET password = $2, password_version = password_version + $4
	WHERE id = $1 AND ($3 = '' OR password = $3)`

const hasUser = `SELECT count(*) FROM account WHERE id = $1`

// SetPassword sets a password. See [account.Store].
func (db *DB) SetPassword(ctx context.Context, c account.PasswordChange, e audit.Entry, notices ...mail.Message) error {
	return db.step(ctx, "set_password", func(s *step) error {
		counted := 0
		if e.Event != "" {
			counted = 1
		}
		n, err := s.exec(setPassword, c.UserID, c.New, c.Old, counted)
		if err != nil {
			return fmt.Errorf("set a password: %w", err)
		}
		if n == 0 {
			var users int
			if err := s.row(hasUser, c.UserID).Scan(&users); err != nil {
				return fmt.Errorf("find a user: %w", err)
			}
			if users == 0 {
				return account.ErrNoUser
			}
			return account.ErrLost
		}
		if c.EndAll {
			err = s.endUser(c.UserID, "password")
		} else if c.EndOthers {
			_, err = s.endSessions(c.UserID, c.Keep, "password")
		}
		if err != nil {
			return err
		}
		if e.Event != "" {
			if err := s.endTakeovers(c.UserID); err != nil {
				return err
			}
			s.audit(e)
		}
		s.post(notices...)
		return nil
	})
}

const deleteUser = `DELETE FROM account WHERE id = $1`

// DeleteUser removes a user. See [account.Store].
func (db *DB) DeleteUser(ctx context.Context, id string, e audit.Entry) error {
	return db.step(ctx, "delete_user", func(s *step) error {
		if _, err := s.holdUser(id); err != nil {
			return err
		}
		if err := s.endUser(id, "deleted"); err != nil {
			return err
		}
		if _, err := s.exec(deleteUser, id); err != nil {
			return fmt.Errorf("delete a user: %w", err)
		}
		s.audit(e)
		return nil
	})
}
