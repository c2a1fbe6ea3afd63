package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// An Answer says what a credential is worth (RFC 7662). It may be remembered
// until Expires, as if it were a token issued at Issued.
type Answer struct {
	Standing Standing
	Subject  string // sub, as the client knows the user; the client's id where ClientOnly is set
	Audience string // empty for cookies
	Scope    string
	Issued   int64 // Unix seconds
	Expires  int64 // Unix seconds
	Session  bool  // whether the answer may name the session
	Cookie   bool  // whether it is about a cookie, which is drawn on no grant
	// ClientOnly says that a client has drawn it for itself: there is no user, session
	// or grant in Standing.
	ClientOnly bool
	Refresh    bool // whether it is about a refresh token
}

// Introspect says what a cookie, an access token or a refresh token is worth. used is
// when the asker saw the credential last; zero if it does not say.
//
// With an empty clientID it is the operator's own service that asks: it is told of all,
// by the store and never by what is remembered. A client that asks is told of its own
// tokens and of those that are meant for it, and of no cookie; what it was told of an
// access token may be told again from memory, held to the log, so that an end at another
// node is known when this one has heard of it. Introspect returns false for whatever is
// not good, for whichever reason.
func (m *Manager) Introspect(ctx context.Context, token string, used time.Time, clientID string) (Answer, bool, error) {
	var a Answer
	var err error
	switch {
	case strings.HasPrefix(token, cookiePrefix) && clientID != "":
		return Answer{}, false, nil
	case strings.HasPrefix(token, cookiePrefix):
		a, err = m.introspectCookie(ctx, token, used)
	case strings.HasPrefix(token, refreshPrefix):
		a, err = m.introspectRefresh(ctx, token)
	default:
		a, err = m.introspectAccess(ctx, token, clientID)
	}
	if errors.Is(err, ErrNone) {
		return Answer{}, false, nil
	}
	if err != nil {
		return Answer{}, false, unavailable("introspect", err)
	}
	if clientID != "" && a.Standing.Client.ID != clientID && a.Audience != clientID {
		return Answer{}, false, nil
	}
	return a, true, nil
}

func (m *Manager) introspectCookie(ctx context.Context, value string, used time.Time) (Answer, error) {
	ordinal, secret, ok := cutCookie(value)
	if !ok {
		return Answer{}, ErrNone
	}
	id := credential.Session + ordinal
	known := m.seen.at(id) // before the read: it is in what is read, or known here still
	st, err := m.store.OfSession(ctx, id)
	if err != nil {
		return Answer{}, err
	}
	if !secret.Opens(st.Session.SecretHash) || st.over(st.Now, later(known, m.seen.at(id))) {
		return Answer{}, ErrNone
	}
	r, err := newRecord(&st)
	if err != nil {
		return Answer{}, err
	}
	seen := st.Now
	if !used.IsZero() { // a report cannot lie in the future
		seen = later(earlier(used, st.Now), st.Session.LastSeenAt)
	}
	m.seen.join(r)
	if err := m.see(ctx, r, seen); err != nil {
		return Answer{}, err
	}
	issued := st.stamp()
	life := min(m.config.Access, st.Client.Access)
	ends := st.IdleEnds(later(seen, m.seen.at(id)))
	return Answer{
		Standing: st, Subject: st.User.ID, Issued: issued, Session: true, Cookie: true,
		Expires: min(issued+int64(life/time.Second), ends.Unix()),
	}, nil
}

func (m *Manager) introspectRefresh(ctx context.Context, text string) (Answer, error) {
	token, genuine := m.refresh.parse(text)
	if !genuine {
		return Answer{}, ErrNone
	}
	st, err := m.store.OfGrant(ctx, token.grantID)
	if err != nil {
		return Answer{}, err
	}
	current := token.generation == st.Grant.Generation && token.secret.Opens(st.Grant.RefreshHash)
	if !current || st.over(st.Now, m.seen.at(st.Session.ID)) || st.grantOver() {
		return Answer{}, ErrNone
	}
	return Answer{
		Standing: st, Subject: m.SubjectOf(&st), Scope: st.Grant.Scope, Session: st.Client.FirstParty, Refresh: true,
		Issued: st.Grant.CreatedAt.Unix(), Expires: st.Session.ExpiresAt.Unix(),
	}, nil
}
