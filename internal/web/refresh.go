package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

type refreshRequest struct {
	RefreshToken string `json:"refresh_token,omitzero" about:"absent: it comes as a cookie"`
	Audience     string `json:"audience,omitzero" about:"whom the access token is for"`
	Scope        string `json:"scope,omitzero" about:"scopes of the access token, separated by spaces"`
}

type refreshed struct {
	Tokens    *tokens `json:"tokens,omitzero" about:"absent where they are set as cookies"`
	ExpiresIn int64   `json:"expires_in,omitzero" about:"seconds; of an access token that is set as a cookie"`
}

// postRefresh exchanges a refresh token for its successor and a new access token. It
// answers in the way in which the token came. A refusal takes no cookie away: another
// tab may have just renewed it.
func (s *Server) postRefresh(x *exchange) error {
	r, cookies, err := s.refreshAsked(x)
	if err != nil {
		return err
	}
	t, err := s.Sessions.Refresh(x.Context(), r)
	s.Metrics.refreshed(err)
	if err != nil {
		return err
	}
	out := tokensOf(t)
	if !cookies {
		return writeJSON(x, http.StatusOK, refreshed{Tokens: out})
	}
	s.setTokens(x, t)
	return writeJSON(x, http.StatusOK, refreshed{ExpiresIn: out.ExpiresIn})
}

// refreshAsked reads a request to refresh; cookies says which way the token came. One
// that comes in the body and one that comes as a cookie are never mixed.
func (s *Server) refreshAsked(x *exchange) (r session.RefreshRequest, cookies bool, err error) {
	var in refreshRequest
	if err := readOptionalJSON(x, &in); err != nil {
		return r, false, err
	}
	r = session.RefreshRequest{
		ClientID: session.FirstParty, Token: in.RefreshToken, Audience: in.Audience, Scope: in.Scope,
		Arrived: x.arrived, From: x.from(),
	}
	if r.Key, err = idempotencyKey(x.Request); err != nil {
		return r, false, err
	}
	cookie, err := s.cookie(x, s.cookies.refresh)
	switch {
	case err != nil:
		return r, false, err
	case cookie != "" && r.Token != "":
		return r, false, errTwoCredentials
	case cookie != "":
		r.Token = cookie
		r.Beside, err = s.besideAccess(x)
		return r, true, err
	case r.Token == "":
		return r, false, session.ErrNoCredential
	}
	return r, false, nil
}

// besideAccess returns the grant of the access cookie, beside which alone a refresh
// cookie counts. The name of that one keeps other hosts from setting it; the refresh
// cookie has a path and so cannot have such a name.
func (s *Server) besideAccess(x *exchange) (string, error) {
	access, err := s.cookie(x, s.cookies.access)
	if err != nil {
		return "", err
	}
	grant, ok := s.Sessions.GrantOf(access)
	if !ok {
		return "", session.ErrInvalidToken
	}
	return grant, nil
}

// The most that an Idempotency-Key may hold.
const maxKeyLength = 255

// idempotencyKey returns the Idempotency-Key, "" if there is none. What is too short
// to be secret is passed on and counts for nothing.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 || len(values[0]) > maxKeyLength || !urlSafe(values[0]) {
		return "", fault.Bad("Idempotency-Key", "format", "A key is 22 to 255 letters, digits, or - . _ ~ characters.")
	}
	return values[0], nil
}

func urlSafe(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~':
		default:
			return false
		}
	}
	return true
}
