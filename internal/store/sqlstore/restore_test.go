package sqlstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// put restores a backup as the house does, and stops before the given stage, as a kill
// would: "copied", "ready", "kept", or "" for never. It returns where the old one is.
func put(t *testing.T, url, backup, stop string) (kept string) {
	t.Helper()
	lock, err := LockAlone(url)
	must(t, err)
	defer func() { must(t, lock.Unlock()) }()
	r, err := lock.Restore(backup, quiet)
	must(t, err)
	if stop == "copied" {
		return ""
	}
	_, err = r.Check(t.Context(), quiet)
	must(t, err)
	db, err := Open(t.Context(), Options{URL: r.URL(), Now: time.Now, Alone: lock})
	must(t, err)
	_, err = db.Restored(t.Context(), false, audit.Entry{Event: audit.DatabaseRestored})
	must(t, errors.Join(err, db.Close()))
	if stop == "ready" {
		return ""
	}
	if stop == "kept" {
		must(t, settle(t.Context(), r.path))
		_, err := keepAside(t.Context(), lock.path, time.Now())
		must(t, err)
		return ""
	}
	kept, err = r.Replace(t.Context(), time.Now())
	must(t, err)
	return kept
}

// names returns the e-mail addresses in a database.
func names(t *testing.T, url string) []string {
	t.Helper()
	db := open(t, Options{URL: url, Now: time.Now})
	rows, err := db.engine.read().QueryContext(t.Context(), `SELECT email FROM account ORDER BY email`)
	all, err := collect(rows, err, scanText)
	must(t, errors.Join(err, db.Close()))
	return all
}

const addName = `
	INSERT INTO account (id, email, email_key, email_verified, name, roles, password, disabled, created_at)
	VALUES ($1, $1, $1, TRUE, '', '', '', FALSE, 1)`

// addNames adds accounts, each in a step of its own.
func addNames(t *testing.T, db *DB, emails ...string) {
	t.Helper()
	for _, email := range emails {
		_, err := db.change(t.Context(), "test", addName, email)
		must(t, err)
	}
}

