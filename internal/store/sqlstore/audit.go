package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
)

const takeAuditNumbers = `UPDATE audit_head SET seq = seq + $1`

const addAudit = `
	INSERT INTO audit (seq, at, event, outcome, actor, account_id, session_id, subject, ip, user_agent, request_id)
	SELECT h.seq - $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM audit_head h`

// writeAudit writes the entries of the step. The counter makes the order of
// commits the order of numbers.
func (s *step) writeAudit() error {
	n := int64(len(s.audits))
	if n == 0 {
		return nil
	}
	if err := s.later(takeAuditNumbers, n); err != nil {
		return fmt.Errorf("take numbers of the audit log: %w", err)
	}
	for i, e := range s.audits {
		err := s.later(addAudit, n-1-int64(i), s.at.UnixMilli(), safe(string(e.Event)), safe(e.Outcome),
			safe(e.Actor), safe(e.UserID), safe(e.SessionID), safe(e.Subject), safe(e.IP), safe(e.UserAgent), safe(e.RequestID))
		if err != nil {
			return fmt.Errorf("write an audit entry: %w", err)
		}
	}
	return nil
}

// Record adds an entry that accompanies no change. See [audit.Store].
func (db *DB) Record(ctx context.Context, e audit.Entry) error {
	return db.step(ctx, "record_audit", func(s *step) error {
		s.audit(e)
		return nil
	})
}

const listAudit = `
	SELECT seq, at, event, outcome, actor, account_id, session_id, subject, ip, user_agent, request_id
	FROM audit WHERE seq < $1`

const ofUser, ofEvent, newestFirst = ` AND account_id = $3`, ` AND event = $3`, ` ORDER BY seq DESC LIMIT $2`

const ofUserAndEvent = ofUser + ` AND event = $4`

// maxSeq lies above every number.
const maxSeq = 1<<63 - 1

// Entries lists entries. See [audit.Store].
func (db *DB) Entries(ctx context.Context, f audit.Filter, before int64, limit int) ([]audit.Entry, error) {
	defer db.measure("list_audit", time.Now())
	if before == 0 {
		before = maxSeq
	}
	args := []any{before, limit}
	query := listAudit
	switch {
	case f.UserID != "" && f.Event != "":
		query, args = query+ofUserAndEvent, append(args, f.UserID, string(f.Event))
	case f.UserID != "":
		query, args = query+ofUser, append(args, f.UserID)
	case f.Event != "":
		query, args = query+ofEvent, append(args, string(f.Event))
	}
	rows, err := db.engine.read().QueryContext(ctx, query+newestFirst, args...)
	return collect(rows, err, func(r row) (e audit.Entry, err error) {
		var at int64
		err = r.Scan(&e.Seq, &at, &e.Event, &e.Outcome, &e.Actor, &e.UserID, &e.SessionID, &e.Subject, &e.IP, &e.UserAgent, &e.RequestID)
		e.At = instant(at)
		return e, err
	})
}

// forgetAudit removes the first n entries before $1.
func forgetAudit(n int) string {
	return `
	DELETE FROM audit WHERE seq IN (
		SELECT a.seq FROM audit a WHERE a.at < $1 ORDER BY a.at LIMIT ` + strconv.Itoa(n) + `)`
}

// Forget removes old entries. See [audit.Store].
func (db *DB) Forget(ctx context.Context, older time.Time) (int, error) {
	n, err := db.little(ctx, "forget_audit", forgetAudit(littleChunk), littleChunk, older.UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("forget audit entries: %w", err)
	}
	return n, nil
}
