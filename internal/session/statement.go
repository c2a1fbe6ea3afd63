package session

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

const (
	// idLife is how long an ID token is good, at most: it says that somebody has signed
	// in, and is looked at once.
	idLife = 10 * time.Minute
	// logoutLife is how long a logout token is good: each sending has a fresh one.
	logoutLife = 2 * time.Minute
	// logoutEvent is the member of events (OpenID Connect Back-Channel Logout 1.0 §2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

	pairwisePrefix = "pw_"
)

// subjects makes the subjects that clients know people by.
type subjects struct{ pairwise macs }

// newSubjects derives the key of pairwise subjects from the server's secret: whoever has
// the database cannot tell which subjects are one person.
func newSubjects(secret []byte) (subjects, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck pairwise subject", 32)
	if err != nil {
		return subjects{}, fmt.Errorf("derive the key of subjects: %w", err)
	}
	return subjects{newMACs(key)}, nil
}

// of returns what a client knows a user by: a pairwise subject is the same for all
// clients of a sector and for no other, and never changes (OpenID Connect Core §8.1).
func (s subjects) of(c *ClientTerms, userID string) string {
	if !c.Pairwise {
		return userID
	}
	sector := c.Sector
	if sector == "" {
		sector = c.ID
	}
	sum := s.pairwise.sum(nil, []byte(sector), []byte{0}, []byte(userID))
	return pairwisePrefix + base64.RawURLEncoding.EncodeToString(sum)
}

// SubjectOf returns what the client of a standing knows its user by, or itself where
// there is no user: sub of all its tokens.
func (m *Manager) SubjectOf(st *Standing) string {
	if st.User.ID == "" {
		return st.Client.ID
	}
	return m.subjects.of(&st.Client, st.User.ID)
}

// ClaimOf returns a claim about a person by its name, and whether we know anything for
// it: email, email_verified, name or roles.
func ClaimOf(u *account.User, name string) (any, bool) {
	switch name {
	case "email":
		return u.Email, u.Email != ""
	case "email_verified":
		return u.EmailVerified, u.Email != ""
	case "name":
		return u.Name, u.Name != ""
	case "roles":
		return u.Roles, true
	}
	return nil, false
}

// claimScopes says by which scope a client may ask for a claim about a person. There are
// no others: what is not kept cannot be told.
var claimScopes = map[string]string{"email": "email", "email_verified": "email", "name": "profile", "roles": "roles"}

// ScopeOf returns the scope by which a client may ask for a claim about a person; "" for
// a claim that there is not.
func ScopeOf(claim string) string { return claimScopes[claim] }

// ClaimNames returns the names of the claims about a person that there are, in their order.
func ClaimNames() []string { return slices.Sorted(maps.Keys(claimScopes)) }

// idToken signs an ID token (OpenID Connect Core §2) from the reading that the access
// token beside it was minted from.
func (m *Manager) idToken(ctx context.Context, st *Standing, access, nonce string) (string, error) {
	signer, err := m.ring.SignerFor(ctx, st.Client.IDAlgorithm)
	if err != nil {
		return "", fmt.Errorf("sign an ID token: %w: %w", fault.ErrUnavailable, err)
	}
	issued := st.stamp()
	expires := min(issued+int64(min(idLife, m.life(&st.Client))/time.Second), st.Session.ExpiresAt.Unix())
	claims := st.askedClaims()
	claims["iss"], claims["sub"], claims["aud"] = m.config.Issuer, m.SubjectOf(st), st.Client.ID
	claims["iat"], claims["exp"], claims["auth_time"] = issued, expires, st.Session.AuthTime
	claims["acr"], claims["amr"], claims["sid"] = st.Session.ACR, st.Session.AMR, st.Grant.ID
	claims["at_hash"] = halfHash(signer.Public().Algorithm, access)
	if nonce != "" {
		claims["nonce"] = nonce
	}
	token, err := signer.SignStatement(jwt.IDToken, claims)
	if err != nil {
		return "", fmt.Errorf("sign an ID token: %w", err)
	}
	return token, nil
}

