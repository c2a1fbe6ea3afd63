package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// The files that SQLite keeps beside a database, by their endings.
var companions = []string{"-wal", "-shm", "-journal"}

// unreadable reports whether err says that a file is no SQLite database, or a damaged
// one.
func unreadable(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_NOTADB || isDamaged(err)
}

func isDamaged(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code()&0xff == sqlite3.SQLITE_CORRUPT
}

// restoringEnding is the ending of a copy that is made ready to take the place of a
// database.
const restoringEnding = ".restoring"

// A Restoring is a copy of a backup beside a database that the caller holds alone. It
// changes nothing in the database before Replace.
type Restoring struct {
	lock *Lock
	path string // of the copy
}

// Restore copies a backup to beside the database that the lock holds. What an earlier
// restore left there when it was killed is removed first.
func (l *Lock) Restore(backup string, tell func(Progress)) (*Restoring, error) {
	r := &Restoring{lock: l, path: l.path + restoringEnding}
	if err := r.Discard(); err != nil {
		return nil, err
	}
	if err := copyFile(backup, r.path, tell); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the backup: %w", err), r.Discard())
	}
	// A file that was copied from under a server that was killed has its last writes here.
	for _, ending := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(backup + ending); err != nil || info.Size() == 0 {
			continue
		}
		if err := copyFile(backup+ending, r.path+ending, tell); err != nil {
			return nil, errors.Join(fmt.Errorf("copy the backup: %w", err), r.Discard())
		}
	}
	return r, nil
}

// URL returns the copy as a database to open, under the lock.
func (r *Restoring) URL() string { return "sqlite:" + r.path }

// Check is [CheckFile] for the copy.
func (r *Restoring) Check(ctx context.Context, tell func(Progress)) ([]TableSum, error) {
	return CheckFile(ctx, r.path, tell)
}

// Discard removes the copy, if there is one.
func (r *Restoring) Discard() error {
	return removeAll(r.path, append([]string{""}, companions...))
}

// Replace puts the copy, which nobody has open any more, in the place of the database
// in one step: whoever looks finds the one or the other, whole. What was there is kept
// under a name with the time in it, which is returned; "" if nothing was.
func (r *Restoring) Replace(ctx context.Context, now time.Time) (kept string, err error) {
	path := r.lock.path
	if err := settle(ctx, r.path); err != nil {
		return "", fmt.Errorf("complete the restored copy: %w", err)
	}
	if err := ownAs(r.path, path); err != nil {
		return "", fmt.Errorf("complete the restored copy: %w", err)
	}
	if kept, err = keepAside(ctx, path, now); err != nil {
		return "", err
	}
	if err := os.Rename(r.path, path); err != nil {
		return "", fmt.Errorf("put the restored database in its place: %w", err)
	}
	return kept, syncFolder(path)
}

// keepAside gives the old database a second name, with all that was written to it, and
// returns that name. Of one that is damaged, or gone, the log of its last writes goes
// to that name as well, so that it is not taken for the restored one's.
func keepAside(ctx context.Context, path string, now time.Time) (kept string, err error) {
	name := freeName(path + ".replaced-" + now.UTC().Format("20060102T150405Z"))
	var held []string
	for _, ending := range companions { // SQLite removes what it cannot read
		switch err := keep(path+ending, name+ending); {
		case err == nil:
			held = append(held, ending)
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("keep the database that is to be replaced: %w", err)
		}
	}
	whole := false
	if _, err := os.Stat(path); err == nil {
		if err := settle(ctx, path); err != nil && !unreadable(err) {
			return "", errors.Join(fmt.Errorf("complete the database that is to be replaced: %w", err), removeAll(name, held))
		} else if err == nil {
			whole = true
		}
		if err := keep(path, name); err != nil {
			return "", fmt.Errorf("keep the database that is to be replaced: %w", err)
		}
		kept = name
	}
	if whole { // its one file has all of it
		return kept, errors.Join(removeAll(name, held), syncFolder(path))
	}
	if len(held) > 0 {
		kept = name
	}
	return kept, errors.Join(removeAll(path, companions), syncFolder(path))
}

// removeAll removes the files of a name with each of the endings.
func removeAll(name string, endings []string) error {
	var failed error
	for _, ending := range endings {
		if err := os.Remove(name + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("tidy up beside the database: %w", err))
		}
	}
	return failed
}