// A restore that is killed at whatever stage leaves the old database whole, and the next
// one begins cleanly; what was there is kept, to the last write of a server that was
// killed. D-21, I-4
func TestRestoreKilledAtEachStage(t *testing.T) {
	for _, stage := range []string{"copied", "ready", "kept", ""} {
		t.Run("before "+stage, func(t *testing.T) {
			folder := t.TempDir()
			url, backup := "sqlite:"+filepath.Join(folder, "coatcheck.db"), filepath.Join(folder, "backup.db")
			db := open(t, Options{URL: url, Now: time.Now})
			addNames(t, db, "ada")
			_, err := Backup(t.Context(), url, backup, quiet)
			must(t, err)
			addNames(t, db, "bob")
			// A server that is killed leaves its last writes in the log beside the database.
			killed := "sqlite:" + filepath.Join(folder, "killed.db")
			must(t, copyFile(filepath.Join(folder, "coatcheck.db"), filepath.Join(folder, "killed.db"), quiet))
			must(t, copyFile(filepath.Join(folder, "coatcheck.db-wal"), filepath.Join(folder, "killed.db-wal"), quiet))
			must(t, db.Close())

			kept := put(t, killed, backup, stage)
			want := []string{"ada", "bob"}
			if stage != "" {
				if diff := cmp.Diff(want, names(t, killed)); diff != "" {
					t.Errorf("after the kill (-want +got):\n%s", diff)
				}
				db := open(t, Options{URL: killed, Now: time.Now}) // somebody starts the server after all
				addNames(t, db, "eve")
				must(t, db.Close())
				want = append(want, "eve")
				kept = put(t, killed, backup, "")
			}
			if diff := cmp.Diff([]string{"ada"}, names(t, killed)); diff != "" {
				t.Errorf("the restored database (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, names(t, "sqlite:"+kept)); diff != "" {
				t.Errorf("the database that was replaced (-want +got):\n%s", diff)
			}
			if left, err := filepath.Glob(filepath.Join(folder, "*"+restoringEnding+"*")); len(left) > 0 || err != nil {
				t.Errorf("%q is left behind", left)
			}
		})
	}
}

// What the restored database and the one that it replaced hold.
func TestRestoreKeepsWhatItReplaces(t *testing.T) {
	url, backup := sqliteURL(t), filepath.Join(t.TempDir(), "backup.db")
	path := strings.TrimPrefix(url, "sqlite:")
	db := open(t, Options{URL: url, Now: time.Now})
	addNames(t, db, "ada")
	_, err := Backup(t.Context(), url, backup, quiet)
	must(t, err)
	addNames(t, db, "bob")
	must(t, db.Close())

	first := put(t, url, backup, "")
	if diff := cmp.Diff([]string{"ada"}, names(t, url)); diff != "" {
		t.Errorf("the restored database (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ada", "bob"}, names(t, "sqlite:"+first)); diff != "" {
		t.Errorf("the database that was replaced (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the restored database: its mode is %v", info.Mode())
	}
	if second := put(t, url, backup, ""); second == first {
		t.Error("what was kept of the first restore is gone")
	}
	// Where there is nothing, nothing is kept.
	if kept := put(t, sqliteURL(t), backup, ""); kept != "" {
		t.Errorf("of no database %s is kept", kept)
	}
}

// What root restores belongs to whom it belonged before, so that the server can open it;
// its lock, too.
func TestRestoreKeepsTheOwner(t *testing.T) {
	url, backup := sqliteURL(t), filepath.Join(t.TempDir(), "backup.db")
	path := strings.TrimPrefix(url, "sqlite:")
	must(t, open(t, Options{URL: url, Now: time.Now}).Close())
	if os.Geteuid() == 0 { // else there is one owner only
		must(t, os.Chown(path, 65534, 65534))
		must(t, os.Remove(path+lockEnding))
	}
	owner := func(name string) [2]uint32 {
		info, err := os.Stat(name)
		must(t, err)
		status := info.Sys().(*syscall.Stat_t)
		return [2]uint32{status.Uid, status.Gid}
	}
	want := owner(path)
	_, err := Backup(t.Context(), url, backup, quiet)
	must(t, err)
	put(t, url, backup, "")
	for _, name := range []string{path, path + lockEnding} {
		if got := owner(name); got != want {
			t.Errorf("%s belongs to %v, want %v", filepath.Base(name), got, want)
		}
	}
}

// A database that is damaged beyond opening, and the log of one whose file is gone, are
// kept as they are, and no byte of them gets into the restored one.
func TestRestoreOverADamagedDatabase(t *testing.T) {
	folder := t.TempDir()
	backup := filepath.Join(folder, "backup.db")
	source := sqliteURL(t)
	db := open(t, Options{URL: source, Now: time.Now})
	addNames(t, db, "ada")
	_, err := Backup(t.Context(), source, backup, quiet)
	must(t, err)
	addNames(t, db, "bob")
	log, err := os.ReadFile(strings.TrimPrefix(source, "sqlite:") + "-wal")
	must(t, err)

	for name, file := range map[string][]byte{"damaged.db": []byte(strings.Repeat("not a database any more ", 300)), "gone.db": nil} {
		log := log
		if file != nil { // else SQLite would make the file whole again from it
			log = []byte("not a log any more")
		}
		path := filepath.Join(folder, name)
		if file != nil {
			must(t, os.WriteFile(path, file, 0o600))
		}
		must(t, os.WriteFile(path+"-wal", log, 0o600))
		kept := put(t, "sqlite:"+path, backup, "")
		if diff := cmp.Diff([]string{"ada"}, names(t, "sqlite:"+path)); diff != "" {
			t.Errorf("%s: restored (-want +got):\n%s", name, diff)
		}
		for ending, want := range map[string][]byte{"": file, "-wal": log} {
			got, err := os.ReadFile(kept + ending)
			if want != nil && (err != nil || string(got) != string(want)) {
				t.Errorf("%s: %s is not kept as it was: %v", name, ending, err)
			}
		}
	}
}

// Somebody who has the database open without our lock is in the way, too.
func TestRestoreBesideAnotherProgram(t *testing.T) {
	url, backup := sqliteURL(t), filepath.Join(t.TempDir(), "backup.db")
	addNames(t, open(t, Options{URL: url, Now: time.Now}), "ada")
	_, err := Backup(t.Context(), url, backup, quiet)
	must(t, err)
	other := sqliteURL(t)
	alone, err := LockAlone(other)
	must(t, err)
	defer func() { must(t, alone.Unlock()) }()
	addNames(t, open(t, Options{URL: other, Now: time.Now, Alone: alone}), "bob") // and stays open
	r, err := alone.Restore(backup, quiet)
	must(t, err)
	if _, err := r.Replace(t.Context(), time.Now()); !errors.Is(err, ErrHeld) {
		t.Errorf("it was replaced under an open connection: %v", err)
	}
}

// What was good once before a backup is not good once more after it: links and codes,
// the first-administrator link, and all sessions unless they are asked for; and who
// followed the log begins anew.
func TestRestored(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		for _, keep := range []bool{false, true} {
			at := time.Now()
			db := open(t, Options{URL: url, Now: func() time.Time { return at }})
			if !keep {
				fill(t, db, 10)
			}
			restored(t, db, keep, at)
			must(t, db.Close())
		}
	})
}

