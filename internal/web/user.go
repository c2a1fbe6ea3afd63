package web

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// getUser answers with the person's own profile.
func (s *Server) getUser(x *exchange) error {
	return writeJSON(x, http.StatusOK, userOf(x.holder.Person()))
}

type profileRequest struct {
	Name *string `json:"name"`
}

// patchUser changes the person's name.
func (s *Server) patchUser(x *exchange) error {
	var in profileRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if in.Name == nil {
		return fault.Bad("/name", "required", "Say in name how you want to be called.")
	}
	u, err := s.rename(x, *in.Name)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, userOf(session.PersonOf(&u)))
}

// account reads the holder's account, for what wants more of it than is remembered.
func (s *Server) account(x *exchange) (account.User, error) {
	u, err := s.Accounts.Find(x.Context(), x.holder.UserID())
	switch {
	case errors.Is(err, account.ErrNoUser):
		return u, session.ErrEnded
	case err != nil:
		return u, fmt.Errorf("read a user: %w: %w", fault.ErrUnavailable, err)
	}
	return u, nil
}

func (s *Server) rename(x *exchange, name string) (account.User, error) {
	id := x.holder.UserID()
	return s.Accounts.Change(x.Context(), id, account.UserChange{Name: &name}, id, x.from())
}

type newPasswordRequest struct {
	Current   string `json:"current_password"`
	New       string `json:"new_password"`
	EndOthers *bool  `json:"end_others,omitzero" about:"end all other sessions; true unless given"`
}

// postPassword changes the person's password. The session at hand stays, and all
// others end unless the person wants to keep them.
func (s *Server) postPassword(x *exchange) error {
	var in newPasswordRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if err := s.changePassword(x, in.Current, in.New, in.EndOthers == nil || *in.EndOthers); err != nil {
		return err
	}
	return noContent(x)
}

func (s *Server) changePassword(x *exchange, current, next string, endOthers bool) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	return s.Accounts.ChangePassword(x.Context(), u, current, next, x.holder.SessionID(), endOthers, x.from())
}

// deleteUser removes the person's own account with all that was theirs.
func (s *Server) deleteUser(x *exchange) error {
	var in passwordRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if err := s.removeSelf(x, in.Password); err != nil {
		return err
	}
	return noContent(x)
}

// removeSelf removes the account of the person who asks, if the password is theirs.
func (s *Server) removeSelf(x *exchange, password string) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	if _, err := s.Accounts.CheckAgain(x.Context(), u, password, x.from()); err != nil {
		return err
	}
	if err := s.Accounts.Delete(x.Context(), u.ID, u.ID, x.from()); err != nil {
		return err
	}
	s.clear(x)
	x.Header().Set("Clear-Site-Data", signingOut)
	return nil
}
