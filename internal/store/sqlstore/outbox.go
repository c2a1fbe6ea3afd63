package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// Posted sets the observer of the outbox: it is called after each commit of this DB
// that put a mail there, from many goroutines. Set it before the first step.
func (db *DB) Posted(observe func()) { db.posted.Store(&observe) }

func (db *DB) tellPosted() {
	if observe := db.posted.Load(); observe != nil {
		(*observe)()
	}
}

const addLetter = `
	INSERT INTO outbox (id, kind, recipient, language, link_id, details, created_at, expires_at, due_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)`

// writePosts writes the mails of the step.
func (s *step) writePosts() error {
	if len(s.posts) > 0 && s.bare {
		return errors.New("a bare step has no time to post at")
	}
	for _, m := range s.posts {
		details, err := json.Marshal(m.Values)
		if err != nil {
			return fmt.Errorf("write what a mail mentions: %w", err)
		}
		expires := m.Expires
		if expires.IsZero() {
			expires = s.at.Add(mail.Worth)
		}
		err = s.later(addLetter, m.ID, string(m.Kind), m.To, safe(m.Language), m.LinkID, string(details),
			s.at.UnixMilli(), expires.UnixMilli())
		if err != nil {
			return fmt.Errorf("put a mail into the outbox: %w", err)
		}
	}
	return nil
}

// Post adds mails that accompany no change. See [mail.Store].
func (db *DB) Post(ctx context.Context, messages ...mail.Message) error {
	return db.step(ctx, "post_mail", func(s *step) error {
		for _, m := range messages {
			s.post(m)
		}
		return nil
	})
}

const nextDue = `SELECT min(due_at) FROM outbox WHERE dead_at IS NULL`

// Next returns when the next mail is due. See [mail.Store].
func (db *DB) Next(ctx context.Context) (due time.Time, waits bool, err error) {
	defer db.measure("next_mail", time.Now())
	var ms sql.NullInt64
	if err := db.engine.read().QueryRowContext(ctx, nextDue).Scan(&ms); err != nil {
		return time.Time{}, false, fmt.Errorf("look into the outbox: %w", err)
	}
	return instant(ms.Int64), ms.Valid, nil
}

// claimLetters compares with what is due once more, because another node may have
// claimed some while this statement waited for their rows.
func claimLetters(n int) string {
	return `
	UPDATE outbox SET lease = $1, due_at = $2, attempts = attempts + 1
	WHERE dead_at IS NULL AND due_at <= $3 AND id IN (
		SELECT o.id FROM outbox o WHERE o.dead_at IS NULL AND o.due_at <= $3 ORDER BY o.due_at, o.id LIMIT ` + strconv.Itoa(n) + `)
	RETURNING id, kind, recipient, language, link_id, details, created_at, expires_at, attempts, failure`
}

// Claim gives mails that are due to the caller. See [mail.Store].
func (db *DB) Claim(ctx context.Context, lease string, length time.Duration, limit int) ([]mail.Letter, time.Time, error) {
	var letters []mail.Letter
	var now time.Time
	err := db.step(ctx, "claim_mail", func(s *step) error {
		now = s.at
		rows, err := s.run.QueryContext(s.ctx, claimLetters(limit), lease, s.at.Add(length).UnixMilli(), s.at.UnixMilli())
		letters, err = collect(rows, err, scanLetter)
		return err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("claim mails: %w", err)
	}
	slices.SortFunc(letters, func(a, b mail.Letter) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return letters, now, nil
}

func scanLetter(r row) (l mail.Letter, err error) {
	var details string
	var created, expires int64
	err = r.Scan(&l.ID, &l.Kind, &l.To, &l.Language, &l.LinkID, &details, &created, &expires, &l.Attempts, &l.Failure)
	if err != nil {
		return l, err
	}
	l.Created, l.Expires = instant(created), instant(expires)
	return l, json.Unmarshal([]byte(details), &l.Values)
}

const removeLetter = `DELETE FROM outbox WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// Sent removes a mail that was sent. See [mail.Store].
func (db *DB) Sent(ctx context.Context, id, lease string) error {
	n, err := db.change(ctx, "sent_mail", removeLetter, id, lease)
	return leased("remove a mail that was sent", n, err)
}

const postponeLetter = `
	UPDATE outbox SET lease = '', due_at = $3, failure = $4 WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// Postpone makes a mail due later. See [mail.Store].
func (db *DB) Postpone(ctx context.Context, id, lease string, wait time.Duration, why string) error {
	return db.step(ctx, "postpone_mail", func(s *step) error {
		n, err := s.exec(postponeLetter, id, lease, s.at.Add(wait).UnixMilli(), safe(why))
		return leased("postpone a mail", n, err)
	})
}

const buryLetter = `
	UPDATE outbox SET lease = '', dead_at = $3, failure = $4 WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// Bury makes a mail a dead letter. See [mail.Store].
func (db *DB) Bury(ctx context.Context, id, lease, why string) error {
	return db.step(ctx, "bury_mail", func(s *step) error {
		n, err := s.exec(buryLetter, id, lease, s.at.UnixMilli(), safe(why))
		return leased("bury a mail", n, err)
	})
}

// leased judges a change of the one mail that the caller claimed.
func leased(what string, n int64, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if n == 0 {
		return mail.ErrLease
	}
	return nil
}

const countLetters = `
	SELECT (SELECT count(*) FROM outbox WHERE dead_at IS NULL),
		(SELECT min(created_at) FROM outbox WHERE dead_at IS NULL),
		(SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL),
		COALESCE(
			(SELECT failure FROM outbox WHERE dead_at IS NOT NULL ORDER BY dead_at DESC, id DESC LIMIT 1),
			(SELECT failure FROM outbox WHERE dead_at IS NULL AND failure <> '' ORDER BY due_at DESC, id DESC LIMIT 1),
			'')`

// Counts counts mails. See [mail.Store].
func (db *DB) Counts(ctx context.Context) (mail.Counts, error) {
	defer db.measure("count_mails", time.Now())
	var c mail.Counts
	var oldest sql.NullInt64
	err := db.engine.read().QueryRowContext(ctx, countLetters).Scan(&c.Waiting, &oldest, &c.Dead, &c.Failure)
	if err != nil {
		return mail.Counts{}, fmt.Errorf("count mails: %w", err)
	}
	if oldest.Valid {
		c.Oldest = instant(oldest.Int64)
	}
	return c, nil
}

const forgetDead = `DELETE FROM outbox WHERE dead_at < $1`

// ForgetDead removes old dead letters. See [mail.Store].
func (db *DB) ForgetDead(ctx context.Context, keep time.Duration) (int, error) {
	var n int64
	err := db.step(ctx, "forget_dead_mail", func(s *step) (err error) {
		n, err = s.exec(forgetDead, s.at.Add(-keep).UnixMilli())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget dead letters: %w", err)
	}
	return int(n), nil
}
