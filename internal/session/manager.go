// Package session keeps the one record behind everything a signed-in person
// holds: the cookie, the access token and the refresh token. Ending the record
// ends all three.
//
// It never asks who someone is: it begins a session from an [account.Proof], and
// there is no other way in. It is the one place that mints tokens.
//
// It exports more than forty names: sixteen are faults, each of which a client acts
// on differently, and most others are the nouns that its stores, its pages and the
// provider share.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/device"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Config is what an operator decides about sessions.
type Config struct {
	Issuer        string        // public_url: iss, and the audience of our own endpoints
	Idle          time.Duration // session.idle
	Absolute      time.Duration // session.absolute
	Strict        bool          // session.profile aal2: a refresh is not taken for presence
	Max           int           // session.max; 0: no limit
	Claims        []string      // token.claims: email, email_verified, name, roles
	MaxTokenBytes int           // token.max_bytes
	Grace         time.Duration // refresh.grace
	Access        time.Duration // token.access: how long an answer about a record is remembered
	Cached        int           // session.cached: the most sessions to remember; 0: a million
	Place         account.Place // names places in mails
}

// Stores are where the records are.
type Stores struct {
	Sessions    Store
	Upkeep      UpkeepStore
	Attachments AttachmentStore
	History     HistoryStore
	Codes       CodeStore
	// Throttle counts what people are told, for all nodes; nil: in this process's memory.
	Throttle throttle.Store
}

// A Manager holds the rules of sessions. It is safe for concurrent use.
type Manager struct {
	config  Config
	store   Store
	upkeep  UpkeepStore
	attach  AttachmentStore
	history HistoryStore
	codes   CodeStore
	ring    *keyring.Ring
	log     *revocation.Log
	refresh *refreshKeys
	devices *deviceKey
	// subjects makes the sub of what clients get.
	subjects subjects
	told     throttle.Store // counts what is told of devices that we do not know
	now      func() time.Time
	logger   *slog.Logger

	records *feed.Memory[record, *record]           // by session id, without its prefix
	tokens  *feed.Memory[seenToken, *seenToken]     // by access token
	answers *feed.Memory[knownAnswer, *knownAnswer] // likewise, of clients that asked
	seen    presence

	firstParty atomic.Pointer[ClientTerms] // as it was declared here
}

// sessionsPerToken is how many sessions may be remembered for each access token that
// is. A token takes four times as much, and few are shown to this server: services
// check theirs by themselves.
const sessionsPerToken = 10

// New returns a manager. secret is the server's secret, of which refresh tokens
// are derived.
func New(c Config, stores Stores, ring *keyring.Ring, log *revocation.Log, secret []byte, now func() time.Time, logger *slog.Logger) (*Manager, error) {
	keys, err := newRefreshKeys(secret)
	if err != nil {
		return nil, err
	}
	devices, err := newDeviceKey(secret)
	if err != nil {
		return nil, err
	}
	known, err := newSubjects(secret)
	if err != nil {
		return nil, err
	}
	if c.Cached == 0 {
		c.Cached = 1_000_000
	}
	told := stores.Throttle
	if told == nil {
		told = throttle.New(now, maxTold)
	}
	return &Manager{
		config: c, store: stores.Sessions, upkeep: stores.Upkeep, attach: stores.Attachments, history: stores.History, codes: stores.Codes,
		ring: ring, log: log, refresh: keys, devices: devices, subjects: known, told: told, now: now, logger: logger,
		records: feed.NewMemory[record](log.Set(), c.Cached),
		tokens:  feed.NewMemory[seenToken](log.Set(), c.Cached/sessionsPerToken),
		answers: feed.NewMemory[knownAnswer](log.Set(), c.Cached/answersPerSession),
	}, nil
}

// An Opening says how a session is to begin.
type Opening struct {
	From     audit.Origin
	Event    audit.Event // SignedIn, SignedUp or AdministratorMade
	Device   string      // as the application calls it; empty: read from the user agent
	Remember bool
	Cookie   bool // give out a cookie
	Tokens   bool // give out an access and a refresh token
	Audience string
	Scope    string
	// Browser says that it is one, which keeps cookies and is known by DeviceCookie
	// alone: what the last sign-in there gave it, "" if it has none. See Opened.
	Browser      bool
	DeviceCookie string
}

// Tokens are what one client draws.
type Tokens struct {
	Access    string
	ExpiresIn time.Duration
	Refresh   string    // empty where only an access token was asked for
	Until     time.Time // when a browser is to forget them; zero: when it is closed
}

// Opened is a session that has begun, with what was given out.
type Opened struct {
	Standing Standing
	Cookie   string
	Tokens   Tokens
	// DeviceCookie is for a browser, to be known by for KnownFor; it opens nothing.
	DeviceCookie string
}

