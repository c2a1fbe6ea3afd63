package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// TableSum says what a table holds. Two tables with the same sum hold the same rows,
// in whatever order and on whichever engine.
type TableSum struct {
	Table    string `json:"table"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum"` // 32 hexadecimal digits
}

// A Progress says how far long work has come: Done of All rows or bytes of What. All
// may be an estimate.
type Progress struct {
	What      string
	Done, All int64
}

// own are the tables that belong to the database they are in, and are neither carried
// nor compared: how it was made, what was carried, and counters that are allowed to
// begin anew.
var own = []string{"schema_migration", "transfer", "allowance"}

// A table is one that is carried from one database to another.
type table struct {
	name    string
	columns []column
	key     string   // its column that is the primary key; "" if there is not exactly one
	parents []string // the tables that it refers to
}

// A column has one of the four types that our SQL has.
type column struct {
	name string
	kind string // BIGINT, TEXT, BYTEA or BOOLEAN
}

const sqliteTables = `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name`

const sqliteColumns = `SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid`

const sqliteParents = `SELECT DISTINCT "table" FROM pragma_foreign_key_list($1)`

// tablesOf reads the tables of a SQLite database, each after those that it refers to.
func tablesOf(ctx context.Context, run runner) ([]table, error) {
	rows, err := run.QueryContext(ctx, sqliteTables)
	names, err := collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	var all []table
	for _, name := range names {
		if slices.Contains(own, name) {
			continue
		}
		t, err := readTable(ctx, run, name)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return parentsFirst(all)
}

func readTable(ctx context.Context, run runner, name string) (table, error) {
	t := table{name: name}
	keys := 0
	rows, err := run.QueryContext(ctx, sqliteColumns, name)
	t.columns, err = collect(rows, err, func(r row) (c column, err error) {
		var declared string
		var key int
		if err := r.Scan(&c.name, &declared, &key); err != nil {
			return c, err
		}
		if key > 0 {
			keys, t.key = keys+1, c.name
		}
		c.kind, err = kindOf(declared)
		return c, err
	})
	if err != nil {
		return t, fmt.Errorf("read the columns of %s: %w", name, err)
	}
	if keys != 1 {
		t.key = ""
	}
	rows, err = run.QueryContext(ctx, sqliteParents, name)
	if t.parents, err = collect(rows, err, scanText); err != nil {
		return t, fmt.Errorf("read what %s refers to: %w", name, err)
	}
	return t, nil
}

func kindOf(declared string) (string, error) {
	switch kind := strings.ToUpper(declared); kind {
	case "BIGINT", "TEXT", "BYTEA", "BOOLEAN":
		return kind, nil
	case "KEYTEXT":
		return "TEXT", nil
	}
	return "", fmt.Errorf("a column of type %s cannot be carried", declared)
}

// parentsFirst orders tables so that each comes after those that it refers to.
func parentsFirst(all []table) ([]table, error) {
	var ordered []table
	placed := map[string]bool{}
	for len(ordered) < len(all) {
		before := len(ordered)
		for _, t := range all {
			ready := !slices.ContainsFunc(t.parents, func(p string) bool { return p != t.name && !placed[p] })
			if ready && !placed[t.name] {
				ordered, placed[t.name] = append(ordered, t), true
			}
		}
		if len(ordered) == before {
			return nil, errors.New("the tables refer to each other in a circle")
		}
	}
	return ordered, nil
}

// names returns the columns of the table as a list.
func (t table) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

// query reads all columns of the table, in the order of its key if it has one, above a
// key if it is to resume.
func (t table) query(resume bool) string {
	text := "SELECT " + strings.Join(t.names(), ", ") + " FROM " + t.name
	if resume {
		text += " WHERE " + t.key + " > $1"
	}
	if t.key != "" {
		text += " ORDER BY " + t.key
	}
	return text
}

// A cursor reads the rows of a table one after the other, as int64, string, []byte, bool
// or nil, as its columns say. It is a source of rows for PostgreSQL, too.
type cursor struct {
	table  table
	rows   *sql.Rows
	limit  int // of rows until Next pauses; it may be raised again
	over   bool
	values []any // of the row at hand; used again for the next
	into   []any
	err    error
}

// open runs a query of all columns of the table. Errors are the cursor's.
func (t table) open(ctx context.Context, run runner, query string, args ...any) *cursor {
	c := &cursor{table: t, limit: math.MaxInt, values: make([]any, len(t.columns)), into: make([]any, len(t.columns))}
	for i := range c.values {
		c.into[i] = &c.values[i]
	}
	c.take(run.QueryContext(ctx, query, args...))
	return c
}

// take is given what a query returned.
func (c *cursor) take(rows *sql.Rows, err error) { c.rows, c.err = rows, err }

// Next reads the next row.
func (c *cursor) Next() bool {
	if c.err != nil || c.over || c.limit == 0 {
		return false
	}
	if !c.rows.Next() {
		c.over = true
		return false
	}
	c.limit--
	c.err = c.rows.Scan(c.into...)
	for i, column := range c.table.columns {
		if c.err == nil {
			c.values[i], c.err = column.value(c.values[i])
		}
	}
	return c.err == nil
}

// Values returns the row at hand.
func (c *cursor) Values() ([]any, error) { return c.values, c.err }

// Err returns why there is no next row, if it is not that all were read.
func (c *cursor) Err() error { return c.err }

// close ends the reading and returns what went wrong in it.
func (c *cursor) close() error {
	err := c.err
	if c.rows != nil {
		err = errors.Join(err, c.rows.Err(), c.rows.Close())
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", c.table.name, err)
	}
	return nil
}

// value returns what a driver read as what the column holds. SQLite would keep
// anything in any column.
func (c column) value(read any) (any, error) {
	switch v := read.(type) {
	case nil:
		return nil, nil
	case int64:
		switch {
		case c.kind == "BIGINT":
			return v, nil
		case c.kind == "BOOLEAN" && v>>1 == 0:
			return v == 1, nil
		}
	case bool:
		if c.kind == "BOOLEAN" {
			return v, nil
		}
	case string:
		if c.kind == "TEXT" {
			return v, nil
		}
	case []byte:
		if c.kind == "BYTEA" {
			return append([]byte{}, v...), nil // an empty one is read as nil, which stands for null elsewhere
		}
	}
	return nil, fmt.Errorf("the column %s, which is of type %s, holds a value of another", c.name, c.kind)
}

// A summer adds up the rows of a table, so that their order does not matter.
type summer struct {
	table     string
	rows      int64
	high, low uint64 // the sum of 128 bits of the hashes of all rows
	buffer    []byte
}

func (s *summer) add(values []any) {
	s.buffer = append(s.buffer[:0], s.table...)
	for _, value := range values {
		switch v := value.(type) {
		case nil:
			s.buffer = append(s.buffer, 'n')
		case int64:
			s.buffer = binary.BigEndian.AppendUint64(append(s.buffer, 'i'), uint64(v)) // #nosec G115 -- its bits
		case bool:
			s.buffer = append(s.buffer, 'b', map[bool]byte{true: 1}[v])
		case string:
			s.buffer = append(binary.BigEndian.AppendUint64(append(s.buffer, 't'), uint64(len(v))), v...)
		case []byte:
			s.buffer = append(binary.BigEndian.AppendUint64(append(s.buffer, 'x'), uint64(len(v))), v...)
		}
	}
	hash := sha256.Sum256(s.buffer)
	var carry uint64
	s.low, carry = bits.Add64(s.low, binary.BigEndian.Uint64(hash[8:]), 0)
	s.high, _ = bits.Add64(s.high, binary.BigEndian.Uint64(hash[:]), carry)
	s.rows++
}

func (s *summer) sum() TableSum {
	raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.high), s.low)
	return TableSum{Table: s.table, Rows: s.rows, Checksum: hex.EncodeToString(raw)}
}

// sums adds up what tables hold. run should see one moment of the database.
func sums(ctx context.Context, run runner, tables []table, what string, tell func(Progress)) ([]TableSum, error) {
	all := make([]TableSum, len(tables))
	for i, t := range tables {
		s := summer{table: t.name}
		rows := t.open(ctx, run, t.query(false))
		for rows.Next() {
			s.add(rows.values)
			if s.rows%progressEvery == 0 {
				tell(Progress{What: what + " " + t.name, Done: s.rows})
			}
		}
		if err := rows.close(); err != nil {
			return nil, err
		}
		all[i] = s.sum()
	}
	return all, nil
}

// progressEvery is after how many rows there is something to tell.
const progressEvery = 10_000

// fingerprint is one line for what all tables hold.
func fingerprint(all []TableSum) string {
	hash := sha256.New()
	for _, s := range all {
		_, _ = fmt.Fprintf(hash, "%s %d %s\n", s.Table, s.Rows, s.Checksum) // never fails
	}
	return hex.EncodeToString(hash.Sum(nil))
}
