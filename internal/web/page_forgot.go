package web

import (
	"errors"
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A forgotView asks for the address of an account.
type forgotView struct {
	sheet
	Form form
}

// getForgot asks for it, or says that a mail may be on its way.
func (s *Server) getForgot(x *exchange) error {
	if !s.config.Mail {
		return account.ErrNoMail
	}
	if x.URL.Query().Get("done") == "sent" {
		return s.show(x, http.StatusOK, "forgot_sent", forgotView{sheet: s.sheet(x, "forgot.sent_title")})
	}
	return s.showForgot(x, http.StatusOK, formOf(nil))
}

func (s *Server) showForgot(x *exchange, status int, f form) error {
	v := forgotView{sheet: s.sheet(x, "forgot.title"), Form: f}
	v.Mistaken = f.Refused()
	return s.show(x, status, "forgot", v)
}

// submitForgot mails a link, if there is such an account. The answer is the same if
// there is none.
func (s *Server) submitForgot(x *exchange) error {
	in, err := readFields(x, "email")
	if err != nil {
		return err
	}
	if !s.config.Mail {
		return account.ErrNoMail
	}
	if err := s.forgot(x, in["email"]); err != nil {
		f := formOf(in)
		if status := s.refuse(x, f, err); status != 0 {
			return s.showForgot(x, status, f)
		}
		return err
	}
	return seeOther(x, "/forgot?done=sent")
}

// A resetView asks for a new password.
type resetView struct {
	sheet
	Token string
	Email string // of the account, which the link was mailed to
	Form  form
}

// getReset shows the form. Looking spends nothing.
func (s *Server) getReset(x *exchange) error {
	return s.showReset(x, http.StatusOK, x.URL.Query().Get("token"), formOf(nil))
}

func (s *Server) showReset(x *exchange, status int, token string, f form) error {
	link, err := s.Accounts.Peek(x.Context(), token, s.signUpHere(x).browser)
	if err != nil {
		return err
	}
	if link.Kind != account.LinkReset {
		return account.ErrLinkOver
	}
	holdsToken(x)
	v := resetView{sheet: s.sheet(x, "reset.title"), Token: token, Email: link.Email, Form: f}
	v.Mistaken = f.Refused()
	return s.show(x, status, "reset", v)
}

// submitReset sets the password, and signs nobody in (ASVS-6.4.3). A session that this
// browser had is over with all others, so its cookie goes.
func (s *Server) submitReset(x *exchange) error {
	in, err := readFields(x, "token", "password")
	if err != nil {
		return err
	}
	if err := s.Accounts.Reset(x.Context(), in["token"], in["password"], x.from()); err != nil {
		f := formOf(in)
		if status := s.refuse(x, f, err); status != 0 {
			return s.showReset(x, status, in["token"], f)
		}
		return err
	}
	if _, err := s.holderOf(x); errors.Is(err, session.ErrEnded) {
		s.clear(x)
	}
	return seeOther(x, "/sign-in?done=reset")
}
