package app

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/session"
)

const password = "rain on a tin roof at night"

var here = audit.Origin{IP: "192.0.2.1"}

func untold(Progress) {}

// assemble is New for tests; what it returns is closed by the caller.
func assemble(t *testing.T, c config.Config) *App {
	t.Helper()
	a, err := New(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *App) shut(t *testing.T) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// refresh renews a token as an SDK does: with a key that belongs to it.
func (a *App) refresh(t *testing.T, token string) (session.Tokens, error) {
	t.Helper()
	return a.Sessions.Refresh(t.Context(), session.RefreshRequest{
		Token: token, ClientID: session.FirstParty, Key: token[len(token)-40:], Arrived: time.Now(), From: here,
	})
}

// events counts the entries of the audit by event, and returns the subject of the newest
// of each.
func (a *App) events(t *testing.T) (count map[audit.Event]int, subjects map[audit.Event]string) {
	t.Helper()
	entries, err := a.Audit.Entries(t.Context(), audit.Filter{}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	count, subjects = map[audit.Event]int{}, map[audit.Event]string{}
	for _, e := range entries {
		if count[e.Event]++; count[e.Event] == 1 {
			subjects[e.Event] = e.Subject
		}
	}
	return count, subjects
}

// Everything that a person or an operator held when the backup was made, and what became
// of it until it was restored on another machine.
type past struct {
	config  config.Config // of the other machine
	file    string
	backup  BackupReport
	ada     session.Opened // lives
	bob     session.Opened // signed out after the backup
	renewed session.Tokens // of ada, after the backup
	setup   string         // a first-administrator link of before the backup
	keys    []string
}

// aPast makes a backup in the middle of a life, while the server has the database open.
func aPast(t *testing.T) past {
	t.Helper()
	c := configure(t, map[string]string{"secret": otherSecret})
	a := assemble(t, c)
	p := past{ada: signIn(t, a, "ada@example.com"), bob: signIn(t, a, "bob@example.com"), file: filepath.Join(t.TempDir(), "backup.db")}
	var err error
	var offered bool
	if p.setup, offered, err = a.Accounts.OfferSetup(t.Context()); err != nil || !offered {
		t.Fatal(offered, err)
	}
	if p.backup, err = Backup(t.Context(), c, p.file, untold); err != nil {
		t.Fatal(err)
	}
	if p.renewed, err = a.refresh(t, p.ada.Tokens.Refresh); err != nil {
		t.Fatal(err)
	}
	h, err := a.Sessions.CheckCookie(t.Context(), p.bob.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sessions.SignOut(t.Context(), h, here); err != nil {
		t.Fatal(err)
	}
	for _, k := range a.Ring.Keys() {
		p.keys = append(p.keys, k.ID)
	}
	a.shut(t)
	p.config = configure(t, map[string]string{"secret": otherSecret})
	return p
}

func (p past) restore(t *testing.T, keep bool) (RestoreReport, error) {
	t.Helper()
	return Restore(t.Context(), RestoreOptions{Config: p.config, File: p.file, KeepSessions: keep, Tell: untold})
}

// A backup that was made while the server ran is restored on another machine, with the
// same rows; and what was good once is not good once more. D-21, I-3, I-4
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	p := aPast(t)
	report, err := p.restore(t, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.backup.Tables, report.Tables); diff != "" || report.Kept != "" {
		t.Errorf("the report is %+v (-backed up +restored):\n%s", report, diff)
	}
	a := assemble(t, p.config)
	defer a.shut(t)
	if _, err := a.Accounts.CheckPassword(t.Context(), "ada@example.com", password, here); err != nil {
		t.Errorf("ada cannot sign in: %v", err)
	}
	for name, opened := range map[string]session.Opened{"ada": p.ada, "bob": p.bob} {
		if _, err := a.Sessions.CheckCookie(t.Context(), opened.Cookie); !errors.Is(err, session.ErrEnded) {
			t.Errorf("the cookie of %s: %v", name, err)
		}
		if _, err := a.Sessions.CheckToken(t.Context(), opened.Tokens.Access); err == nil {
			t.Errorf("the access token of %s is good", name)
		}
		if _, err := a.refresh(t, opened.Tokens.Refresh); !errors.Is(err, session.ErrEnded) {
			t.Errorf("the refresh token of %s: %v", name, err)
		}
	}
	if _, err := a.refresh(t, p.renewed.Refresh); !errors.Is(err, session.ErrEnded) {
		t.Errorf("the refresh token of after the backup: %v", err)
	}
	p.isOver(t, a)
	count, subjects := a.events(t)
	if count[audit.DatabaseRestored] != 1 || subjects[audit.DatabaseRestored] != "backup.db, all sessions ended" || count[audit.RefreshReused] != 0 {
		t.Errorf("the audit counts %v, and says %q", count, subjects[audit.DatabaseRestored])
	}
}

// isOver tells of what is over after every restore.
func (p past) isOver(t *testing.T, a *App) {
	t.Helper()
	if err := a.Accounts.SetupOpen(t.Context(), p.setup); !errors.Is(err, account.ErrSetupOver) {
		t.Errorf("the first-administrator link of before the backup: %v", err)
	}
	for _, k := range a.Ring.Keys() {
		for _, old := range p.keys {
			if k.ID == old {
				t.Errorf("the key %s of the backup is trusted", old)
			}
		}
	}
}

// Kept sessions are those of the picture: who signed out since is in again. A refresh
// token that was given out after it ends its session without an alarm, because the
// record knows nothing of that generation.
func TestRestoreKeepsSessions(t *testing.T) {
	t.Parallel()
	p := aPast(t)
	if report, err := p.restore(t, true); err != nil || !report.SessionsKept {
		t.Fatal(report, err)
	}
	a := assemble(t, p.config)
	defer a.shut(t)
	for name, opened := range map[string]session.Opened{"ada": p.ada, "bob": p.bob} {
		if _, err := a.Sessions.CheckCookie(t.Context(), opened.Cookie); err != nil {
			t.Errorf("the cookie of %s: %v", name, err)
		}
		if _, err := a.Sessions.CheckToken(t.Context(), opened.Tokens.Access); err == nil || errors.Is(err, session.ErrEnded) {
			t.Errorf("the access token of %s is not to be renewed: %v", name, err)
		}
	}
	if _, err := a.refresh(t, p.bob.Tokens.Refresh); err != nil {
		t.Errorf("a refresh token of the generation that the backup knows: %v", err)
	}
	if _, err := a.refresh(t, p.renewed.Refresh); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a generation above the record's: %v", err)
	}
	p.isOver(t, a)
	count, _ := a.events(t)
	if count[audit.RefreshReused] != 0 || count[audit.SessionEnded] == 0 {
		t.Errorf("the audit counts %v", count)
	}
}

// Whoever follows the log resumes nothing across a restore.
func TestRestoreBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		p := aPast(t)
		epochs := map[string]bool{}
		for range 2 {
			if _, err := p.restore(t, keep); err != nil {
				t.Fatal(err)
			}
			a := assemble(t, p.config)
			page, err := a.Store.Since(t.Context(), 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			epochs[page.Head.Epoch] = true
			a.shut(t)
		}
		if len(epochs) != 2 {
			t.Errorf("keeping is %t: two restores have the epochs %v", keep, epochs)
		}
	}
}

