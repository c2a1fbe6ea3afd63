package app

import (
	"database/sql"
	"errors"
	"net/http"
	"testing"

	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

func TestDoctorJudgesTheSchema(t *testing.T) {
	additive := []sqlstore.Migration{{Version: 6, Name: "a", Serves: 4}}
	for name, c := range map[string]struct {
		schema Schema
		level  Level
		words  string
	}{
		"in order":              {Schema{At: 7, Known: 7}, Fine, "It is 7"},
		"empty":                 {Schema{At: 0, Known: 6, Pending: additive}, Note, "The database is empty"},
		"older":                 {Schema{At: 5, Known: 6, Pending: additive}, Note, "can go on during the update"},
		"older than it serves":  {Schema{At: 3, Known: 6, Pending: additive}, Note, "stop all servers"},
		"newer that serves us":  {Schema{At: 9, Known: 7}, Note, "Finish the update"},
		"pending from the next": {Schema{At: 5, Known: 6, Pending: []sqlstore.Migration{{Version: 6, Name: "a", Serves: 6}}}, Note, "cannot go on after the update"},
	} {
		t.Run(name, func(t *testing.T) { examine(t, []Finding{judgeSchema(c.schema)}, "schema", c.level, c.words) })
	}
}

// The doctor looks at a database that has no tables yet, and makes none.
func TestDoctorMakesNoTables(t *testing.T) {
	t.Parallel()
	c := configure(t, map[string]string{"database": storetest.Postgres(t), "secret": otherSecret})
	for range 2 {
		examine(t, Examine(t.Context(), c, nil, nil), "schema", Note, "The database is empty")
	}
	if s, err := Plan(t.Context(), c); err != nil || s.At != 0 || len(s.Pending) != s.Known {
		t.Errorf("it is planned to %+v, %v", s, err)
	}
	if err := Migrate(t.Context(), c, options(c).Logger); err != nil {
		t.Fatal(err)
	}
	if s, err := Plan(t.Context(), c); err != nil || s.At != s.Known {
		t.Errorf("after migrating it is planned to %+v, %v", s, err)
	}
	if err := Migrate(t.Context(), configure(t, nil), options(c).Logger); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("where no database is, migrating says %v", err)
	}
}

// A node whose schema another version has moved on, so that it does not serve this one,
// is not ready any more. What serves it changes nothing.
func TestNodeIsOutrun(t *testing.T) { // D-19, I-12
	t.Parallel()
	c, r := healthy(t, nil)
	path, _ := c.SQLite()
	other, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)") // the node writes, too
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	move := func(version, serves int) {
		t.Helper()
		_, err := other.Exec(`INSERT INTO schema_migration (version, name, checksum, applied_at, serves) VALUES ($1, 'later', 'x', 1, $2)`, version, serves)
		if err != nil {
			t.Fatal(err)
		}
		r.checkSchema(t.Context())
	}
	move(900, 5)
	if status, text := get(t, r.public, "/readyz"); status != http.StatusOK {
		t.Errorf("beside a version that serves it the node is not ready: %s", text)
	}
	move(901, 901)
	if status, text := get(t, r.public, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("the node was outrun and is ready: %s", text)
	}
}
