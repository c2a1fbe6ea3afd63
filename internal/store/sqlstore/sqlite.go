package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteEngine is a file with one writer and a pool of readers.
type sqliteEngine struct {
	path    string
	lock    *Lock // nil: of who opened it
	writer  *writer
	pool    *sql.DB // the writer's one connection
	readers *sql.DB
	reads   sqliteReads
}

// maxReaders bounds the connections that only read.
const maxReaders = 8

// lookers is how many of these are held by readers of single rows: one for two
// processors, because the fewer there are the more look-ups share a transaction.
func lookers() int { return min(max(1, runtime.GOMAXPROCS(0)/2), maxReaders/2) }

// busyTimeout is how long a lock of another process is waited for.
const busyTimeout = 5 * time.Second

// The pragmas of every connection. The log beside the database (WAL) is cut back
// to 64 MiB after a checkpoint.
var commonPragmas = []string{"busy_timeout(5000)", "synchronous(full)", "foreign_keys(1)", "journal_size_limit(67108864)", "temp_store(memory)"}

// sqliteDriver is a driver of our own, so that now_ms is known on our
// connections alone. It is never reached: SQLite has no clock that the steps of
// a process could share, so one is always injected.
var sqliteDriver = sync.OnceValues(func() (*sqlite.Driver, error) {
	d := &sqlite.Driver{}
	err := d.RegisterScalarFunction("now_ms", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		return nil, errors.New("no clock was injected")
	})
	return d, err
})

// sqlitePath returns the file that a sqlite: URL names, made absolute.
func sqlitePath(text string) (string, error) {
	path := strings.TrimPrefix(text, "sqlite:")
	if rest, found := strings.CutPrefix(path, "//"); found {
		if !strings.HasPrefix(rest, "/") {
			return "", errors.New("the database sqlite://… names a host: write sqlite:FILE")
		}
		path = rest
	}
	if path == "" || strings.HasPrefix(path, ":") || strings.ContainsRune(path, 0) {
		return "", errors.New("the database sqlite: names no file: write sqlite:FILE")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the database file: %w", err)
	}
	return path, nil
}

// connector opens connections to one file with given pragmas.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

// Connect opens a connection. Where another process has just closed the last one, or
// is changing the journal mode, SQLite says at once that the file is locked, whatever
// the busy timeout; so it waits here.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	for begun := time.Now(); ; {
		conn, err := c.driver.Open(c.dsn)
		if err == nil || !isBusy(err) || time.Since(begun) > busyTimeout {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// isBusy reports whether err says that another process holds a lock.
func isBusy(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_BUSY
}

func (c connector) Driver() driver.Driver { return c.driver }

func sqliteConnector(path string, pragmas ...string) (connector, error) {
	d, err := sqliteDriver()
	if err != nil {
		return connector{}, fmt.Errorf("prepare the SQLite driver: %w", err)
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, commonPragmas...)}
	file := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	return connector{d, file.String()}, nil
}

func openSQLite(ctx context.Context, db *DB, o Options) (engine, error) {
	if db.now == nil {
		return nil, errors.New("a SQLite database needs a clock")
	}
	path, err := sqlitePath(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Alone != nil {
		return openFile(ctx, db, path, nil)
	}
	shared, err := lock(path, false)
	if err != nil {
		return nil, err
	}
	e, err := openFile(ctx, db, path, shared)
	if err != nil {
		return nil, errors.Join(err, shared.Unlock())
	}
	return e, nil
}

// openFile opens a file under a lock, which is let go of when the engine closes; nil:
// the caller has one.
func openFile(ctx context.Context, db *DB, path string, shared *Lock) (engine, error) {
	// Made here, because SQLite would let others read it. Its log takes the same mode.
	file, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database file: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open the database file: %w", err)
	}
	write, err := sqliteConnector(path, "journal_mode(wal)")
	if err != nil {
		return nil, err
	}
	read, err := sqliteConnector(path, "query_only(1)")
	if err != nil {
		return nil, err
	}
	e := &sqliteEngine{path: path, lock: shared, pool: sql.OpenDB(write), readers: sql.OpenDB(read)}
	e.pool.SetMaxOpenConns(1)
	e.pool.SetMaxIdleConns(0) // a connection that the writer gives up is closed
	e.readers.SetMaxOpenConns(maxReaders)
	e.readers.SetMaxIdleConns(maxReaders)
	e.reads = sqliteReads{newStatements(e.readers), newBatcher(0)}
	if err := e.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), e.pool.Close(), e.readers.Close())
	}
	e.writer = startWriter(e.pool, db)
	for range lookers() {
		e.reads.idle.Go(func() { e.look(db) })
	}
	return e, nil
}

// check reads the pragmas back: a driver that ignored one would lose what it had
// acknowledged.
func (e *sqliteEngine) check(ctx context.Context) error {
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		if err := checkPragma(ctx, e.pool, pragma, want); err != nil {
			return err
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "query_only": "1", "foreign_keys": "1", "busy_timeout": "5000"} {
		if err := checkPragma(ctx, e.readers, pragma, want); err != nil {
			return err
		}
	}
	return nil
}

