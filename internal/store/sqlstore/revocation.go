package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// since reads the log's end and what follows a number in one statement, and so in
// one snapshot. The clock is the raw one: a node compares it with the mark.
const since = `
	SELECT h.epoch, h.seq, h.bits, h.mark, COALESCE(CAST($1 AS BIGINT), now_ms()),
	       r.seq, r.bits, r.kind, r.subject, r.before_s, r.reason, r.at_s, r.until_s
	FROM revocation_head h LEFT JOIN (
		SELECT seq, bits, kind, subject, before_s, reason, at_s, until_s
		FROM revocation WHERE seq >= $2 ORDER BY seq LIMIT $3) r ON TRUE
	ORDER BY r.seq NULLS LAST`

// Since reads the log. See [revocation.Store].
func (db *DB) Since(ctx context.Context, from uint64, limit int) (revocation.Page, error) {
	defer db.measure("since", time.Now())
	var page revocation.Page
	rows, err := db.engine.read().tail().QueryContext(ctx, since, db.clock(), int64(min(from, maxSeq)), limit)
	logged, err := collect(rows, err, func(r row) (l revocation.Logged, err error) {
		var mark, now int64
		var seq, bits, before, at, until sql.NullInt64
		var kind, subject, reason sql.NullString
		err = r.Scan(&page.Head.Epoch, &page.Head.Seq, &page.Head.Bits, &mark, &now,
			&seq, &bits, &kind, &subject, &before, &reason, &at, &until)
		page.Mark, page.Now = instant(mark), instant(now)
		l.Bits = uint16(bits.Int64)
		l.Entry = feed.Entry{
			Seq: uint64(seq.Int64), Kind: feed.Kind(kind.String), ID: subject.String, Before: before.Int64,
			Reason: reason.String, At: at.Int64, Until: until.Int64,
		}
		return l, err
	})
	if err != nil {
		return revocation.Page{}, fmt.Errorf("read the revocation log: %w", err)
	}
	if len(logged) == 0 {
		return revocation.Page{}, errors.New("the revocation log has no end")
	}
	if logged[0].Seq != 0 { // else it is the log's end alone
		page.Rows = logged
	}
	return page, nil
}

// prune removes the first n entries that can be forgotten.
func prune(n int) string {
	return `
	DELETE FROM revocation WHERE seq IN (
		SELECT r.seq FROM revocation r WHERE r.until_s < (SELECT COALESCE(CAST($1 AS BIGINT), now_ms()) / 1000)
		ORDER BY r.until_s LIMIT ` + strconv.Itoa(n) + `)`
}

// Prune removes what can be forgotten. See [revocation.Store].
func (db *DB) Prune(ctx context.Context) (int, error) {
	n, err := db.little(ctx, "prune", prune(littleChunk), littleChunk, db.clock())
	if err != nil {
		return 0, fmt.Errorf("prune the revocation log: %w", err)
	}
	return n, nil
}

const newEpoch = `UPDATE revocation_head SET epoch = $2 WHERE epoch = $1`

// NewEpoch begins a new epoch. See [revocation.Store].
func (db *DB) NewEpoch(ctx context.Context, old string) error {
	if _, err := db.change(ctx, "new_epoch", newEpoch, old, credential.NewOrdinal()); err != nil {
		return fmt.Errorf("begin a new epoch: %w", err)
	}
	return nil
}

const holdLifetime = `
	INSERT INTO access_lifetime (lifetime_ms, held_until) VALUES ($1, $2)
	ON CONFLICT (lifetime_ms) DO UPDATE SET held_until =
		CASE WHEN access_lifetime.held_until < excluded.held_until THEN excluded.held_until ELSE access_lifetime.held_until END`

const dropLifetimes = `DELETE FROM access_lifetime WHERE held_until <= $1`

const raiseMark = `UPDATE revocation_head SET mark = $1 WHERE mark < $1`

// Hold states how long tokens live. See [revocation.Store].
func (db *DB) Hold(ctx context.Context, lifetime time.Duration) error {
	return db.step(ctx, "hold", func(s *step) error {
		until := s.at.Add(lifetime + revocation.Margin).UnixMilli()
		if _, err := s.exec(holdLifetime, lifetime.Milliseconds(), until); err != nil {
			return fmt.Errorf("hold a lifetime: %w", err)
		}
		if _, err := s.exec(dropLifetimes, s.at.UnixMilli()); err != nil {
			return fmt.Errorf("drop lifetimes: %w", err)
		}
		if _, err := s.exec(raiseMark, s.at.UnixMilli()); err != nil {
			return fmt.Errorf("raise the mark: %w", err)
		}
		return nil
	})
}