// freeName returns the first of name, name-2, name-3 … that neither a database nor what
// belongs to one has.
func freeName(name string) string {
	for n, free := 1, name; ; free = fmt.Sprintf("%s-%d", name, n) {
		if !slices.ContainsFunc(append([]string{""}, companions...), func(ending string) bool {
			_, err := os.Lstat(free + ending)
			return err == nil
		}) {
			return free
		}
		n++
	}
}

// keep gives a file another name beside its own, or copies it where that cannot be.
func keep(path, name string) error {
	err := os.Link(path, name)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return copyFile(path, name, func(Progress) {})
}

// settle writes all that belongs to a database into its one file, and to the disk. It
// fails if anybody has the database open.
func settle(ctx context.Context, path string) error {
	plain, err := sqliteConnector(path)
	if err != nil {
		return err
	}
	on := sql.OpenDB(plain)
	on.SetMaxOpenConns(1)
	var mode string
	err = on.QueryRowContext(ctx, `PRAGMA journal_mode = delete`).Scan(&mode)
	if isBusy(err) || err == nil && mode != "delete" {
		err = fmt.Errorf("%w: another program has %s open", ErrHeld, path)
	}
	if err = errors.Join(err, on.Close()); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) // #nosec G304 -- the operator's database
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// copyFile copies a file to a new one of mode 0600, durably.
func copyFile(from, to string, tell func(Progress)) error {
	source, err := os.Open(filepath.Clean(from))
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- beside the operator's database
	if err != nil {
		return err
	}
	stop := watchSize(to, info.Size(), tell)
	_, err = io.Copy(target, source)
	stop()
	return errors.Join(err, target.Sync(), target.Close())
}

const restoredEpoch = `UPDATE revocation_head SET epoch = $1, mark = CASE WHEN mark < $2 THEN $2 ELSE mark END`

// restoredMails removes the mails whose link is dead.
const restoredMails = `DELETE FROM outbox WHERE link_id <> ''`

// restoredSetup kills the first-administrator link. Where none was ever spent, the next
// start makes another.
const restoredSetup = `UPDATE setup SET link = $1, expires_at = 0 WHERE NOT spent`

// restoredCodes removes the authorization codes: which of them were spent since, the
// picture does not say.
const restoredCodes = `DELETE FROM authorization_code`

const restoredTransfer = `DELETE FROM transfer`

// restoredLifetimes states once more how long tokens live, for those that were given out
// after the picture was taken.
const restoredLifetimes = `
	UPDATE access_lifetime SET held_until = $1 + lifetime_ms + $2 WHERE held_until < $1 + lifetime_ms + $2`

// Restored takes the database as a picture of the past, which it is after a restore of
// whatever kind, in one step: a new epoch of the log begins, every link and code is
// dead, the first-administrator link too, and, unless keepSessions, all sessions are
// ended. What was good once before the picture was taken is not good once more. It
// returns how many links there were that had not been spent.
func (db *DB) Restored(ctx context.Context, keepSessions bool, e audit.Entry) (links int, err error) {
	err = db.step(ctx, "restored", func(s *step) error {
		if err := s.row(`SELECT count(*) FROM link WHERE spent_at IS NULL AND NOT decoy AND expires_at > $1`, s.at.UnixMilli()).Scan(&links); err != nil {
			return fmt.Errorf("count the links: %w", err)
		}
		if _, err := s.exec(restoredEpoch, credential.NewOrdinal(), s.at.UnixMilli()); err != nil {
			return fmt.Errorf("begin a new epoch: %w", err)
		}
		if _, err := s.exec(restoredLifetimes, s.at.UnixMilli(), revocation.Margin.Milliseconds()); err != nil {
			return fmt.Errorf("hold the lifetimes: %w", err)
		}
		nobodys := credential.NewSecret().Hash()
		if _, err := s.exec(restoredSetup, nobodys[:]); err != nil {
			return fmt.Errorf("kill the first-administrator link: %w", err)
		}
		for _, remove := range []string{restoredMails, acceptLinks, restoredCodes, restoredTransfer} {
			if _, err := s.exec(remove); err != nil {
				return fmt.Errorf("remove what is no longer good: %w", err)
			}
		}
		if !keepSessions {
			if _, err := s.endAll("restored"); err != nil {
				return err
			}
		}
		s.audit(e)
		return nil
	})
	return links, err
}
