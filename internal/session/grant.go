package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// Drawn is what a client was given by a token request.
type Drawn struct {
	Access    string
	ExpiresIn time.Duration
	Refresh   string // "" where none is given
	ID        string // the ID token; "" where none is given
	Scope     string // of the access token
	Audience  string // of the access token
	GrantID   string // "" where the client draws for itself
	until     time.Time
}

// openid is the scope that asks for an ID token (OpenID Connect Core §3.1.2.1).
const openid = "openid"

// give mints an access token on the grant, and an ID token beside it where openid is
// granted and the client gets any.
func (m *Manager) give(ctx context.Context, st *Standing, audience, scope, nonce string) (Drawn, error) {
	tokens, err := m.mint(st, audience, scope)
	if err != nil {
		return Drawn{}, err
	}
	drawn := Drawn{
		Access: tokens.Access, ExpiresIn: tokens.ExpiresIn, Scope: scope, Audience: audience, GrantID: st.Grant.ID, until: tokens.Until,
	}
	if st.Client.IDAlgorithm != "" && slices.Contains(strings.Fields(scope), openid) {
		drawn.ID, err = m.idToken(ctx, st, drawn.Access, nonce)
	}
	return drawn, err
}

// RefreshGrant is Refresh for every client but the first-party one. The scope may be
// narrowed within what was granted; the audience is the grant's, or the issuer itself.
// It gives a new ID token where openid was granted (OpenID Connect Core §12.2).
func (m *Manager) RefreshGrant(ctx context.Context, r RefreshRequest) (Drawn, error) {
	if r.ClientID == FirstParty || r.ClientID == "" {
		return Drawn{}, ErrInvalidToken
	}
	return m.exchange(ctx, r)
}

// EndGrantOf ends the grant that a token is drawn on, for the client that gives it back
// (RFC 7009), and the session too if that was opened for the client. What is no token
// of ours, is over, or is another client's changes nothing and is no error.
// ErrUnsupportedToken for a token that a client has drawn for itself.
func (m *Manager) EndGrantOf(ctx context.Context, token, clientID string, from audit.Origin) error {
	grantID, err := m.grantOfToken(ctx, token, clientID)
	if err != nil || grantID == "" {
		return err
	}
	st, err := m.store.OfGrant(ctx, grantID)
	if errors.Is(err, ErrNone) || err == nil && st.Client.ID != clientID {
		return nil
	}
	if err != nil {
		return unavailable("read a grant", err)
	}
	what := Ending{Kind: feed.Grant, ID: grantID, Reason: "revoked"}
	if st.Session.ClientID != "" {
		what = Ending{Kind: feed.Session, ID: st.Session.ID, Reason: "revoked"}
	}
	if err := m.writeSeen(ctx, m.seen.of(st.Session.ID)); err != nil {
		return err
	}
	e := audit.New(audit.GrantEnded, audit.OK, from)
	e.Actor, e.UserID, e.SessionID, e.Subject = clientID, st.User.ID, st.Session.ID, clientID
	if _, err := m.store.End(ctx, what, e); err != nil {
		return unavailable("end a grant", err)
	}
	return nil
}

// grantOfToken returns the grant that a genuine token names; "" for any other.
func (m *Manager) grantOfToken(ctx context.Context, token, clientID string) (string, error) {
	if strings.HasPrefix(token, refreshPrefix) {
		t, _ := m.refresh.parse(token)
		return t.grantID, nil
	}
	claims, err := m.parse(ctx, token, "", later(m.now(), m.log.Recorded()))
	switch {
	case err != nil || claims.ClientID != clientID:
		return "", nil
	case claims.GrantID == "":
		return "", ErrUnsupportedToken
	case !credential.IsID(credential.Grant, claims.GrantID):
		return "", nil
	}
	return claims.GrantID, nil
}

// EndClientOf ends all that a client has with a user: its live grants, its own sessions
// and its codes, and returns how many grants and sessions that were.
func (m *Manager) EndClientOf(ctx context.Context, userID, clientID, reason, actor string, from audit.Origin) (int, error) {
	what := Ending{Kind: feed.Grant, UserID: userID, ClientID: clientID, Reason: reason}
	e := audit.New(audit.GrantEnded, audit.OK, from)
	e.Actor, e.UserID, e.Subject = actor, userID, clientID
	n, err := m.store.End(ctx, what, e)
	if err != nil {
		return 0, unavailable("end the grants of a client", err)
	}
	return n, nil
}

// Connected is what a client has with a person.
type Connected struct {
	ClientID string
	Since    time.Time // when the oldest live grant was given
	LastUsed time.Time // when the client last drew a token; to some seconds
	Scopes   []string  // of all live grants, sorted
	Offline  bool      // some of it goes on when the person has signed out
}

// maxConnected bounds how many grants of one person are looked at.
const maxConnected = 1000

// Grants returns what clients have with a user now, the client that was used last first.
// The first-party client is not among them.
func (m *Manager) Grants(ctx context.Context, userID string) ([]Connected, error) {
	rows, err := m.codes.GrantsOf(ctx, userID, maxConnected)
	if err != nil {
		return nil, unavailable("list the grants of a user", err)
	}
	var all []Connected
	for i := range rows {
		st := &rows[i]
		at := slices.IndexFunc(all, func(c Connected) bool { return c.ClientID == st.Client.ID })
		if at < 0 {
			at, all = len(all), append(all, Connected{ClientID: st.Client.ID, Since: st.Grant.CreatedAt})
		}
		c := &all[at]
		c.Since = earlier(c.Since, st.Grant.CreatedAt)
		c.LastUsed = later(c.LastUsed, later(st.Grant.CreatedAt, st.Grant.RotatedAt))
		c.Offline = c.Offline || st.Session.ClientID != ""
		c.Scopes = append(c.Scopes, strings.Fields(st.Grant.Scope)...)
	}
	for i := range all {
		slices.Sort(all[i].Scopes)
		all[i].Scopes = slices.Compact(all[i].Scopes)
	}
	slices.SortStableFunc(all, func(a, b Connected) int { return b.LastUsed.Compare(a.LastUsed) })
	return all, nil
}
