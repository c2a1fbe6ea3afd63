package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMigrationSaysWhomItServes(t *testing.T) {
	for _, test := range []struct {
		text string
		want int // 0: an error
	}{
		{"CREATE TABLE x (y BIGINT)", 7},
		{"-- A comment.\n-- serves: 4\nCREATE TABLE x (y BIGINT)", 7},
		{"-- serves: 4\nCREATE TABLE x (y BIGINT)", 4},
		{"-- serves: 7\n", 7},
		{"-- serves: 8\n", 0},
		{"-- serves: 0\n", 0},
		{"-- serves: -1\n", 0},
		{"-- serves: all\n", 0},
		{"-- serves: 4 or so\n", 0},
	} {
		got, err := servedBy(migration{version: 7, name: "x", sql: test.text})
		if got != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%q serves %d, %v, want %d", test.text, got, err, test.want)
		}
	}
}

// Servers of the version before go on, and start anew, beside those of the next one,
// whose migration only adds; after one that does not serve them they are refused.
func TestOlderServersGoOn(t *testing.T) { // D-19, I-12
	onBoth(t, func(t *testing.T, url string) {
		ctx := context.Background()
		w := newWorld(t, url)
		before := w.signIn(t)
		old := known(t, url, "")
		additive := fmt.Sprintf("-- serves: %d\nALTER TABLE session ADD COLUMN more BIGINT; CREATE TABLE more (x BIGINT)", len(old))
		next := known(t, url, additive)
		newer, err := openKnowing(t, url, next, nil)
		must(t, err)

		w.signIn(t)
		again := open(t, Options{URL: url, Now: w.now})
		if st, err := again.OfSession(ctx, before.ID); err != nil || st.Session.ID != before.ID {
			t.Errorf("a server that started anew reads %+v, %v", st, err)
		}
		if n, err := newer.Count(ctx); err != nil || n == 0 {
			t.Errorf("the newer server counts %d sessions, %v", n, err)
		}
		facts, err := again.Facts(ctx)
		must(t, err)
		if facts.Schema != len(next) {
			t.Errorf("the schema is %d, want %d", facts.Schema, len(next))
		}

		last := append(next, migration{version: len(next) + 1, serves: len(next) + 1, name: "last", sql: "DROP TABLE more", checksum: "last"})
		_, err = openKnowing(t, url, last, nil)
		must(t, err)
		if _, err := openKnowing(t, url, next, nil); !errors.Is(err, ErrNewer) {
			t.Errorf("the version before was let in: %v", err)
		}
		if _, err := Open(ctx, Options{URL: url, Now: time.Now}); !errors.Is(err, ErrNewer) {
			t.Errorf("the version before that was let in: %v", err)
		}
		if s, err := Plan(ctx, Options{URL: url, Now: time.Now}); !errors.Is(err, ErrNewer) || s.At != len(last) || s.Known != len(old) {
			t.Errorf("it is planned to %+v, %v", s, err)
		}
	})
}

// A database of any age is moved on, and notes what it was moved on by.
func TestDatabasesOfEveryAgeMoveOn(t *testing.T) { // D-19
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			address := func() string { return sqliteURL(t) }
			if engine == "PostgreSQL" {
				schemas := newSchemas(t)
				address = func() string { return schemas.fresh(t) }
			}
			all := known(t, address(), "")
			for age := 2; age < len(all); age++ { // the first alone makes no log
				url := address()
				_, err := openKnowing(t, url, all[:age], nil)
				must(t, err)
				s, err := Plan(t.Context(), Options{URL: url, Now: time.Now})
				must(t, err)
				if s.At != age || s.Known != len(all) || len(s.Pending) != len(all)-age || s.Pending[0].Version != age+1 {
					t.Fatalf("at %d it is planned to %+v", age, s)
				}
				w := newWorld(t, url)
				w.signIn(t)
				applied, err := appliedMigrations(t.Context(), w.engine.read())
				must(t, err)
				for i, m := range applied {
					if m.version != i+1 || m.serves != all[i].serves || m.applied == 0 {
						t.Errorf("from %d on it notes %+v, want that %s serves %d", age, m, all[i], all[i].serves)
					}
				}
			}
		})
	}
}