// folder returns the sum of each file beside the database but the lock.
func folder(t *testing.T, c config.Config) map[string][32]byte {
	t.Helper()
	path, _ := c.SQLite()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][32]byte{}
	for _, f := range files {
		if text, err := os.ReadFile(filepath.Join(filepath.Dir(path), f.Name())); err == nil && !strings.HasSuffix(f.Name(), "-lock") {
			sums[f.Name()] = sha256.Sum256(text)
		}
	}
	return sums
}

// What is refused has changed nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	p := aPast(t)
	if _, err := p.restore(t, false); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(t.TempDir(), "newer.db")
	copyTo(t, p.file, newer)
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO schema_migration (version, name, checksum, applied_at) SELECT max(version) + 1, 'more', 'x', 1 FROM schema_migration`)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(text, []byte("no backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, _ := p.config.SQLite()
	before, without := folder(t, p.config), p.config
	without.Secret = nil
	for name, test := range map[string]struct {
		config config.Config
		file   string
		words  string
	}{
		"another secret":   {secretOf(t, p.config, "b7mTzNfV0a3xq9Yd5Lk2Wc8Rg1Hs6Jp4Uu-0Ee_Xx7Q"), p.file, ErrSecretOther.Error()},
		"a newer schema":   {p.config, newer, "newer coatcheck"},
		"no backup":        {p.config, text, ErrNoBackup.Error()},
		"no file":          {p.config, text + ".none", "there is no file"},
		"a folder":         {p.config, filepath.Dir(text), "is no plain file"},
		"itself":           {p.config, path, "is the database itself"},
		"PostgreSQL":       {configure(t, map[string]string{"database": "postgres://coatcheck@db/x", "secret": otherSecret}), p.file, "coatcheck doctor --restored"},
		"a missing secret": {without, p.file, ErrSecretMissing.Error()},
	} {
		_, err := Restore(t.Context(), RestoreOptions{Config: test.config, File: test.file, Tell: untold})
		if err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, want %q", name, err, test.words)
		}
		if diff := cmp.Diff(before, folder(t, p.config)); diff != "" {
			t.Errorf("%s has changed something (-before +after):\n%s", name, diff)
		}
	}
	a := assemble(t, p.config)
	defer a.shut(t)
	if _, err := p.restore(t, false); !errors.Is(err, ErrHeld) {
		t.Errorf("under a server: %v", err)
	}
	if _, err := Restore(t.Context(), RestoreOptions{Config: configure(t, map[string]string{"secret": otherSecret}), File: path, Tell: untold}); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "coatcheck backup") {
		t.Errorf("from a database that is served: %v", err)
	}
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A database that other tools restored is made a restored one beside the servers that
// run over it.
func TestRestoredByOtherTools(t *testing.T) {
	t.Parallel()
	c := configure(t, nil)
	server := start(t, options(c), nil)
	opened := signIn(t, server.App, "ada@example.com")
	command, err := Open(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.Restored(context.WithoutCancel(t.Context()), "other tools", false); err != nil {
		t.Fatal(err)
	}
	command.shut(t)
	if _, err := server.Sessions.CheckToken(t.Context(), opened.Tokens.Access); err == nil {
		// Within two seconds, and typically fifty milliseconds.
		deadline := time.After(10 * time.Second)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for err == nil {
			select {
			case <-deadline:
				t.Fatal("the server has not heard of it")
			case <-tick.C:
				_, err = server.Sessions.CheckToken(t.Context(), opened.Tokens.Access)
			}
		}
	}
}

// Backups that cannot be made say what to do instead.
func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	c := configure(t, nil)
	file := filepath.Join(t.TempDir(), "backup.db")
	if _, err := Backup(t.Context(), c, file, untold); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("of nothing: %v", err)
	}
	if left := folder(t, c); len(left) != 0 {
		t.Errorf("looking made %v", left)
	}
	assemble(t, c).shut(t)
	if _, err := Backup(t.Context(), c, filepath.Join(t.TempDir(), "none", "backup.db"), untold); err == nil || !strings.Contains(err.Error(), "there is no folder") {
		t.Errorf("into no folder: %v", err)
	}
	postgres := configure(t, map[string]string{"database": "postgres://coatcheck@db/x", "secret": otherSecret})
	if _, err := Backup(t.Context(), postgres, file, untold); !errors.Is(err, ErrPostgres) || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("of PostgreSQL: %v", err)
	}
	report, err := Backup(t.Context(), c, file, untold)
	path, _ := c.SQLite()
	if err != nil || report.Secret != SecretPath(path) || report.Bytes == 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
