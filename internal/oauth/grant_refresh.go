package oauth

import (
	"context"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// redeemRefresh exchanges a refresh token for its successor (RFC 6749 §6). The scope may
// be narrowed for one access token; the grant keeps what it has.
func (p *Provider) redeemRefresh(ctx context.Context, c *Client, r TokenRequest, audience string) (session.Drawn, error) {
	if r.Refresh == "" {
		return session.Drawn{}, fault.Bad("/refresh_token", "required", "Send the refresh token that was given out last.")
	}
	return p.sessions.RefreshGrant(ctx, session.RefreshRequest{
		Token: r.Refresh, ClientID: c.ID, Key: r.Key, Audience: audience, Scope: r.Scope, Arrived: r.Arrived, From: r.From,
	})
}
