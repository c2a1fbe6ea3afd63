package web

import (
	"net/http"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
)

type invitationRequest struct {
	Email string   `json:"email"`
	Name  string   `json:"name,omitzero"`
	Roles []string `json:"roles,omitzero" about:"the only role is admin"`
}

type invitation struct {
	ExpiresAt time.Time `json:"expires_at"`
}

// postInvitation mails a link that makes an account, also where sign-up is by
// invitation. The link is in the mail alone: whoever invites never holds it.
func (s *Server) postInvitation(x *exchange) error {
	var in invitationRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	expires, err := s.Accounts.Invite(x.Context(), account.Invited{Email: in.Email, Name: in.Name, Roles: in.Roles}, x.key.ID, x.from())
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusAccepted, invitation{ExpiresAt: expires.UTC()})
}
