package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/fault"
)

type revokeRequest struct {
	Token string `json:"token" about:"an access token or a refresh token"`
	Hint  string `json:"token_type_hint,omitzero" about:"access_token or refresh_token; what kind it is shows in the token all the same"`
	clientParameters
}

// postRevocation ends what a token was drawn on, and with it every other token of that
// (RFC 7009). Of a token that is not the client's own, or is none, it tells nothing:
// there is nothing left to do. It answers well only when the store has it.
func (s *Server) postRevocation(x *exchange) error {
	token := x.parameters.Get("token")
	if token == "" {
		return fault.Bad("/token", "required", "Say in token which one is meant.")
	}
	if err := s.Sessions.EndGrantOf(x.Context(), token, x.client.ID, x.from()); err != nil {
		return err
	}
	x.WriteHeader(http.StatusOK)
	return nil
}
