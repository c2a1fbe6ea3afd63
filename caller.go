package coatcheck

import (
	"context"
	"time"
)

// A Caller is who came with a good credential. Requests that bear the same one may
// share it: it is safe for concurrent use, and must not be changed. It tells what
// was so when the credential was checked; only [Caller.Done] tells what comes later.
type Caller struct {
	UserID    string // the subject; for a token that a client drew for itself, the client
	SessionID string // empty for third parties' tokens, which name their grant alone
	GrantID   string // what the credential was drawn on; may be empty for a cookie
	ClientID  string
	Scopes    []string  // of a token; a cookie carries none
	AMR       []string  // how the person proved who they are (RFC 8176)
	ACR       string    // how strongly: aal1 or aal2
	AuthTime  time.Time // when they last did; zero if the issuer does not say
	// Claims holds what the issuer said beyond the fields above and the members
	// that every token has (iss, aud, exp, iat, nbf, jti): the claims that the
	// operator listed by name, such as email. Values are as encoding/json decodes
	// them. It is nil if there are none.
	Claims map[string]any

	known *known
}

type callerKey struct{}

// CallerFrom returns the caller that [Verifier.Require] let through, or nil if
// the request did not come through it.
func CallerFrom(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// Done returns a channel that is closed when the caller's session, or whatever
// the credential was drawn on, ends; when the verifier can no longer tell,
// because its log is stale under [Deny], was interrupted and the issuer does not
// confirm the credential, or the verifier was closed; and, for a token, when it
// expires. A cookie's session is asked about again for as long as it lasts. So a
// closed channel means: check anew, not always: sign out.
//
// It is meant for WebSockets and streams, which outlive the check they began
// with. It is nil, and so never ready, for a Caller that no Verifier made.
func (c *Caller) Done() <-chan struct{} {
	if c.known == nil {
		return nil
	}
	return c.known.done()
}
