package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// A writer owns the one connection that writes. Its goroutine gathers the steps
// that wait into one transaction, each in a savepoint of its own unless a step has
// nothing to undo, and answers none before the commit: a failure or a lost swap may rest on what a sibling in
// the same batch wrote, so it is not known before that is durable either.
//
// When a commit fails nobody knows what is on the disk. Everyone in the batch
// gets an error, and nothing more is acknowledged until the connection was
// rolled back, opened anew and read from.
type writer struct {
	*batcher
	db   *DB
	pool *sql.DB

	// Of the goroutine alone.
	conn *sql.Conn
	run  *statements
}

func startWriter(pool *sql.DB, db *DB) *writer {
	w := &writer{batcher: newBatcher(0), db: db, pool: pool}
	w.idle.Go(w.loop)
	return w
}

func (w *writer) loop() {
	holdThread()
	w.each(w.commit)
	if err := w.abandon(); err != nil {
		w.db.logger.Warn("closing the writer's connection failed", "error", err)
	}
}

// commit performs the batch. Memory changes after the commit and before the
// answers.
func (w *writer) commit(batch []*operation) {
	if err := w.transact(batch); err != nil {
		for _, op := range batch {
			op.err = fmt.Errorf("write to the database: %w", err)
		}
	} else {
		var entries []feed.Entry
		for _, op := range batch {
			if op.err == nil {
				entries = append(entries, op.step.appended...)
			}
		}
		w.db.tell(entries)
	}
	for _, op := range batch {
		close(op.done)
	}
}

// transact runs the batch in one transaction. After any error but a lock held by
// another process the connection is given up.
func (w *writer) transact(batch []*operation) error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.control("BEGIN IMMEDIATE"); err != nil {
		if isBusy(err) {
			return err
		}
		return errors.Join(err, w.abandon())
	}
	for _, op := range batch {
		if err := w.perform(op); err != nil {
			return errors.Join(err, w.abandon())
		}
	}
	if err := w.control("COMMIT"); err != nil {
		return errors.Join(err, w.abandon())
	}
	return nil
}

// perform runs one step, in a savepoint unless it is lean. Its own failure is the
// operation's; an error returned here means that the transaction is gone, or must be.
func (w *writer) perform(op *operation) error {
	if op.step.lean {
		op.err = op.step.perform(context.Background(), w.run)
		if op.err != nil && (op.step.dirty || endsTransaction(op.err)) {
			return op.err
		}
		return nil
	}
	if err := w.control("SAVEPOINT step"); err != nil {
		return err
	}
	op.err = op.step.perform(context.Background(), w.run)
	if op.err != nil {
		if err := w.control("ROLLBACK TO step"); err != nil {
			return errors.Join(op.err, err)
		}
	}
	return w.control("RELEASE step")
}

// endsTransaction reports whether err is one on which SQLite may have rolled the whole
// transaction back, as it does when the disk is full.
func endsTransaction(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff != sqlite3.SQLITE_CONSTRAINT
}

func (w *writer) control(statement string) error {
	_, err := w.run.ExecContext(context.Background(), statement)
	return err
}

// open makes sure that there is a connection that can be read from.
func (w *writer) open() error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.pool.Conn(context.Background())
	if err != nil {
		return err
	}
	w.conn, w.run = conn, newStatements(conn)
	var objects int
	err = w.run.QueryRowContext(context.Background(), `SELECT count(*) FROM sqlite_master`).Scan(&objects)
	if err == nil {
		err = checkPragma(context.Background(), w.run, "synchronous", "2")
	}
	if err != nil {
		return errors.Join(err, w.abandon())
	}
	return nil
}

// abandon rolls back and closes the connection, so that the next batch opens it
// anew. The error says only what could not be tidied up.
func (w *writer) abandon() error {
	if w.conn == nil {
		return nil
	}
	conn, run := w.conn, w.run
	w.conn, w.run = nil, nil
	err := run.close()
	// There may be no transaction to roll back; closing ends it in any case.
	_, _ = conn.ExecContext(context.Background(), "ROLLBACK")
	return errors.Join(err, conn.Close())
}
