package sqlstore

import (
	"context"
	"fmt"
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
			if _, err := s.exec(query, args...); err != nil {
				return fmt.Errorf("touch sessions: %w", err)
			}
			rest = rest[n:]
		}
		return nil
	})
}

// sweepOver removes what was over before $1 by its own record or its user's.
const sweepOver = `
	DELETE FROM session WHERE id IN (
		SELECT s.id FROM session s JOIN account a ON a.id = s.account_id
		WHERE s.sweep_at <= $1 AND (
			s.ended_at <= $1 OR s.expires_at <= $1 OR s.last_seen_at + s.idle_ms <= $1
			OR s.created_at / 1000 <= a.over_before AND a.over_before * 1000 <= $1)
		ORDER BY s.sweep_at LIMIT $2)`

// sweepAll removes what was over before $1 because everything was.
const sweepAll = `
	DELETE FROM session WHERE id IN (
		SELECT s.id FROM session s
		WHERE s.created_at < (SELECT (i.over_before + 1) * 1000 FROM issuer i WHERE i.over_before * 1000 <= $1)
		ORDER BY s.created_at LIMIT $2)`

// sweepLater moves on what turned out to be alive or over since only recently.
const sweepLater = `
	UPDATE session SET sweep_at = CASE
		WHEN ended_at IS NOT NULL THEN ended_at
		WHEN expires_at < last_seen_at + idle_ms THEN expires_at
		ELSE last_seen_at + idle_ms END
	WHERE id IN (
		SELECT s.id FROM session s JOIN account a ON a.id = s.account_id
		WHERE s.sweep_at <= $1 AND s.created_at / 1000 > a.over_before
		ORDER BY s.sweep_at LIMIT $2)
	AND (ended_at IS NULL OR ended_at > $1) AND expires_at > $1 AND last_seen_at + idle_ms > $1`

// Sweep removes sessions that are long over. See [session.UpkeepStore].
func (db *DB) Sweep(ctx context.Context, keep time.Duration, limit int) (int, error) {
	var removed int64
	err := db.step(ctx, "sweep", func(s *step) error {
		removed = 0
		cutoff := s.at.Add(-keep).UnixMilli()
		for _, sweep := range []string{sweepOver, sweepAll} {
			n, err := s.exec(sweep, cutoff, int64(limit)-removed)
			if err != nil {
				return fmt.Errorf("sweep sessions: %w", err)
			}
			removed += n
		}
		if removed == int64(limit) {
			return nil
		}
		if _, err := s.exec(sweepLater, cutoff, limit); err != nil {
			return fmt.Errorf("put sessions off the sweep: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(removed), nil
}

const countSessions = `SELECT count(*) FROM ` + liveTables + ` WHERE ` + live

// Count counts the live sessions. See [session.UpkeepStore].
func (db *DB) Count(ctx context.Context) (int, error) {
	defer db.measure("count_sessions", time.Now())
	var n int
	if err := db.engine.read().QueryRowContext(ctx, countSessions, db.clock()).Scan(&n); err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	return n, nil
}
