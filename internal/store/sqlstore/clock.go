package sqlstore

import (
	"context"
	"fmt"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

const clockOf = `SELECT COALESCE(CAST($1 AS BIGINT), now_ms())`

// acceptLinks removes all links, because one of that future would live until then.
const acceptLinks = `DELETE FROM link`

const acceptMark = `UPDATE revocation_head SET mark = $1, reach_s = 0, epoch = $2`

const acceptSessions = `UPDATE session SET ended_at = $1, end_reason = 'clock', sweep_at = $1 WHERE ended_at IS NULL`

// acceptSeconds lower what lies in a future that never came.
var acceptSeconds = []string{
	`UPDATE issuer SET over_before = $1 WHERE over_before > $1`,
	`UPDATE account SET over_before = $1 WHERE over_before > $1`,
	`UPDATE account SET changed_before = $1 WHERE changed_before > $1`,
	`UPDATE client SET over_before = $1 WHERE over_before > $1`,
	`UPDATE client SET changed_before = $1 WHERE changed_before > $1`,
	`UPDATE session SET changed_before = $1 WHERE changed_before > $1`,
	`UPDATE revocation SET before_s = $1 WHERE before_s > $1`,
}

// AcceptClock takes the clock as it is, after one that ran far ahead has left a
// mark that time has not reached: it resets the mark, begins a new epoch and ends
// all sessions. It is the one step in which an OverBefore falls, to no less than
// what ends everything before now.
func (db *DB) AcceptClock(ctx context.Context, e audit.Entry) error {
	return db.step(ctx, "accept_clock", func(s *step) error { return s.acceptClock(e) })
}

func (s *step) acceptClock(e audit.Entry) error {
	s.patiently() // there may be very many sessions
	var now int64
	if err := s.row(clockOf, s.db.clock()).Scan(&now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	s.at = instant(now)
	if _, err := s.exec(acceptMark, now, credential.NewOrdinal()); err != nil {
		return fmt.Errorf("reset the mark: %w", err)
	}
	// One by one: a session stamped in that future began after any OverBefore.
	if _, err := s.exec(acceptSessions, now); err != nil {
		return fmt.Errorf("end all sessions: %w", err)
	}
	if _, err := s.exec(acceptLinks); err != nil {
		return fmt.Errorf("remove the links: %w", err)
	}
	for _, lower := range acceptSeconds {
		if _, err := s.exec(lower, revocation.Before(s.at)); err != nil {
			return fmt.Errorf("lower what lies in the future: %w", err)
		}
	}
	s.end(feed.All, "", "clock")
	s.audit(e)
	return nil
}
