package session

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// mint signs an access token (RFC 9068) from one reading of the store, which has no user
// where a client draws for itself. A token that would be too large is refused here,
// before anything is spent.
func (m *Manager) mint(st *Standing, audience, scope string) (Tokens, error) {
	var random [20]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand.Read ends the program instead
	issued := st.stamp()
	life := m.life(&st.Client)
	life -= time.Duration(binary.BigEndian.Uint32(random[16:])%uint32(max(1, life/(20*time.Millisecond)))) * time.Millisecond
	expires := issued + int64(life/time.Second)
	if st.Session.ID != "" {
		expires = min(expires, st.Session.ExpiresAt.Unix())
	}
	claims := jwt.Claims{
		Issuer: m.config.Issuer, Subject: m.SubjectOf(st), Audience: []string{audience},
		ExpiresAt: expires, IssuedAt: issued, AuthTime: st.Session.AuthTime,
		ID:       base64.RawURLEncoding.EncodeToString(random[:16]),
		ClientID: st.Client.ID, GrantID: st.Grant.ID, Scope: scope,
		ACR: st.Session.ACR, AMR: st.Session.AMR, Extra: m.extra(st, scope),
	}
	if st.Client.FirstParty {
		claims.SessionID = st.Session.ID
	}
	signer, err := m.ring.Signer()
	if err != nil {
		return Tokens{}, fmt.Errorf("mint: %w: %w", fault.ErrUnavailable, err)
	}
	token, err := signer.Sign(claims)
	if err != nil {
		return Tokens{}, fmt.Errorf("sign a token: %w", err)
	}
	if len(token) > m.config.MaxTokenBytes {
		return Tokens{}, fmt.Errorf("%w: %d bytes, the largest claims are %s",
			ErrTokenTooLarge, len(token), strings.Join(claims.Largest(3), ", "))
	}
	tokens := Tokens{Access: token, ExpiresIn: time.Duration(expires-issued) * time.Second}
	if st.Session.Remember {
		tokens.Until = st.Session.ExpiresAt
	}
	return tokens, nil
}

// life is how long the tokens of a client live: as long as any, unless its registration
// says less.
func (m *Manager) life(c *ClientTerms) time.Duration { return min(c.Access, m.config.Access) }

// extra returns the claims that the operator asked for by name. Other clients than the
// first-party one have them as far as the scope says; what would tell who hides behind a
// pairwise subject is in no token.
func (m *Manager) extra(st *Standing, scope string) map[string]any {
	if len(m.config.Claims) == 0 || st.User.ID == "" || st.Client.Pairwise {
		return nil
	}
	extra := make(map[string]any, len(m.config.Claims))
	for _, name := range m.config.Claims {
		if st.Client.FirstParty || slices.Contains(strings.Fields(scope), claimScopes[name]) {
			extra[name], _ = ClaimOf(&st.User, name)
		}
	}
	return extra
}
