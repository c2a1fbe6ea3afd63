package web

import (
	"errors"
	"net/http"
	"slices"

	"github.com/coatcheck/coatcheck/internal/session"
)

// getSession says who is signed in.
func (s *Server) getSession(x *exchange) error {
	h := x.holder
	out := signedInAs{User: userOf(h.Person()), Session: sessionOf(h.Session()), Via: h.Via}
	body, err := out.encode()
	if err != nil {
		return err
	}
	return writeBody(x, http.StatusOK, body)
}

type drawRequest struct {
	Audience string `json:"audience,omitzero" about:"whom the access token is for; absent: this server"`
	Scope    string `json:"scope,omitzero" about:"scopes of the access token, separated by spaces"`
}

// postSessionToken draws an access token on the session of a cookie. A token does
// not draw another one: a stolen one would then live for as long as the session.
func (s *Server) postSessionToken(x *exchange) error {
	var in drawRequest
	if err := readOptionalJSON(x, &in); err != nil {
		return err
	}
	if x.holder.Via != session.ViaCookie {
		return errCookieNeeded
	}
	if !slices.Contains(s.config.Transports, transportToken) {
		return errTransport
	}
	t, err := s.Sessions.Draw(x.Context(), x.holder, in.Audience, in.Scope)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, tokensOf(t))
}

type passwordRequest struct {
	Password string `json:"password"`
}

// postReauthenticate proves again who is signed in: same session, new secret, new
// time of the proof. What was held before is dead, so its successor is given in the
// way in which that came.
func (s *Server) postReauthenticate(x *exchange) error {
	var in passwordRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	u, err := s.account(x)
	if err != nil {
		return err
	}
	proof, err := s.Accounts.CheckAgain(x.Context(), u, in.Password, x.from())
	if err != nil {
		return err
	}
	opened, err := s.Sessions.Reauthenticate(x.Context(), x.holder, proof, x.from())
	if err != nil {
		return err
	}
	out := signedIn{User: userOf(session.PersonOf(&opened.Standing.User)), Session: sessionOf(opened.Standing.Summary(x.holder.Seen))}
	switch _, bearer, _ := bearerOf(x.Request); {
	case opened.Tokens.Access == "":
	case bearer:
		out.Tokens = tokensOf(opened.Tokens)
	default:
		s.cookies.set(x, s.cookies.access, opened.Tokens.Access, "/", opened.Tokens.Until)
	}
	if opened.Cookie != "" { // also where a token came that was drawn on a cookie's session
		s.setSession(x, opened)
	}
	return writeJSON(x, http.StatusOK, out)
}

// signingOut answers every sign-out. Cached pages of ours go, too; cookies are taken
// by name, since Clear-Site-Data would take those of every host below the domain.
const signingOut = `"cache"`

// postSignOut ends the session behind the credential. One that is over already is as
// good as ended, so that the call may be repeated; a token that is over is renewed
// first, as for every other call, because nobody who finds an old one may end a
// session with it.
func (s *Server) postSignOut(x *exchange) error {
	if err := s.signOut(x); err != nil {
		return err
	}
	return noContent(x)
}

func (s *Server) signOut(x *exchange) error {
	h, err := s.holderOf(x)
	if err == nil {
		err = s.Sessions.SignOut(x.Context(), h, x.from())
	}
	if err != nil && !errors.Is(err, session.ErrEnded) {
		return err
	}
	s.clear(x)
	x.Header().Set("Clear-Site-Data", signingOut)
	return nil
}
