package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// A runner runs statements: a connection, a transaction or a pool.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reads run what changes nothing.
type reads interface {
	runner
	// one scans the one row of a short query; [sql.ErrNoRows] if there is none.
	one(ctx context.Context, query string, args []any, dest ...any) error
	// tail returns what the end of the log is read on, which waits for no other step.
	tail() runner
}

// A step is one atomic change. What it ends and what is to be audited is
// gathered while its body runs and written by its very last statements: the
// counters of both logs are held for as short as can be.
type step struct {
	db    *DB
	name  string // as Options.Latency is told; "" for a lonely statement
	ctx   context.Context
	run   runner
	body  func(*step) error
	begun time.Time // by the process, to tell a slow commit
	at    time.Time // the time of the store, read once at the start; zero for a bare step
	bare  bool
	lean  bool // the body changes nothing unless it succeeds, so there is nothing to undo
	// swap and look are what PostgreSQL performs together with others of their kind, in
	// another way than by the body.
	swap   *swapping
	look   *look
	dirty  bool // something was changed
	ends   []ending
	audits []audit.Entry
	posts  []mail.Message

	appended []feed.Entry // what was written to the log
}

// An ending is what becomes one entry of the log.
type ending struct {
	kind   feed.Kind
	id     string
	reason string
}

// over reports whether the entry ends what was given out up to its Before.
func (e ending) over() bool {
	return e.kind == feed.User || e.kind == feed.Client || e.kind == feed.All
}

// timed reports whether the entry is about what was given out up to its Before,
// instead of naming what is over for good.
func (e ending) timed() bool { return e.over() || e.kind == feed.Changed }

// storeTime is the time of the store as a table t of one row: the injected clock
// $1, or the database's own if that is null, and never below the mark. It asks for the one
// row by its id, because PostgreSQL counts no rows in a table that hardly changes: it would
// expect a thousand, and choose a plan for a thousand times as much as there is.
const storeTime = `(
	SELECT CASE WHEN COALESCE(CAST($1 AS BIGINT), now_ms()) > h.mark
		THEN COALESCE(CAST($1 AS BIGINT), now_ms()) ELSE h.mark END AS now
	FROM revocation_head h WHERE h.id = 1) t`

const readTime = `SELECT t.now FROM ` + storeTime

// perform runs the step from its beginning; it may be called again after the
// transaction was rolled back.
func (s *step) perform(ctx context.Context, run runner) error {
	s.ctx, s.run = ctx, run
	s.ends, s.audits, s.posts, s.appended, s.dirty = nil, nil, nil, nil, false
	s.begun = time.Now()
	if !s.bare {
		var now int64
		if err := s.scan(readTime, []any{s.db.clock()}, &now); err != nil {
			return fmt.Errorf("read the time of the store: %w", err)
		}
		s.at = instant(now)
	}
	if err := s.body(s); err != nil {
		return err
	}
	return s.finish()
}

// exec runs a statement and returns the number of rows that it changed.
func (s *step) exec(query string, args ...any) (int64, error) {
	n, err := affected(s.run.ExecContext(s.ctx, query, args...))
	s.dirty = s.dirty || n > 0
	return n, err
}

// A gatherer is a runner to whom statements cost more than their work.
type gatherer interface {
	gather(query string, args ...any)
	scan(ctx context.Context, query string, args []any, dest ...any) error
	patiently()
}

// patiently lets the rest of the step take as long as it does.
func (s *step) patiently() {
	if run, ok := s.run.(gatherer); ok {
		run.patiently()
	}
}

// later is exec for a statement whose result nobody needs. It may run only when the
// step goes on with exec, row, scan or ids, or at its end, and what fails by it is that.
func (s *step) later(query string, args ...any) error {
	if run, ok := s.run.(gatherer); ok {
		run.gather(query, args...)
		return nil
	}
	_, err := s.exec(query, args...)
	return err
}

// scan reads the one row of a query.
func (s *step) scan(query string, args []any, dest ...any) error {
	if run, ok := s.run.(gatherer); ok {
		return run.scan(s.ctx, query, args, dest...)
	}
	return s.row(query, args...).Scan(dest...)
}

func (s *step) row(query string, args ...any) *sql.Row {
	return s.run.QueryRowContext(s.ctx, query, args...)
}

// ids runs a query of one column of text.
func (s *step) ids(query string, args ...any) ([]string, error) {
	rows, err := s.run.QueryContext(s.ctx, query, args...)
	return collect(rows, err, scanText)
}

// end notes that something is over, to be logged when the body has run.
func (s *step) end(kind feed.Kind, id, reason string) {
	s.ends = append(s.ends, ending{kind, id, reason})
}

// audit notes an entry of the audit log likewise.
func (s *step) audit(e audit.Entry) { s.audits = append(s.audits, e) }

// post notes mails likewise, for a step of [DB.step].
func (s *step) post(mails ...mail.Message) { s.posts = append(s.posts, mails...) }

