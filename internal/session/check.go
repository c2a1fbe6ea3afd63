package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A seenToken is an access token whose signature was found good.
type seenToken struct {
	feed.Hold
	text   string
	claims jwt.Claims
}

func (t *seenToken) Is(text string) bool { return t.text == text }

func (t *seenToken) Subject() feed.Subject { return subjectOf(&t.claims) }

// CheckCookie reads the session behind a cookie's value: ErrInvalidToken if it is
// no cookie of ours, ErrEnded if its session is over, [fault.ErrUnavailable] if nobody
// can vouch for it now.
func (m *Manager) CheckCookie(ctx context.Context, value string) (Holder, error) {
	now := m.now()
	// What is remembered is looked up first: it comes from far away in memory, and the
	// processor reads the secret meanwhile.
	r := m.remembered(ctx, ordinalOf(value), now)
	ordinal, secret, ok := cutCookie(value)
	if !ok {
		return Holder{}, ErrInvalidToken
	}
	if r != nil && secret.Opens(r.hash) {
		return m.holder(ctx, r, now)
	}
	return m.checkStored(ctx, ordinal, now, func(r *record) error {
		if !secret.Opens(r.hash) {
			return ErrInvalidToken
		}
		return nil
	})
}

// CheckToken reads the session behind an access token that a first-party client
// drew for our own endpoints. In addition to CheckCookie's faults it returns
// ErrTokenExpired, upon which the client should renew.
func (m *Manager) CheckToken(ctx context.Context, token string) (Holder, error) {
	claims, err := m.verify(ctx, token)
	if err != nil {
		return Holder{}, err
	}
	ordinal, ok := strings.CutPrefix(claims.SessionID, credential.Session)
	if claims.ClientID != FirstParty || !ok {
		return Holder{}, ErrInvalidToken
	}
	h, err := m.check(ctx, ordinal, func(r *record) error {
		switch {
		case claims.IssuedAt <= int64(r.over):
			return ErrEnded
		case claims.IssuedAt <= int64(r.changed):
			return ErrTokenExpired
		}
		return nil
	})
	h.Via, h.Scope = ViaToken, claims.Scope
	return h, err
}

// verify checks a token's signature, claims and subject against the set.
func (m *Manager) verify(ctx context.Context, token string) (*jwt.Claims, error) {
	now := later(m.now(), m.log.Recorded())
	seen, verdict := m.tokens.Get(token, now.Unix())
	if verdict == feed.Unknown {
		parsed, err := m.parse(ctx, token, m.config.Issuer, now)
		if err != nil {
			return nil, err
		}
		seen = &seenToken{text: strings.Clone(token), claims: parsed}
		if verdict = m.log.Set().Verdict(seen.Subject()); verdict == feed.Live {
			m.tokens.Put(token, seen, parsed.ExpiresAt)
		}
	}
	switch verdict {
	case feed.Live, feed.Unsure:
		return &seen.claims, nil
	case feed.Over:
		return nil, ErrEnded
	default:
		return nil, ErrTokenExpired
	}
}

// parse checks a token's form, signature, issuer, audience and time. An empty
// audience accepts any. A key that is not known may be one that another node has
// just made.
func (m *Manager) parse(ctx context.Context, token, audience string, now time.Time) (jwt.Claims, error) {
	var signedBy string
	public := func(id string) (jwt.PublicKey, bool) {
		signedBy = id
		return m.ring.Public(id)
	}
	claims, err := jwt.Parse(token, public)
	if errors.Is(err, jwt.ErrUnknownKey) && m.log.Set().Holds(feed.Key, signedBy) {
		return jwt.Claims{}, ErrTokenExpired // renewing is the cure, and gains a forger nothing
	}
	if errors.Is(err, jwt.ErrUnknownKey) && m.ring.LookAgain(ctx) {
		claims, err = jwt.Parse(token, public)
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

// check decides about a session by what is remembered of it; else by the store.
// Whatever memory would refuse is read anew, because memory may be behind: ends are
// final, but a renewed secret or a later visit elsewhere are not yet known here.
func (m *Manager) check(ctx context.Context, ordinal string, opens func(*record) error) (Holder, error) {
	now := m.now()
	if r := m.remembered(ctx, ordinal, now); r != nil && opens(r) == nil {
		return m.holder(ctx, r, now)
	}
	return m.checkStored(ctx, ordinal, now, opens)
}

// remembered returns what is remembered of a live session, while this node knows that
// it has heard of every end; else nil.
func (m *Manager) remembered(ctx context.Context, ordinal string, now time.Time) *record {
	if m.log.CurrentAt(ctx, now) != nil {
		return nil
	}
	now = later(now, m.log.Recorded())
	r, verdict := m.records.Get(ordinal, now.Unix())
	if verdict != feed.Live || r.lapsed(now) {
		return nil
	}
	return r
}

func (m *Manager) checkStored(ctx context.Context, ordinal string, now time.Time, opens func(*record) error) (Holder, error) {
	id := credential.Session + ordinal
	known := m.seen.at(id) // before the read: it is in what is read, or known here still
	st, err := m.store.OfSession(ctx, id)
	if errors.Is(err, ErrNone) {
		return Holder{}, ErrEnded
	}
	if err != nil {
		return Holder{}, unavailable("read a session", err)
	}
	r, err := newRecord(&st)
	if err != nil {
		return Holder{}, unavailable("read a session", err)
	}
	if err := opens(r); err != nil {
		return Holder{}, err
	}
	if st.over(later(now, st.Now), later(known, m.seen.at(id))) {
		return Holder{}, ErrEnded
	}
	m.seen.join(r)
	m.records.Put(ordinal, r, now.Add(m.config.Access).Unix())
	return m.holder(ctx, r, now)
}

func (m *Manager) holder(ctx context.Context, r *record, now time.Time) (Holder, error) {
	if err := m.see(ctx, r, now); err != nil {
		return Holder{}, err
	}
	return Holder{record: r, Seen: now, Via: ViaCookie}, nil
}
