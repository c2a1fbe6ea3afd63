package storetest

import (
	"database/sql"
	"testing"
)

func TestPostgresDatabasesAreEmptyAndApart(t *testing.T) {
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := sql.Open("pgx", Postgres(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE mine (x BIGINT)"); err != nil {
				t.Fatal(err)
			}
			var fsync string
			if err := db.QueryRowContext(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "off" {
				t.Errorf("fsync is %q, %v", fsync, err)
			}
		})
	}
}
