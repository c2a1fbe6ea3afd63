//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlstore

import (
	"errors"
	"os"
)

// flock refuses to lock a file alone, because this system has no lock of the kind; so
// nothing is ever replaced under a server.
func flock(_ *os.File, alone bool) (bool, error) {
	if alone {
		return false, errNoLocks
	}
	return true, nil
}

var errNoLocks = errors.New("whether a server holds the database cannot be told on this system: restore and move on Linux, macOS or BSD")

func holders(*os.File) string { return "another process" }

// ownAs has nothing to do: files belong to folders here.
func ownAs(_, _ string) error { return nil }
