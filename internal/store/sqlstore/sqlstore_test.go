package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

func TestSQLiteKeepsEveryPromise(t *testing.T) {
	template := migratedFile(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time, heard func([]feed.Entry)) storetest.Stores {
		url := sqliteURL(t)
		must(t, os.WriteFile(strings.TrimPrefix(url, "sqlite:"), template, 0o600))
		db := open(t, Options{URL: url, Now: now})
		db.Heard(heard)
		stores := faces(db)
		stores.Throttle = throttle.New(now, 100_000) // as the app does on SQLite
		return stores
	})
}

func TestPostgresKeepsEveryPromise(t *testing.T) {
	schemas := newSchemas(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time, heard func([]feed.Entry)) storetest.Stores {
		db := open(t, Options{URL: schemas.emptied(t), Now: now})
		db.Heard(heard)
		stores := faces(db)
		stores.Throttle = db.Allowances()
		return stores
	})
}

func faces(db *DB) storetest.Stores {
	b := &breaker{db: db}
	return storetest.Stores{
		Fail: b.fail, Rows: func(t *testing.T) []storetest.Row { return rowsOf(t, db) },
		Revocation: db, Keys: db, Users: db, Setup: db, APIKeys: db, Links: db,
		Sessions: db, Upkeep: db, Attachments: db, History: db, Codes: db, Audit: db, Mail: db, Recipients: db, Notices: db,
		Clients: db, Assertions: db, Consents: db,
	}
}

// onBoth runs a test on a fresh database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteURL(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newSchemas(t).fresh(t)) })
}

func open(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// migratedFile is an empty database as a file: to copy it is sooner done than to
// migrate a new one.
func migratedFile(t *testing.T) []byte {
	t.Helper()
	url := sqliteURL(t)
	db, err := Open(context.Background(), Options{URL: url, Now: time.Now})
	must(t, err)
	must(t, db.Close())
	file, err := os.ReadFile(strings.TrimPrefix(url, "sqlite:"))
	must(t, err)
	return file
}

func sqliteURL(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db")
}

// schemas are fresh schemas of one PostgreSQL database: as empty as databases of
// their own, and much sooner made.
type schemas struct {
	url   string
	admin *sql.DB
	made  atomic.Int64
	used  chan string // names of those that may be emptied and used again
}

func newSchemas(t testing.TB) *schemas {
	t.Helper()
	s := &schemas{url: storetest.Postgres(t), used: make(chan string, 100)}
	admin, err := sql.Open("pgx", s.url)
	if err != nil {
		t.Fatal(err)
	}
	s.admin = admin
	t.Cleanup(func() { _ = admin.Close() })
	return s
}

func (s *schemas) fresh(t testing.TB) string {
	t.Helper()
	return s.address(s.create(t))
}

func (s *schemas) address(name string) string { return s.url + "&search_path=" + name }

func (s *schemas) create(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("schema_%d", s.made.Add(1))
	if _, err := s.admin.ExecContext(context.Background(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return name
}

// empty removes every row but those of schema_migration, in whatever order.
const empty = `
	SET LOCAL search_path = %[1]s;
	SET LOCAL session_replication_role = replica;
	DO $$ DECLARE name TEXT; BEGIN
		FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '%[1]s' AND tablename <> 'schema_migration'
		LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
	END $$;`

// emptied is fresh in a tenth of the time: a schema that an earlier test of this
// binary has used, with the rows that migrations put there and no others.
func (s *schemas) emptied(t testing.TB) string {
	t.Helper()
	var name string
	select {
	case name = <-s.used:
		all, err := knownMigrations("postgres")
		must(t, err)
		script := fmt.Sprintf(empty, name)
		for _, m := range all {
			for _, row := range regexp.MustCompile(`(?m)^INSERT INTO [^;]+;`).FindAllString(m.sql, -1) {
				script += row
			}
		}
		if _, err := s.admin.ExecContext(context.Background(), script); err != nil {
			t.Fatal(err)
		}
	default:
		name = s.create(t)
	}
	t.Cleanup(func() { s.used <- name })
	return s.address(name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
