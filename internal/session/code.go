package session

import (
	"context"
	"errors"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// A Code is what an authorization code stands for (RFC 6749 §4.1): what a client asked
// for, and the session on which it may draw that, once, within a minute.
type Code struct {
	ID          string
	SecretHash  credential.Hash
	RequestID   string // of the authorization request, which is answered once
	SessionID   string
	ClientID    string
	RedirectURI string // as the request had it; "" if it had none
	Challenge   string // of PKCE, by S256; "" if the request had none
	Audience    string // a resource (RFC 8707); "" for the issuer itself
	Scope       string // separated by spaces
	Nonce       string // for the ID token
	Claims      string // the claims parameter as JSON; "" if the request had none
	Offline     bool   // what it gives goes on when the person has signed out
	CreatedAt   time.Time
	ExpiresAt   time.Time
	SpentAt     time.Time
	GrantID     string // what it gave when it was spent
}

// ErrAnswered is returned where a request was answered before.
var ErrAnswered = errors.New("the request has been answered")

// CodeStore keeps authorization codes and what they give, and reads what clients draw
// on. A step that fails in a way not named here has happened whole or not at all, and
// may be taken again.
type CodeStore interface {
	// AddCode adds a code that is good for life from now on, by the store's clock.
	// ErrLost unless its session, user and client are alive; ErrAnswered if there is a
	// code for the same request. Of the codes of a session that were not spent, those
	// beyond the newest maxOpen are removed.
	AddCode(ctx context.Context, c Code, life time.Duration, maxOpen int) error
	// OfCode reads a code with the standing of its session: Client is the code's, and
	// Grant what the code gave, if it gave any. What is over is there, too. ErrNone if
	// there is no such code.
	OfCode(ctx context.Context, id string) (Code, Standing, error)
	// Redeem spends a code and adds the grant that it gives, and before it the session
	// that the grant is to be on, if there is one of its own. Of a client's live grants
	// on one session, and of its own live sessions with one user, those beyond the
	// newest sixteen end, reason "replaced". ErrLost, and nothing changed, if the code
	// was spent or has expired, or its session, user or client is over.
	Redeem(ctx context.Context, codeID string, offline *Session, g Grant, e audit.Entry) error
	// SweepCodes removes codes made longer ago than keep, at most limit of them, and
	// returns how many. More says that there may be others.
	SweepCodes(ctx context.Context, keep time.Duration, limit int) (removed int, more bool, err error)
	// OfClient reads what decides about a client alone: Client, OverBefore and Now.
	// ErrNone if there is no such client.
	OfClient(ctx context.Context, id string) (Standing, error)
	// GrantsOf returns up to limit live grants of a user's live sessions, newest first:
	// Session, Grant and Client. Those of the first-party client are not among them.
	GrantsOf(ctx context.Context, userID string, limit int) ([]Standing, error)
}

// Pending is a code that somebody presents, and how things stand with it.
type Pending struct {
	Code     Code
	Standing Standing
	// Renewable says whether a refresh token is to be given: whether the client may use
	// one. It is the caller's to fill in.
	Renewable bool
}

// Spent reports whether the code was presented before.
func (p *Pending) Spent() bool { return !p.Code.SpentAt.IsZero() }

// Expired reports whether the code's time is over.
func (p *Pending) Expired() bool { return !p.Standing.Now.Before(p.Code.ExpiresAt) }

const (
	// codeLife is how long a code is good for. RFC 6749 §4.1.2 recommends ten minutes at
	// most; a redirect takes seconds.
	codeLife = time.Minute
	// codesKept is how long a code is known after that: for as long as an answer to its
	// request may be sent once more, and so that its replay ends what it gave.
	codesKept = 2 * time.Hour
	// maxOpenCodes bounds the codes of one session that wait to be spent.
	maxOpenCodes = 32
)

const (
	codePrefix = "ckc_"
	codeLength = len(codePrefix) + ordinalLength + credential.SecretLength
	codeID     = "cod_" // the prefix of a code's id, which is nobody else's to know
)

// IssueCode gives out a code on the holder's session, for a request that is answered
// by it. The caller fills in what the request asked for, and has decided that the
// client may have it. ErrEnded if session, user or client are over; [ErrAnswered] if
// there is a code for this request already.
func (m *Manager) IssueCode(ctx context.Context, h Holder, c Code) (text string, err error) {
	ordinal, secret := credential.NewOrdinal(), credential.NewSecret()
	c.ID, c.SecretHash, c.SessionID = codeID+ordinal, secret.Hash(), h.SessionID()
	err = m.codes.AddCode(ctx, c, codeLife, maxOpenCodes)
	switch {
	case errors.Is(err, ErrAnswered):
		return "", err
	case errors.Is(err, ErrLost):
		return "", ErrEnded
	case err != nil:
		return "", unavailable("add a code", err)
	}
	return codePrefix + ordinal + secret.Encode(), nil
}

// cutCode cuts a code by position. It touches no store.
func cutCode(text string) (id string, secret credential.Secret, ok bool) {
	if len(text) != codeLength || text[:len(codePrefix)] != codePrefix {
		return "", secret, false
	}
	rest := text[len(codePrefix):]
	secret, ok = credential.ParseSecret(rest[ordinalLength:])
	_, isOrdinal := credential.ParseOrdinal(rest[:ordinalLength])
	return codeID + rest[:ordinalLength], secret, ok && isOrdinal
}

// OfCode reads what a code stands for, in one reading of the store. It decides
// nothing: a code that is spent or expired is returned as well. [ErrNone] for what is
// no code of ours, or has been forgotten.
func (m *Manager) OfCode(ctx context.Context, text string) (Pending, error) {
	id, secret, ok := cutCode(text)
	if !ok {
		return Pending{}, ErrNone
	}
	c, st, err := m.codes.OfCode(ctx, id)
	if errors.Is(err, ErrNone) || err == nil && !secret.Opens(c.SecretHash) {
		return Pending{}, ErrNone
	}
	if err != nil {
		return Pending{}, unavailable("read a code", err)
	}
	return Pending{Code: c, Standing: st}, nil
}

// OpenGrant spends a code and gives out what it stands for, in one step. The tokens
// are made first, so that what cannot be given out spends nothing. [ErrLost] if the
// code is spent or has expired, or somebody else was faster: whoever presents it reads
// it again then. ErrEnded if session, user or client are over.
func (m *Manager) OpenGrant(ctx context.Context, p Pending, from audit.Origin) (Drawn, error) {
	st := p.Standing
	if p.Spent() || p.Expired() {
		return Drawn{}, ErrLost
	}
	if err := m.settle(ctx, &st); err != nil {
		return Drawn{}, err
	}
	if st.Client.Disabled || p.Code.CreatedAt.Unix() <= st.Client.OverBefore {
		return Drawn{}, ErrEnded
	}
	offline := m.draftGrant(&st, p.Code, from)
	audience, err := st.target("", m.config.Issuer)
	if err != nil {
		return Drawn{}, err
	}
	if st.Grant.Scope, err = st.narrow(""); err != nil {
		return Drawn{}, err
	}
	var first *refreshToken
	if p.Renewable {
		first = &refreshToken{grantID: st.Grant.ID, generation: 1, secret: credential.NewSecret()}
		st.Grant.Generation, st.Grant.RefreshHash = 1, first.secret.Hash()
	}
	drawn, err := m.give(ctx, &st, audience, st.Grant.Scope, p.Code.Nonce)
	if err != nil {
		return Drawn{}, err
	}
	if first != nil {
		drawn.Refresh = m.refresh.encode(*first)
	}
	e := audit.New(audit.GrantOpened, audit.OK, from)
	e.Actor, e.UserID, e.SessionID, e.Subject = st.User.ID, st.User.ID, st.Session.ID, st.Client.ID
	if err := m.codes.Redeem(ctx, p.Code.ID, offline, st.Grant, e); err != nil {
		return Drawn{}, unavailable("redeem a code", err)
	}
	return drawn, nil
}

// settle returns ErrEnded for a session that is over. What is alive by memory alone is
// written first, so that the store's steps find it alive, too.
func (m *Manager) settle(ctx context.Context, st *Standing) error {
	id := st.Session.ID
	if !st.over(st.Now, time.Time{}) {
		return nil
	}
	if st.over(st.Now, m.seen.at(id)) {
		return ErrEnded
	}
	return m.writeSeen(ctx, m.seen.of(id))
}

// draftGrant fills in the grant that a code gives, and the session that it is on, which
// it returns if that is one of the client's own.
func (m *Manager) draftGrant(st *Standing, c Code, from audit.Origin) (offline *Session) {
	began := later(st.Now, time.Unix(st.floor(), 0))
	if c.Offline {
		s := &st.Session
		s.ID, s.ClientID, s.SecretHash = credential.NewID(credential.Session), c.ClientID, credential.Hash{}
		s.CreatedAt, s.LastSeenAt, s.ChangedBefore, s.Remember = began, began, 0, false
		s.Idle, s.ExpiresAt = m.config.Absolute, began.Add(m.config.Absolute)
		s.IP, s.UserAgent = from.IP, audit.Safe(from.UserAgent, 256)
		offline = s
	}
	st.Grant = Grant{
		ID: credential.NewID(credential.Grant), SessionID: st.Session.ID, ClientID: c.ClientID,
		Audience: c.Audience, Scope: c.Scope, Claims: c.Claims, CreatedAt: began,
	}
	return offline
}

// EndReplayed ends what a code gave that is presented once more: one of the two who
// presented it has stolen it.
func (m *Manager) EndReplayed(ctx context.Context, p Pending, from audit.Origin) error {
	if p.Code.GrantID == "" || p.Standing.Grant.ID == "" {
		return nil
	}
	what := Ending{Kind: feed.Grant, ID: p.Code.GrantID, Reason: "code_reused"}
	if p.Code.Offline {
		what = Ending{Kind: feed.Session, ID: p.Standing.Grant.SessionID, Reason: "code_reused"}
	}
	e := audit.New(audit.CodeReused, audit.OK, from)
	e.UserID, e.SessionID, e.Subject = p.Standing.User.ID, p.Standing.Grant.SessionID, p.Code.ClientID
	if err := m.writeSeen(ctx, m.seen.of(p.Standing.Grant.SessionID)); err != nil {
		return err
	}
	if _, err := m.store.End(ctx, what, e); err != nil {
		return unavailable("end what a code gave", err)
	}
	return nil
}
