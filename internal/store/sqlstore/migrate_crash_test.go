package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What tells a process of this test binary that it is to migrate a database, and how:
// to kill itself at an operation, or to add a migration, in the middle of which it is
// killed.
const (
	crashURL = "SQLSTORE_CRASH_URL"
	crashAt  = "SQLSTORE_CRASH_AT"
	crashIn  = "SQLSTORE_CRASH_IN"
)

// TestCrashingOpener is the process that is killed. By itself it does nothing.
func TestCrashingOpener(t *testing.T) {
	url := os.Getenv(crashURL)
	if url == "" {
		return
	}
	db, _, err := connect(t.Context(), Options{URL: url, Now: time.Now})
	must(t, err)
	left, _ := strconv.Atoi(os.Getenv(crashAt)) // without one it lives
	db.Interfere(func(Operation) (bool, error) {
		if left--; left == 0 {
			must(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
			select {}
		}
		return false, nil
	})
	must(t, db.migrate(t.Context(), known(t, url, os.Getenv(crashIn))))
	must(t, db.Close())
}

func crashing(url string, environ ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingOpener$")
	cmd.Env = append(append(os.Environ(), crashURL+"="+url), environ...)
	return cmd
}

// killed fails the test unless the process was killed.
func killed(t *testing.T, err error, output []byte) {
	t.Helper()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v\n%s", err, output)
	}
}

// objects returns what a schema consists of.
func objects(t *testing.T, url string) []string {
	t.Helper()
	db, kind, err := connect(t.Context(), Options{URL: url, Now: time.Now})
	must(t, err)
	defer db.Close()
	query := `SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master`
	if kind == "postgres" {
		query = `
			SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns WHERE table_schema = current_schema()
			UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
			UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace`
	}
	rows, err := db.engine.read().QueryContext(t.Context(), query)
	all, err := collect(rows, err, scanText)
	must(t, err)
	if kind == "postgres" { // an index is told of with the name of its schema
		name := url[strings.LastIndex(url, "=")+1:]
		for i := range all {
			all[i] = strings.ReplaceAll(all[i], name+".", "")
		}
	}
	slices.Sort(all)
	return all
}

// Killed at whatever operation, an opener leaves a whole number of migrations, and the
// next one goes on from there.
func TestMigrationKilledAnywhere(t *testing.T) { // D-01, D-19
	t.Parallel()
	const deaths = 9 // at least; each happens one operation later than the one before
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url, reference := sqliteURL(t), sqliteURL(t)
			if engine == "PostgreSQL" {
				schemas := newSchemas(t)
				url, reference = schemas.fresh(t), schemas.fresh(t)
			}
			all := known(t, url, "")
			whole := [][]string{objects(t, reference)}
			step, _, err := connect(t.Context(), Options{URL: reference, Now: time.Now})
			must(t, err)
			for n := 1; n <= len(all); n++ {
				_, err := step.migrateNext(t.Context(), all)
				must(t, err)
				whole = append(whole, objects(t, reference))
			}
			must(t, step.migrate(t.Context(), all))
			must(t, step.Close())
			for at := 1; ; at++ {
				output, err := crashing(url, crashAt+"="+strconv.Itoa(at)).CombinedOutput()
				if err == nil && at > deaths {
					break // there was so little left to do
				}
				killed(t, err, output)
				s, err := Plan(t.Context(), Options{URL: url, Now: time.Now})
				must(t, err)
				if got := objects(t, url); !slices.Equal(got, whole[s.At]) {
					t.Fatalf("killed at operation %d it is at %d and consists of\n%s", at, s.At, strings.Join(got, "\n"))
				}
			}
			w := newWorld(t, url)
			w.signIn(t)
			if got := objects(t, url); !slices.Equal(got, whole[len(all)]) {
				t.Errorf("in the end it consists of\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// Killed in the middle of a migration's text, on SQLite with much of it in the log
// beside the file already, an opener leaves nothing of it.
func TestMigrationKilledInTheMiddle(t *testing.T) { // D-19
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		t.Parallel()
		w := newWorld(t, url)
		before := objects(t, url)
		text := `CREATE TABLE half (x BYTEA); INSERT INTO half WITH RECURSIVE c(n) AS (
			SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000000) SELECT zeroblob(1000) FROM c`
		amid := func() bool {
			info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal")
			return err == nil && info.Size() > 8<<20
		}
		release := func() {}
		if pg, is := w.engine.(*postgresEngine); is {
			text = `CREATE TABLE half (x BYTEA); SELECT pg_advisory_xact_lock(77)`
			amid, release = holding(t, pg.db, 77)
		}
		cmd := crashing(url, crashIn+"="+text)
		must(t, cmd.Start())
		until(t, "the migration is in the middle", amid)
		must(t, cmd.Process.Kill())
		killed(t, cmd.Wait(), nil)
		release()
		again, err := openKnowing(t, url, known(t, url, "CREATE TABLE other (x BIGINT)"), nil)
		must(t, err)
		_, err = again.change(t.Context(), "test", "DROP TABLE other")
		must(t, err)
		if after := objects(t, url); !slices.Equal(before, after) {
			t.Errorf("it consists of\n%s\nand not of\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		if _, lite := w.engine.(*sqliteEngine); lite {
			var sound string
			must(t, w.engine.read().one(t.Context(), "PRAGMA integrity_check", nil, &sound))
			if sound != "ok" {
				t.Errorf("the file is damaged: %s", sound)
			}
		}
	})
}

// holding holds an advisory lock, and tells whether somebody waits for it.
func holding(t *testing.T, db *sql.DB, lock int) (waited func() bool, release func()) {
	t.Helper()
	ctx := context.Background()
	holder, err := db.Conn(ctx)
	must(t, err)
	_, err = holder.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_lock(%d)", lock))
	must(t, err)
	waited = func() bool {
		var n int
		must(t, db.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted`, lock).Scan(&n))
		return n > 0
	}
	return waited, func() {
		_, err := holder.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_unlock(%d)", lock))
		must(t, errors.Join(err, holder.Close()))
	}
}
