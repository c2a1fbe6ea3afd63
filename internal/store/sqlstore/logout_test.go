package sqlstore

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// Who sends notices is told of each commit that may have made some, when they can be read
// already; and of no other.
func TestWhoSendsNoticesIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		var clock atomic.Int64
		clock.Store(crowdNow)
		db := open(t, Options{URL: url, Now: func() time.Time { return instant(clock.Load()) }})
		ctx, entry := t.Context(), audit.New(audit.SignedIn, audit.OK, audit.Origin{})
		due, told := []string(nil), 0
		db.Noticed(func() {
			told++
			var err error
			due, err = db.DueNotices(ctx)
			must(t, err)
		})
		must(t, db.SetTerms(ctx, session.ClientTerms{ID: "cli_shop", Told: true, Access: 10 * time.Minute}))
		u := account.User{ID: "usr_1", Email: "ada@example.com", EmailKey: "ada@example.com"}
		_, err := db.AddUser(ctx, u, "", entry)
		must(t, err)
		begin := func(id string) {
			now := instant(clock.Add(10_000))
			s := session.Session{ID: "ses_" + id, UserID: u.ID, CreatedAt: now, LastSeenAt: now, Idle: time.Hour, ExpiresAt: now.Add(time.Hour)}
			must(t, db.Add(ctx, s, session.Grant{ID: "grt_" + id, SessionID: s.ID, ClientID: "cli_shop", CreatedAt: now}, 0, entry))
		}
		end := func(want int, what session.Ending) {
			t.Helper()
			told, due = 0, nil
			_, err := db.End(ctx, what, entry)
			must(t, err)
			if told == 0 || len(due) != want {
				t.Errorf("an end of %+v told %d times, and %v were due", what, told, due)
			}
		}
		begin("1")
		if told != 0 {
			t.Errorf("told %d times before anything was over", told)
		}
		end(1, session.Ending{Kind: feed.Session, ID: "ses_1"})
		_, _, err = db.ClaimNotices(ctx, "cli_shop", "lease", time.Hour, 10)
		must(t, err)
		begin("2")
		end(0, session.Ending{Kind: feed.All}) // whose notices are made a little later
		if n, _, err := db.Lapse(ctx, time.Minute); n != 1 || err != nil {
			t.Errorf("everyone's end made %d notices: %v", n, err)
		}
		begin("3")
		end(1, session.Ending{Kind: feed.User, ID: u.ID})
	})
}
