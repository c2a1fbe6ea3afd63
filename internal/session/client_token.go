package session

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// DrawForClient mints an access token for a client that asks for itself, not for a
// person (RFC 6749 §4.4): its sub is the client's id, and it names no grant and no
// session, so that it is over with its time, its client, its key or everything. It
// costs one reading of the store. ErrEnded if the client is disabled or gone.
func (m *Manager) DrawForClient(ctx context.Context, clientID, audience, scope string) (Drawn, error) {
	st, err := m.codes.OfClient(ctx, clientID)
	if errors.Is(err, ErrNone) || err == nil && st.Client.Disabled {
		return Drawn{}, ErrEnded
	}
	if err != nil {
		return Drawn{}, unavailable("read the terms of a client", err)
	}
	if audience, err = st.target(audience, m.config.Issuer); err != nil {
		return Drawn{}, err
	}
	if scope, err = st.scope(scope); err != nil {
		return Drawn{}, err
	}
	tokens, err := m.mint(&st, audience, scope)
	if err != nil {
		return Drawn{}, err
	}
	return Drawn{Access: tokens.Access, ExpiresIn: tokens.ExpiresIn, Scope: scope, Audience: audience}, nil
}

// CheckGrantToken reads by the store what an access token of any client is worth that
// was drawn for our own audience by a person's grant: ErrInvalidToken, ErrTokenExpired
// and ErrEnded as for CheckToken.
func (m *Manager) CheckGrantToken(ctx context.Context, token string) (Standing, jwt.Claims, error) {
	claims, err := m.verify(ctx, token)
	if err != nil {
		return Standing{}, jwt.Claims{}, err
	}
	if !credential.IsID(credential.Grant, claims.GrantID) {
		return Standing{}, jwt.Claims{}, ErrInvalidToken
	}
	st, err := m.store.OfGrant(ctx, claims.GrantID)
	switch {
	case errors.Is(err, ErrNone):
		return Standing{}, jwt.Claims{}, ErrEnded
	case err != nil:
		return Standing{}, jwt.Claims{}, unavailable("read a grant", err)
	case st.over(st.Now, m.seen.at(st.Session.ID)), st.grantOver(), claims.IssuedAt < st.ended():
		return Standing{}, jwt.Claims{}, ErrEnded
	case claims.IssuedAt < st.floor():
		return Standing{}, jwt.Claims{}, ErrTokenExpired
	}
	return st, *claims, nil
}

// introspectClient says what a token is worth that a client has drawn for itself.
func (m *Manager) introspectClient(ctx context.Context, claims *jwt.Claims) (Answer, error) {
	if claims.GrantID != "" || claims.Subject != claims.ClientID {
		return Answer{}, ErrNone
	}
	st, err := m.codes.OfClient(ctx, claims.ClientID)
	if err != nil {
		return Answer{}, err
	}
	if st.Client.Disabled || claims.IssuedAt < st.floor() {
		return Answer{}, ErrNone
	}
	return Answer{
		Standing: st, Subject: claims.Subject, Audience: claims.Audience[0], Scope: claims.Scope,
		Issued: claims.IssuedAt, Expires: claims.ExpiresAt, ClientOnly: true,
	}, nil
}