// askedClaims returns what the request asked for by name, as far as the client may ask
// for it at all. What an ID token says by itself cannot be asked for: it is put over
// this.
func (st *Standing) askedClaims() map[string]any {
	claims := map[string]any{}
	if st.Grant.Claims == "" {
		return claims
	}
	var asked struct {
		ID map[string]json.RawMessage `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(st.Grant.Claims), &asked); err != nil {
		return claims // it was checked when it came; what is no such object asks for nothing
	}
	for name := range asked.ID {
		value, known := ClaimOf(&st.User, name)
		if known && slices.Contains(st.Client.Scopes, claimScopes[name]) {
			claims[name] = value
		}
	}
	return claims
}

// halfHash is at_hash (OpenID Connect Core §3.1.3.6): the left half of the hash that
// the algorithm uses.
func halfHash(algorithm jwt.Algorithm, text string) string {
	if algorithm == jwt.EdDSA {
		sum := sha512.Sum512([]byte(text))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// LogoutToken signs a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4): it
// tells a client that a user's grant is over. It is good for two minutes from issued on.
// [ErrNone] if there is no such client.
func (m *Manager) LogoutToken(ctx context.Context, clientID, userID, grantID string, issued time.Time) (string, error) {
	st, err := m.codes.OfClient(ctx, clientID)
	if errors.Is(err, ErrNone) {
		return "", err
	}
	if err != nil {
		return "", unavailable("read the terms of a client", err)
	}
	signer, err := m.ring.SignerFor(ctx, st.Client.IDAlgorithm)
	if err != nil {
		return "", fmt.Errorf("sign a logout token: %w: %w", fault.ErrUnavailable, err)
	}
	token, err := signer.SignStatement(jwt.LogoutToken, map[string]any{
		"iss": m.config.Issuer, "sub": m.subjects.of(&st.Client, userID), "aud": clientID, "sid": grantID,
		"iat": issued.Unix(), "exp": issued.Add(logoutLife).Unix(), "jti": credential.NewSecret().Encode(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	})
	if err != nil {
		return "", fmt.Errorf("sign a logout token: %w", err)
	}
	return token, nil
}

// A Hint is what an ID token of ours says when it comes back (id_token_hint).
type Hint struct {
	Subject   string
	ClientID  string
	GrantID   string // its sid
	UserID    string // found through the grant; "" if that is no longer known
	ExpiresAt int64  // Unix seconds
}

// ReadHint reads an ID token that was given out here, whether it has expired or not. It
// admits nobody to anything. ErrInvalidToken for whatever else it is; ErrTokenExpired if
// its key is no longer known, so that nobody can say whether it is ours.
func (m *Manager) ReadHint(ctx context.Context, idToken string) (Hint, error) {
	st, err := jwt.ParseStatement(idToken, jwt.IDToken, m.ring.Public)
	if errors.Is(err, jwt.ErrUnknownKey) && m.ring.LookAgain(ctx) {
		st, err = jwt.ParseStatement(idToken, jwt.IDToken, m.ring.Public)
	}
	switch {
	case errors.Is(err, jwt.ErrUnknownKey):
		return Hint{}, ErrTokenExpired
	case err != nil, st.Issuer != m.config.Issuer, len(st.Audience) != 1:
		return Hint{}, ErrInvalidToken
	}
	h := Hint{Subject: st.Subject, ClientID: st.Audience[0], GrantID: st.SessionID, ExpiresAt: st.ExpiresAt}
	if !credential.IsID(credential.Grant, h.GrantID) {
		return h, nil
	}
	of, err := m.store.OfGrant(ctx, h.GrantID)
	switch {
	case err == nil:
		h.UserID = of.User.ID
	case !errors.Is(err, ErrNone):
		return Hint{}, unavailable("read a grant", err)
	}
	return h, nil
}
