package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

type verificationRequest struct {
	Token    string `json:"token,omitzero" about:"of the link; or else email and code"`
	Email    string `json:"email,omitzero"`
	Code     string `json:"code,omitzero" about:"the six digits of the mail"`
	Password string `json:"password,omitzero" about:"where another browser began the sign-up: the password that the account will have"`
	delivery `json:",inline"`
}

// claim returns what is said to prove a mailbox: a token, or an email with a code.
func (in *verificationRequest) claim() (account.Verification, error) {
	v := account.Verification{Token: in.Token, Email: in.Email, Code: in.Code, Password: in.Password}
	switch {
	case in.Token != "" && in.Email+in.Code != "":
		return v, fault.Bad("/token", "format", "Send the token, or the email with the code.")
	case in.Token != "":
		return v, nil
	case in.Email == "" && in.Code == "":
		return v, fault.Bad("/token", "required", "Send the token, or the email with the code.")
	case in.Email == "":
		return v, fault.Bad("/email", "required", "An email address is needed.")
	case in.Code == "":
		return v, fault.Bad("/code", "required", "Send the six digits of the mail.")
	}
	return v, nil
}

// postVerification spends the proof that came by mail: it makes the account of a
// sign-up, marks an address as proven, or puts it in the place of another. It signs
// somebody in only where the browser that asks is the one that began the sign-up.
func (s *Server) postVerification(x *exchange) error {
	var in verificationRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	claim, err := in.claim()
	if err != nil {
		return err
	}
	claim.Browser = s.signUpHere(x).browser
	var opening session.Opening
	if claim.Browser != (credential.Hash{}) { // nobody else is given anything
		if opening, err = s.opening(x, in.delivery); err != nil {
			return err
		}
	}
	verified, err := s.verify(x, claim)
	if err != nil {
		return err
	}
	if verified.Proof.UserID() == "" {
		return noContent(x)
	}
	opened, err := s.Sessions.Begin(x.Context(), verified.Proof, opening)
	if err != nil {
		return err
	}
	s.unbindSignUp(x)
	return s.handOut(x, http.StatusCreated, in.Transport, opened)
}

// postVerificationMail sends the proof of the person's own address once more. Where it
// is proven already there is nothing to send, and that is no secret of theirs.
func (s *Server) postVerificationMail(x *exchange) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	if err := s.Accounts.SendVerification(x.Context(), u, x.from()); err != nil {
		return err
	}
	return accepted(x)
}

type emailRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// postEmail asks for another address. It is the person's once its mailbox has answered;
// the one before is told at once.
func (s *Server) postEmail(x *exchange) error {
	var in emailRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	u, err := s.account(x)
	if err != nil {
		return err
	}
	if err := s.Accounts.ChangeEmail(x.Context(), u, in.Email, in.Password, x.from()); err != nil {
		return err
	}
	return accepted(x)
}

type forgotRequest struct {
	Email string `json:"email"`
}

// postForgot sends a link to a new password to whoever reads the mail of an account.
// The answer is the same, and comes as late, where there is none.
func (s *Server) postForgot(x *exchange) error {
	var in forgotRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if err := s.forgot(x, in.Email); err != nil {
		return err
	}
	return accepted(x)
}

type resetRequest struct {
	Token    string `json:"token"`
	Password string `json:"password"`
}

// postReset sets the password of whoever proved the mailbox, and ends all their
// sessions. It begins none: what else signing in demands is still to be shown.
func (s *Server) postReset(x *exchange) error {
	var in resetRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if err := s.Accounts.Reset(x.Context(), in.Token, in.Password, x.from()); err != nil {
		return err
	}
	return noContent(x)
}

// accepted answers that mail is on its way, if there is any.
func accepted(x *exchange) error {
	x.WriteHeader(http.StatusAccepted)
	return nil
}
