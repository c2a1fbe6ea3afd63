package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
)

type setupView struct {
	sheet
	Token string
	Form  form
}

// getSetup shows who opens the link of the first start how to become the first
// administrator. Looking spends nothing.
func (s *Server) getSetup(x *exchange) error {
	token := x.URL.Query().Get("token")
	if err := s.Accounts.SetupOpen(x.Context(), token); err != nil {
		return err
	}
	return s.showSetup(x, http.StatusOK, token, formOf(nil))
}

// showSetup shows the form.
func (s *Server) showSetup(x *exchange, status int, token string, f form) error {
	holdsToken(x)
	v := setupView{sheet: s.sheet(x, "setup.title"), Token: token, Form: f}
	v.Mistaken = f.Refused()
	return s.show(x, status, "setup", v)
}

// submitSetup makes the first administrator, spends the link for ever, and begins a
// session.
func (s *Server) submitSetup(x *exchange) error {
	in, err := readFields(x, "token", "email", "name", "password")
	if err != nil {
		return err
	}
	opening, err := s.opening(x, delivery{})
	if err != nil {
		return err
	}
	n := account.NewUser{Email: in["email"], Name: in["name"], Password: in["password"]}
	proof, err := s.Accounts.ClaimSetup(x.Context(), in["token"], n, x.from())
	if err != nil {
		f := formOf(in)
		if status := s.refuse(x, f, err); status != 0 {
			return s.showSetup(x, status, in["token"], f)
		}
		return err
	}
	opened, err := s.Sessions.Begin(x.Context(), proof, opening)
	if err != nil {
		return err
	}
	s.setSession(x, opened)
	return seeOther(x, home)
}
