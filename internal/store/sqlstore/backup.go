package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The faults of a backup and of what is to be restored.
var (
	ErrExists    = errors.New("there is a file of this name already")
	ErrNotSQLite = errors.New("the database is not SQLite")
	ErrNoBackup  = errors.New("this is no backup of Coatcheck")
	ErrDamaged   = errors.New("this backup is damaged")
)

// partialEnding is the ending of a backup while it is made.
const partialEnding = ".partial"

// Backup writes a copy of the SQLite database that a sqlite: URL names, as of one
// moment, to a new file of mode 0600, while others go on reading and writing, and
// returns what the copy holds, read back from it. It needs no secret and changes
// nothing in the database, its schema neither. The file has its name only when it is
// whole and on the disk; until then it is FILE.partial, which a later backup to the same
// name begins anew. It never replaces a file: then it returns [ErrExists]. tell is called
// now and then, from another goroutine.
func Backup(ctx context.Context, url, file string, tell func(Progress)) (held []TableSum, err error) {
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	shared, err := lock(path, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, shared.Unlock()) }()
	if _, err := os.Lstat(file); err == nil {
		return nil, fmt.Errorf("%w: %s", ErrExists, file)
	}
	partial := file + partialEnding
	claim, err := claimPartial(partial)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, claim.Close()) }()
	held, err = copyInto(ctx, shared.path, partial, tell)
	if err == nil {
		err = claim.Sync()
	}
	if err == nil {
		err = publish(partial, file)
	}
	if err != nil {
		_ = os.Remove(partial) // it may have its name already
		return nil, err
	}
	return held, nil
}

// claimPartial makes the file of an unfinished backup and locks it. One that a kill has
// left is removed, and nothing is written to a file that is not our own.
func claimPartial(partial string) (*os.File, error) {
	for range 3 {
		claim, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the operator names it
		made := err == nil
		if errors.Is(err, fs.ErrExist) {
			claim, err = os.Open(partial)       // #nosec G304 -- the operator names it
			if errors.Is(err, fs.ErrNotExist) { // another backup has just finished
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("make the backup: %w", err)
		}
		if got, err := flock(claim, true); !got && !errors.Is(err, errNoLocks) {
			return nil, errors.Join(fmt.Errorf("%w: another backup is being written to %s", ErrExists, partial), err, claim.Close())
		}
		if made {
			return claim, nil
		}
		if err := errors.Join(os.Remove(partial), claim.Close()); err != nil {
			return nil, fmt.Errorf("remove an unfinished backup: %w", err)
		}
	}
	return nil, fmt.Errorf("%w: %s keeps coming back", ErrExists, partial)
}

// copyInto copies a database as of one moment into an empty file, and reads the copy.
func copyInto(ctx context.Context, path, to string, tell func(Progress)) ([]TableSum, error) {
	plain, err := sqliteConnector(path)
	if err != nil {
		return nil, err
	}
	from := sql.OpenDB(plain)
	defer from.Close()
	var size int64
	if err := from.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&size); err != nil {
		return nil, fmt.Errorf("read the size of the database: %w", err)
	}
	stop := watchSize(to, size, tell)
	_, err = from.ExecContext(ctx, `VACUUM INTO $1`, to)
	stop()
	if err != nil {
		return nil, fmt.Errorf("copy the database: %w", err)
	}
	return CheckFile(ctx, to, tell)
}

// large is from how many bytes on there is progress worth telling.
const large = 16 << 20

// watchSize tells how a file grows, until the function that it returns is called.
func watchSize(file string, all int64, tell func(Progress)) (stop func()) {
	if all < large {
		return func() {}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if info, err := os.Stat(file); err == nil {
					tell(Progress{What: "copying bytes", Done: min(info.Size(), all), All: all})
				}
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// publish gives a file its name, which nothing may have yet, durably.
func publish(partial, file string) error {
	err := os.Link(partial, file)
	switch {
	case err == nil:
		err = os.Remove(partial)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %s", ErrExists, file)
	default: // the file system knows no second name of a file: take the name first
		var claim *os.File
		if claim, err = os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); errors.Is(err, fs.ErrExist) { // #nosec G304 -- the operator names it
			return fmt.Errorf("%w: %s", ErrExists, file)
		}
		if err == nil {
			err = errors.Join(claim.Close(), os.Rename(partial, file))
		}
	}
	if err != nil {
		return fmt.Errorf("name the backup: %w", err)
	}
	return syncFolder(file)
}

const isOurs = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('schema_migration', 'issuer', 'session', 'revocation_head')`

// CheckFile looks whether a file is a whole database of ours, and returns what it
// holds. It changes nothing in it. Else it returns [ErrNoBackup] or [ErrDamaged].
func CheckFile(ctx context.Context, file string, tell func(Progress)) ([]TableSum, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("find the backup: %w", err)
	}
	plain, err := sqliteConnector(path)
	if err != nil {
		return nil, err
	}
	on := sql.OpenDB(plain)
	defer on.Close()
	on.SetMaxOpenConns(1)
	var tables int
	switch err := on.QueryRowContext(ctx, isOurs).Scan(&tables); {
	case isDamaged(err):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case unreadable(err):
		return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	case err != nil:
		return nil, fmt.Errorf("read the backup: %w", err)
	case tables != 4:
		return nil, fmt.Errorf("%w: it lacks the tables of one", ErrNoBackup)
	}
	if info, err := os.Stat(path); err == nil && info.Size() >= large {
		tell(Progress{What: "checking every page"})
	}
	for _, check := range []string{`PRAGMA integrity_check(10)`, `SELECT "table" || ' refers to ' || parent || ', which lacks the row' FROM pragma_foreign_key_check LIMIT 10`} {
		rows, err := on.QueryContext(ctx, check)
		found, err := collect(rows, err, scanText)
		if err != nil || len(found) > 0 && (len(found) > 1 || found[0] != "ok") {
			return nil, errors.Join(fmt.Errorf("%w: %q", ErrDamaged, found), err)
		}
	}
	all, err := tablesOf(ctx, on)
	if err != nil {
		return nil, errors.Join(ErrDamaged, err)
	}
	return sums(ctx, on, all, "reading", tell)
}
