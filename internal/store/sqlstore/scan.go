package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// A row is what a scan reads from: *sql.Row or *sql.Rows.
type row interface {
	Scan(dest ...any) error
}

// collect reads all rows of a query.
func collect[T any](rows *sql.Rows, err error, scan func(row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, fmt.Errorf("run a query: %w", err)
	}
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read a row: %w", err), rows.Close())
		}
		all = append(all, one)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return all, nil
}

func scanText(r row) (s string, err error) { return s, r.Scan(&s) }

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// instant is a time as it is kept.
func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// maybe is instant where -1 stands for the zero time.
func maybe(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return instant(ms)
}

// orNull is the argument for a time whose zero is kept as null.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// joinList writes a list as lines. What would be read as another list is refused,
// so that no word can smuggle in a second one.
func joinList(list []string) (string, error) {
	for _, word := range list {
		if word == "" || strings.ContainsAny(word, "\n\x00") {
			return "", errors.New("a list holds an empty word or a line break")
		}
	}
	return strings.Join(list, "\n"), nil
}

// splitList reads what joinList wrote.
func splitList(lines string) []string {
	if lines == "" {
		return nil
	}
	return strings.Split(lines, "\n")
}

// bounded is how much of any text an audit entry keeps.
const bounded = 256

func safe(s string) string { return audit.Safe(s, bounded) }
