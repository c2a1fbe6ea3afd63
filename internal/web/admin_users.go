package web

import (
	"errors"
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An adminUser is a user as administrators see one.
type adminUser struct {
	user  `json:",inline"`
	Roles []string `json:"roles"`

	Disabled bool `json:"disabled"`
}

func adminUserOf(u *account.User) adminUser {
	return adminUser{user: userOf(session.PersonOf(u)), Roles: u.Roles, Disabled: u.Disabled}
}

// listUsers lists the users, oldest first, or the one with an email.
func (s *Server) listUsers(x *exchange) error {
	w, query, err := windowOf(x, "email")
	if err != nil {
		return err
	}
	if query.Has("email") {
		return s.listUserByEmail(x, w, query.Get("email"))
	}
	rows, err := s.Accounts.List(x.Context(), w.after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(u *account.User) string { return u.ID }
	return writeJSON(x, http.StatusOK, pageOf(w, rows, id, adminUserOf))
}

func (s *Server) listUserByEmail(x *exchange, w window, email string) error {
	var rows []account.User
	u, err := s.Accounts.FindByEmail(x.Context(), email)
	switch {
	case err == nil:
		rows = append(rows, u)
	case !errors.Is(err, account.ErrNoUser):
		return err
	}
	return writeJSON(x, http.StatusOK, pageOf(w, rows, func(u *account.User) string { return u.ID }, adminUserOf))
}

type newUserRequest struct {
	Email         string   `json:"email"`
	Name          string   `json:"name,omitzero"`
	Password      string   `json:"password,omitzero" about:"absent: the account has none yet"`
	EmailVerified bool     `json:"email_verified,omitzero"`
	Roles         []string `json:"roles,omitzero" about:"the only role is admin"`
}

// addUser adds a user.
func (s *Server) addUser(x *exchange) error {
	var in newUserRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	n := account.NewUser{Email: in.Email, Name: in.Name, Password: in.Password, Verified: in.EmailVerified, Roles: in.Roles}
	u, err := s.Accounts.Add(x.Context(), n, x.key.ID, x.from())
	if err != nil {
		return err
	}
	x.Header().Set("Location", "/v1/admin/users/"+u.ID)
	return writeJSON(x, http.StatusCreated, adminUserOf(&u))
}

// getUserByID answers with one user.
func (s *Server) getUserByID(x *exchange) error {
	u, err := s.Accounts.Find(x.Context(), x.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, adminUserOf(&u))
}

type userChangeRequest struct {
	Name          *string   `json:"name,omitzero"`
	Roles         *[]string `json:"roles,omitzero"`
	EmailVerified *bool     `json:"email_verified,omitzero"`
	Disabled      *bool     `json:"disabled,omitzero" about:"true ends all sessions of the user"`
	Password      *string   `json:"password,omitzero" about:"in a request of its own; ends all sessions of the user"`
}

// patchUserByID changes a user. A password is set in a request of its own, because it
// is a step of its own and nothing may be half-done.
func (s *Server) patchUserByID(x *exchange) error {
	var in userChangeRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	id := x.PathValue("id")
	change := account.UserChange{Name: in.Name, Roles: in.Roles, EmailVerified: in.EmailVerified, Disabled: in.Disabled}
	switch {
	case in.Password != nil && change != account.UserChange{}:
		return fault.Bad("/password", "format", "A password is set in a request of its own.")
	case in.Password != nil:
		if err := s.Accounts.SetPassword(x.Context(), id, *in.Password, x.key.ID, x.from()); err != nil {
			return err
		}
		return s.getUserByID(x)
	case change == account.UserChange{}:
		return fault.Bad("", "required", "Name at least one member that is to change.")
	}
	u, err := s.Accounts.Change(x.Context(), id, change, x.key.ID, x.from())
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, adminUserOf(&u))
}

// deleteUserByID removes a user with all that was theirs.
func (s *Server) deleteUserByID(x *exchange) error {
	if err := s.Accounts.Delete(x.Context(), x.PathValue("id"), x.key.ID, x.from()); err != nil {
		return err
	}
	return noContent(x)
}

// listUserSessions lists the live sessions of a user, newest first.
func (s *Server) listUserSessions(x *exchange) error {
	w, _, err := windowOf(x)
	if err != nil {
		return err
	}
	u, err := s.Accounts.Find(x.Context(), x.PathValue("id"))
	if err != nil {
		return err
	}
	rows, err := s.Sessions.List(x.Context(), u.ID, w.after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(l *session.Listed) string { return l.Session.ID }
	return writeJSON(x, http.StatusOK, pageOf(w, rows, id, adminSessionOf))
}

// endUserSessions ends all that a user holds, by one entry in the log.
func (s *Server) endUserSessions(x *exchange) error {
	u, err := s.Accounts.Find(x.Context(), x.PathValue("id"))
	if err != nil {
		return err
	}
	what := session.Ending{Kind: feed.User, ID: u.ID, Reason: "admin"}
	if _, err := s.Sessions.End(x.Context(), what, x.key.ID, x.from()); err != nil {
		return err
	}
	return noContent(x)
}