// To look at a database makes nothing there, and tells whether servers have to stop.
func TestPlanChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		ctx := context.Background()
		for range 2 {
			s, err := Plan(ctx, Options{URL: url, Now: time.Now})
			must(t, err)
			if s.At != 0 || len(s.Pending) != s.Known || s.Known == 0 || s.Stops() {
				t.Errorf("of an empty database it is planned to %+v", s)
			}
		}
		open(t, Options{URL: url, Now: time.Now})
		s, err := Plan(ctx, Options{URL: url, Now: time.Now})
		must(t, err)
		if s.At != s.Known || len(s.Pending) != 0 {
			t.Errorf("of a database in order it is planned to %+v", s)
		}
	})
	s := Schema{At: 5, Known: 7, Pending: []Migration{{6, "a", 5}, {7, "b", 5}}}
	if s.Stops() {
		t.Error("servers have to stop for what serves them")
	}
	if s.Pending[1].Serves = 6; !s.Stops() {
		t.Error("servers may go on where the last of two does not serve them")
	}
}

// A watcher is a log that tells when something was said.
type watcher struct {
	mu    sync.Mutex
	text  bytes.Buffer
	words string
	said  chan struct{} // closed when the words were
}

func watchFor(words string) (*slog.Logger, *watcher) {
	w := &watcher{words: words, said: make(chan struct{})}
	return slog.New(slog.NewTextHandler(w, nil)), w
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := strings.Contains(w.text.String(), w.words)
	w.text.Write(p)
	if !was && strings.Contains(w.text.String(), w.words) {
		close(w.said)
	}
	return len(p), nil
}

// While one opener migrates the others wait, for longer than for any other lock, and
// find the work done.
func TestOpenersWaitForAMigration(t *testing.T) { // D-19
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		t.Parallel()
		ctx := context.Background()
		open(t, Options{URL: url, Now: time.Now})
		all := known(t, url, "CREATE TABLE more (x BIGINT)")
		first, _, err := connect(ctx, Options{URL: url, Now: time.Now})
		must(t, err)
		defer first.Close()
		amid, release := make(chan struct{}), make(chan struct{})
		first.Interfere(func(op Operation) (bool, error) {
			if op.Kind == Statement && strings.Contains(op.Query, "INSERT INTO schema_migration") {
				close(amid)
				<-release
			}
			return false, nil
		})
		done := make(chan error, 2)
		go func() { done <- first.migrate(ctx, all) }()
		<-amid

		logger, inUse := watchFor("the database is in use")
		second, _, err := connect(ctx, Options{URL: url, Now: time.Now, Logger: logger})
		must(t, err)
		defer second.Close()
		go func() { done <- second.migrate(ctx, all) }()
		if pg, is := second.engine.(*postgresEngine); is {
			until(t, "the second opener waits", func() bool {
				var waiting int
				must(t, pg.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&waiting))
				return waiting > 0
			})
		} else {
			<-inUse.said // it has waited for the file as long as anybody does, and waits on
		}
		select {
		case err := <-done:
			t.Errorf("an opener did not wait: %v", err)
		default:
		}
		close(release)
		must(t, errors.Join(<-done, <-done))
	})
}

// A migration waits only for a moment for a table that others use, because everyone
// who comes later waits behind it; it tries again until it has the table.
func TestMigrationKeepsNobodyWaiting(t *testing.T) { // D-19
	t.Parallel()
	ctx := context.Background()
	url := newSchemas(t).fresh(t)
	w := newWorld(t, url)
	in := w.signIn(t)
	reader, err := w.engine.(*postgresEngine).db.BeginTx(ctx, nil)
	must(t, err)
	var sessions int
	must(t, reader.QueryRowContext(ctx, `SELECT count(*) FROM session`).Scan(&sessions))

	logger, inUse := watchFor("the database is in use")
	done := make(chan error, 1)
	go func() {
		_, err := openKnowing(t, url, known(t, url, `ALTER TABLE session ADD COLUMN more BIGINT;
			CREATE TABLE patience AS SELECT CAST(extract(epoch FROM CAST(current_setting('lock_timeout') AS INTERVAL)) * 1000 AS BIGINT) AS ms`), logger)
		done <- err
	}()
	<-inUse.said
	if _, err := w.OfSession(ctx, in.ID); err != nil {
		t.Errorf("while the migration waits: %v", err)
	}
	w.signIn(t)
	select {
	case err := <-done:
		t.Errorf("the table was changed under a reader, or the migration given up: %v", err)
	default:
	}
	must(t, reader.Rollback())
	must(t, <-done)
	w.signIn(t)
	// Whoever wants the first of several tables waits for as long as the migration does
	// for all of them.
	var ms int
	must(t, w.engine.(*postgresEngine).db.QueryRowContext(ctx, `SELECT ms FROM patience`).Scan(&ms))
	if ms <= 0 || 4*ms > 1000 {
		t.Errorf("a migration waits %d ms for each table, and four are to be had within a second", ms)
	}
}
