package storetest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// start is when every proof begins: between two seconds, because rounding bites there.
var start = time.Date(2030, 1, 31, 23, 59, 58, 250_000_000, time.UTC)

const (
	idle     = time.Hour        // of the sessions that fixtures sign in
	absolute = 90 * time.Minute // likewise
	lifetime = 10 * time.Minute // of the access tokens, as held by the fixture
	racers   = 8
)

// The clients that every fixture has. Tokens of a partner do not name the session,
// those of the pairwise partner not even the user.
var (
	firstParty = session.ClientTerms{
		ID: session.FirstParty, FirstParty: true, Audiences: []string{"orders", "mail"},
		Scopes: []string{"read", "write"}, Access: lifetime,
	}
	partner  = session.ClientTerms{ID: "cli_partner", Scopes: []string{"read"}, Access: 5 * time.Minute}
	pairwise = session.ClientTerms{ID: "cli_pairwise", Pairwise: true, Access: lifetime}
)

// A clock is the injected one. It stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }
func (c *clock) Set(to time.Time)        { c.ms.Store(to.UnixMilli()) }

// An ear keeps what the store's observer was given.
type ear struct {
	mu      sync.Mutex
	entries []feed.Entry
	during  func([]feed.Entry) // called at each hearing; may be nil
}

func (e *ear) hear(entries []feed.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries = append(e.entries, entries...)
	if e.during != nil {
		e.during(entries)
	}
}

func (e *ear) heard(kind feed.Kind, id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return contains(e.entries, kind, id)
}

// A fixture is one fresh store with a clock, and knows what was put into it.
type fixture struct {
	Stores
	clock *clock
	ear   *ear
	open  Open

	users    []string
	sessions []string
	grants   []string
	links    []string
}

func newFixture(t *testing.T, open Open) *fixture {
	t.Helper()
	f := &fixture{clock: &clock{}, ear: &ear{}, open: open}
	f.clock.Set(start)
	f.Stores = open(t, f.clock.Now, f.ear.hear)
	for _, terms := range []session.ClientTerms{firstParty, partner, pairwise} {
		must(t, f.Upkeep.SetTerms(t.Context(), terms))
	}
	must(t, f.Revocation.Hold(t.Context(), lifetime))
	return f
}

// again returns another fixture, so that a proof with many cases has one for each.
func (f *fixture) again(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, f.open)
}

// user adds a user with the password hash "old".
func (f *fixture) user(t *testing.T) account.User {
	t.Helper()
	u := draftUser(fmt.Sprintf("ada.%d@example.com", len(f.users)))
	u, err := f.Users.AddUser(t.Context(), u, "old", noted(audit.UserAdded))
	must(t, err)
	f.users = append(f.users, u.ID)
	return u
}

func draftUser(email string) account.User {
	return account.User{
		ID: credential.NewID(credential.User), Email: strings.ToUpper(email[:1]) + email[1:], EmailKey: email,
		Name: "Ada Lovelace",
	}
}

// A signIn is a session with the grant that it began with.
type signIn struct {
	session.Session
	Grant session.Grant
}

// draft is a sign-in that was not added yet: now, by the first-party client, with
// a cookie and a refresh token.
func (f *fixture) draft(userID string) signIn {
	id, now := credential.NewID(credential.Session), f.clock.Now()
	in := signIn{
		Session: session.Session{
			ID: id, UserID: userID, SecretHash: hashOf("cookie of " + id),
			CreatedAt: now, LastSeenAt: now, Idle: idle, ExpiresAt: now.Add(absolute), AuthTime: now.Unix(),
			AMR: []string{"pwd"}, ACR: "aal1", IP: "192.0.2.7", UserAgent: "Mozilla/5.0", Device: "Firefox on Linux",
		},
		Grant: session.Grant{
			ID: credential.NewID(credential.Grant), SessionID: id, ClientID: session.FirstParty,
			Audience: "orders", Scope: "read write", Generation: 1, RefreshHash: hashOf("refresh 1 of " + id),
			CreatedAt: now,
		},
	}
	f.sessions, f.grants = append(f.sessions, in.ID), append(f.grants, in.Grant.ID)
	return in
}

// add adds a drafted sign-in.
func (f *fixture) add(t *testing.T, in signIn) {
	t.Helper()
	must(t, f.Sessions.Add(t.Context(), in.Session, in.Grant, 0, noted(audit.SignedIn)))
}