// finish writes what was gathered. Rows come before counters, and the audit
// counter before that of the log, in every step, so that no two steps can wait
// for each other: whoever ends or changes a row has held it in the body.
func (s *step) finish() error {
	if err := s.writePosts(); err != nil {
		return err
	}
	if err := s.writeNotices(); err != nil {
		return err
	}
	if len(s.ends) == 0 && len(s.audits) == 0 {
		return nil
	}
	if err := s.db.engine.hurry(s); err != nil {
		return fmt.Errorf("bound the time of a step: %w", err)
	}
	if err := s.writeAudit(); err != nil {
		return err
	}
	return s.appendLog()
}

// takeNumbers raises the counter, the mark, and the reach: to $4, and where
// something is over ($5 = 1) beyond what was reached before, because what was
// given out since then was stamped one second after that. An end cannot push the
// reach more than two seconds ahead of its time, so that nobody can push it into
// the future, where stamps would no longer be believed.
const takeNumbers = `
	UPDATE revocation_head SET seq = seq + $1, bits = $2,
		mark = CASE WHEN mark < $3 THEN $3 ELSE mark END,
		reach_s = CASE WHEN reach_s < $4 THEN $4 WHEN $5 = 1 AND reach_s < $4 + 2 THEN reach_s + 1 ELSE reach_s END
	RETURNING seq, reach_s, (SELECT max(lifetime_ms) FROM access_lifetime WHERE held_until > $3)`

const addRevocation = `
	INSERT INTO revocation (seq, bits, kind, subject, before_s, reason, at_s, until_s)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

// defaultLifetime stands in while no node has stated how long its tokens live.
const defaultLifetime = 10 * time.Minute

// appendLog takes numbers from the one counter and writes the entries. A
// transaction that comes later waits here, so the order of commits is the order
// of numbers, without a gap.
func (s *step) appendLog() error {
	n := len(s.ends)
	if n == 0 {
		return nil
	}
	random := make([]byte, 2*n)
	_, _ = rand.Read(random) // never fails: crypto/rand.Read ends the program instead
	bits := func(i int) int64 { return int64(binary.BigEndian.Uint16(random[2*i:])) }
	before, over := s.reach()
	var last, reached int64
	var lifetime sql.NullInt64
	if err := s.scan(takeNumbers, []any{n, bits(n - 1), s.at.UnixMilli(), before, over}, &last, &reached, &lifetime); err != nil {
		return fmt.Errorf("take numbers of the revocation log: %w", err)
	}
	longest := defaultLifetime
	if lifetime.Valid {
		longest = time.Duration(lifetime.Int64) * time.Millisecond
	}
	for i, end := range s.ends {
		e := feed.Entry{
			Seq: uint64(last) - uint64(n-1-i), Kind: end.kind, ID: end.id, Reason: end.reason,
			Before: revocation.Before(s.at), At: s.at.Unix(), Until: revocation.Until(s.at, longest),
		}
		if end.over() {
			e.Before = reached
		}
		if err := s.raise(e); err != nil {
			return err
		}
		err := s.later(addRevocation, int64(e.Seq), bits(i), string(e.Kind), e.ID, e.Before, e.Reason, e.At, e.Until)
		if err != nil {
			return fmt.Errorf("append to the revocation log: %w", err)
		}
		s.appended = append(s.appended, e)
	}
	return nil
}

// reach returns up to which second the entries of the step reach by their own
// time, 0 if none does, and 1 if any of them ends something up to there.
func (s *step) reach() (before, over int64) {
	for _, e := range s.ends {
		if e.timed() {
			before = revocation.Before(s.at)
		}
		if e.over() {
			over = 1
		}
	}
	return before, over
}

const raiseUser = `
	UPDATE account SET over_before = CASE WHEN over_before < $2 THEN $2 ELSE over_before END WHERE id = $1`

const raiseClient = `
	UPDATE client SET over_before = CASE WHEN over_before < $2 THEN $2 ELSE over_before END WHERE id = $1`

const raiseIssuer = `
	UPDATE issuer SET over_before = CASE WHEN over_before < $1 THEN $1 ELSE over_before END`

const raiseUserChange = `
	UPDATE account SET changed_before = CASE WHEN changed_before < $2 THEN $2 ELSE changed_before END WHERE id = $1`

const raiseSessionChange = `
	UPDATE session SET changed_before = CASE WHEN changed_before < $2 THEN $2 ELSE changed_before END WHERE id = $1`

const raiseClientChange = `
	UPDATE client SET changed_before = CASE WHEN changed_before < $2 THEN $2 ELSE changed_before END WHERE id = $1`

// raise makes durable in the record what an entry says about time.
func (s *step) raise(e feed.Entry) error {
	var err error
	switch e.Kind {
	case feed.User:
		err = s.later(raiseUser, e.ID, e.Before)
	case feed.Client:
		err = s.later(raiseClient, e.ID, e.Before)
	case feed.All:
		err = s.later(raiseIssuer, e.Before)
	case feed.Changed:
		if strings.HasPrefix(e.ID, credential.Client) {
			err = s.later(raiseClientChange, e.ID, e.Before)
			break
		}
		if err = s.later(raiseUserChange, e.ID, e.Before); err == nil {
			err = s.later(raiseSessionChange, e.ID, e.Before)
		}
	}
	if err != nil {
		return fmt.Errorf("raise the time of a %s: %w", e.Kind, err)
	}
	return nil
}
