package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A database that cannot write is told from a step that did not go through. D-02, D-03
func TestWriteFailed(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: sqliteURL(t), Now: time.Now})
	told := 0
	db.WriteFailed(func() { told++ })
	must(t, db.Hold(ctx, time.Minute))
	if err := db.bare(ctx, "own", func(*step) error { return errOwn }); !errors.Is(err, errOwn) || told != 0 {
		t.Errorf("a step that fails by itself: %v, told %d times", err, told)
	}
	if _, err := db.change(ctx, "twice", `INSERT INTO issuer (id) VALUES (1)`); err == nil || told != 0 {
		t.Errorf("a broken constraint: %v, told %d times", err, told)
	}
	if _, err := db.change(ctx, "limit", `PRAGMA max_page_count = 1`); err != nil {
		t.Fatal(err)
	}
	full := db.bare(ctx, "fill", func(s *step) error {
		_, err := s.exec(`CREATE TABLE ballast AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000) SELECT x FROM n`)
		return err
	})
	if full == nil || told != 1 {
		t.Errorf("a full database: %v, told %d times", full, told)
	}
	for code, want := range map[string]bool{"25006": true, "53100": true, "58030": true, "XX001": true, "23505": false, "40001": false, "57014": false} {
		if got := unable(fmt.Errorf("write: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("PostgreSQL's %s counts as a database that cannot write: %t", code, got)
		}
	}
}
