package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// Via says by which credential a holder came.
type Via string

// The credentials that open our own endpoints.
const (
	ViaCookie Via = "cookie"
	ViaToken  Via = "token"
)

// A Holder is who came with a good credential. Its standing is shared and must
// not be changed.
type Holder struct {
	Standing *Standing
	Seen     time.Time // when the session was last used, this time included
	Via      Via
	Scope    string // of an access token; cookies carry none
}

// Session returns the holder's session.
func (h Holder) Session() *Session { return &h.Standing.Session }

// User returns the holder's user.
func (h Holder) User() *account.User { return &h.Standing.User }

// IdleEnds returns when the session is over unless it is seen again.
func (h Holder) IdleEnds() time.Time { return h.Standing.IdleEnds(h.Seen) }

// A record is a standing that is remembered, as if it were a token issued when
// it was read: held to the revocation set on every use, and for no longer than
// an access token lives.
type record struct {
	standing Standing
}

// CheckCookie reads the session behind a cookie's value: ErrInvalidToken if it is
// no cookie of ours, ErrEnded if its session is over, [fault.ErrUnavailable] if nobody
// can vouch for it now.
func (m *Manager) CheckCookie(ctx context.Context, value string) (Holder, error) {
	id, secret, ok := cutCookie(value)
	if !ok {
		return Holder{}, ErrInvalidToken
	}
	return m.check(ctx, id, func(st *Standing) error {
		if !secret.Opens(st.Session.SecretHash) {
			return ErrInvalidToken
		}
		return nil
	})
}

// CheckToken reads the session behind an access token that a first-party client
// drew for our own endpoints. In addition to CheckCookie's faults it returns
// ErrTokenExpired, upon which the client should renew.
func (m *Manager) CheckToken(ctx context.Context, token string) (Holder, error) {
	claims, err := m.verify(token)
	if err != nil {
		return Holder{}, err
	}
	if claims.ClientID != FirstParty || claims.SessionID == "" {
		return Holder{}, ErrInvalidToken
	}
	h, err := m.check(ctx, claims.SessionID, func(st *Standing) error {
		switch {
		case claims.IssuedAt <= max(st.User.OverBefore, st.OverBefore, st.Client.OverBefore):
			return ErrEnded
		case claims.IssuedAt <= max(st.User.ChangedBefore, st.Session.ChangedBefore):
			return ErrTokenExpired
		}
		return nil
	})
	h.Via, h.Scope = ViaToken, claims.Scope
	return h, err
}

// verify checks a token's signature, claims and subject against the set.
func (m *Manager) verify(token string) (*jwt.Claims, error) {
	now := m.now()
	claims, verdict := m.tokens.Get(token, now.Unix())
	if verdict == feed.Unknown {
		parsed, err := m.parse(token, m.config.Issuer, now)
		if err != nil {
			return nil, err
		}
		claims = &parsed
		subject := subjectOf(claims)
		if verdict = m.log.Set().Verdict(subject); verdict == feed.Live {
			m.tokens.Put(strings.Clone(token), subject, claims.ExpiresAt, claims)
		}
	}
	switch verdict {
	case feed.Live, feed.Unsure:
		return claims, nil
	case feed.Over:
		return nil, ErrEnded
	default:
		return nil, ErrTokenExpired
	}
}

// parse checks a token's form, signature, issuer, audience and time. An empty
// audience accepts any.
func (m *Manager) parse(token, audience string, now time.Time) (jwt.Claims, error) {
	var signedBy string
	claims, err := jwt.Parse(token, func(id string) (jwt.PublicKey, bool) {
		signedBy = id
		return m.ring.Public(id)
	})
	if errors.Is(err, jwt.ErrUnknownKey) && m.log.Set().Holds(feed.Key, signedBy) {
		return jwt.Claims{}, ErrTokenExpired // renewing is the cure, and gains a forger nothing
	}
	if err != nil {
		return jwt.Claims{}, ErrInvalidToken
	}
	if audience == "" {
		audience = claims.Audience[0]
	}
	err = claims.Check(jwt.Expect{Issuer: m.config.Issuer, Audience: audience, Now: now, Leeway: jwt.Leeway})
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return jwt.Claims{}, ErrTokenExpired
	case err != nil:
		return jwt.Claims{}, ErrInvalidToken
	}
	return claims, nil
}

// GrantOf returns the grant that an access token of ours names, whether the token is
// over or not; false for what is no token. It serves to tell that a refresh cookie
// belongs beside the cookie with the access token, and admits nobody to anything.
//
// A key leaves the ring when the last token of it is over, and a browser may come
// back much later. The claim of such a token is taken without a signature: that
// nobody else wrote the cookie is what its __Host- name vouches for, and whoever
// could write it could as well write there a good token of their own.
func (m *Manager) GrantOf(token string) (grantID string, ok bool) {
	claims, err := jwt.Parse(token, m.ring.Public)
	if errors.Is(err, jwt.ErrUnknownKey) {
		claims.GrantID, err = grantClaim(token)
	}
	return claims.GrantID, err == nil && credential.IsID(credential.Grant, claims.GrantID)
}

func grantClaim(token string) (string, error) {
	var claims struct {
		Grant string `json:"gid"`
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return "", err
	}
	err = json.Unmarshal(text, &claims)
	return claims.Grant, err
}

func subjectOf(c *jwt.Claims) feed.Subject {
	return feed.Subject{
		Session: c.SessionID, Grant: c.GrantID, User: c.Subject, Client: c.ClientID,
		Key: c.KeyID, IssuedAt: c.IssuedAt,
	}
}

// check decides about a session by what is remembered of it, while this node
// knows that it has heard of every end; else by the store. Whatever memory would
// refuse is read anew, because memory may be behind: ends are final, but a
// renewed secret or a later visit elsewhere are not yet known here.
func (m *Manager) check(ctx context.Context, id string, opens func(*Standing) error) (Holder, error) {
	now := m.now()
	if m.log.Current(ctx) == nil {
		r, verdict := m.records.Get(id, now.Unix())
		if verdict == feed.Live && !r.standing.over(now, m.seen.at(id)) && opens(&r.standing) == nil {
			return m.holder(ctx, &r.standing, now)
		}
	}
	st, err := m.store.OfSession(ctx, id)
	if errors.Is(err, ErrNone) {
		return Holder{}, ErrEnded
	}
	if err != nil {
		return Holder{}, unavailable("read a session", err)
	}
	if err := opens(&st); err != nil {
		return Holder{}, err
	}
	if st.over(later(now, st.Now), m.seen.at(id)) {
		return Holder{}, ErrEnded
	}
	m.remember(&st, now)
	return m.holder(ctx, &st, now)
}

func (m *Manager) remember(st *Standing, now time.Time) {
	subject := feed.Subject{Session: st.Session.ID, User: st.User.ID, IssuedAt: st.Now.Unix()}
	m.records.Put(st.Session.ID, subject, now.Add(m.config.Access).Unix(), &record{standing: *st})
}

func (m *Manager) holder(ctx context.Context, st *Standing, now time.Time) (Holder, error) {
	if err := m.see(ctx, st, now); err != nil {
		return Holder{}, err
	}
	return Holder{Standing: st, Seen: now, Via: ViaCookie}, nil
}
