package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coatcheck/coatcheck/internal/fault"
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

// D-04, I-5: whoever could not be told is told to come again, and whoever was refused
// is not.
func TestAway(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{dial, true},
		{&pgconn.ConnectError{}, true},
		{io.ErrUnexpectedEOF, true},
		{context.DeadlineExceeded, true},
		{driver.ErrBadConn, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "57014"}, true},
		{&pgconn.PgError{Code: "40001"}, true},
		{&pgconn.PgError{Code: "08006"}, true},
		{&pgconn.PgError{Code: "25P03"}, true},
		{&pgconn.PgError{Code: "53100"}, true},
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.PgError{Code: "42703"}, false},
		{errOwn, false},
		{context.Canceled, false},
		{sql.ErrNoRows, false},
	} {
		err := new(DB).noticed(fmt.Errorf("write: %w", test.err))
		if got := errors.Is(err, fault.ErrUnavailable); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%v makes %v", test.err, err)
		}
	}
}
