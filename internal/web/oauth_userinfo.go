package web

import (
	"net/http"

	"github.com/go-json-experiment/json"
)

type userInfoRequest struct {
	AccessToken string `json:"access_token,omitzero" about:"where it is not in the Authorization header"`
}

// A userInfo is what a client is told of a person (OpenID Connect Core §5.3.2).
type userInfo struct {
	Subject       string   `json:"sub" about:"as in the ID token"`
	Name          string   `json:"name,omitzero" about:"with the scope profile"`
	Email         string   `json:"email,omitzero" about:"with the scope email"`
	EmailVerified *bool    `json:"email_verified,omitzero" about:"with the scope email"`
	Roles         []string `json:"roles,omitzero" about:"with the scope roles"`
}

// userInfoOf tells a client about the person who allowed it to know.
func (s *Server) userInfoOf(x *exchange) error {
	token, err := accessTokenOf(x)
	if err != nil {
		return err
	}
	claims, err := s.Provider.UserInfo(x.Context(), token)
	if err != nil {
		return err
	}
	body, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return err
	}
	return writeBody(x, http.StatusOK, body)
}