func restored(t *testing.T, db *DB, keep bool, at time.Time) {
	ctx := context.Background()
	before, err := db.Since(ctx, 0, 100)
	must(t, err)
	liveBefore, err := db.Count(ctx)
	must(t, err)
	_, err = db.change(ctx, "test", `UPDATE setup SET spent = FALSE, expires_at = $1`, at.Add(time.Hour).UnixMilli())
	must(t, err)
	links, err := db.Restored(ctx, keep, audit.Entry{Event: audit.DatabaseRestored})
	must(t, err)
	if want := map[bool]int{false: 10, true: 0}[keep]; links != want {
		t.Errorf("%d links were open, want %d", links, want)
	}
	after, err := db.Since(ctx, 0, 100)
	must(t, err)
	if after.Head.Epoch == before.Head.Epoch || after.Mark.Before(at.Truncate(time.Millisecond)) {
		t.Errorf("the head was %v and is %v, the mark %v", before.Head, after.Head, after.Mark)
	}
	liveAfter, err := db.Count(ctx)
	must(t, err)
	var all int
	for _, row := range after.Rows {
		if row.Kind == feed.All && row.Reason == "restored" && row.Before > at.Unix() {
			all++
		}
	}
	if keep && (liveAfter != liveBefore || after.Head.Seq != before.Head.Seq) || !keep && (liveBefore == 0 || liveAfter != 0 || all != 1) {
		t.Errorf("keeping is %t: of %d live sessions %d are left, and the log holds %d ends of all", keep, liveBefore, liveAfter, all)
	}
	for what, query := range map[string]string{
		"links": `SELECT count(*) FROM link`, "mails with links": `SELECT count(*) FROM outbox WHERE link_id <> ''`,
		"first-administrator links": `SELECT count(*) FROM setup WHERE expires_at > 0`, "marks of a move": `SELECT count(*) FROM transfer`,
		"authorization codes": `SELECT count(*) FROM authorization_code`,
	} {
		var n int
		must(t, db.engine.read().QueryRowContext(ctx, query).Scan(&n))
		if n != 0 {
			t.Errorf("keeping is %t: %d %s are left", keep, n, what)
		}
	}
}
