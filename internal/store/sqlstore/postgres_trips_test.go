package sqlstore

import (
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A counter stands between a store and its database and counts round trips: how often
// something is sent that is not part of what was sent before.
type counter struct {
	database string // its URL
	address  string // of its socket
	trips    atomic.Int64
	all      sync.WaitGroup
}

// counted returns the URL of a database through a counter.
func counted(t *testing.T, database string) (string, *counter) {
	t.Helper()
	u, err := url.Parse(database)
	must(t, err)
	query := u.Query()
	const socket = ".s.PGSQL.5432"
	port := query.Get("port")
	if port == "" {
		port = "5432"
	}
	c := &counter{database: database, address: filepath.Join(query.Get("host"), ".s.PGSQL."+port)}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	must(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		c.all.Wait()
	})
	c.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.lead(t, conn) })
		}
	})
	query.Set("host", dir)
	query.Del("port")
	u.RawQuery = query.Encode()
	return u.String(), c
}

func (c *counter) lead(t *testing.T, conn net.Conn) {
	database, err := net.Dial("unix", c.address)
	if err != nil {
		t.Error(err)
		return
	}
	var answered atomic.Bool
	answered.Store(true)
	var both sync.WaitGroup
	pass := func(from, to net.Conn, note func()) {
		buffer := make([]byte, 1<<16)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				note()
				_, err = to.Write(buffer[:n])
			}
			if err != nil {
				_, _ = from.Close(), to.Close()
				return
			}
		}
	}
	both.Go(func() {
		pass(conn, database, func() {
			if answered.Swap(false) {
				c.trips.Add(1)
			}
		})
	})
	both.Go(func() { pass(database, conn, func() { answered.Store(true) }) })
	both.Wait()
}

// postgresWorld is a store on PostgreSQL with somebody who has a session.
type postgresWorld struct {
	*DB
	*counter
	user account.User
}

func newPostgresWorld(t *testing.T) *postgresWorld {
	t.Helper()
	through, counter := counted(t, newSchemas(t).fresh(t))
	w := &postgresWorld{DB: open(t, Options{URL: through}), counter: counter}
	ctx := context.Background()
	for _, id := range []string{session.FirstParty, someClient} {
		must(t, w.SetTerms(ctx, session.ClientTerms{ID: id, FirstParty: id == session.FirstParty, Access: 10 * time.Minute}))
	}
	u := account.User{ID: credential.NewID(credential.User), Email: "ada@example.com", EmailKey: "ada@example.com"}
	var err error
	w.user, err = w.AddUser(ctx, u, "", audit.New(audit.UserAdded, audit.OK, audit.Origin{}))
	must(t, err)
	return w
}

// begin adds a session of the user, and returns it with its grant.
func (w *postgresWorld) begin(t *testing.T) (session.Session, session.Grant) {
	t.Helper()
	now := time.Now()
	s := session.Session{
		ID: credential.NewID(credential.Session), UserID: w.user.ID, CreatedAt: now, LastSeenAt: now.Add(-time.Minute),
		Idle: time.Hour, ExpiresAt: now.Add(time.Hour), AMR: []string{"pwd"}, ACR: "aal1",
	}
	g := session.Grant{ID: credential.NewID(credential.Grant), SessionID: s.ID, ClientID: session.FirstParty, Generation: 1, CreatedAt: now}
	must(t, w.Add(context.Background(), s, g, 0, audit.New(audit.SignedIn, audit.OK, audit.Origin{})))
	return s, g
}

// someClient is a client that is not the first-party one.
const someClient = "cli_partner"

// issue adds a code on the session of the user, and returns its id.
func (w *postgresWorld) issue(t *testing.T, s session.Session) string {
	t.Helper()
	id := credential.NewID("cod_")
	c := session.Code{ID: id, RequestID: id, SessionID: s.ID, ClientID: someClient}
	must(t, w.AddCode(context.Background(), c, time.Minute, 32))
	return id
}

// redeem spends a code that was added before the trips are counted.
func (w *postgresWorld) redeem(t *testing.T, s session.Session, offline bool) error {
	t.Helper()
	id := w.issue(t, s)
	w.trips.Store(0)
	g := session.Grant{ID: credential.NewID(credential.Grant), SessionID: s.ID, ClientID: someClient, CreatedAt: time.Now()}
	e := audit.New(audit.GrantOpened, audit.OK, audit.Origin{})
	if !offline {
		return w.Redeem(context.Background(), id, nil, g, e)
	}
	s.ID, s.ClientID = credential.NewID(credential.Session), someClient
	g.SessionID = s.ID
	return w.Redeem(context.Background(), id, &s, g, e)
}

