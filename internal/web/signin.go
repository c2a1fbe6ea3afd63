package web

import (
	"net/http"
	"slices"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What sign-in may hand out.
const (
	transportCookie      = "cookie"       // the session's cookie
	transportToken       = "token"        // an access and a refresh token, in the body
	transportTokenCookie = "token_cookie" // the same two, as cookies that no script reads
)

// delivery is how a client wants what sign-in hands out.
type delivery struct {
	Transport string `json:"transport,omitzero" about:"cookie (default), token or token_cookie"`
	Audience  string `json:"audience,omitzero" about:"whom the access token is for"`
	Scope     string `json:"scope,omitzero" about:"scopes of the access token, separated by spaces"`
	Device    string `json:"device,omitzero" about:"how the application calls this device"`
	Remember  bool   `json:"remember,omitzero" about:"keep the cookies after the browser is closed"`
}

type signInRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	delivery `json:",inline"`
}

// postSignIn checks the password and begins a session.
func (s *Server) postSignIn(x *exchange) error {
	var in signInRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	opening, err := s.opening(x, in.delivery)
	if err != nil {
		return err
	}
	opened, err := s.signIn(x, in.Email, in.Password, opening)
	if err != nil {
		return err
	}
	return s.handOut(x, http.StatusOK, in.Transport, opened)
}

type signUpRequest struct {
	Email      string `json:"email"`
	Password   string `json:"password"`
	Name       string `json:"name,omitzero"`
	Invitation string `json:"invitation,omitzero" about:"the token of an invitation; the email is then the one that was invited"`
	delivery   `json:",inline"`
}

// postSignUp makes an account and begins its first session. Where an address is to be
// proven first it mails the proof instead, and answers alike whoever has the address;
// where it need not be, that an email is taken is told, which reveals who has an
// account.
func (s *Server) postSignUp(x *exchange) error {
	var in signUpRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	opening, err := s.opening(x, in.delivery)
	if err != nil {
		return err
	}
	n := account.NewUser{Email: in.Email, Password: in.Password, Name: in.Name, Invitation: in.Invitation}
	if s.provenFirst(&n) {
		if err := s.beginSignUp(x, n, "", ""); err != nil {
			return err
		}
		return accepted(x)
	}
	opened, err := s.signUp(x, n, opening)
	if err != nil {
		return err
	}
	return s.handOut(x, http.StatusCreated, in.Transport, opened)
}

// signIn begins a session for whoever has the password.
func (s *Server) signIn(x *exchange, email, password string, o session.Opening) (session.Opened, error) {
	proof, err := s.checkPassword(x, email, password)
	if err != nil {
		return session.Opened{}, err
	}
	return s.Sessions.Begin(x.Context(), proof, o)
}

func (s *Server) checkPassword(x *exchange, email, password string) (account.Proof, error) {
	proof, err := s.Accounts.CheckPassword(x.Context(), email, password, x.from())
	s.Metrics.signedIn(err)
	return proof, err
}

// signUp makes an account and begins its first session.
func (s *Server) signUp(x *exchange, n account.NewUser, o session.Opening) (session.Opened, error) {
	proof, err := s.Accounts.SignUp(x.Context(), n, x.from())
	if err != nil {
		return session.Opened{}, err
	}
	return s.Sessions.Begin(x.Context(), proof, o)
}

// opening says how a session begins for this way of delivery. What may not be asked
// for is refused here, before an account or a session is made.
func (s *Server) opening(x *exchange, d delivery) (session.Opening, error) {
	o := session.Opening{
		From: x.from(), Event: audit.SignedIn, Device: d.Device, Remember: d.Remember, Audience: d.Audience, Scope: d.Scope,
		Browser: d.Transport != transportToken, DeviceCookie: s.deviceCookie(x),
	}
	needs := transportToken
	switch d.Transport {
	case "", transportCookie:
		o.Cookie, needs = true, transportCookie
	case transportToken, transportTokenCookie:
		o.Tokens = true
	default:
		return o, fault.Bad("/transport", "format", "The transports are cookie, token and token_cookie.")
	}
	if !slices.Contains(s.config.Transports, needs) {
		return o, errTransport
	}
	return o, s.Sessions.MayAsk(d.Audience, d.Scope)
}

// handOut answers with a session and with what was drawn on it, by the transport.
func (s *Server) handOut(x *exchange, status int, transport string, opened session.Opened) error {
	out := signedIn{User: userOf(session.PersonOf(&opened.Standing.User)), Session: sessionOf(opened.Standing.Summary(opened.Standing.Session.LastSeenAt))}
	switch transport {
	case transportToken:
		out.Tokens = tokensOf(opened.Tokens)
	case transportTokenCookie:
		s.setTokens(x, opened.Tokens)
		s.setDevice(x, opened)
	default:
		s.setSession(x, opened)
	}
	return writeJSON(x, status, out)
}
