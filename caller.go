package coatcheck

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A Caller is who came with a good credential. It is shared by all requests that
// bear the same credential: it is safe for concurrent use, and must not be
// changed. It tells what was so when the credential was checked; only
// [Caller.Done] tells what comes later.
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

	origin *origin
}

// An origin is what a caller's standing rests on.
type origin struct {
	verifier   *Verifier
	credential string
	key        *trusted // that signed it; nil for a cookie
	issued     int64    // Unix seconds
	expires    int64    // Unix seconds
	used       atomic.Int64
	once       sync.Once
	done       <-chan struct{}
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
	if c.origin == nil {
		return nil
	}
	c.origin.once.Do(func() { c.origin.done = c.origin.verifier.watch(c) })
	return c.origin.done
}

// subject returns what entries of the log can end the caller by.
func (c *Caller) subject() feed.Subject {
	s := feed.Subject{
		Session: c.SessionID, Grant: c.GrantID, User: c.UserID, Client: c.ClientID,
		IssuedAt: c.origin.issued,
	}
	if c.origin.key != nil {
		s.Key = c.origin.key.id
	}
	return s
}

// use notes that a request bore the credential.
func (c *Caller) use(now instant) {
	if s := now.seconds(); c.origin.used.Load() != s {
		c.origin.used.Store(s)
	}
}

func (v *Verifier) callerOfToken(token string, t *jwt.Claims, key *trusted) *Caller {
	c := &Caller{
		UserID: t.Subject, SessionID: t.SessionID, GrantID: t.GrantID, ClientID: t.ClientID,
		Scopes: strings.Fields(t.Scope), AMR: t.AMR, ACR: t.ACR, Claims: t.Extra,
		origin: &origin{
			verifier: v, credential: token, key: key,
			issued: t.IssuedAt, expires: t.ExpiresAt,
		},
	}
	if t.AuthTime != 0 {
		c.AuthTime = time.Unix(t.AuthTime, 0)
	}
	return c
}

// callerOfCookie returns the caller that an answer about a session cookie tells
// of, or false if the answer is about something else: a token that somebody put
// into the cookie has an audience and scopes, which a cookie has not.
func (v *Verifier) callerOfCookie(cookie string, a *answer) (*Caller, bool) {
	if a.Session == "" || a.Subject == "" || a.Audience != nil || a.Scope != "" || a.Issued <= 0 || a.Expires <= 0 {
		return nil, false
	}
	c := &Caller{
		UserID: a.Subject, SessionID: a.Session, GrantID: a.Grant, ClientID: a.Client,
		AMR: a.AMR, ACR: a.ACR, Claims: a.others,
		origin: &origin{verifier: v, credential: cookie, issued: a.Issued, expires: a.Expires},
	}
	if a.AuthTime != 0 {
		c.AuthTime = time.Unix(a.AuthTime, 0)
	}
	return c, true
}