// attempts bounds how often a step that lost its swap begins again. Each loss
// means that another has won, so a handful is never used up in peace.
const attempts = 8

// proofLife is how long a proof is one: it is used at once or not at all.
const proofLife = time.Minute

// Begin begins a session for whom the proof names. ErrCredentials if it names
// nobody, is older than a minute, or the password was set since.
func (m *Manager) Begin(ctx context.Context, proof account.Proof, o Opening) (Opened, error) {
	if proof.UserID() == "" || m.now().Sub(proof.At()) > proofLife {
		return Opened{}, account.ErrCredentials
	}
	for range attempts {
		opened, err := m.begin(ctx, proof, o)
		if !errors.Is(err, ErrLost) {
			return opened, err
		}
	}
	return Opened{}, fault.ErrUnavailable
}

func (m *Manager) begin(ctx context.Context, proof account.Proof, o Opening) (Opened, error) {
	st, err := m.store.Terms(ctx, proof.UserID(), FirstParty)
	if errors.Is(err, ErrNone) || err == nil && !proof.Holds(st.User) {
		return Opened{}, account.ErrCredentials
	}
	if err != nil {
		return Opened{}, unavailable("read the terms of a session", err)
	}
	opened := Opened{Standing: st}
	st = m.draft(st, proof, o)
	if st.Grant.Audience, err = st.target(o.Audience, m.config.Issuer); err != nil {
		return Opened{}, err
	}
	if st.Grant.Scope, err = st.scope(o.Scope); err != nil {
		return Opened{}, err
	}
	if o.Cookie {
		secret := credential.NewSecret()
		st.Session.SecretHash = secret.Hash()
		opened.Cookie = cookieValue(st.Session.ID, secret)
	}
	if o.Tokens {
		first := refreshToken{grantID: st.Grant.ID, generation: 1, secret: credential.NewSecret()}
		st.Grant.Generation, st.Grant.RefreshHash = 1, first.secret.Hash()
		if opened.Tokens, err = m.mint(&st, st.Grant.Audience, st.Grant.Scope); err != nil {
			return Opened{}, err
		}
		opened.Tokens.Refresh = m.refresh.encode(first)
	}
	notices, err := m.arrival(ctx, &st, o, &opened)
	if err != nil {
		return Opened{}, err
	}
	e := audit.New(o.Event, audit.OK, o.From)
	e.Actor, e.UserID, e.SessionID, e.Subject = st.User.ID, st.User.ID, st.Session.ID, audit.Safe(o.Device, 64)
	if err := m.store.Add(ctx, st.Session, st.Grant, m.config.Max, e, notices...); err != nil {
		return Opened{}, unavailable("add a session", err)
	}
	opened.Standing = st
	return opened, m.recheck(ctx, proof, &st, o.From)
}

// recheck looks once more at what the proof rests on, now that whoever ends the
// user's sessions would find this one too. So either the one who has set a new
// password meanwhile has ended this session, or it ends here.
func (m *Manager) recheck(ctx context.Context, proof account.Proof, st *Standing, from audit.Origin) error {
	now, err := m.store.Terms(ctx, st.User.ID, st.Client.ID)
	if err == nil && proof.Holds(now.User) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return unavailable("read the terms of a session", err)
	}
	what := Ending{Kind: feed.Session, ID: st.Session.ID, UserID: st.User.ID, Reason: "proof_outdated"}
	if _, err := m.end(ctx, what, "system", from); err != nil {
		return err
	}
	return account.ErrCredentials
}

// draft fills in the session and its first grant, stamped after everything that
// was over before.
func (m *Manager) draft(st Standing, proof account.Proof, o Opening) Standing {
	began := later(st.Now, time.Unix(st.floor(), 0))
	called := audit.Safe(o.Device, 64)
	if called == "" {
		called = device.Name(o.From.UserAgent)
	}
	st.Session = Session{
		ID: credential.NewID(credential.Session), UserID: st.User.ID,
		CreatedAt: began, LastSeenAt: began, Idle: m.config.Idle, ExpiresAt: began.Add(m.config.Absolute),
		AuthTime: began.Unix(), AMR: proof.AMR(), ACR: proof.ACR(),
		IP: o.From.IP, UserAgent: audit.Safe(o.From.UserAgent, 256), Device: called, Remember: o.Remember,
	}
	st.Grant = Grant{
		ID: credential.NewID(credential.Grant), SessionID: st.Session.ID, ClientID: st.Client.ID,
		CreatedAt: began,
	}
	return st
}

// unavailable wraps an error of a store. A lost swap stays what it is; whatever
// else a store could not do is answered by 503, never by a verdict.
func unavailable(what string, err error) error {
	if errors.Is(err, ErrLost) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", what, fault.ErrUnavailable, err)
}
