package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Allowances are the counters that all nodes on one PostgreSQL share. There are none on
// SQLite, which one process serves. They survive neither a crash of PostgreSQL nor a
// failover: then everybody has a whole allowance again, once. They are safe for
// concurrent use.
//
// The statements call functions that the schema brings along: to hold several rows, and
// to look again once they are held, takes more than one statement.
type Allowances struct{ db *DB }

var _ throttle.Store = Allowances{}

// Allowances returns the counters of a database.
func (db *DB) Allowances() Allowances { return Allowances{db} }

// microsecond is the argument $1 that the time is taken from: the injected clock, or
// null for the database's own, at the moment of the call.
const microsecond = `COALESCE(CAST($1 AS BIGINT), CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT))`

func (a Allowances) clock() any {
	if a.db.now == nil {
		return nil
	}
	return a.db.now().UnixMicro()
}

const takeAllowance = `SELECT array_to_string(take_allowance(` + microsecond + `, $2, $3, $4, $5), ' ')`

// Take spends one from every limit or from none. See [throttle.Store].
func (a Allowances) Take(ctx context.Context, limits ...throttle.Limit) (throttle.Waits, error) {
	if len(limits) == 0 {
		return nil, nil
	}
	var text string
	if err := a.run(ctx, "take_allowance", takeAllowance, append([]any{a.clock()}, columns(limits)...), &text); err != nil {
		return nil, fmt.Errorf("take from allowances: %w", err)
	}
	var waits throttle.Waits
	for i, word := range strings.Fields(text) {
		wait, err := strconv.ParseInt(word, 10, 64)
		if err != nil || i >= len(limits) {
			return nil, fmt.Errorf("take from allowances: %w", errDamaged)
		}
		if wait > 0 && waits == nil {
			waits = make(throttle.Waits, len(limits))
		}
		if wait > 0 {
			waits[i] = time.Duration(wait) * time.Microsecond
		}
	}
	return waits, nil
}

const returnAllowance = `SELECT return_allowance(` + microsecond + `, $2, $3, $4, $5, $6, $7)`

// Return gives back what Take has spent and sets a mark. See [throttle.Store].
func (a Allowances) Return(ctx context.Context, mark throttle.Mark, limits ...throttle.Limit) error {
	args := append([]any{a.clock()}, columns(limits)...)
	var set sql.Null[[]byte]
	if mark.Key != "" {
		set = sql.Null[[]byte]{V: []byte(mark.Key), Valid: true}
	}
	var nothing sql.NullString
	if err := a.run(ctx, "return_allowance", returnAllowance, append(args, set, microseconds(mark.For)), &nothing); err != nil {
		return fmt.Errorf("give back to allowances: %w", err)
	}
	return nil
}

const sweepAllowance = `SELECT sweep_allowance(` + microsecond + `, $2)`

// Sweep forgets what is full. See [throttle.Store].
func (a Allowances) Sweep(ctx context.Context, limit int) (int, error) {
	var n int
	if err := a.run(ctx, "sweep_allowance", sweepAllowance, []any{a.clock(), limit}, &n); err != nil {
		return 0, fmt.Errorf("sweep allowances: %w", err)
	}
	return n, nil
}

// run calls a function in one statement, which is its own transaction.
func (a Allowances) run(ctx context.Context, name, query string, args []any, result any) error {
	defer a.db.measure(name, time.Now())
	return a.db.noticed(a.db.engine.read().QueryRowContext(ctx, query, args...).Scan(result))
}

// columns are limits as the functions take them: keys, how often one is earned back, how
// long the rest of a burst takes, and marks.
func columns(limits []throttle.Limit) []any {
	n := len(limits)
	keys, marks := make([][]byte, n), make([][]byte, n)
	everys, slacks := make([]int64, n), make([]int64, n)
	for i, l := range limits {
		keys[i] = []byte(l.Key)
		if l.Unless != "" {
			marks[i] = []byte(l.Unless)
		}
		everys[i] = microseconds(l.Rate.Every)
		slacks[i] = everys[i] * int64(max(l.Rate.Burst, 1)-1)
	}
	return []any{keys, everys, slacks, marks}
}

// microseconds rounds up: a rate is never taken for a faster one.
func microseconds(d time.Duration) int64 {
	return int64((max(0, d) + time.Microsecond - 1) / time.Microsecond)
}
