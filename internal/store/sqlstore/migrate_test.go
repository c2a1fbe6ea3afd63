package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

func TestMigrationsAreReadInOrder(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := []struct {
		name   string
		files  fstest.MapFS
		engine string
		want   string // the texts, joined; empty: an error
	}{
		{"portable", fstest.MapFS{"migrations/0001_a.sql": file("A"), "migrations/0002_b.sql": file("B")}, "sqlite", "A B"},
		{"twins", fstest.MapFS{
			"migrations/0001_a.sqlite.sql": file("S"), "migrations/0001_a.postgres.sql": file("P"), "migrations/0002_b.sql": file("B"),
		}, "postgres", "P B"},
		{"a gap", fstest.MapFS{"migrations/0001_a.sql": file("A"), "migrations/0003_c.sql": file("C")}, "sqlite", ""},
		{"one twin alone", fstest.MapFS{"migrations/0001_a.sqlite.sql": file("S"), "migrations/0002_b.sql": file("B")}, "postgres", ""},
		{"the same number twice", fstest.MapFS{"migrations/0001_a.sql": file("A"), "migrations/0001_b.sql": file("B")}, "sqlite", ""},
		{"no number", fstest.MapFS{"migrations/first_a.sql": file("A")}, "sqlite", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			all, err := loadMigrations(test.engine, test.files)
			var texts []string
			for _, m := range all {
				texts = append(texts, m.sql)
			}
			got := strings.Join(texts, " ")
			if err != nil {
				got = ""
			}
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("read %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// known is what the binary under test knows, and one migration more.
func known(t *testing.T, url, more string) []migration {
	t.Helper()
	engine, _, _ := strings.Cut(url, ":")
	all, err := knownMigrations(engine)
	must(t, err)
	if more != "" {
		m := migration{version: len(all) + 1, name: "more", sql: more, checksum: "more"}
		m.serves, err = servedBy(m)
		must(t, err)
		all = append(all, m)
	}
	return all
}

// openKnowing opens a database as a binary does that knows these migrations.
func openKnowing(t *testing.T, url string, all []migration, logger *slog.Logger) (*DB, error) {
	t.Helper()
	db, _, err := connect(context.Background(), Options{URL: url, Now: time.Now, Logger: logger})
	must(t, err)
	if err := db.migrate(context.Background(), all); err != nil {
		must(t, db.Close())
		return nil, err
	}
	t.Cleanup(func() { must(t, db.Close()) })
	return db, nil
}

// A database that this binary does not understand is refused.
func TestMigrationRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		ctx := context.Background()
		db := open(t, Options{URL: url, Now: time.Now})
		all := known(t, url, "")
		must(t, db.migrate(ctx, all)) // finds the work done

		changed := append([]migration{}, all...)
		changed[1].checksum = "another"
		if err := db.migrate(ctx, changed); err == nil || !strings.Contains(err.Error(), "0002_schema") {
			t.Errorf("a changed migration: %v", err)
		}

		must(t, db.migrate(ctx, known(t, url, "CREATE TABLE more (x BIGINT)")))
		if _, err := Open(ctx, Options{URL: url, Now: time.Now}); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("this database was made by a newer coatcheck (schema %d, this one knows %d)", len(all)+1, len(all))) {
			t.Errorf("a newer schema: %v", err)
		}
	})
}

// A migration that fails in the middle leaves nothing of itself behind, and the
// next opener begins where it began.
func TestMigrationCrashInTheMiddle(t *testing.T) { // D-19
	onBoth(t, func(t *testing.T, url string) {
		ctx := context.Background()
		db := open(t, Options{URL: url, Now: time.Now})
		last := len(known(t, url, ""))
		broken := known(t, url, "CREATE TABLE half (x BIGINT); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1)")
		if err := db.migrate(ctx, broken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%04d_more", last+1)) {
			t.Fatalf("a broken migration: %v", err)
		}
		facts, err := db.Facts(ctx)
		must(t, err)
		if facts.Schema != last {
			t.Errorf("the schema is %d, want %d", facts.Schema, last)
		}
		again := open(t, Options{URL: url, Now: time.Now})
		must(t, again.migrate(ctx, known(t, url, "CREATE TABLE half (x BIGINT)")))
	})
}

// Two processes write one database, such as a server and the command line: the
// numbers of both are one sequence without a gap. I-6
func TestTwoWritersOneLog(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		const each = 40
		var all sync.WaitGroup
		for range 2 {
			db := open(t, Options{URL: url, Now: time.Now})
			for range 4 {
				all.Go(func() {
					for range each {
						if err := db.step(context.Background(), "test", endSomething); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
		page, err := open(t, Options{URL: url, Now: time.Now}).Since(context.Background(), 0, 1000)
		must(t, err)
		if len(page.Rows) != 8*each || page.Head.Seq != 8*each || page.Head.Bits != page.Rows[len(page.Rows)-1].Bits {
			t.Errorf("%d entries, the end is %v, want %d", len(page.Rows), page.Head, 8*each)
		}
		for i, row := range page.Rows {
			if row.Seq != uint64(i+1) {
				t.Fatalf("entry %d has the number %d", i, row.Seq)
			}
		}
	})
}

// Of many openers of a new database one migrates it, and all find one log.
func TestOpenersAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		const openers = 6
		var all sync.WaitGroup
		failed := make([]error, openers)
		epochs := make([]string, openers)
		for i := range openers {
			all.Go(func() {
				ctx := context.Background()
				db, err := Open(ctx, Options{URL: url, Now: time.Now})
				if err != nil {
					failed[i] = err
					return
				}
				page, err := db.Since(ctx, 0, 1)
				epochs[i], failed[i] = page.Head.Epoch, errors.Join(err, db.Close())
			})
		}
		all.Wait()
		must(t, errors.Join(failed...))
		for _, epoch := range epochs {
			if epoch == "" || epoch != epochs[0] {
				t.Errorf("epochs differ: %q", epochs)
			}
		}
	})
}
