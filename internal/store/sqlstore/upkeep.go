package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/session"
)

// touchChunk is how many sessions one statement touches; what is left over is
// touched one by one.
const touchChunk = 64

// touchSessions is for a chunk of pairs of id and time: $2 and $3, $4 and $5 and
// so on. A session that is over stays so.
func touchSessions(pairs int) string {
	var list strings.Builder
	for i := range pairs {
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "(CAST($%d AS TEXT), CAST($%d AS BIGINT))", 2*i+2, 2*i+3)
	}
	return `
	UPDATE session AS s SET last_seen_at = v.column2 FROM (VALUES ` + list.String() + `) v, ` + storeTime + `
	WHERE s.id = v.column1 AND s.last_seen_at < v.column2 AND s.ended_at IS NULL
		AND s.expires_at > t.now AND s.last_seen_at + s.idle_ms > t.now`
}

var touchMany, touchOne = touchSessions(touchChunk), touchSessions(1)

// Touch notes when sessions were seen. See [session.UpkeepStore].
func (db *DB) Touch(ctx context.Context, seen []session.Seen) error {
	if len(seen) == 0 {
		return nil
	}
	return db.bare(ctx, "touch", func(s *step) error {
		for rest := seen; len(rest) > 0; {
			query, n := touchOne, 1
			if len(rest) >= touchChunk {
				query, n = touchMany, touchChunk
			}
			args := append(make([]any, 0, 2*n+1), db.clock())
			for _, one := range rest[:n] {
				args = append(args, one.SessionID, one.At.UnixMilli())
			}
			if err := s.later(query, args...); err != nil {
				return fmt.Errorf("touch sessions: %w", err)
			}
			rest = rest[n:]
		}
		return nil
	})
}

// dueForSweep are the first n sessions that may have been over before $1. How many is
// part of the text: of an argument, PostgreSQL would expect a tenth of all there are.
func dueForSweep(columns string, n int) string {
	return `SELECT ` + columns + ` FROM session WHERE sweep_at <= $1 ORDER BY sweep_at LIMIT ` + strconv.Itoa(n)
}

// sweepOver removes those of the first n that were over before $1, by their own record
// or by their user's.
func sweepOver(n int) string {
	return `
	DELETE FROM session WHERE id IN (
		SELECT d.id
		FROM (` + dueForSweep("id, account_id, created_at, last_seen_at, idle_ms, expires_at, ended_at", n) + `) d
		JOIN account a ON a.id = d.account_id
		WHERE d.ended_at <= $1 OR d.expires_at <= $1 OR d.last_seen_at + d.idle_ms <= $1
			OR d.created_at / 1000 <= a.over_before AND a.over_before * 1000 <= $1)`
}

// sweepAll removes n of those that were over before $1 because everything was.
func sweepAll(n int) string {
	return `
	DELETE FROM session WHERE id IN (
		SELECT s.id FROM session s
		WHERE s.created_at < (SELECT (i.over_before + 1) * 1000 FROM issuer i WHERE i.over_before * 1000 <= $1)
		ORDER BY s.created_at LIMIT ` + strconv.Itoa(n) + `)`
}

// sweepLater moves on the first n of those that turned out to be alive, or over since
// only recently: to when they can be removed, if nothing moves that.
func sweepLater(n int) string {
	return `
	UPDATE session AS s SET sweep_at = CASE
		WHEN s.ended_at IS NOT NULL THEN s.ended_at
		WHEN s.created_at / 1000 <= a.over_before AND a.over_before * 1000 < s.expires_at
			AND a.over_before * 1000 < s.last_seen_at + s.idle_ms THEN a.over_before * 1000
		WHEN s.expires_at < s.last_seen_at + s.idle_ms THEN s.expires_at
		ELSE s.last_seen_at + s.idle_ms END
	FROM account a
	WHERE s.id IN (` + dueForSweep("id", n) + `) AND a.id = s.account_id
		AND (s.ended_at IS NULL OR s.ended_at > $1) AND s.expires_at > $1 AND s.last_seen_at + s.idle_ms > $1
		AND (s.created_at / 1000 > a.over_before OR a.over_before * 1000 > $1)`
}

// Sweep removes sessions that are long over. See [session.UpkeepStore]. Every one that
// it looks at is removed or put off, so none is looked at again and again.
func (db *DB) Sweep(ctx context.Context, keep time.Duration, limit int) (removed int, more bool, err error) {
	err = db.step(ctx, "sweep", func(s *step) error {
		cutoff := s.at.Add(-keep).UnixMilli()
		gone, err := s.exec(sweepAll(limit), cutoff)
		if more = gone > 0; more { // what is left may have to go as well, or not
			removed = int(gone)
			return nil
		}
		var later int64
		if err == nil {
			gone, err = s.exec(sweepOver(limit), cutoff)
		}
		if err == nil {
			later, err = s.exec(sweepLater(limit), cutoff)
		}
		if err != nil {
			return fmt.Errorf("sweep sessions: %w", err)
		}
		removed, more = int(gone), gone+later >= int64(limit)
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return removed, more, nil
}

// countSessions looks at the next $3 sessions after $2.
const countSessions = `
	SELECT COALESCE(sum(n.alive), 0), count(*), max(n.id) FROM (
		SELECT s.id, CASE WHEN ` + live + ` THEN 1 ELSE 0 END AS alive
		FROM ` + liveTables + ` WHERE s.id > $2 ORDER BY s.id LIMIT $3) n`

// countChunk bounds how long one statement counts: some ten milliseconds.
const countChunk = 20_000

// Count counts the live sessions. See [session.UpkeepStore]. It goes through all there
// are, in steps, so what changes meanwhile may be counted or not.
func (db *DB) Count(ctx context.Context) (int, error) {
	defer db.measure("count_sessions", time.Now())
	return db.count(ctx, countChunk)
}

func (db *DB) count(ctx context.Context, chunk int) (int, error) {
	sum, after := 0, ""
	for {
		var live, seen int
		var last sql.NullString
		err := db.engine.read().QueryRowContext(ctx, countSessions, db.clock(), after, chunk).Scan(&live, &seen, &last)
		if err != nil {
			return 0, fmt.Errorf("count sessions: %w", err)
		}
		sum, after = sum+live, last.String
		if seen < chunk {
			return sum, nil
		}
	}
}
