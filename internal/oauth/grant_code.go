package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// attempts bounds how often a code is looked at again that somebody else has spent
// meanwhile: then it is spent, so that once is enough.
const attempts = 2

// redeemCode exchanges an authorization code for tokens (RFC 6749 §4.1.3, RFC 7636
// §4.6). A code that comes a second time ends what it gave.
func (p *Provider) redeemCode(ctx context.Context, c *Client, r TokenRequest, audience string) (session.Drawn, error) {
	if r.Code == "" {
		return session.Drawn{}, fault.Bad("/code", "required", "Send the code that the authorization endpoint gave.")
	}
	for range attempts {
		drawn, err := p.redeemCodeOnce(ctx, c, r, audience)
		if !errors.Is(err, session.ErrLost) {
			return drawn, err
		}
	}
	return session.Drawn{}, ErrGrant
}

func (p *Provider) redeemCodeOnce(ctx context.Context, c *Client, r TokenRequest, audience string) (session.Drawn, error) {
	pending, err := p.sessions.OfCode(ctx, r.Code)
	if err != nil {
		return session.Drawn{}, err
	}
	if pending.Code.ClientID != c.ID {
		p.logger.WarnContext(ctx, "a client sends a code that was given to another: one of them has leaked it",
			"client", c.ID, "given_to", pending.Code.ClientID, "request_id", r.From.RequestID, "ip", r.From.IP)
		return session.Drawn{}, fmt.Errorf("%w: the code is another client's", ErrGrant)
	}
	if pending.Spent() {
		if err := p.sessions.EndReplayed(ctx, pending, r.From); err != nil {
			return session.Drawn{}, err
		}
		return session.Drawn{}, fmt.Errorf("%w: the code was used before", ErrGrant)
	}
	if pending.Expired() {
		return session.Drawn{}, fmt.Errorf("%w: the code has expired", ErrGrant)
	}
	if err := matches(c, &pending.Code, r); err != nil {
		return session.Drawn{}, err
	}
	if audience != "" && audience != pending.Code.Audience {
		return session.Drawn{}, session.ErrInvalidTarget
	}
	pending.Renewable = c.MayUse(GrantRefresh)
	return p.sessions.OpenGrant(ctx, pending, r.From)
}

// matches holds a token request to the authorization request that its code answers.
// The redirect URI may be left out where PKCE binds the two together (OAuth 2.1 §10.2).
func matches(c *Client, code *session.Code, r TokenRequest) error {
	switch {
	case r.RedirectURI != "" && r.RedirectURI != code.RedirectURI, r.RedirectURI == "" && code.Challenge == "":
		return fmt.Errorf("%w: redirect_uri is not the one of the authorization request", ErrGrant)
	case code.Challenge == "" && r.Verifier != "": // whoever took the challenge away is not the client
		return fmt.Errorf("%w: a code_verifier for a code without a challenge", ErrGrant)
	case code.Challenge == "" && !c.WithoutPKCE:
		return fmt.Errorf("%w: a code without a challenge", ErrGrant)
	case code.Challenge != "" && r.Verifier == "":
		return fmt.Errorf("%w: code_verifier is missing", ErrGrant)
	case code.Challenge != "" && !verifies(r.Verifier, code.Challenge):
		return fmt.Errorf("%w: code_verifier is not the one of the challenge", ErrGrant)
	}
	return nil
}

// verifies reports whether a verifier is the one of an S256 challenge (RFC 7636 §4.1,
// §4.6). There is no other method.
func verifies(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for _, b := range []byte(verifier) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '.', b == '_', b == '~':
		default:
			return false
		}
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}
