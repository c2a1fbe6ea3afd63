package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSQLitePath(t *testing.T) {
	here, err := os.Getwd()
	must(t, err)
	tests := []struct{ url, want string }{
		{"sqlite:coatcheck.db", filepath.Join(here, "coatcheck.db")},
		{"sqlite:/var/lib/coatcheck.db", "/var/lib/coatcheck.db"},
		{"sqlite:///var/lib/coatcheck.db", "/var/lib/coatcheck.db"},
		{"sqlite:a b?mode=ro#c%41.db", filepath.Join(here, "a b?mode=ro#c%41.db")},
		{"sqlite:", ""},
		{"sqlite::memory:", ""},
		{"sqlite://host/x.db", ""},
		{"sqlite:a\x00b", ""},
	}
	for _, test := range tests {
		got, err := sqlitePath(test.url)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("sqlitePath(%q) = %q, %v, want %q", test.url, got, err, test.want)
		}
	}
}

func TestSQLiteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "odd name?_pragma=synchronous(off)#%41.db")
	db := open(t, Options{URL: "sqlite:" + file, Now: time.Now})
	must(t, db.Hold(context.Background(), time.Minute))
	for _, name := range []string{file, file + "-wal"} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v: others may read it", filepath.Base(name), info.Mode().Perm())
		}
	}
}

// What the driver was asked for is in force, on the writer and on the readers. R-1
func TestSQLitePragmas(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	facts, err := db.Facts(ctx)
	must(t, err)
	if facts.Engine != "SQLite" || facts.Journal != "wal" || facts.Synchronous != "2" || !facts.ForeignKeys {
		t.Errorf("facts are %+v", facts)
	}
	e := db.engine.(*sqliteEngine)
	if _, err := e.readers.ExecContext(ctx, `UPDATE issuer SET over_before = 1`); err == nil {
		t.Error("a reader wrote")
	}
	if err := checkPragma(ctx, e.readers, "synchronous", "1"); err == nil || !strings.Contains(err.Error(), "synchronous is 2 and not 1") {
		t.Errorf("a pragma that is not in force: %v", err)
	}
	for pragma, want := range map[string]string{"journal_size_limit": "67108864", "busy_timeout": "5000"} {
		must(t, checkPragma(ctx, e.readers, pragma, want))
	}
}

func TestSQLiteRefusesToOpen(t *testing.T) {
	folder := t.TempDir()
	notes := filepath.Join(folder, "notes.txt")
	must(t, os.WriteFile(notes, []byte(strings.Repeat("This is no database. ", 100)), 0o600))
	for name, o := range map[string]Options{
		"no clock":         {URL: sqliteURL(t)},
		"no such folder":   {URL: "sqlite:" + filepath.Join(folder, "none", "x.db"), Now: time.Now},
		"a folder":         {URL: "sqlite:" + folder, Now: time.Now},
		"another file":     {URL: "sqlite:" + notes, Now: time.Now},
		"an unknown URL":   {URL: "mysql://localhost/x", Now: time.Now},
		"no URL":           {Now: time.Now},
		"a file and a URL": {URL: "sqlite://host/file", Now: time.Now},
	} {
		t.Run(name, func(t *testing.T) {
			if db, err := Open(context.Background(), o); err == nil {
				must(t, db.Close())
				t.Error("it was opened")
			}
		})
	}
}