func checkPragma(ctx context.Context, on runner, pragma, want string) error {
	var got string
	if err := on.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
		return fmt.Errorf("read the pragma %s: %w", pragma, err)
	}
	if got != want {
		return fmt.Errorf("the pragma %s is %s and not %s: this file system or this build of SQLite cannot keep what is acknowledged", pragma, got, want)
	}
	return nil
}

// sqliteReads are what reads run on: any query on a pool, single rows by the readers.
type sqliteReads struct {
	*statements
	*batcher
}

func (r sqliteReads) tail() runner { return r }

func (r sqliteReads) one(ctx context.Context, query string, args []any, dest ...any) error {
	return r.do(ctx, &step{bare: true, lean: true, body: func(s *step) error {
		return s.row(query, args...).Scan(dest...)
	}})
}

// look is one of the readers.
func (e *sqliteEngine) look(db *DB) {
	r := &reader{pool: e.readers}
	e.reads.each(r.perform)
	if err := r.abandon(); err != nil {
		db.logger.Warn("closing a reader's connection failed", "error", err)
	}
}

func (e *sqliteEngine) read() reads { return e.reads }

func (e *sqliteEngine) write(ctx context.Context, s *step) error {
	return e.writer.do(ctx, s)
}

func (e *sqliteEngine) single(ctx context.Context, query string, args []any) (n int64, err error) {
	err = e.writer.do(ctx, &step{bare: true, lean: true, body: func(s *step) error {
		n, err = s.exec(query, args...)
		return err
	}})
	return n, err
}

func (e *sqliteEngine) alone(ctx context.Context, f func(runner) error) error {
	return e.writer.do(ctx, &step{bare: true, body: func(s *step) error { return f(s.run) }})
}

// hurry has nothing to do: there is one writer, and it waits for nobody while it
// holds the counter.
func (e *sqliteEngine) hurry(*step) error { return nil }

func (e *sqliteEngine) facts(ctx context.Context, f *Facts) error {
	f.Engine = "SQLite"
	if err := e.readers.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&f.ServerVersion); err != nil {
		return fmt.Errorf("read the version of SQLite: %w", err)
	}
	return e.writer.do(ctx, &step{bare: true, body: func(s *step) error {
		err := s.row(`PRAGMA journal_mode`).Scan(&f.Journal)
		return errors.Join(err, s.row(`PRAGMA synchronous`).Scan(&f.Synchronous), s.row(`PRAGMA foreign_keys`).Scan(&f.ForeignKeys))
	}})
}

func (e *sqliteEngine) duplicate(err error, _, column string) bool {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return false
	}
	unique := failed.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || failed.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	return unique && strings.Contains(failed.Error(), column)
}

func (e *sqliteEngine) close() error {
	e.writer.close()
	e.reads.batcher.close()
	err := errors.Join(e.reads.statements.close(), e.readers.Close(), e.pool.Close())
	if e.lock != nil {
		err = errors.Join(err, e.lock.Unlock())
	}
	return err
}

// preparer is what statements are prepared on: one connection or a pool.
type preparer interface {
	runner
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// statements keeps each text that was run prepared. It is safe for concurrent
// use; texts are constants, so there are few. A context that ends interrupts
// nothing: statements here take microseconds, and an interrupt would end the
// writer's whole transaction.
type statements struct {
	on       preparer
	kept     sync.Map   // of prepared by text
	prepares sync.Mutex // held by who adds to it
}

type prepared struct{ *sql.Stmt }

func newStatements(on preparer) *statements { return &statements{on: on} }

func (p *statements) of(ctx context.Context, query string) (prepared, error) {
	if kept, found := p.kept.Load(query); found {
		return kept.(prepared), nil
	}
	p.prepares.Lock()
	defer p.prepares.Unlock()
	if kept, found := p.kept.Load(query); found {
		return kept.(prepared), nil
	}
	fresh, err := p.on.PrepareContext(ctx, query)
	if err != nil {
		return prepared{}, err
	}
	p.kept.Store(query, prepared{fresh})
	return prepared{fresh}, nil
}

func (p *statements) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx = context.WithoutCancel(ctx)
	run, err := p.of(ctx, query)
	if err != nil {
		return nil, err
	}
	return run.ExecContext(ctx, args...)
}

func (p *statements) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	run, err := p.of(ctx, query)
	if err != nil {
		return nil, err
	}
	return run.QueryContext(ctx, args...)
}

func (p *statements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	run, err := p.of(ctx, query)
	if err != nil { // the same statement unprepared tells of the same error
		return p.on.QueryRowContext(ctx, query, args...)
	}
	return run.QueryRowContext(ctx, args...)
}

func (p *statements) close() error {
	var failed []error
	p.kept.Range(func(query, kept any) bool {
		p.kept.Delete(query)
		failed = append(failed, kept.(prepared).Close())
		return true
	})
	return errors.Join(failed...)
}
