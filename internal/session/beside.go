package session

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// Beside reads the session behind a cookie that a browser keeps beside the one in use.
// It decides by the store, never by what is remembered, and the session counts as not
// seen: who looks at the list of accounts uses none of them. ErrInvalidToken if it is
// no cookie of ours, ErrEnded if its session is over, [fault.ErrUnavailable] if nobody
// can vouch for it now.
func (m *Manager) Beside(ctx context.Context, value string) (Standing, error) {
	ordinal, secret, ok := cutCookie(value)
	if !ok {
		return Standing{}, ErrInvalidToken
	}
	id := credential.Session + ordinal
	known := m.seen.at(id) // before the read: it is in what is read, or known here still
	st, err := m.store.OfSession(ctx, id)
	switch {
	case errors.Is(err, ErrNone):
		return Standing{}, ErrEnded
	case err != nil:
		return Standing{}, unavailable("read a session", err)
	case !secret.Opens(st.Session.SecretHash):
		return Standing{}, ErrInvalidToken
	case st.over(later(m.now(), st.Now), later(known, m.seen.at(id))):
		return Standing{}, ErrEnded
	}
	return st, nil
}
