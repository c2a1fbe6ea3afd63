package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coatcheck/coatcheck/internal/session"
)

// redeemClient gives a client a token of its own (RFC 6749 §4.4): nobody takes part, so
// there is nothing to know about a person and nothing to renew. Without a scope it gets
// all that it is registered for; without a resource, and with one audience, a token for
// that.
func (p *Provider) redeemClient(ctx context.Context, c *Client, r TokenRequest, audience string) (session.Drawn, error) {
	personal := func(scope string) bool { return slices.Contains(Scopes, scope) }
	if slices.ContainsFunc(strings.Fields(r.Scope), personal) {
		return session.Drawn{}, session.ErrInvalidScope
	}
	if r.Scope == "" {
		r.Scope = strings.Join(slices.DeleteFunc(slices.Clone(c.Scopes), personal), " ")
	}
	if audience == "" && len(c.Audiences) == 1 {
		audience = c.Audiences[0]
	}
	drawn, err := p.sessions.DrawForClient(ctx, c.ID, audience, r.Scope)
	if errors.Is(err, session.ErrEnded) { // it was disabled or removed since it showed who it is
		err = fmt.Errorf("%w: %w", ErrClient, err)
	}
	return drawn, err
}
