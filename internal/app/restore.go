package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// RestoreOptions say what to restore.
type RestoreOptions struct {
	Config config.Config
	File   string // the backup
	// KeepSessions keeps sessions alive that are alive in the backup, those that have
	// ended since it was made among them.
	KeepSessions bool
	Now          func() time.Time // nil: the wall
	Logger       *slog.Logger     // nil: nothing is logged
	Tell         func(Progress)   // it is called from another goroutine, too
}

// A RestoreReport says what was restored.
type RestoreReport struct {
	File         string     `json:"file"`
	Database     string     `json:"database"`
	Kept         string     `json:"kept,omitempty"` // where the database that was replaced is now
	SessionsKept bool       `json:"sessions_kept"`
	Links        int        `json:"links"`  // how many that had not been spent are dead now
	Tables       []TableSum `json:"tables"` // what the backup holds
}

// Restore puts a backup in the place of the configured SQLite database, in one step at
// its very end: before that nothing is changed, and a kill leaves the old database. The
// replaced one is kept. It refuses a database that anybody has open ([ErrHeld]), a file
// that is no whole backup ([ErrNoBackup], [ErrDamaged]), one of a newer schema, and one
// of another secret ([ErrSecretOther], [ErrSecretMissing]).
//
// A backup is a picture of the past: what was good once before it was made must not be
// good once more. So a new epoch of the log begins, every link, code and
// first-administrator link is dead, fresh keys sign, and all sessions are ended unless
// they are to be kept.
func Restore(ctx context.Context, o RestoreOptions) (RestoreReport, error) {
	path, sqlite := o.Config.SQLite()
	if !sqlite {
		return RestoreReport{}, fmt.Errorf("%w: restore with them while no node runs, then run coatcheck doctor --restored, which ends what must not come back; see docs/operations.md", ErrPostgres)
	}
	lock, err := sqlstore.LockAlone(o.Config.Database)
	if err != nil {
		return RestoreReport{}, err
	}
	defer func() { _ = lock.Unlock() }() // the process's end would do it, too
	release, err := holdBackup(o.File, lock.Path())
	if err != nil {
		return RestoreReport{}, err
	}
	defer release()
	copied, err := lock.Restore(o.File, o.Tell)
	if err != nil {
		return RestoreReport{}, err
	}
	report := RestoreReport{File: o.File, Database: path, SessionsKept: o.KeepSessions}
	if report.Tables, err = copied.Check(ctx, o.Tell); err == nil {
		report.Links, err = settleRestored(ctx, o, lock, copied)
	}
	if err != nil {
		return RestoreReport{}, errors.Join(err, copied.Discard())
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	if report.Kept, err = copied.Replace(ctx, now()); err != nil {
		return RestoreReport{}, errors.Join(err, copied.Discard())
	}
	return report, nil
}

// holdBackup refuses a file that is not there, that is the database itself, or that a
// server has open, and keeps one from opening it.
func holdBackup(file, database string) (release func(), err error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", file)
	case err != nil:
		return nil, fmt.Errorf("look at the backup: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is no plain file", ErrNoBackup, file)
	}
	if there, err := os.Stat(database); err == nil && os.SameFile(info, there) {
		return nil, fmt.Errorf("%s is the database itself: to end all that it must not bring back without replacing it, run coatcheck doctor --restored", file)
	}
	if _, err := os.Lstat(file + "-lock"); err != nil {
		return func() {}, nil // nobody has ever served it
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("find the backup: %w", err)
	}
	lock, err := sqlstore.LockAlone("sqlite:" + path)
	if errors.Is(err, ErrHeld) {
		return nil, fmt.Errorf("%w (to copy a database that is served, use coatcheck backup)", err)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Unlock() }, nil
}

// settleRestored brings the copy up to date and ends in it what must not come back. It
// returns how many links are dead now.
func settleRestored(ctx context.Context, o RestoreOptions, lock *sqlstore.Lock, copied *sqlstore.Restoring) (links int, err error) {
	a, err := Open(ctx, Options{Config: o.Config, Now: o.Now, Logger: o.Logger, restoring: copied, alone: lock})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Restored(ctx, filepath.Base(o.File), o.KeepSessions)
}

// Restored takes the database as a picture of the past: see [Restore]. The audit says
// from where it came. It returns how many links were alive and are dead now. Servers
// that run over the database learn of it at once.
func (a *App) Restored(ctx context.Context, source string, keepSessions bool) (links int, err error) {
	if err := a.Log.Hold(ctx); err != nil {
		return 0, err
	}
	e := audit.New(audit.DatabaseRestored, audit.OK, Origin)
	e.Actor, e.Subject = ByCommand, audit.Safe(source, 128)+", all sessions ended"
	if keepSessions {
		e.Subject = audit.Safe(source, 128) + ", sessions kept"
	}
	if links, err = a.Store.Restored(ctx, keepSessions, e); err != nil {
		return 0, err
	}
	// A key that was distrusted since, after a leak, is trusted in the picture.
	keys := audit.New(audit.KeysDistrusted, audit.OK, Origin)
	keys.Actor, keys.Subject = ByCommand, "restored"
	return links, a.Ring.Distrust(ctx, keys)
}
