package sqlstore

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A transaction that holds the counter makes the next one wait, so a tail that
// polls meanwhile can skip nothing. I-6
func TestPostgresHeldTransactionSkipsNoEntry(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: newSchemas(t).fresh(t)})
	e := db.engine.(*postgresEngine)
	took, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		s := &step{db: db, body: endSomething}
		first <- e.transact(ctx, func(run runner) error {
			err := s.perform(ctx, run)
			close(took)
			<-release
			return err
		})
	}()
	<-took
	second := make(chan error, 1)
	go func() { second <- db.step(ctx, "test", endSomething) }()
	waiting := func() bool {
		var n int
		must(t, e.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&n))
		return n > 0
	}
	until(t, "the second transaction waits for the counter", waiting)
	page, err := db.Since(ctx, 1, 10)
	must(t, err)
	if len(page.Rows) != 0 || page.Head.Seq != 0 {
		t.Errorf("read %+v before anything was committed", page)
	}
	close(release)
	must(t, <-first)
	must(t, <-second)
	page, err = db.Since(ctx, 1, 10)
	must(t, err)
	if len(page.Rows) != 2 || page.Rows[0].Seq != 1 || page.Rows[1].Seq != 2 || page.Head.Seq != 2 {
		t.Errorf("read %+v, want the entries 1 and 2", page)
	}
}

// Who holds the counter for two seconds is aborted, and the others go on.
func TestPostgresAbortsWhoHoldsTheCounter(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: newSchemas(t).fresh(t)})
	e := db.engine.(*postgresEngine)
	took, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		s := &step{db: db, body: endSomething}
		first <- e.transact(ctx, func(run runner) error {
			err := s.perform(ctx, run)
			close(took)
			<-release
			return err
		})
	}()
	<-took
	must(t, db.step(ctx, "test", endSomething))
	close(release)
	if err := <-first; err == nil {
		t.Error("the holder committed after all")
	}
	page, err := db.Since(ctx, 1, 10)
	must(t, err)
	if len(page.Rows) != 1 || page.Head.Seq != 1 {
		t.Errorf("the log is %+v, want one entry", page)
	}
}

func TestPostgresBeginsAgainAfterADeadlock(t *testing.T) {
	db := open(t, Options{URL: newSchemas(t).fresh(t)})
	heard := 0
	db.Heard(func(entries []feed.Entry) { heard += len(entries) })
	tries := 0
	must(t, db.step(context.Background(), "test", func(s *step) error {
		if tries++; tries < 3 {
			s.end(feed.Session, "ses_y", "test")
			return &pgconn.PgError{Code: "40P01"}
		}
		return endSomething(s)
	}))
	if tries != 3 || heard != 1 {
		t.Errorf("%d tries, %d entries heard, want 3 and 1", tries, heard)
	}
}

// The database's own clock decides where none was injected.
func TestPostgresClock(t *testing.T) {
	ctx := context.Background()
	db := open(t, Options{URL: newSchemas(t).fresh(t)})
	facts, err := db.Facts(ctx)
	must(t, err)
	if facts.Engine != "PostgreSQL" || facts.SynchronousCommit != "on" || facts.ClockAhead.Abs() > time.Minute {
		t.Errorf("facts are %+v", facts)
	}
	page, err := db.Since(ctx, 0, 1)
	must(t, err)
	if time.Since(page.Now).Abs() > time.Minute {
		t.Errorf("the store's clock says %v", page.Now)
	}
	must(t, db.SetTerms(ctx, session.ClientTerms{ID: session.FirstParty, Access: time.Minute}))
	must(t, db.Hold(ctx, time.Minute))
}

func TestPostgresRefusesToOpen(t *testing.T) { // V-104
	fresh := newSchemas(t).fresh(t)
	for name, url := range map[string]string{
		"nobody listens":             "postgres://ada:canary@127.0.0.1:1/x?connect_timeout=2",
		"not a URL":                  "postgres://ada:canary@host:port/x",
		"an unknown setting":         "postgres://ada:canary@127.0.0.1/x?sslmode=perhaps",
		"a bad escape":               "postgres://ada:%zzcanary@127.0.0.1/x",
		"no such database":           strings.Replace(strings.Replace(fresh, "postgres@", "postgres:canary@", 1), "/test_", "/none_", 1),
		"commits are not waited for": fresh + "&synchronous_commit=off",
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(context.Background(), Options{URL: url})
			if err == nil {
				must(t, db.Close())
				t.Fatal("it was opened")
			}
			t.Log(err)
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}
