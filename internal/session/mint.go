package session

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// mint signs an access token (RFC 9068) from one reading of the store. A token
// that would be too large is refused here, before anything is spent.
func (m *Manager) mint(st *Standing, audience, scope string) (Tokens, error) {
	var random [20]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand.Read ends the program instead
	issued := st.stamp()
	life := st.Client.Access
	life -= time.Duration(binary.BigEndian.Uint32(random[16:])%uint32(max(1, life/(20*time.Millisecond)))) * time.Millisecond
	expires := min(issued+int64(life/time.Second), st.Session.ExpiresAt.Unix())
	claims := jwt.Claims{
		Issuer: m.config.Issuer, Subject: st.User.ID, Audience: []string{audience},
		ExpiresAt: expires, IssuedAt: issued, AuthTime: st.Session.AuthTime,
		ID:       base64.RawURLEncoding.EncodeToString(random[:16]),
		ClientID: st.Client.ID, GrantID: st.Grant.ID, Scope: scope,
		ACR: st.Session.ACR, AMR: st.Session.AMR, Extra: m.extra(st),
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

// extra returns the claims that the operator asked for by name.
func (m *Manager) extra(st *Standing) map[string]any {
	if len(m.config.Claims) == 0 {
		return nil
	}
	extra := make(map[string]any, len(m.config.Claims))
	for _, name := range m.config.Claims {
		switch name {
		case "email":
			extra[name] = st.User.Email
		case "email_verified":
			extra[name] = st.User.EmailVerified
		case "name":
			extra[name] = st.User.Name
		case "roles":
			extra[name] = st.User.Roles
		}
	}
	return extra
}
