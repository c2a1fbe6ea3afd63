package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// carryRows is how many rows are carried in one transaction, and so how many a kill
// can cost.
const carryRows = 20_000

func (m *mover) transact(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, m.pool, f)
}

// carry carries what is missing of one table, in the order of its key. A table whose key
// is not one column is carried in one transaction.
func (m *mover) carry(ctx context.Context, t table, rows int64) error {
	if slices.Contains(singles, t.name) {
		return nil // they are there since the target was marked
	}
	var there int64
	if err := m.pool.QueryRow(ctx, "SELECT count(*) FROM "+t.name).Scan(&there); err != nil {
		return fmt.Errorf("count %s in the target: %w", t.name, err)
	}
	if there == rows {
		return nil
	}
	var from *cursor
	switch {
	case there == 0:
		from = t.open(ctx, m.from, t.query(false))
	case t.key == "":
		return fmt.Errorf("%w: %s has %d rows of %d. Drop it, make a new one, and try again", ErrDiffers, t.name, there, rows)
	default:
		var last any
		if err := m.pool.QueryRow(ctx, "SELECT max("+t.key+") FROM "+t.name).Scan(&last); err != nil {
			return fmt.Errorf("find where %s ends in the target: %w", t.name, err)
		}
		from = t.open(ctx, m.from, t.query(true), last)
	}
	for !from.over && from.err == nil {
		if t.key != "" {
			from.limit = m.batch
		}
		var n int64
		err := m.transact(ctx, func(tx pgx.Tx) (err error) {
			n, err = tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), carriable{from})
			return err
		})
		if err != nil {
			return errors.Join(fmt.Errorf("carry %s: %w", t.name, err), from.close())
		}
		there += n
		m.tell(Progress{What: "carrying " + t.name, Done: there, All: rows})
	}
	return from.close()
}

// carriable is a cursor that refuses what PostgreSQL would, and says in which row it is.
type carriable struct{ *cursor }

// Values returns the row at hand.
func (c carriable) Values() ([]any, error) {
	for i, value := range c.values {
		text, ok := value.(string)
		if ok && (strings.ContainsRune(text, 0) || !utf8.ValidString(text)) {
			return nil, fmt.Errorf("the row %v has bytes in its column %s that are no text in PostgreSQL. Change or remove it in the source, and try again",
				c.values[c.table.keyed()], c.table.columns[i].name)
		}
	}
	return c.cursor.Values()
}

// keyed returns which column is the key; the first if none is.
func (t table) keyed() int {
	return max(0, slices.IndexFunc(t.columns, func(c column) bool { return c.name == t.key }))
}

// compare reads all of the target as of one moment and compares it with the source.
func (m *mover) compare(ctx context.Context) error {
	to, ok := m.target.engine.(*postgresEngine)
	if !ok {
		return errors.New("the target is not PostgreSQL")
	}
	tx, err := to.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	held, err := sums(ctx, tx, m.tables, "comparing", m.tell)
	if err = errors.Join(err, tx.Rollback()); err != nil {
		return err
	}
	for i, want := range m.sums {
		if got := held[i]; got != want {
			return fmt.Errorf("%w: %s has %d rows with the checksum %s there, and %d with %s in the source. Somebody has changed it meanwhile: drop it, make a new one, and try again",
				ErrDiffers, want.Table, got.Rows, got.Checksum, want.Rows, want.Checksum)
		}
	}
	return nil
}

const finishTransfer = `UPDATE transfer SET finished_at = $1 WHERE role = 'target' AND finished_at IS NULL`

// finish lets the target be served.
func (m *mover) finish(ctx context.Context, e audit.Entry) error {
	if err := m.unused(ctx); err != nil {
		return err
	}
	e.Subject = safe("from " + m.mark.peer)
	return m.target.step(ctx, "finish_move", func(s *step) error {
		n, err := s.exec(finishTransfer, s.at.UnixMilli())
		if err == nil && n != 1 {
			err = fmt.Errorf("%w: its mark is gone", ErrDiffers)
		}
		s.audit(e)
		return err
	})
}

// markSource says in the source where its records are now.
func (m *mover) markSource(ctx context.Context, e audit.Entry) error {
	e.Subject = safe("to " + m.moved.Peer)
	return m.source.step(ctx, "mark_moved", func(s *step) error {
		s.audit(e)
		return s.markTransfer(transfer{role: "source", peer: m.moved.Peer, fingerprint: m.mark.fingerprint, begun: s.at, finished: s.at})
	})
}
