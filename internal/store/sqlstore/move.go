package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// The faults of a move.
var (
	ErrNotEmpty  = errors.New("the target is not empty")
	ErrTargetUse = errors.New("the target is in use")
	ErrDiffers   = errors.New("the target does not hold what was carried")
	ErrUnmarked  = errors.New("everything is carried and the target may be served, but the source could not be marked as moved")
)

// Moved says what a move has done.
type Moved struct {
	Tables []TableSum // what the source holds, and the target by its own account
	Peer   string     // the target, without a password
	// Resumed is that an earlier move had begun and this one went on; Anew that the source
	// had changed since, and what was carried then was dropped; Before that all of it was
	// done before.
	Resumed, Anew, Before bool
}

// mover carries a SQLite database over to PostgreSQL.
type mover struct {
	source *DB
	from   *sql.Conn // in one reading transaction
	target *DB
	pool   *pgxpool.Pool
	tables []table
	sums   []TableSum
	mark   transfer // of the target
	batch  int      // how many rows are carried in one transaction
	tell   func(Progress)
	moved  Moved
}

// MoveTo carries all records of a SQLite database, which the caller holds alone, to an
// empty PostgreSQL database, as they are: ids, hashes, sealed keys, sessions, the log
// with its epoch and its end. Then it reads them back and compares; only then may the
// target be served, and only the target, because the source is marked as moved.
//
// It may be repeated after any failure and after a kill: it goes on behind the last
// batch, or begins anew if the source has changed since. It returns [ErrNotEmpty],
// [ErrTargetUse], [ErrCarried] or [ErrDiffers], and the source is as it was; or
// [ErrUnmarked], when all is done but for the mark of the source.
func (db *DB) MoveTo(ctx context.Context, url string, e audit.Entry, tell func(Progress)) (Moved, error) {
	return db.moveTo(ctx, url, carryRows, e, tell)
}

func (db *DB) moveTo(ctx context.Context, url string, batch int, e audit.Entry, tell func(Progress)) (Moved, error) {
	source, ok := db.engine.(*sqliteEngine)
	if !ok {
		return Moved{}, ErrNotSQLite
	}
	left, marked, err := findTransfer(ctx, db.engine.read())
	if err != nil {
		return Moved{}, err
	}
	target, err := openAnyway(ctx, Options{URL: asMover(url), Logger: db.logger})
	if err != nil {
		return Moved{}, err
	}
	defer target.Close()
	to, ok := target.engine.(*postgresEngine)
	if !ok {
		return Moved{}, errors.New("the target is not PostgreSQL")
	}
	from, err := source.readers.Conn(ctx)
	if err != nil {
		return Moved{}, fmt.Errorf("read the source: %w", err)
	}
	defer from.Close()
	m := &mover{source: db, from: from, target: target, pool: to.pool, batch: batch, tell: tell}
	m.moved.Peer = "postgres://" + placeOf(to.pool.Config().ConnConfig)
	if marked {
		return m.again(ctx, left)
	}
	if _, err := from.ExecContext(ctx, "BEGIN"); err != nil {
		return Moved{}, fmt.Errorf("read the source: %w", err)
	}
	err = m.alone(ctx, func() error { return m.run(ctx, source.path, e) })
	_, undo := from.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // it has only read
	if err = errors.Join(err, undo); err != nil {
		return Moved{}, err
	}
	if err := m.markSource(ctx, e); err != nil {
		return Moved{}, fmt.Errorf("%w: %w", ErrUnmarked, err)
	}
	return m.moved, nil
}

// again answers for a source that was moved before.
func (m *mover) again(ctx context.Context, left transfer) (Moved, error) {
	there, found, err := findTransfer(ctx, m.target.engine.read())
	if err != nil {
		return Moved{}, err
	}
	if !found || there.fingerprint != left.fingerprint || there.finished.IsZero() {
		return Moved{}, fmt.Errorf("%w: it was moved to %s on %s already. To move it once more, restore it first: see docs/moving.md",
			ErrCarried, left.peer, left.begun.Format(time.DateTime))
	}
	m.moved.Before, m.moved.Tables = true, []TableSum{}
	return m.moved, nil
}

// asMover gives the connections of a move a name of their own, so that those of nodes
// can be told from them.
func asMover(url string) string {
	if strings.Contains(url, "application_name=") {
		return url
	}
	joint := "?"
	if strings.Contains(url, "?") {
		joint = "&"
	}
	return url + joint + "application_name=" + moverName
}

const moverName = "coatcheck-move"

// moveLock is the advisory lock of a move: "coatmov" in ASCII.
const moveLock = 0x636f61746d6f76

// alone runs f while no other move works on the target.
func (m *mover) alone(ctx context.Context, f func() error) error {
	conn, err := m.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the target: %w", err)
	}
	defer conn.Release()
	var got bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(moveLock)).Scan(&got); err != nil {
		return fmt.Errorf("lock the target: %w", err)
	}
	if !got {
		return fmt.Errorf("%w: another move works on %s now", ErrTargetUse, m.moved.Peer)
	}
	err = f()
	_, unlocked := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(moveLock))
	return errors.Join(err, unlocked)
}

