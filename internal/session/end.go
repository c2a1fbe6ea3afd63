package session

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// SignOut ends the holder's session.
func (m *Manager) SignOut(ctx context.Context, h Holder, from audit.Origin) error {
	what := Ending{Kind: feed.Session, ID: h.SessionID(), UserID: h.UserID(), Reason: "sign_out"}
	_, err := m.end(ctx, what, h.UserID(), from)
	return err
}

// EndOwn ends one of the holder's own sessions. ErrNoSession for one that is
// over, unknown or another person's, which look the same.
func (m *Manager) EndOwn(ctx context.Context, h Holder, id string, from audit.Origin) error {
	what := Ending{Kind: feed.Session, ID: id, UserID: h.UserID(), Reason: "ended"}
	n, err := m.end(ctx, what, h.UserID(), from)
	if err == nil && n == 0 {
		return ErrNoSession
	}
	return err
}

// EndOthers ends all sessions of the holder but the one at hand, and returns how
// many.
func (m *Manager) EndOthers(ctx context.Context, h Holder, from audit.Origin) (int, error) {
	what := Ending{Kind: feed.Session, UserID: h.UserID(), Except: h.SessionID(), Reason: "ended"}
	return m.end(ctx, what, h.UserID(), from)
}

// End ends what an administrator says, and returns how many records that were. The
// audit tells of the user that what names.
func (m *Manager) End(ctx context.Context, what Ending, actor string, from audit.Origin) (int, error) {
	return m.end(ctx, what, actor, from)
}

func (m *Manager) end(ctx context.Context, what Ending, actor string, from audit.Origin) (int, error) {
	event := audit.SessionsEnded
	if what.Kind == feed.Session && what.ID != "" {
		event = audit.SessionEnded
	}
	e := audit.New(event, audit.OK, from)
	e.Actor, e.UserID, e.Subject = actor, what.UserID, what.Reason
	switch what.Kind {
	case feed.Session:
		e.SessionID = what.ID
		// What is alive by memory alone is to be ended, too.
		if err := m.writeSeen(ctx, m.seen.of(what.ID)); err != nil {
			return 0, err
		}
	case feed.User:
		e.UserID = what.ID
	}
	n, err := m.store.End(ctx, what, e)
	if err != nil {
		return 0, unavailable("end sessions", err)
	}
	return n, nil
}

// Reauthenticate renews the holder's session after a fresh proof of the same
// person: same id, same grants, new secret, new auth_time. The cookie is empty
// for a session that has none; a holder of a token gets a new access token.
func (m *Manager) Reauthenticate(ctx context.Context, h Holder, proof account.Proof, from audit.Origin) (Opened, error) {
	if proof.UserID() == "" || proof.UserID() != h.UserID() {
		return Opened{}, account.ErrCredentials
	}
	for range attempts {
		opened, err := m.renew(ctx, h, proof, from)
		if !errors.Is(err, ErrLost) {
			return opened, err
		}
	}
	return Opened{}, ErrEnded
}

func (m *Manager) renew(ctx context.Context, h Holder, proof account.Proof, from audit.Origin) (Opened, error) {
	id := h.SessionID()
	st, err := m.store.OfSession(ctx, id)
	if errors.Is(err, ErrNone) || err == nil && st.over(st.Now, m.seen.at(id)) {
		return Opened{}, ErrEnded
	}
	if err != nil {
		return Opened{}, unavailable("read a session", err)
	}
	r := Renewal{SessionID: id, Presented: st.Session.SecretHash, AMR: proof.AMR(), ACR: proof.ACR()}
	var opened Opened
	if st.Session.SecretHash != (credential.Hash{}) {
		secret := credential.NewSecret()
		r.Next = secret.Hash()
		opened.Cookie = cookieValue(id, secret)
	}
	e := audit.New(audit.Reauthenticated, audit.OK, from)
	e.Actor, e.UserID, e.SessionID = st.User.ID, st.User.ID, id
	if err := m.store.Renew(ctx, r, e); err != nil {
		return Opened{}, unavailable("renew a session", err)
	}
	if opened.Standing, err = m.store.OfSession(ctx, id); err != nil {
		return Opened{}, unavailable("read a session", err)
	}
	if h.Via == ViaToken {
		opened.Tokens, err = m.draw(&opened.Standing, "", "")
	}
	return opened, err
}

// Draw mints an access token for the holder of a cookie, on the session's
// first-party grant.
func (m *Manager) Draw(ctx context.Context, h Holder, audience, scope string) (Tokens, error) {
	st, err := m.store.OfSession(ctx, h.SessionID())
	if errors.Is(err, ErrNone) || err == nil && st.over(st.Now, h.Seen) {
		return Tokens{}, ErrEnded
	}
	if err != nil {
		return Tokens{}, unavailable("read a session", err)
	}
	return m.draw(&st, audience, scope)
}

func (m *Manager) draw(st *Standing, audience, scope string) (Tokens, error) {
	if st.grantOver() {
		return Tokens{}, ErrEnded
	}
	audience, err := st.target(audience, m.config.Issuer)
	if err != nil {
		return Tokens{}, err
	}
	if scope, err = st.scope(scope); err != nil {
		return Tokens{}, err
	}
	return m.mint(st, audience, scope)
}

// List returns up to limit live sessions below the given id, newest first: of one
// user, or with an empty userID of all.
func (m *Manager) List(ctx context.Context, userID, before string, limit int) ([]Listed, error) {
	rows, err := m.store.List(ctx, userID, before, limit)
	if err != nil {
		return nil, unavailable("list sessions", err)
	}
	for i := range rows {
		rows[i].Session.LastSeenAt = later(rows[i].Session.LastSeenAt, m.seen.at(rows[i].Session.ID))
	}
	return rows, nil
}

// Kept returns up to limit sessions of a user below the given id, newest first, with all
// their grants; those that are over are there until they are swept.
func (m *Manager) Kept(ctx context.Context, userID, before string, limit int) ([]Kept, error) {
	rows, err := m.history.Kept(ctx, userID, before, limit)
	if err != nil {
		return nil, unavailable("list what is kept of a user", err)
	}
	for i := range rows {
		rows[i].Session.LastSeenAt = later(rows[i].Session.LastSeenAt, m.seen.at(rows[i].Session.ID))
	}
	return rows, nil
}

// Find returns a live session for an administrator, or ErrNoSession.
func (m *Manager) Find(ctx context.Context, id string) (Standing, error) {
	st, err := m.store.OfSession(ctx, id)
	if errors.Is(err, ErrNone) || err == nil && st.over(st.Now, m.seen.at(id)) {
		return Standing{}, ErrNoSession
	}
	if err != nil {
		return Standing{}, unavailable("read a session", err)
	}
	st.Session.LastSeenAt = later(st.Session.LastSeenAt, m.seen.at(id))
	return st, nil
}
