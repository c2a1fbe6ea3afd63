package sqlstore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// A breaker lets proofs make a store fail.
type breaker struct {
	once sync.Once
	db   *DB

	mu    sync.Mutex
	armed storetest.Break
	got   storetest.Broken
}

// fail arms a break. See [storetest.Stores].
func (b *breaker) fail(what storetest.Break) func() storetest.Broken {
	b.once.Do(func() { b.db.Interfere(b.decide) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed, b.got = what, storetest.Broken{}
	return func() storetest.Broken {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.armed = -1
		return b.got
	}
}

func (b *breaker) decide(op Operation) (after bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed < 0 || b.got.Happened {
		return false, nil
	}
	now := false
	switch op.Kind {
	case Write:
		now = b.armed == storetest.BeforeWrite || b.armed == storetest.AfterWrite
	case Read:
		now = b.armed == storetest.AnyRead
	case Statement:
		now = b.armed == storetest.Statement+storetest.Break(b.got.Statements)
		b.got.Statements++
	}
	if !now {
		return false, nil
	}
	b.got.Happened = true
	return b.armed == storetest.AfterWrite, fmt.Errorf("%w: %s%s", storetest.ErrBroken, op.Step, op.Query)
}

const tableNamesOfSQLite = `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'`

const tableNamesOfPostgres = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`

// rowsOf reads every row of every table but that of the migrations.
func rowsOf(t *testing.T, db *DB) []storetest.Row {
	t.Helper()
	plain := db.engine
	if wrapped, interfered := plain.(*interference); interfered {
		plain = wrapped.engine
	}
	_, lite := plain.(*sqliteEngine)
	names := tableNamesOfPostgres
	if lite {
		names = tableNamesOfSQLite
	}
	rows, err := plain.read().QueryContext(context.Background(), names)
	tables, err := collect(rows, err, scanText)
	must(t, err)
	tables = slices.DeleteFunc(tables, func(name string) bool { return name == "schema_migration" })
	if !lite {
		return readTogether(t, plain, tables)
	}
	var all []storetest.Row
	for _, table := range tables {
		all = append(all, readOne(t, plain, table)...)
	}
	return all
}

// readTogether reads tables of PostgreSQL by one query.
func readTogether(t *testing.T, e engine, tables []string) []storetest.Row {
	t.Helper()
	var queries []string
	for _, name := range tables {
		queries = append(queries, "SELECT '"+name+"', CAST(to_jsonb(x) AS TEXT) FROM "+name+" x")
	}
	rows, err := e.read().QueryContext(context.Background(), strings.Join(queries, " UNION ALL "))
	all, err := collect(rows, err, func(r row) (storetest.Row, error) {
		var one storetest.Row
		var text string
		if err := r.Scan(&one.Table, &text); err != nil {
			return one, err
		}
		var values map[string]json.RawMessage
		err := json.Unmarshal([]byte(text), &values)
		one.Values = map[string]string{}
		for column, value := range values {
			one.Values[column] = strings.Trim(string(value), `"`)
		}
		return one, err
	})
	must(t, err)
	return all
}

// readOne reads a table of SQLite.
func readOne(t *testing.T, e engine, table string) []storetest.Row {
	t.Helper()
	rows, err := e.read().QueryContext(context.Background(), "SELECT * FROM "+table)
	must(t, err)
	columns, err := rows.Columns()
	must(t, err)
	all, err := collect(rows, err, func(r row) (storetest.Row, error) {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		one := storetest.Row{Table: table, Values: map[string]string{}}
		err := r.Scan(into...)
		for i, value := range values {
			if bytes, raw := value.([]byte); raw {
				value = hex.EncodeToString(bytes)
			}
			one.Values[columns[i]] = fmt.Sprint(value)
		}
		return one, err
	})
	must(t, err)
	return all
}