func (m *mover) run(ctx context.Context, path string, e audit.Entry) (err error) {
	if m.tables, err = tablesOf(ctx, m.from); err != nil {
		return err
	}
	if m.sums, err = sums(ctx, m.from, m.tables, "reading", m.tell); err != nil {
		return err
	}
	m.moved.Tables = m.sums
	if err := m.begin(ctx, path); err != nil || m.moved.Before {
		return err
	}
	for i, t := range m.tables {
		if err := m.carry(ctx, t, m.sums[i].Rows); err != nil {
			return err
		}
	}
	if err := m.compare(ctx); err != nil {
		return err
	}
	return m.finish(ctx, e)
}

// begin looks at the target, and marks it as half of a database.
func (m *mover) begin(ctx context.Context, path string) error {
	found, there, err := findTransfer(ctx, m.target.engine.read())
	if err != nil {
		return err
	}
	m.mark = transfer{role: "target", peer: "sqlite:" + path, fingerprint: fingerprint(m.sums), begun: time.Now()}
	same := found.fingerprint == m.mark.fingerprint
	if there && same && !found.finished.IsZero() { // and it may be served since
		m.moved.Before = true
		return nil
	}
	if err := errors.Join(m.unused(ctx), m.clocks(ctx)); err != nil {
		return err
	}
	switch {
	case !there:
		if err := m.empty(ctx); err != nil {
			return err
		}
	case found.role != "target":
		return fmt.Errorf("%w: it was moved to %s itself", ErrNotEmpty, found.peer)
	case !found.finished.IsZero():
		return fmt.Errorf("%w: it holds what was moved from %s on %s, and may be served", ErrNotEmpty, found.peer, found.finished.Format(time.DateTime))
	case same:
		m.mark.begun, m.moved.Resumed = found.begun, true
		return nil
	default:
		m.moved.Anew = true
	}
	return m.clear(ctx)
}

// clocks refuses a target whose clock is behind what the source has recorded: nobody
// could serve it before that time has come.
func (m *mover) clocks(ctx context.Context) error {
	from, err := m.source.Facts(ctx)
	if err != nil {
		return err
	}
	to, err := m.target.Facts(ctx)
	if err != nil {
		return err
	}
	const bound = 2 * time.Second
	if behind := from.Mark.Sub(time.Now().Add(to.ClockAhead)); behind > bound {
		return fmt.Errorf("the clock of %s is %s behind the highest time that the source has recorded. Set it right, and try again", m.moved.Peer, behind.Round(time.Second))
	}
	return nil
}

// unused refuses a target to which other Coatcheck processes are connected.
func (m *mover) unused(ctx context.Context) error {
	const nodes = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'coatcheck'`
	var n int
	if err := m.pool.QueryRow(ctx, nodes).Scan(&n); err != nil {
		return fmt.Errorf("look who uses the target: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("%w: %d connections of a Coatcheck server or command are open to %s. Stop it first", ErrTargetUse, n, m.moved.Peer)
	}
	return nil
}

// prefilled is what a new database holds before its first use.
const prefilled = `
	SELECT (SELECT count(*) FROM issuer WHERE over_before = 0 AND seal IS NULL), (SELECT count(*) FROM issuer),
	       (SELECT count(*) FROM keyring WHERE version = 0), (SELECT count(*) FROM keyring),
	       (SELECT count(*) FROM audit_head WHERE seq = 0), (SELECT count(*) FROM audit_head),
	       (SELECT count(*) FROM revocation_head WHERE seq = 0), (SELECT count(*) FROM revocation_head)`

// singles are the tables that have one row from the beginning.
var singles = []string{"issuer", "keyring", "audit_head", "revocation_head"}

// empty refuses a target in which anything is.
func (m *mover) empty(ctx context.Context) error {
	var fresh, all [4]int
	err := m.pool.QueryRow(ctx, prefilled).Scan(&fresh[0], &all[0], &fresh[1], &all[1], &fresh[2], &all[2], &fresh[3], &all[3])
	if err != nil {
		return fmt.Errorf("look whether the target is empty: %w", err)
	}
	used := fresh != all
	for _, t := range m.tables {
		if slices.Contains(singles, t.name) {
			continue
		}
		var filled bool
		if err := m.pool.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+t.name+")").Scan(&filled); err != nil {
			return fmt.Errorf("look whether the target is empty: %w", err)
		}
		if filled {
			return fmt.Errorf("%w: its table %s has rows. Give a new database, which nothing was done with", ErrNotEmpty, t.name)
		}
	}
	if used {
		return fmt.Errorf("%w: a server or a command has used it. Give a new database, which nothing was done with", ErrNotEmpty)
	}
	return nil
}

// clear takes from the target what is there, marks it, and carries the tables of one
// row, all in one step.
func (m *mover) clear(ctx context.Context) error {
	var names []string
	for _, t := range m.tables {
		names = append(names, t.name)
	}
	return m.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "TRUNCATE "+strings.Join(names, ", ")); err != nil {
			return fmt.Errorf("clear the target: %w", err)
		}
		if _, err := tx.Exec(ctx, addTransfer, m.mark.role, m.mark.peer, m.mark.fingerprint, m.mark.begun.UnixMilli(), nil); err != nil {
			return fmt.Errorf("mark the target: %w", err)
		}
		for _, t := range m.tables {
			if !slices.Contains(singles, t.name) {
				continue
			}
			rows := t.open(ctx, m.from, t.query(false))
			_, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), rows)
			if err = errors.Join(err, rows.close()); err != nil {
				return fmt.Errorf("carry %s: %w", t.name, err)
			}
		}
		return nil
	})
}
