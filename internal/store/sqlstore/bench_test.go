package sqlstore

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/session"
)

const benchSessions = 2000

// benchStore returns a SQLite store with sessions, and their grants.
func benchStore(b *testing.B) (*DB, []string) {
	b.Helper()
	ctx := context.Background()
	db, err := Open(ctx, Options{URL: "sqlite:" + b.TempDir() + "/bench.db", Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	err = db.SetTerms(ctx, session.ClientTerms{ID: session.FirstParty, FirstParty: true, Access: 10 * time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	u := account.User{ID: credential.NewID(credential.User), Email: "ada@example.com", EmailKey: "ada@example.com"}
	if _, err := db.AddUser(ctx, u, "", audit.New(audit.UserAdded, audit.OK, audit.Origin{})); err != nil {
		b.Fatal(err)
	}
	grants := make([]string, benchSessions)
	var failed atomic.Pointer[error]
	each(64, len(grants), func(i int) {
		now := time.Now()
		s := session.Session{
			ID: credential.NewID(credential.Session), UserID: u.ID, CreatedAt: now, LastSeenAt: now,
			Idle: time.Hour, ExpiresAt: now.Add(time.Hour), AMR: []string{"pwd"}, ACR: "aal1",
			UserAgent: strings.Repeat("Mozilla/5.0 ", 8), Device: "Firefox on Linux",
		}
		g := session.Grant{ID: credential.NewID(credential.Grant), SessionID: s.ID, ClientID: session.FirstParty, Generation: 1, CreatedAt: now}
		grants[i] = g.ID
		if err := db.Add(ctx, s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})); err != nil {
			failed.Store(&err)
		}
	})
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return db, grants
}

// each calls f with 0 to n-1 from so many goroutines.
func each(goroutines, n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// BenchmarkRotate compares rotations by 64 callers with the driver's own single-row
// commits under synchronous=FULL.
func BenchmarkRotate(b *testing.B) {
	ctx := context.Background()
	b.Run("store/64", func(b *testing.B) {
		db, grants := benchStore(b)
		generations := make([]atomic.Uint32, len(grants))
		var lost atomic.Int64
		eight := make([]session.Rotation, 8)
		b.ResetTimer()
		each(64, b.N, func(i int) {
			n := i % len(grants)
			generation := generations[n].Add(1)
			w := session.Swap{GrantID: grants[n], Generation: generation, Rotations: eight, Seen: true}
			if db.Rotate(ctx, w) != nil {
				lost.Add(1)
				generations[n].Add(^uint32(0))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
		b.ReportMetric(float64(lost.Load()), "lost")
	})
	b.Run("read/64", func(b *testing.B) {
		db, grants := benchStore(b)
		b.ResetTimer()
		each(64, b.N, func(i int) {
			if _, err := db.OfGrant(ctx, grants[i%len(grants)]); err != nil {
				b.Error(err)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
	})
	b.Run("raw", func(b *testing.B) {
		open, err := sqliteConnector(b.TempDir()+"/raw.db", "journal_mode(wal)")
		if err != nil {
			b.Fatal(err)
		}
		raw := sql.OpenDB(open)
		b.Cleanup(func() { _ = raw.Close() })
		raw.SetMaxOpenConns(1)
		if _, err := raw.ExecContext(ctx, `CREATE TABLE one (id BIGINT PRIMARY KEY, n BIGINT); INSERT INTO one VALUES (1, 0)`); err != nil {
			b.Fatal(err)
		}
		update, err := raw.PrepareContext(ctx, `UPDATE one SET n = n + 1 WHERE id = $1`)
		if err != nil {
			b.Fatal(err)
		}
		defer update.Close()
		b.ResetTimer()
		for b.Loop() {
			if _, err := update.ExecContext(ctx, 1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	})
}
