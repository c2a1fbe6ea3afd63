package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A signInView is the sign-in page, and the sign-up page.
type signInView struct {
	sheet
	Form   form
	Closed bool // new accounts are not open
}

// getRoot sends people to where they want to be.
func (s *Server) getRoot(x *exchange) error {
	if s.visitor(x) {
		return seeOther(x, home)
	}
	return seeOther(x, "/sign-in")
}

// getChangePassword is where password managers send people (W3C change-password-url).
func (s *Server) getChangePassword(x *exchange) error { return seeOther(x, home+"#password") }

// getSignInPage shows the form, unless there is nothing to do.
func (s *Server) getSignInPage(x *exchange) error {
	return s.enter(x, "sign_in", "Sign in")
}

// getSignUpPage shows the form, unless there is nothing to do.
func (s *Server) getSignUpPage(x *exchange) error {
	if s.config.SignUpClosed {
		return account.ErrSignUpClosed
	}
	return s.enter(x, "sign_up", "Create account")
}

func (s *Server) enter(x *exchange, name, title string) error {
	back := x.URL.Query().Get("return_to")
	if s.visitor(x) {
		return seeOther(x, s.returnTo(back))
	}
	if _, err := s.opening(x, delivery{}); err != nil { // pages work by cookie
		return err
	}
	return s.showEntrance(x, http.StatusOK, name, title, back, formOf(nil))
}

// showEntrance shows the sign-in or sign-up form. Browsers hold the address that a
// form leads to in the end against the page's policy, so that names its origin.
func (s *Server) showEntrance(x *exchange, status int, name, title, back string, f form) error {
	view := signInView{sheet: s.sheet(x, title), Form: f, Closed: s.config.SignUpClosed}
	if s.mayReturn(back) {
		view.ReturnTo = back
	}
	if u, err := url.Parse(view.ReturnTo); err == nil && u.Host != "" {
		policy := strings.Replace(pagePolicy, "form-action 'self'", "form-action 'self' "+u.Scheme+"://"+u.Host, 1)
		x.Header().Set("Content-Security-Policy", policy)
	}
	return s.show(x, status, name, view)
}

// submitSignIn checks the password and begins a session in the browser.
func (s *Server) submitSignIn(x *exchange) error {
	in, err := readFields(x, "email", "password", "remember", "return_to")
	if err != nil {
		return err
	}
	opening, err := s.opening(x, delivery{Remember: in["remember"] != ""})
	if err != nil {
		return err
	}
	opened, err := s.signIn(x, in["email"], in["password"], opening)
	return s.entered(x, "sign_in", "Sign in", in, opened, err)
}

// submitSignUp makes an account and begins a session in the browser.
func (s *Server) submitSignUp(x *exchange) error {
	in, err := readFields(x, "email", "password", "name", "return_to")
	if err != nil {
		return err
	}
	opening, err := s.opening(x, delivery{})
	if err != nil {
		return err
	}
	opened, err := s.signUp(x, account.NewUser{Email: in["email"], Password: in["password"], Name: in["name"]}, opening)
	return s.entered(x, "sign_up", "Create account", in, opened, err)
}

// entered sends on who has entered, and shows the form again to who has not.
func (s *Server) entered(x *exchange, name, title string, in map[string]string, opened session.Opened, err error) error {
	if err != nil {
		f := formOf(in)
		if status := f.refuse(x, err); status != 0 {
			return s.showEntrance(x, status, name, title, in["return_to"], f)
		}
		return err
	}
	s.setSession(x, opened)
	return seeOther(x, s.returnTo(in["return_to"]))
}

// submitSignOut ends the session of the browser. Who has none is signed out already.
func (s *Server) submitSignOut(x *exchange) error {
	err := s.signOut(x)
	if errors.Is(err, session.ErrNoCredential) || errors.Is(err, session.ErrInvalidToken) {
		err = nil
	}
	if err != nil {
		return err
	}
	return seeOther(x, "/signed-out")
}

// getSignedOut says that it is done.
func (s *Server) getSignedOut(x *exchange) error {
	return s.show(x, http.StatusOK, "signed_out", s.sheet(x, "Signed out"))
}
