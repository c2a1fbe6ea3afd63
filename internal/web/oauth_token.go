package web

import (
	"net/http"
	"time"

	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

type tokenRequest struct {
	GrantType    string `json:"grant_type" about:"authorization_code, refresh_token or client_credentials"`
	Code         string `json:"code,omitzero" about:"for authorization_code"`
	RedirectURI  string `json:"redirect_uri,omitzero" about:"for authorization_code: as in the authorization request"`
	CodeVerifier string `json:"code_verifier,omitzero" about:"for authorization_code: of PKCE (RFC 7636)"`
	RefreshToken string `json:"refresh_token,omitzero" about:"for refresh_token"`
	Scope        string `json:"scope,omitzero" about:"for refresh_token: fewer scopes than were granted; for client_credentials: some of those that the client is registered for"`
	Resource     string `json:"resource,omitzero" about:"whom the access token is for (RFC 8707)"`
	clientParameters
}

// A tokenAnswer is what a client may draw (RFC 6749 §5.1).
type tokenAnswer struct {
	IDToken      string `json:"id_token,omitzero" about:"where openid was granted"`
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in" about:"seconds"`
	RefreshToken string `json:"refresh_token,omitzero"`
	Scope        string `json:"scope,omitzero" about:"of the access token"`
}

// postToken gives a client what it may draw.
func (s *Server) postToken(x *exchange) error {
	drawn, err := s.tokenFor(x)
	s.Metrics.drew(x.parameters.Get("grant_type"), err)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, tokenAnswer{
		AccessToken: drawn.Access, TokenType: "Bearer", ExpiresIn: int64(drawn.ExpiresIn / time.Second),
		RefreshToken: drawn.Refresh, IDToken: drawn.ID, Scope: drawn.Scope,
	})
}

func (s *Server) tokenFor(x *exchange) (session.Drawn, error) {
	key, err := idempotencyKey(x.Request)
	if err != nil {
		return session.Drawn{}, err
	}
	return s.Provider.Token(x.Context(), x.client, oauth.TokenRequest{
		GrantType: x.parameters.Get("grant_type"), Code: x.parameters.Get("code"), RedirectURI: x.parameters.Get("redirect_uri"),
		Verifier: x.parameters.Get("code_verifier"), Refresh: x.parameters.Get("refresh_token"), Scope: x.parameters.Get("scope"),
		Resource: x.parameters["resource"], Key: key, Arrived: x.arrived, From: x.from(),
	})
}