// What is asked for most often costs the round trips that are written here, and no
// more: each is the distance to the database.
func TestPostgresRoundTrips(t *testing.T) {
	ctx := context.Background()
	w := newPostgresWorld(t)
	e := audit.New(audit.SessionEnded, audit.OK, audit.Origin{})
	s, g := w.begin(t)
	code, generation := w.issue(t, s), uint32(0)
	for _, call := range []struct {
		name string
		want int64
		do   func() error
	}{
		{"the first check of a session", 1, func() error { _, err := w.OfSession(ctx, s.ID); return err }},
		{"the reading of a refresh", 1, func() error { _, err := w.OfGrant(ctx, g.ID); return err }},
		{"the rotation of a refresh", 1, func() error {
			generation++
			return w.Rotate(ctx, session.Swap{GrantID: g.ID, Generation: generation, Seen: true})
		}},
		{"a rotation that is lost", 1, func() error {
			err := w.Rotate(ctx, session.Swap{GrantID: g.ID, Generation: 77})
			if !errors.Is(err, session.ErrLost) {
				t.Errorf("a swap of another generation: %v", err)
			}
			return nil
		}},
		{"somebody's password", 1, func() error { _, _, err := w.FindByEmail(ctx, w.user.EmailKey); return err }},
		{"terms, twice in a sign-in", 1, func() error { _, err := w.Terms(ctx, w.user.ID, session.FirstParty); return err }},
		{"devices", 1, func() error { _, _, err := w.Devices(ctx, w.user.ID, ""); return err }},
		{"a session begun", 3, func() error { w.begin(t); return nil }},
		{"a session ended", 5, func() error {
			s, _ := w.begin(t)
			w.trips.Store(0)
			_, err := w.End(ctx, session.Ending{Kind: feed.Session, ID: s.ID, Reason: "test"}, e)
			return err
		}},
		{"a code", 1, func() error { w.issue(t, s); return nil }},
		{"the reading of a code", 1, func() error { _, _, err := w.OfCode(ctx, code); return err }},
		{"a code redeemed", 2, func() error { return w.redeem(t, s, false) }},
		{"a code redeemed for a session of its own", 2, func() error { return w.redeem(t, s, true) }},
		{"a token that a client draws for itself", 1, func() error { _, err := w.OfClient(ctx, someClient); return err }},
		{"a client that is not known", 1, func() error {
			if _, _, err := w.FindClient(ctx, someClient); !errors.Is(err, oauth.ErrNoClient) {
				return err
			}
			return nil
		}},
		{"a client's assertion", 1, func() error { return w.SpendAssertion(ctx, credential.NewOrdinal(), time.Now()) }},
		{"connected applications", 1, func() error { _, err := w.GrantsOf(ctx, w.user.ID, 1000); return err }},
		{"a sign-in that failed", 2, func() error { return w.Record(ctx, e) }},
		{"sightings", 1, func() error { return w.Touch(ctx, []session.Seen{{SessionID: s.ID, At: time.Now()}}) }},
		{"a look at the log", 1, func() error { _, err := w.Since(ctx, 1000, 10); return err }},
	} {
		must(t, call.do()) // statements are prepared the first time
		w.trips.Store(0)
		must(t, call.do())
		if got := w.trips.Load(); got != call.want {
			t.Errorf("%s takes %d round trips, want %d", call.name, got, call.want)
		}
	}
}

// Whoever waits for the log's counter holds no other's end up for longer than the last
// round trip takes: it is taken by the last but one, with what belongs to the audit, and
// the entries travel with the commit.
func TestPostgresTakesNumbersLast(t *testing.T) {
	w := newPostgresWorld(t)
	s, _ := w.begin(t)
	var order []string
	e := w.engine.(*postgresEngine)
	step := &step{db: w.DB, body: func(step *step) error {
		_, err := step.endSession(s.ID, "", "test")
		return err
	}}
	must(t, e.transact(t.Context(), func(run runner) error {
		err := step.perform(t.Context(), run)
		for _, one := range run.(*postgresTx).later {
			order = append(order, strings.Fields(one.query)[0])
		}
		return err
	}))
	if got := strings.Join(order, " "); got != "INSERT" {
		t.Errorf("with the commit travel: %q, want the entry alone", got)
	}
}
