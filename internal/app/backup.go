package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// A TableSum says what a table holds. Two tables with the same sum hold the same rows.
type TableSum = sqlstore.TableSum

// A Progress says how far long work has come.
type Progress = sqlstore.Progress

// The faults of backups, restores and moves. Each is wrapped in an error that says what
// to do.
var (
	ErrHeld      = sqlstore.ErrHeld      // somebody has the database open, or works on it
	ErrCarried   = sqlstore.ErrCarried   // it was moved away, or half of another was moved into it
	ErrExists    = sqlstore.ErrExists    // a backup of that name
	ErrNoBackup  = sqlstore.ErrNoBackup  // a file that is none
	ErrDamaged   = sqlstore.ErrDamaged   // a backup that is
	ErrNotEmpty  = sqlstore.ErrNotEmpty  // the target of a move
	ErrTargetUse = sqlstore.ErrTargetUse // the target of a move
	ErrDiffers   = sqlstore.ErrDiffers   // the target of a move, when it was read back
	ErrUnmarked  = sqlstore.ErrUnmarked  // the source of a move that is done
)

// ErrPostgres means that PostgreSQL has its own tools for that.
var ErrPostgres = errors.New("the database is PostgreSQL, which has its own tools for that")

// A BackupReport says what a backup holds.
type BackupReport struct {
	File     string     `json:"file"`
	Bytes    int64      `json:"bytes"`
	Database string     `json:"database"`
	Secret   string     `json:"secret,omitempty"` // the file that is not in it; empty if it is kept elsewhere
	Tables   []TableSum `json:"tables"`
}

// Backup writes a copy of the configured SQLite database to a new file, beside a server
// that may be running. See [sqlstore.Backup]. It returns [ErrPostgres], [ErrNoDatabase]
// or [ErrExists] where it cannot.
func Backup(ctx context.Context, c config.Config, file string, tell func(Progress)) (BackupReport, error) {
	path, sqlite := c.SQLite()
	if !sqlite {
		return BackupReport{}, fmt.Errorf("%w: pg_dump --format=custom makes a copy while nodes serve, and archived WAL lets you go back to any moment; see docs/operations.md", ErrPostgres)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return BackupReport{}, fmt.Errorf("%w at %s: name the one you mean with --database or --config", ErrNoDatabase, path)
	}
	folder := filepath.Dir(file)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return BackupReport{}, fmt.Errorf("there is no folder %s: make it first", folder)
	}
	tables, err := sqlstore.Backup(ctx, c.Database, file, tell)
	if err != nil {
		return BackupReport{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return BackupReport{}, fmt.Errorf("look at the backup: %w", err)
	}
	r := BackupReport{File: file, Bytes: info.Size(), Database: path, Tables: tables}
	if secret := SecretPath(path); len(c.Secret) == 0 {
		r.Secret = secret
	} else if c.SecretFile != "" {
		r.Secret = c.SecretFile
	}
	return r, nil
}
