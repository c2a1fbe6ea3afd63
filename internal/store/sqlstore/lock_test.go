package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Who serves or commands a database shares it; who replaces or carries it has it alone.
func TestLock(t *testing.T) {
	url := sqliteURL(t)
	first, second := open(t, Options{URL: url, Now: time.Now}), open(t, Options{URL: url, Now: time.Now})
	_, err := LockAlone(url)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("a lock alone beside two openers: %v", err)
	}
	must(t, first.Close())
	if _, err := LockAlone(url); !errors.Is(err, ErrHeld) {
		t.Errorf("a lock alone beside one opener: %v", err)
	}
	must(t, second.Close())
	alone, err := LockAlone(url)
	must(t, err)
	if _, err := Open(t.Context(), Options{URL: url, Now: time.Now}); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "is being restored or moved by process") {
		t.Errorf("opened while another has it alone: %v", err)
	}
	if _, err := LockAlone(url); !errors.Is(err, ErrHeld) {
		t.Errorf("two have it alone: %v", err)
	}
	must(t, open(t, Options{URL: url, Now: time.Now, Alone: alone}).Close())
	must(t, alone.Unlock())
	must(t, open(t, Options{URL: url, Now: time.Now}).Close())
}

// One database has one lock, by whatever links it is reached.
func TestLockFollowsLinks(t *testing.T) {
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real.db"), filepath.Join(folder, "link.db")
	must(t, os.Symlink("real.db", link)) // before the file is there
	db := open(t, Options{URL: "sqlite:" + link, Now: time.Now})
	if _, err := LockAlone("sqlite:" + real); !errors.Is(err, ErrHeld) {
		t.Errorf("the lock of %s is another than that of a link to it: %v", real, err)
	}
	must(t, db.Close())
	alone, err := LockAlone("sqlite:" + link)
	must(t, err)
	defer func() { must(t, alone.Unlock()) }()
	if want, err := filepath.EvalSymlinks(real); err != nil || alone.Path() != want {
		t.Errorf("the lock is of %s, want %s", alone.Path(), want)
	}
	circle := filepath.Join(folder, "circle.db")
	must(t, os.Symlink("circle.db", circle))
	if _, err := LockAlone("sqlite:" + circle); err == nil {
		t.Error("a link to itself was locked")
	}
}

// A database that cannot be opened is not left locked.
func TestAFailedOpeningLetsGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.txt")
	must(t, os.WriteFile(file, []byte(strings.Repeat("This is no database. ", 100)), 0o600))
	if _, err := Open(t.Context(), Options{URL: "sqlite:" + file, Now: time.Now}); err == nil {
		t.Fatal("it was opened")
	}
	alone, err := LockAlone("sqlite:" + file)
	must(t, err)
	must(t, alone.Unlock())
}
