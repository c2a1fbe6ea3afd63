package sqlstore

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// WriteFailed sets the observer of writes that failed because the database cannot
// write: its disk is full or broken, or it is there for reading only. It is called
// before the step is answered, from many goroutines. Set it before the first step.
func (db *DB) WriteFailed(observe func()) { db.failed.Store(&observe) }

// noticed tells the observer of a write's error if it is such a one. It returns the
// error, which is [fault.ErrUnavailable] too where the database could not be asked: then
// nobody knows whether the step was done, and whoever wanted it may try again.
func (db *DB) noticed(err error) error {
	if err == nil {
		return nil
	}
	stuck := unable(err)
	if stuck {
		if observe := db.failed.Load(); observe != nil {
			(*observe)()
		}
	}
	if (stuck || away(err)) && !errors.Is(err, fault.ErrUnavailable) {
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	}
	return err
}

// away reports whether err says that the database did not answer, or cannot at present.
func away(err error) bool {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		code := lite.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		const connection, intervention, conflict, silent = "08", "57", "40", "25P03"
		return pg.Code == silent || strings.HasPrefix(pg.Code, connection) ||
			strings.HasPrefix(pg.Code, intervention) || strings.HasPrefix(pg.Code, conflict)
	}
	var connecting *pgconn.ConnectError
	var network net.Error // a deadline, too
	return errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, driver.ErrBadConn)
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
