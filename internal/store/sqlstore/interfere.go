package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"sync"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// An Operation is something that the database is about to be asked for.
type Operation struct {
	Kind  OperationKind
	Step  string // the name of the step, as Options.Latency is told; "" outside of one
	Query string // the statement; "" of a step as a whole
}

// OperationKind is the kind of an operation.
type OperationKind int

// The kinds of operations.
const (
	Write     OperationKind = iota // a step, or a statement by itself, up to when it is durable
	Statement                      // one statement of a step
	Read                           // a query outside of a step
)

// An Interference decides about an operation. Nil lets it be. With an error the
// operation fails: before anything of it is done, or, if after is true, when all of
// it is done. After a Write that means that it is durable and that nobody knows: its
// caller has the error, and this DB's observer is not told of its log entries.
type Interference func(Operation) (after bool, err error)

// Interfere lets tests make the database fail as a broken disk or a lost connection
// does. Nothing else calls it. Call it after [DB.Heard], once, and before the steps
// that it is about; decide is called from many goroutines.
func (db *DB) Interfere(decide Interference) {
	e := &interference{engine: db.engine, decide: decide, lost: map[uint64]bool{}}
	if heard := db.heard.Load(); heard != nil {
		db.Heard(func(entries []feed.Entry) { (*heard)(e.known(entries)) })
	}
	db.engine = e
}

// interference is an engine with which somebody interferes.
type interference struct {
	engine
	decide Interference

	mu   sync.Mutex
	lost map[uint64]bool // numbers of entries that nobody is told of
}

// known leaves out what was lost.
func (e *interference) known(entries []feed.Entry) []feed.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(entries), func(entry feed.Entry) bool { return e.lost[entry.Seq] })
}

func (e *interference) lose(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost[seq] = true
}

// around does something with which decide may interfere.
func (e *interference) around(op Operation, do func() error) error {
	after, err := e.decide(op)
	if err != nil && !after {
		return err
	}
	if failed := do(); failed != nil {
		return failed
	}
	return err
}

func (e *interference) write(ctx context.Context, s *step) error {
	after, err := e.decide(Operation{Kind: Write, Step: s.name})
	if err != nil && !after {
		return err
	}
	body := s.body
	s.body = func(s *step) error {
		s.run = &interferedRunner{runner: s.run, engine: e, step: s.name, lost: err != nil}
		return body(s)
	}
	defer func() { s.body = body }()
	if failed := e.engine.write(ctx, s); failed != nil {
		return failed
	}
	return err
}

func (e *interference) single(ctx context.Context, query string, args []any) (n int64, err error) {
	err = e.around(Operation{Kind: Write, Query: query}, func() (err error) {
		n, err = e.engine.single(ctx, query, args)
		return err
	})
	return n, err
}

func (e *interference) alone(ctx context.Context, f func(runner) error) error {
	const name = "migrate"
	return e.around(Operation{Kind: Write, Step: name}, func() error {
		return e.engine.alone(ctx, func(run runner) error {
			return f(&interferedRunner{runner: run, engine: e, step: name})
		})
	})
}

func (e *interference) read() reads {
	return &interferedReads{interferedRunner{runner: e.engine.read(), engine: e, kind: Read}, e.engine.read()}
}

// interferedRunner runs statements with which somebody interferes.
type interferedRunner struct {
	runner
	engine *interference
	kind   OperationKind
	step   string
	lost   bool // nobody is told of the entries that the step appends
}

func (r *interferedRunner) operation(query string) Operation {
	if r.kind == Read {
		return Operation{Kind: Read, Query: query}
	}
	return Operation{Kind: Statement, Step: r.step, Query: query}
}

func (r *interferedRunner) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	if r.lost && query == addRevocation {
		r.engine.lose(uint64(args[0].(int64)))
	}
	err = r.engine.around(r.operation(query), func() (err error) {
		result, err = r.runner.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

func (r *interferedRunner) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if _, err := r.engine.decide(r.operation(query)); err != nil {
		return nil, err
	}
	return r.runner.QueryContext(ctx, query, args...)
}

func (r *interferedRunner) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if _, err := r.engine.decide(r.operation(query)); err != nil {
		return noRow(ctx, err)
	}
	return r.runner.QueryRowContext(ctx, query, args...)
}

// interferedReads are reads with which somebody interferes.
type interferedReads struct {
	interferedRunner
	reads reads
}

func (r *interferedReads) one(ctx context.Context, query string, args []any, dest ...any) error {
	if _, err := r.engine.decide(r.operation(query)); err != nil {
		return err
	}
	return r.reads.one(ctx, query, args, dest...)
}

func (r *interferedReads) tail() runner {
	return &interferedRunner{runner: r.reads.tail(), engine: r.engine, kind: r.kind}
}

// noRow returns a row of which nothing can be read but the error.
func noRow(ctx context.Context, err error) *sql.Row {
	broken := sql.OpenDB(unreachable{err})
	defer broken.Close()
	return broken.QueryRowContext(ctx, "SELECT 1")
}

// unreachable is a database that cannot be connected to.
type unreachable struct{ err error }

func (u unreachable) Connect(context.Context) (driver.Conn, error) { return nil, u.err }
func (u unreachable) Driver() driver.Driver                        { return nil }
