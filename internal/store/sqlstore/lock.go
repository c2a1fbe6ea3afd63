package sqlstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrHeld means that another process serves or commands the SQLite database, or
// that one restores or moves it now; the error says which process, if that is known.
var ErrHeld = errors.New("the database is in use")

// lockEnding is the ending of the file beside a SQLite database that is locked by
// whoever has it open. The file is never removed and holds nothing.
const lockEnding = "-lock"

// A Lock holds a SQLite database: shared with others that have it open, or alone.
// The system lets go of it when the process ends, in whatever way.
type Lock struct {
	path string // of the database
	file *os.File
}

// LockAlone takes the database that a sqlite: URL names for the caller alone, which
// is how it is replaced or carried away: who opens it meanwhile is refused. It returns
// [ErrHeld] at once if anybody has it open. The database need not be there, but its
// folder must be. To open it nevertheless, name the lock in [Options].
func LockAlone(url string) (*Lock, error) {
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	return lock(path, true)
}

// Path returns the absolute path of the database, with links followed: what the lock
// and the other files beside the database are named after.
func (l *Lock) Path() string { return l.path }

// Unlock lets others open the database. A second time it does nothing.
func (l *Lock) Unlock() error {
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("unlock the database: %w", err)
	}
	return nil
}

// lock takes a database alone or shared.
func lock(path string, alone bool) (*Lock, error) {
	path, err := followed(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path+lockEnding, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- beside the operator's database
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	if err := ownAs(file.Name(), path); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the database: %w", err), file.Close())
	}
	got, err := flock(file, alone)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	case got:
		return &Lock{path: path, file: file}, nil
	case alone:
		err = fmt.Errorf("%w: %s is open in %s. Stop that first, and try again", ErrHeld, path, holders(file))
	default:
		err = fmt.Errorf("%w: %s is being restored or moved by %s. Wait until that is done, and try again", ErrHeld, path, holders(file))
	}
	return nil, errors.Join(err, file.Close())
}

// followed returns where a path leads to, through links. SQLite names its own files
// after that, too.
func followed(path string) (string, error) {
	for range maxLinks {
		target, err := filepath.EvalSymlinks(path)
		if err == nil {
			return target, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the database file: %w", err)
		}
		next, err := os.Readlink(path)
		if err != nil { // the file is not there yet; its folder must be
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", fmt.Errorf("find the folder of the database: %w", err)
			}
			return filepath.Join(folder, filepath.Base(path)), nil
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		path = next
	}
	return "", fmt.Errorf("find the database file: %s is behind too many links", path)
}

// maxLinks bounds a circle of links.
const maxLinks = 16

// syncFolder makes durable which names are in the folder of a file.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path)) // #nosec G304 -- of the operator's database
	if err != nil {
		return fmt.Errorf("sync the folder of %s: %w", path, err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync the folder of %s: %w", path, err)
	}
	return nil
}
