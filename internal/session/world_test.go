package session_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/hashing"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

const (
	issuer   = "http://localhost:8080"
	password = "a rather long pass phrase"
)

var here = audit.Origin{IP: "192.0.2.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", RequestID: "request-1"}

// A world is a manager over a real store, with a clock to turn.
type world struct {
	*session.Manager
	t        testing.TB
	db       *sqlstore.DB
	faults   *faultyStore
	codes    *faultyCodes
	accounts *account.Directory
	log      *revocation.Log
	ring     *keyring.Ring
	mu       sync.Mutex
	at       time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// faultyStore breaks a store's methods on demand, before or after they have done
// their work, and shows grants as a restored database would have them.
type faultyStore struct {
	session.Store
	before, after error
	restored      func(*session.Grant)
	adding        func()
}

func (f *faultyStore) Add(ctx context.Context, s session.Session, g session.Grant, max int, e audit.Entry, notices ...mail.Message) error {
	if f.adding != nil {
		f.adding()
	}
	return f.Store.Add(ctx, s, g, max, e, notices...)
}

func (f *faultyStore) Rotate(ctx context.Context, s session.Swap) error {
	if f.before != nil {
		return f.before
	}
	if err := f.Store.Rotate(ctx, s); err != nil {
		return err
	}
	return f.after
}

func (f *faultyStore) End(ctx context.Context, what session.Ending, e audit.Entry, notices ...mail.Message) (int, error) {
	if f.before != nil {
		return 0, f.before
	}
	n, err := f.Store.End(ctx, what, e, notices...)
	if err != nil {
		return n, err
	}
	return n, f.after
}

func (f *faultyStore) OfSession(ctx context.Context, id string) (session.Standing, error) {
	if f.before != nil {
		return session.Standing{}, f.before
	}
	return f.Store.OfSession(ctx, id)
}

func (f *faultyStore) OfGrant(ctx context.Context, id string) (session.Standing, error) {
	if f.before != nil {
		return session.Standing{}, f.before
	}
	st, err := f.Store.OfGrant(ctx, id)
	if f.restored != nil {
		f.restored(&st.Grant)
	}
	return st, err
}

func defaults() session.Config {
	return session.Config{
		Issuer: issuer, Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour,
		MaxTokenBytes: 1024, Grace: 10 * time.Second, Access: 10 * time.Minute,
	}
}

func newWorld(t testing.TB, c session.Config) *world {
	t.Helper()
	w := &world{t: t, at: time.Date(2026, 11, 21, 9, 0, 0, 123e6, time.UTC)}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	w.db, err = sqlstore.Open(t.Context(), sqlstore.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Now: w.now, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	secret := []byte(strings.Repeat("s", 32))
	w.log = revocation.New(revocation.Config{Lifetime: c.Access}, w.db, w.now, quiet)
	w.db.Heard(w.log.Heard)
	w.accounts, err = account.New(account.Config{Passwords: account.PasswordPolicy{MinLength: 8}},
		account.Stores{Users: w.db, Setup: w.db, APIKeys: w.db, Links: w.db, Audit: w.db},
		account.NewHasher(account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}, 2, 100, hashing.Here), w.log, secret, w.now, quiet)
	w.must(err)
	w.ring, err = keyring.New(keyring.Config{Algorithm: jwt.ES256, Access: c.Access}, w.db, w.log, secret, w.now, quiet)
	w.must(err)
	w.faults, w.codes = &faultyStore{Store: w.db}, &faultyCodes{CodeStore: w.db}
	w.Manager, err = session.New(c, session.Stores{Sessions: w.faults, Upkeep: w.db, Attachments: w.db, History: w.db, Codes: w.codes}, w.ring, w.log, secret, w.now, quiet)
	w.must(err)
	w.must(w.log.Hold(t.Context()))
	w.must(w.ring.Load(t.Context()))
	w.must(w.Declare(t.Context(), session.ClientTerms{
		ID: session.FirstParty, FirstParty: true, Access: c.Access,
		Audiences: []string{"orders"}, Scopes: []string{"read", "write"},
	}))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// person signs a new user up and returns the proof of it.
func (w *world) person(email string) account.Proof {
	w.t.Helper()
	proof, err := w.accounts.SignUp(w.t.Context(), account.NewUser{Email: email, Name: "Ada", Password: password}, here)
	w.must(err)
	return proof
}

// begin begins a session with a cookie and tokens, for a new person.
func (w *world) begin(email string) session.Opened {
	w.t.Helper()
	return w.beginFor(w.person(email))
}

func (w *world) beginFor(proof account.Proof) session.Opened {
	w.t.Helper()
	opened, err := w.Begin(w.t.Context(), proof, session.Opening{From: here, Event: audit.SignedIn, Cookie: true, Tokens: true})
	w.must(err)
	return opened
}

// refresh asks for a successor as the first-party client does.
func (w *world) refresh(token string, change ...func(*session.RefreshRequest)) (session.Tokens, error) {
	r := session.RefreshRequest{Token: token, ClientID: session.FirstParty, Arrived: w.now(), From: here}
	for _, f := range change {
		f(&r)
	}
	return w.Refresh(w.t.Context(), r)
}

func withKey(key string) func(*session.RefreshRequest) {
	return func(r *session.RefreshRequest) { r.Key = key }
}

// channels are all ways in which a session can be used; each returns its fault.
func (w *world) channels(opened session.Opened) map[string]error {
	w.t.Helper()
	answers := map[string]error{}
	_, answers["cookie"] = w.CheckCookie(w.t.Context(), opened.Cookie)
	_, answers["access token"] = w.CheckToken(w.t.Context(), opened.Tokens.Access)
	_, answers["refresh token"] = w.refresh(opened.Tokens.Refresh)
	for name, token := range map[string]string{"introspected cookie": opened.Cookie, "introspected access token": opened.Tokens.Access} {
		_, active, err := w.Introspect(w.t.Context(), token, time.Time{}, "")
		if err == nil && !active {
			err = session.ErrEnded
		}
		answers[name] = err
	}
	return answers
}

func (w *world) entries(event audit.Event) []audit.Entry {
	w.t.Helper()
	all, err := w.db.Entries(w.t.Context(), audit.Filter{Event: event}, 0, 100)
	w.must(err)
	return all
}
