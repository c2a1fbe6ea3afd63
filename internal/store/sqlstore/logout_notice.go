package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/oauth"
)

const dueNotices = `
	SELECT who.id FROM client who CROSS JOIN ` + storeTime + `
	WHERE (SELECT min(p.due_at) FROM logout_notice p WHERE p.client_id = who.id AND p.dead_at IS NULL) <= t.now
	ORDER BY who.id`

// DueNotices returns whose notices are due. See [oauth.NoticeStore].
func (db *DB) DueNotices(ctx context.Context) ([]string, error) {
	defer db.measure("due_notices", time.Now())
	rows, err := db.engine.read().QueryContext(ctx, dueNotices, db.clock())
	ids, err := collect(rows, err, scanText)
	return ids, wrapped("look for notices that are due", err)
}

// claimNotices compares with what is due once more, as claimLetters does.
func claimNotices(n int) string {
	return `
	UPDATE logout_notice SET lease = $1, due_at = $2, attempts = attempts + 1
	WHERE dead_at IS NULL AND due_at <= $3 AND id IN (
		SELECT o.id FROM logout_notice o WHERE o.client_id = $4 AND o.dead_at IS NULL AND o.due_at <= $3
		ORDER BY o.due_at, o.id LIMIT ` + strconv.Itoa(n) + `)
	RETURNING id, client_id, account_id, created_at, expires_at, attempts, failure`
}

// ClaimNotices gives notices that are due to the caller. See [oauth.NoticeStore].
func (db *DB) ClaimNotices(ctx context.Context, clientID, lease string, length time.Duration, limit int) ([]oauth.Notice, time.Time, error) {
	var notices []oauth.Notice
	var now time.Time
	err := db.step(ctx, "claim_notices", func(s *step) error {
		now = s.at
		rows, err := s.run.QueryContext(s.ctx, claimNotices(limit), lease, s.at.Add(length).UnixMilli(), s.at.UnixMilli(), clientID)
		notices, err = collect(rows, err, scanNotice)
		return err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("claim notices: %w", err)
	}
	slices.SortFunc(notices, func(a, b oauth.Notice) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.GrantID, b.GrantID))
	})
	return notices, now, nil
}

func scanNotice(r row) (n oauth.Notice, err error) {
	var created, expires int64
	err = r.Scan(&n.GrantID, &n.ClientID, &n.UserID, &created, &expires, &n.Attempts, &n.Failure)
	n.Created, n.Expires = instant(created), instant(expires)
	return n, err
}

const removeNotice = `DELETE FROM logout_notice WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// NoticeSent removes a notice that was sent. See [oauth.NoticeStore].
func (db *DB) NoticeSent(ctx context.Context, id, lease string) error {
	n, err := db.change(ctx, "sent_notice", removeNotice, id, lease)
	return leasedNotice("remove a notice that was sent", n, err)
}

const postponeNotice = `
	UPDATE logout_notice SET lease = '', due_at = $3, failure = $4
	WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// PostponeNotice makes a notice due later. See [oauth.NoticeStore].
func (db *DB) PostponeNotice(ctx context.Context, id, lease string, wait time.Duration, why string) error {
	return db.step(ctx, "postpone_notice", func(s *step) error {
		n, err := s.exec(postponeNotice, id, lease, s.at.Add(wait).UnixMilli(), safe(why))
		return leasedNotice("postpone a notice", n, err)
	})
}

const buryNotice = `
	UPDATE logout_notice SET lease = '', dead_at = $3, failure = $4
	WHERE id = $1 AND lease = $2 AND lease <> '' AND dead_at IS NULL`

// BuryNotice makes a notice a dead letter. See [oauth.NoticeStore].
func (db *DB) BuryNotice(ctx context.Context, id, lease, why string) error {
	return db.step(ctx, "bury_notice", func(s *step) error {
		n, err := s.exec(buryNotice, id, lease, s.at.UnixMilli(), safe(why))
		return leasedNotice("bury a notice", n, err)
	})
}

// leasedNotice judges a change of the one notice that the caller claimed.
func leasedNotice(what string, n int64, err error) error {
	if err == nil && n == 0 {
		return oauth.ErrLease
	}
	return wrapped(what, err)
}

// countNotices counts those of a client, or all of them if it is ”.
const countNotices = `
	SELECT (SELECT count(*) FROM logout_notice WHERE dead_at IS NULL AND ($1 = '' OR client_id = $1)),
		(SELECT min(created_at) FROM logout_notice WHERE dead_at IS NULL AND ($1 = '' OR client_id = $1)),
		(SELECT count(*) FROM logout_notice WHERE dead_at IS NOT NULL AND ($1 = '' OR client_id = $1))`

const lastFailure = `
	SELECT client_id, failure FROM logout_notice WHERE failure <> '' AND ($1 = '' OR client_id = $1)
	ORDER BY dead_at DESC NULLS LAST, due_at DESC, id DESC LIMIT 1`

// CountNotices counts notices. See [oauth.NoticeStore].
func (db *DB) CountNotices(ctx context.Context, clientID string) (oauth.NoticeCounts, error) {
	defer db.measure("count_notices", time.Now())
	var c oauth.NoticeCounts
	var oldest sql.NullInt64
	run := db.engine.read()
	err := run.QueryRowContext(ctx, countNotices, clientID).Scan(&c.Waiting, &oldest, &c.Dead)
	if err == nil && c.Waiting+c.Dead > 0 {
		err = run.QueryRowContext(ctx, lastFailure, clientID).Scan(&c.ClientID, &c.Failure)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
	}
	if err != nil {
		return oauth.NoticeCounts{}, fmt.Errorf("count notices: %w", err)
	}
	if oldest.Valid {
		c.Oldest = instant(oldest.Int64)
	}
	return c, nil
}

const forgetNotices = `DELETE FROM logout_notice WHERE dead_at < $1`

// ForgetNotices removes old dead notices. See [oauth.NoticeStore].
func (db *DB) ForgetNotices(ctx context.Context, keep time.Duration) (int, error) {
	var n int64
	err := db.step(ctx, "forget_notices", func(s *step) (err error) {
		n, err = s.exec(forgetNotices, s.at.Add(-keep).UnixMilli())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget dead notices: %w", err)
	}
	return int(n), nil
}