// signIn adds a session for the user at the clients named, else at the
// first-party client.
func (f *fixture) signIn(t *testing.T, u account.User, clients ...string) signIn {
	t.Helper()
	in := f.draft(u.ID)
	for _, client := range clients {
		in.Grant.ClientID = client
	}
	f.add(t, in)
	return in
}

// end ends something and wants that to be so many records.
func (f *fixture) end(t *testing.T, want int, what session.Ending) {
	t.Helper()
	n, err := f.Sessions.End(t.Context(), what, noted(audit.SessionsEnded))
	must(t, err)
	if n != want {
		t.Errorf("End(%+v) ended %d records, want %d", what, n, want)
	}
}

// swap spends the sign-in's current generation.
func (in signIn) swap(next string) session.Swap {
	return session.Swap{
		GrantID: in.Grant.ID, Generation: in.Grant.Generation, Presented: in.Grant.RefreshHash,
		Next: hashOf(next), Salt: [16]byte{1, 2, 3}, Rotations: []session.Rotation{{Key: hashOf("key of " + next)}},
	}
}

// ofSession reads a session that is there.
func (f *fixture) ofSession(t *testing.T, id string) session.Standing {
	t.Helper()
	st, err := f.Sessions.OfSession(t.Context(), id)
	must(t, err)
	return st
}

// log returns the whole revocation log.
func (f *fixture) log(t *testing.T) []feed.Entry {
	t.Helper()
	page, err := f.Revocation.Since(t.Context(), 0, 100_000)
	must(t, err)
	entries := make([]feed.Entry, len(page.Rows))
	for i, row := range page.Rows {
		entries[i] = row.Entry
	}
	return entries
}

// entry is what a step at the present time should append. No reason means any.
func (f *fixture) entry(kind feed.Kind, id, reason string) feed.Entry {
	now := f.clock.Now()
	return feed.Entry{
		Kind: kind, ID: id, Reason: reason, Before: revocation.Before(now), At: now.Unix(),
		Until: revocation.Until(now, lifetime),
	}
}

// reach returns the Before of the last entry of a kind.
func (f *fixture) reach(t *testing.T, kind feed.Kind) int64 {
	t.Helper()
	for _, e := range slices.Backward(f.log(t)) {
		if e.Kind == kind {
			return e.Before
		}
	}
	t.Fatalf("the log has no %s entry", kind)
	return 0
}

// further is how many seconds an end of a user, a client or everyone may reach
// beyond what it must, to cover what was stamped ahead.
const further = 2

// wantLog fails unless the log holds exactly these entries after the first n: in
// any order, as one step may append them, but numbered without a gap.
func (f *fixture) wantLog(t *testing.T, n int, want ...feed.Entry) {
	t.Helper()
	got := f.log(t)
	for i := range got {
		if got[i].Seq != uint64(i)+1 {
			t.Errorf("entry %d has the number %d, want %d", i, got[i].Seq, i+1)
		}
		got[i].Seq = 0
	}
	byName := func(a, b feed.Entry) int { return strings.Compare(string(a.Kind)+a.ID, string(b.Kind)+b.ID) }
	got, want = slices.SortedFunc(slices.Values(got[min(n, len(got)):]), byName), slices.SortedFunc(slices.Values(want), byName)
	for i := range min(len(got), len(want)) {
		if want[i].Reason == "" {
			got[i].Reason = ""
		}
		ends := got[i].Kind == feed.User || got[i].Kind == feed.Client || got[i].Kind == feed.All
		if more := got[i].Before - want[i].Before; ends && more > 0 && more <= further {
			got[i].Before = want[i].Before
		}
	}
	equal(t, "the log", got, want)
}

// audits returns the audit log, oldest first.
func (f *fixture) audits(t *testing.T) []audit.Entry {
	t.Helper()
	entries, err := f.Audit.Entries(t.Context(), audit.Filter{}, 0, 100_000)
	must(t, err)
	slices.Reverse(entries)
	return entries
}

// noted is an audit entry as a caller gives it.
func noted(event audit.Event) audit.Entry {
	e := audit.New(event, audit.OK, audit.Origin{IP: "192.0.2.7", UserAgent: "Mozilla/5.0", RequestID: "request"})
	e.Actor = "cli"
	return e
}

func contains(entries []feed.Entry, kind feed.Kind, id string) bool {
	return slices.ContainsFunc(entries, func(e feed.Entry) bool { return e.Kind == kind && e.ID == id })
}

func hashOf(text string) credential.Hash { return sha256.Sum256([]byte(text)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal fails with the difference. Nil and empty lists are the same.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}
