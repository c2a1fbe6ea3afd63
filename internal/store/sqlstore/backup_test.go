package sqlstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// A backup is made of a database that is written to all the while: it holds one moment
// of it, whole, with every step that was acknowledged before it began. D-21, I-4
func TestBackupWhileWriting(t *testing.T) {
	url := sqliteURL(t)
	db := open(t, Options{URL: url, Now: time.Now})
	fill(t, db, 20)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	defer writers.Wait()
	defer close(stop)
	acknowledged := make(chan int64, 1) // the newest
	acknowledged <- 20
	writers.Go(func() {
		for n := int64(21); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := db.Record(context.Background(), audit.Entry{Event: audit.SignedIn}); err != nil {
				t.Error(err)
				return
			}
			<-acknowledged
			acknowledged <- n
		}
	})
	for _, name := range []string{"one.db", "two.db", "three.db"} {
		before := <-acknowledged
		acknowledged <- before
		file := filepath.Join(t.TempDir(), name)
		held, err := Backup(t.Context(), url, file, quiet)
		must(t, err)
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("others may read the backup: its mode is %v", info.Mode())
		}
		if left, err := filepath.Glob(file + "?*"); len(left) > 0 || err != nil {
			t.Errorf("the backup left %q behind", left)
		}
		copied := open(t, Options{URL: "sqlite:" + file, Now: time.Now})
		if diff := cmp.Diff(held, contents(t, copied)); diff != "" {
			t.Errorf("what was told of the backup is not what it holds (-told +held):\n%s", diff)
		}
		var head, rows int64
		must(t, copied.engine.read().QueryRowContext(t.Context(), `SELECT h.seq, (SELECT count(*) FROM audit) FROM audit_head h`).Scan(&head, &rows))
		if head != rows || head < before {
			t.Errorf("the backup holds %d entries, says that they are %d, and %d were acknowledged before it began", rows, head, before)
		}
	}
}

// No file is ever replaced, nor is half a backup found under its name.
func TestBackupReplacesNothing(t *testing.T) {
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "backup.db")
	db := open(t, Options{URL: url, Now: time.Now})
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	if _, err := Backup(t.Context(), url, file, quiet); !errors.Is(err, ErrExists) {
		t.Errorf("a file of this name was there: %v", err)
	}
	if err := publish(filepath.Join(t.TempDir(), "none"), file); !errors.Is(err, ErrExists) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that came meanwhile: %v", err)
	}
	text, err := os.ReadFile(file)
	must(t, err)
	if string(text) != "mine" {
		t.Errorf("the file holds %q", text)
	}
	must(t, os.Remove(file))
	must(t, os.Symlink("nowhere", file))
	if _, err := Backup(t.Context(), url, file, quiet); !errors.Is(err, ErrExists) {
		t.Errorf("a link that leads nowhere: %v", err)
	}
	must(t, os.Remove(file))

	// What a kill left is begun anew; it may be read by others no more than a backup.
	must(t, os.WriteFile(file+partialEnding, []byte("half of a backup"), 0o644)) // #nosec G306 -- as somebody else may have made it
	_, err = Backup(t.Context(), url, file, quiet)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
	must(t, db.Close())
}

// A backup changes nothing in the database, its schema neither: it is what one makes
// before a newer version moves that on.
func TestBackupOfAnOlderSchema(t *testing.T) {
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "backup.db")
	db, _, err := connect(t.Context(), Options{URL: url, Now: time.Now})
	must(t, err)
	old := known(t, url, "")[:4]
	must(t, db.migrate(t.Context(), old))
	_, err = Backup(t.Context(), url, file, quiet)
	must(t, err)
	applied, err := appliedMigrations(t.Context(), db.engine.read())
	must(t, err)
	if len(applied) != len(old) {
		t.Errorf("the schema was moved on to %d", len(applied))
	}
	must(t, db.Close())
	must(t, open(t, Options{URL: "sqlite:" + file, Now: time.Now}).Close())
}

// What is no backup of ours is told from one that is damaged.
func TestCheckFile(t *testing.T) {
	url, folder := sqliteURL(t), t.TempDir()
	db := open(t, Options{URL: url, Now: time.Now})
	fill(t, db, 200)
	whole := filepath.Join(folder, "whole.db")
	_, err := Backup(t.Context(), url, whole, quiet)
	must(t, err)
	bytes, err := os.ReadFile(whole)
	must(t, err)
	spoiled := append([]byte{}, bytes...)
	for i := len(bytes) / 2; i < len(bytes)/2+4096*4; i++ {
		spoiled[i] ^= 0xff
	}
	for name, test := range map[string]struct {
		held []byte
		want error
	}{
		"whole": {bytes, nil}, "empty": {nil, ErrNoBackup}, "text": {[]byte("This is no database, by no means, none."), ErrNoBackup},
		"cut short": {bytes[:len(bytes)/2], ErrDamaged}, "cut to a page": {bytes[:4096], ErrDamaged}, "spoiled": {spoiled, ErrDamaged},
	} {
		file := filepath.Join(folder, "file that is "+name)
		must(t, os.WriteFile(file, test.held, 0o600))
		if _, err := CheckFile(t.Context(), file, quiet); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if left, err := filepath.Glob(file + "?*"); len(left) > 0 || err != nil {
			t.Errorf("%s: looking left %q behind", name, left)
		}
	}
}
