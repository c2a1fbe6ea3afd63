package sqlstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// BenchmarkEndThousand ends a thousand grants of one user at once: of clients that are
// told of it, and of others. What is told must not be felt by who ends.
func BenchmarkEndThousand(b *testing.B) {
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		for _, told := range []bool{false, true} {
			for name, what := range map[string]session.Ending{"user": {Kind: feed.User}, "others": {Kind: feed.Session}, "everyone": {Kind: feed.All}} {
				b.Run(fmt.Sprintf("%s/told=%t/%s", engine, told, name), func(b *testing.B) {
					url := sqliteURL(b)
					if engine != "SQLite" {
						url = newSchemas(b).fresh(b)
					}
					db, err := Open(b.Context(), Options{URL: url, Now: time.Now})
					must(b, err)
					b.Cleanup(func() { _ = db.Close() })
					must(b, db.SetTerms(b.Context(), session.ClientTerms{ID: "cli_shop", Told: told, Access: 10 * time.Minute}))
					for b.Loop() {
						b.StopTimer()
						user := thousand(b, db)
						ending := what
						switch ending.Kind {
						case feed.User:
							ending.ID = user
						case feed.Session:
							ending.UserID = user
						}
						b.StartTimer()
						_, err := db.End(b.Context(), ending, audit.New(audit.SessionsEnded, audit.OK, audit.Origin{}))
						must(b, err)
					}
				})
			}
		}
	}
}

// thousand adds a user with a thousand sessions, each with a grant of the client.
func thousand(b *testing.B, db *DB) string {
	b.Helper()
	id := credential.NewID(credential.User)
	_, err := db.AddUser(b.Context(), account.User{ID: id, Email: id + "@example.com", EmailKey: id + "@example.com"}, "", audit.New(audit.UserAdded, audit.OK, audit.Origin{}))
	must(b, err)
	now := time.Now().Add(3 * time.Second) // after an end of everyone a moment ago
	each(64, 1000, func(int) {
		s := session.Session{ID: credential.NewID(credential.Session), UserID: id, CreatedAt: now, LastSeenAt: now, Idle: time.Hour, ExpiresAt: now.Add(time.Hour)}
		g := session.Grant{ID: credential.NewID(credential.Grant), SessionID: s.ID, ClientID: "cli_shop", Generation: 1, CreatedAt: now}
		if err := db.Add(b.Context(), s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})); err != nil {
			b.Error(err)
		}
	})
	return id
}
