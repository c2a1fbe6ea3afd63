package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A TokenRequest is what a client sends to the token endpoint, beside what shows who it
// is. An empty member was not sent.
type TokenRequest struct {
	GrantType   string
	Code        string
	RedirectURI string
	Verifier    string // code_verifier (RFC 7636)
	Refresh     string // refresh_token
	Scope       string
	Resource    []string  // whom the access token is for (RFC 8707)
	Key         string    // the Idempotency-Key, for a refresh
	Arrived     time.Time // when the request came in
	From        audit.Origin
}

// A grant is one way to obtain tokens. The token endpoint knows the client by then, and
// that it may use this one; redeem gets the audience that was asked for, "" for none.
type grant struct {
	confidential bool // only for clients that prove who they are
	redeem       func(p *Provider, ctx context.Context, c *Client, r TokenRequest, audience string) (session.Drawn, error)
}

var grants = map[string]grant{
	GrantCode:    {redeem: (*Provider).redeemCode},
	GrantRefresh: {redeem: (*Provider).redeemRefresh},
	GrantClient:  {redeem: (*Provider).redeemClient, confidential: true},
}

// Token gives a client what it may draw (RFC 6749 §3.2). The client has shown who it is.
// The errors are the faults of RFC 6749 §5.2 and RFC 8707 §2, and
// [fault.ErrUnavailable].
func (p *Provider) Token(ctx context.Context, c *Client, r TokenRequest) (session.Drawn, error) {
	g, known := grants[r.GrantType]
	switch {
	case r.GrantType == "":
		return session.Drawn{}, fault.Bad("/grant_type", "required", "Say which grant type this is.")
	case !known:
		return session.Drawn{}, ErrGrantType
	case !c.MayUse(r.GrantType), g.confidential && !c.Confidential():
		return session.Drawn{}, ErrClientNotAllowed
	case len(r.Resource) > 1: // a token of ours is for one service
		return session.Drawn{}, session.ErrInvalidTarget
	}
	audience := ""
	if len(r.Resource) == 1 {
		audience = r.Resource[0]
	}
	drawn, err := g.redeem(p, ctx, c, r, audience)
	return drawn, asGrantError(err)
}

// asGrantError says of a credential that is not good, in whichever way, that it is an
// invalid grant: of a client nobody is signed in who could be told more.
func asGrantError(err error) error {
	if errors.Is(err, ErrClient) {
		return err
	}
	for _, held := range []error{session.ErrInvalidToken, session.ErrTokenExpired, session.ErrEnded, session.ErrRefreshReused, session.ErrNone, session.ErrLost} {
		if errors.Is(err, held) {
			return fmt.Errorf("%w: %w", ErrGrant, err)
		}
	}
	return err
}
