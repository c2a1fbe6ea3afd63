package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// maxBatch bounds how many steps share a commit.
const maxBatch = 256

var errClosed = errors.New("the database is closed")

// A writer owns the one connection that writes. Its goroutine gathers the steps
// that wait into one transaction, each in a savepoint of its own, and answers
// none before the commit: a failure or a lost swap may rest on what a sibling in
// the same batch wrote, so it is not known before that is durable either.
//
// When a commit fails nobody knows what is on the disk. Everyone in the batch
// gets an error, and nothing more is acknowledged until the connection was
// rolled back, opened anew and read from.
type writer struct {
	db    *DB
	pool  *sql.DB
	queue chan *operation
	idle  chan struct{} // closed when the goroutine has ended

	mu     sync.RWMutex // guards closed, and the queue against being closed under a sender
	closed bool

	// Of the goroutine alone.
	conn  *sql.Conn
	run   *statements
	begun []*operation
}

// An operation is a step that waits for its commit.
type operation struct {
	ctx   context.Context
	step  *step
	state atomic.Int32
	err   error
	done  chan struct{}
}

// The states of an operation: it is dropped by its caller or begun by the writer,
// never both.
const (
	waiting = iota
	dropped
	begun
)

func startWriter(pool *sql.DB, db *DB) *writer {
	w := &writer{db: db, pool: pool, queue: make(chan *operation, 4*maxBatch), idle: make(chan struct{})}
	go w.loop()
	return w
}

// do performs a step. A caller whose context ends before the step has begun is
// let go, and the step never begins; afterwards it waits for the answer.
func (w *writer) do(ctx context.Context, s *step) error {
	op := &operation{ctx: ctx, step: s, done: make(chan struct{})}
	if err := w.enqueue(op); err != nil {
		return err
	}
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		if op.state.CompareAndSwap(waiting, dropped) {
			return ctx.Err()
		}
		<-op.done
		return op.err
	}
}

func (w *writer) enqueue(op *operation) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- op:
		return nil
	case <-op.ctx.Done():
		return op.ctx.Err()
	}
}

func (w *writer) close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.idle
	return nil
}

func (w *writer) loop() {
	defer close(w.idle)
	for op := range w.queue {
		w.begun = w.begun[:0]
		w.take(op)
		for more := true; more && len(w.begun) < maxBatch; {
			select {
			case op, more = <-w.queue:
				if more {
					w.take(op)
				}
			default:
				more = false
			}
		}
		if len(w.begun) > 0 {
			w.commit()
		}
	}
	if err := w.abandon(); err != nil {
		w.db.logger.Warn("closing the writer's connection failed", "error", err)
	}
}

func (w *writer) take(op *operation) {
	if op.ctx.Err() == nil && op.state.CompareAndSwap(waiting, begun) {
		w.begun = append(w.begun, op)
	}
}

// commit performs the batch. Memory changes after the commit and before the
// answers.
func (w *writer) commit() {
	if err := w.transact(); err != nil {
		for _, op := range w.begun {
			op.err = fmt.Errorf("write to the database: %w", err)
		}
	} else {
		var entries []feed.Entry
		for _, op := range w.begun {
			if op.err == nil {
				entries = append(entries, op.step.appended...)
			}
		}
		w.db.tell(entries)
	}
	for _, op := range w.begun {
		close(op.done)
	}
}

// transact runs the batch in one transaction. After any error but a lock held by
// another process the connection is given up.
func (w *writer) transact() error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.control("BEGIN IMMEDIATE"); err != nil {
		var failed *sqlite.Error
		if errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_BUSY {
			return err
		}
		return errors.Join(err, w.abandon())
	}
	for _, op := range w.begun {
		if err := w.perform(op); err != nil {
			return errors.Join(err, w.abandon())
		}
	}
	if err := w.control("COMMIT"); err != nil {
		return errors.Join(err, w.abandon())
	}
	return nil
}

// perform runs one step in its savepoint. Its own failure is the operation's; an
// error returned here means that the transaction is gone.
func (w *writer) perform(op *operation) error {
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
