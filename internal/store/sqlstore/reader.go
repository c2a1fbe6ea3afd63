package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// A reader owns a connection on which single rows are looked up. The look-ups that
// wait share one reading transaction: it begins after all of them have asked, so each
// sees whatever was committed before it did.
type reader struct {
	pool *sql.DB
	conn *sql.Conn
	run  *statements
}

func (r *reader) perform(batch []*operation) {
	if err := r.read(batch); err != nil {
		err = fmt.Errorf("read from the database: %w", errors.Join(err, r.abandon()))
		for _, op := range batch {
			if op.err == nil || !errors.Is(op.err, sql.ErrNoRows) {
				op.err = err
			}
		}
	}
	for _, op := range batch {
		close(op.done)
	}
}

// read performs a batch. A row that is not there is the answer of one operation; any
// other error, which is returned, costs the connection.
func (r *reader) read(batch []*operation) error {
	ctx := context.Background()
	if r.conn == nil {
		conn, err := r.pool.Conn(ctx)
		if err != nil {
			return err
		}
		r.conn, r.run = conn, newStatements(conn)
	}
	if len(batch) > 1 {
		if _, err := r.run.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
	}
	var failed error
	for _, op := range batch {
		if op.err = op.step.perform(ctx, r.run); op.err != nil && !errors.Is(op.err, sql.ErrNoRows) {
			failed = op.err
		}
	}
	if len(batch) > 1 && failed == nil {
		_, failed = r.run.ExecContext(ctx, "COMMIT")
	}
	return failed
}

// abandon closes the connection, so that the next batch opens it anew.
func (r *reader) abandon() error {
	if r.conn == nil {
		return nil
	}
	conn, run := r.conn, r.run
	r.conn, r.run = nil, nil
	err := run.close()
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // that is how a pool is told to close it
	if failed := conn.Close(); !errors.Is(failed, sql.ErrConnDone) {
		err = errors.Join(err, failed)
	}
	return err
}
