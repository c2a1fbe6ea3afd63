package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// moveTo moves the database of a configuration to PostgreSQL.
func moveTo(t *testing.T, c config.Config, target string) (MoveReport, error) {
	t.Helper()
	return Move(t.Context(), MoveOptions{Config: c, From: c.Database, To: target, Tell: untold})
}

// onTarget is the configuration of a node on the target, with the secret that was kept
// beside the source.
func onTarget(t *testing.T, c config.Config, target string) config.Config {
	t.Helper()
	path, _ := c.SQLite()
	text, err := os.ReadFile(SecretPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return configure(t, map[string]string{"database": target, "secret": string(text), "verify_email": "optional"})
}

// Nobody is signed out by a move: cookies, access and refresh tokens go on, waiting
// mails are sent, links open, keys sign, and who followed the log goes on where it was.
// What was over is over. I-3, I-4
func TestMoveSignsNobodyOut(t *testing.T) {
	t.Parallel()
	c := configure(t, nil)
	a := assemble(t, c)
	ada, bob := signIn(t, a, "ada@example.com"), signIn(t, a, "bob@example.com")
	setup, _, err := a.Accounts.OfferSetup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Sessions.Attach(t.Context(), ada.Standing.Session.ID, []byte(`{"cart":["coat"]}`), 0); err != nil {
		t.Fatal(err)
	}
	spent := ada.Tokens.Refresh
	renewed, err := a.refresh(t, spent)
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Sessions.CheckCookie(t.Context(), bob.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sessions.SignOut(t.Context(), h, here); err != nil {
		t.Fatal(err)
	}
	if err := a.Accounts.Forgot(t.Context(), "ada@example.com", here); err != nil {
		t.Fatal(err)
	}
	page, err := a.Store.Since(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	mails, err := a.Store.Counts(t.Context())
	if err != nil || mails.Waiting == 0 {
		t.Fatal(mails, err)
	}
	keys, _ := a.Ring.Published()
	a.shut(t)

	target := storetest.Postgres(t)
	report, err := moveTo(t, c, target)
	path, _ := c.SQLite()
	if err != nil || report.From != path || report.Secret != SecretPath(path) || len(report.Tables) < 15 {
		t.Fatalf("%+v, %v", report, err)
	}
	b := assemble(t, onTarget(t, c, target))
	defer b.shut(t)
	if h, err := b.Sessions.CheckCookie(t.Context(), ada.Cookie); err != nil || h.Session().ID != ada.Standing.Session.ID {
		t.Errorf("the cookie: %v", err)
	}
	if _, err := b.Sessions.CheckToken(t.Context(), renewed.Access); err != nil {
		t.Errorf("the access token: %v", err)
	}
	if again, err := b.refresh(t, spent); err != nil || again.Refresh != renewed.Refresh {
		t.Errorf("the retry of a refresh from before the move has another successor: %v", err)
	}
	if _, err := b.refresh(t, renewed.Refresh); err != nil {
		t.Errorf("the refresh token: %v", err)
	}
	if _, err := b.Sessions.CheckCookie(t.Context(), bob.Cookie); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a session that had ended: %v", err)
	}
	if document, _, err := b.Sessions.Attachment(t.Context(), ada.Standing.Session.ID); err != nil || string(document) != `{"cart":["coat"]}` {
		t.Errorf("the application's data are %s, %v", document, err)
	}
	if err := b.Accounts.SetupOpen(t.Context(), setup); err != nil {
		t.Errorf("the first-administrator link: %v", err)
	}
	if published, _ := b.Ring.Published(); string(published) != string(keys) {
		t.Errorf("other keys are published: %s", published)
	}
	moved, err := b.Store.Since(t.Context(), 0, 100)
	if diff := cmp.Diff(page.Rows, moved.Rows); err != nil || diff != "" || moved.Head != page.Head {
		t.Errorf("the log ends at %v, and at %v in the source: %v\n%s", moved.Head, page.Head, err, diff)
	}
	if counts, err := b.Store.Counts(t.Context()); err != nil || counts != mails {
		t.Errorf("of mails %+v, and %+v in the source, %v", counts, mails, err)
	}
	if count, subjects := b.events(t); count[audit.DatabaseMoved] != 1 || subjects[audit.DatabaseMoved] != "from sqlite:"+path {
		t.Errorf("the audit says of the move %q", subjects[audit.DatabaseMoved])
	}
	// And nobody serves the old one beside it.
	examine(t, Examine(t.Context(), c, nil, nil), "database", Serious, "it was moved to postgres://")
}

// A secret with which the nodes would open no session is refused before anything.
func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	c, _ := begun(t)
	target := storetest.Postgres(t)
	if _, err := moveTo(t, secretOf(t, c, otherSecret), target); !errors.Is(err, ErrSecretOther) || !strings.Contains(err.Error(), "nobody's session would go on there") {
		t.Errorf("another secret: %v", err)
	}
	if _, err := moveTo(t, configure(t, nil), target); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("no database: %v", err)
	}
	if _, err := Move(t.Context(), MoveOptions{Config: c, From: target, To: target, Tell: untold}); err == nil {
		t.Error("from PostgreSQL")
	}
	const address = "postgres://coatcheck:hunter2@127.0.0.1:1/none?connect_timeout=1"
	if _, err := moveTo(t, c, address); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a target that is not there: %v", err)
	}
	a := assemble(t, c)
	if _, err := moveTo(t, c, target); !errors.Is(err, ErrHeld) {
		t.Errorf("under a server: %v", err)
	}
	a.shut(t)
	if _, err := moveTo(t, c, target); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if _, err := New(t.Context(), options(configure(t, map[string]string{"database": target, "secret": otherSecret, "verify_email": "optional"}))); !errors.Is(err, ErrSecretOther) {
		t.Errorf("a node with another secret on the target: %v", err)
	}
}

// The way back: the source is restored from itself, under its old name.
func TestTheWayBackFromAMove(t *testing.T) {
	t.Parallel()
	c := configure(t, nil)
	a := assemble(t, c)
	ada := signIn(t, a, "ada@example.com")
	a.shut(t)
	if _, err := moveTo(t, c, storetest.Postgres(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), options(c)); !errors.Is(err, ErrCarried) {
		t.Fatalf("the source is served: %v", err)
	}
	path, _ := c.SQLite()
	aside := filepath.Join(filepath.Dir(path), "before-the-move.db")
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), RestoreOptions{Config: c, File: aside, KeepSessions: true, Tell: untold}); err != nil {
		t.Fatal(err)
	}
	server := start(t, options(c), nil)
	if _, err := server.Sessions.CheckCookie(t.Context(), ada.Cookie); err != nil {
		t.Errorf("ada is not in: %v", err)
	}
}
