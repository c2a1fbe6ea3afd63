package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A postgresTx is a transaction that saves round trips: what is to run later travels
// with the next statement whose result is asked for, the beginning with the first one
// and the end with whatever is left. Statements run in the order in which they came,
// and one that fails keeps those after it from running.
type postgresTx struct {
	conn  *sql.Conn
	bound time.Duration // of each round trip; 0: none
	later []statement
}

type statement struct {
	query string
	args  []any
}

// holdLife has the server end a transaction whose node was silent for five seconds: it
// may hold rows that others wait for.
const holdLife = `SELECT set_config('idle_in_transaction_session_timeout', '5s', TRUE)`

// begin only notes that the transaction is to begin.
func (e *postgresEngine) begin(ctx context.Context, bound time.Duration) (*postgresTx, error) {
	waiting, cancel := limited(ctx, bound)
	defer cancel()
	conn, err := e.db.Conn(waiting)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	t := &postgresTx{conn: conn, bound: bound}
	t.gather("BEGIN ISOLATION LEVEL READ COMMITTED")
	if bound > 0 {
		t.gather(holdLife)
	}
	return t, nil
}

// limited is ctx, ending after bound unless that is 0.
func limited(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	if bound == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, bound)
}

// gather has a statement run before whatever comes next. Its error, if any, is that of
// what comes next, or of the commit.
func (t *postgresTx) gather(query string, args ...any) {
	t.later = append(t.later, statement{query: query, args: args})
}

func (t *postgresTx) patiently() { t.bound = 0 }

// scan runs what was gathered and then a query of one row, in one round trip.
func (t *postgresTx) scan(ctx context.Context, query string, args []any, dest ...any) error {
	return t.send(ctx, func(batch *pgx.Batch) { batch.Queue(query, args...) }, func(r pgx.BatchResults) error {
		return r.QueryRow().Scan(dest...)
	})
}

// flush runs what was gathered.
func (t *postgresTx) flush(ctx context.Context) error {
	if len(t.later) == 0 {
		return nil
	}
	return t.send(ctx, func(*pgx.Batch) {}, func(pgx.BatchResults) error { return nil })
}

// send runs what was gathered, and what more is queued, in one round trip.
func (t *postgresTx) send(ctx context.Context, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	ctx, cancel := limited(ctx, t.bound)
	defer cancel()
	var batch pgx.Batch
	for _, one := range t.later {
		batch.Queue(one.query, one.args...)
	}
	queue(&batch)
	gathered := len(t.later)
	t.later = nil
	return t.native(func(conn *pgx.Conn) error {
		results := conn.SendBatch(ctx, &batch)
		for range gathered {
			if _, err := results.Exec(); err != nil {
				_ = results.Close() // tells the same
				return err
			}
		}
		err := read(results)
		if closed := results.Close(); err == nil {
			err = closed
		}
		return err
	})
}

// native lends the connection behind that of database/sql.
func (t *postgresTx) native(f func(*pgx.Conn) error) error {
	return t.conn.Raw(func(c any) error { return f(c.(*stdlib.Conn).Conn()) })
}

// ExecContext runs a statement, or without arguments a text of several.
func (t *postgresTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	var n driverResult
	if len(args) > 0 {
		err := t.send(ctx, func(batch *pgx.Batch) { batch.Queue(query, args...) }, func(r pgx.BatchResults) error {
			tag, err := r.Exec()
			n = driverResult(tag.RowsAffected())
			return err
		})
		return n, err
	}
	if err := t.flush(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, t.bound)
	defer cancel()
	err := t.native(func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, query)
		n = driverResult(tag.RowsAffected())
		return err
	})
	return n, err
}

// driverResult is the number of rows that a statement has changed.
type driverResult int64

func (n driverResult) RowsAffected() (int64, error) { return int64(n), nil }

func (driverResult) LastInsertId() (int64, error) {
	return 0, errors.New("PostgreSQL tells of no last id")
}

func (t *postgresTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := t.flush(ctx); err != nil {
		return nil, err
	}
	return t.conn.QueryContext(lasting(ctx, t.bound), query, args...)
}

// lasting is ctx, ending after bound for who cannot say when they are done with it.
func lasting(ctx context.Context, bound time.Duration) context.Context {
	ctx, cancel := limited(ctx, bound)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func (t *postgresTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := t.flush(ctx); err != nil {
		return noRow(ctx, err)
	}
	return t.conn.QueryRowContext(lasting(ctx, t.bound), query, args...)
}

// commit ends the transaction with what was gathered. Whether it is durable is not
// known if the connection broke.
func (t *postgresTx) commit(ctx context.Context) error {
	var tag string
	err := t.send(ctx, func(batch *pgx.Batch) { batch.Queue("COMMIT") }, func(r pgx.BatchResults) error {
		done, err := r.Exec()
		tag = done.String()
		return err
	})
	if err == nil && tag != "COMMIT" {
		err = errors.New("the transaction was rolled back")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), t.abandon(ctx))
	}
	return t.conn.Close()
}

// abandon rolls back. A connection that does not answer is given up, and with it goes
// the transaction.
func (t *postgresTx) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonWait)
	defer cancel()
	err := t.native(func(conn *pgx.Conn) error {
		if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
			return nil
		}
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			return conn.Close(ctx)
		}
		return nil
	})
	_ = t.conn.Close() // it only goes back to the pool, which looks at it
	return err
}

// abandonWait bounds the farewell to a transaction.
const abandonWait = time.Second
