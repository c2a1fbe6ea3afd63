package sqlstore

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// WriteFailed sets the observer of writes that failed because the database cannot
// write: its disk is full or broken, or it is there for reading only. It is called
// before the step is answered, from many goroutines. Set it before the first step.
func (db *DB) WriteFailed(observe func()) { db.failed.Store(&observe) }

// noticed tells the observer of a write's error if it is such a one, and returns it.
func (db *DB) noticed(err error) error {
	if err != nil && unable(err) {
		if observe := db.failed.Load(); observe != nil {
			(*observe)()
		}
	}
	return err
}

// unable reports whether err says that the database cannot write, rather than that
// this step did not go through.
func unable(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
			sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return true
		}
		return false
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	const readOnly, noResources, systemError, damaged = "25006", "53", "58", "XX"
	return pg.Code == readOnly || strings.HasPrefix(pg.Code, noResources) ||
		strings.HasPrefix(pg.Code, systemError) || strings.HasPrefix(pg.Code, damaged)
}
