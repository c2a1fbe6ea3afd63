package web

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

type introspectRequest struct {
	Token string `json:"token" about:"an access token, a refresh token or a session cookie"`
	Hint  string `json:"token_type_hint,omitzero" about:"access_token, refresh_token or session_cookie; what kind it is shows in the token all the same"`
	Seen  int64  `json:"seen,omitzero" about:"for cookies: when this one was last used, in Unix seconds"`
}

// An introspection is what a credential is worth (RFC 7662 §2.2). An inactive one
// has no member but active, whatever the reason.
type introspection struct {
	Active        bool     `json:"active"`
	Subject       string   `json:"sub,omitzero"`
	SessionID     string   `json:"sid,omitzero"`
	GrantID       string   `json:"gid,omitzero"`
	ClientID      string   `json:"client_id,omitzero"`
	Audience      string   `json:"aud,omitzero"`
	Scope         string   `json:"scope,omitzero"`
	Issued        int64    `json:"iat,omitzero" about:"for cookies: when the answer was read"`
	Expires       int64    `json:"exp,omitzero" about:"until when the answer may be remembered, beside the revocation log"`
	AuthTime      int64    `json:"auth_time,omitzero"`
	ACR           string   `json:"acr,omitzero"`
	AMR           []string `json:"amr,omitzero"`
	Email         string   `json:"email,omitzero"`
	EmailVerified *bool    `json:"email_verified,omitzero"`
}

// postIntrospect says what a credential is worth.
func (s *Server) postIntrospect(x *exchange) error {
	form, err := readForm(x)
	if err != nil {
		return err
	}
	token, err := single(form, "token")
	if err != nil {
		return err
	}
	if token == "" {
		return fault.Bad("/token", "required", "Say in token which credential is meant.")
	}
	seen, err := seenIn(form)
	if err != nil {
		return err
	}
	answer, active, err := s.Sessions.Introspect(x.Context(), token, seen)
	if err != nil {
		return err
	}
	if !active {
		return writeJSON(x, http.StatusOK, introspection{})
	}
	return writeJSON(x, http.StatusOK, introspectionOf(&answer))
}

func introspectionOf(a *session.Answer) introspection {
	st := &a.Standing
	out := introspection{
		Active: true, Subject: st.User.ID, ClientID: st.Client.ID, Audience: a.Audience, Scope: a.Scope,
		Issued: a.Issued, Expires: a.Expires, AuthTime: st.Session.AuthTime, ACR: st.Session.ACR, AMR: st.Session.AMR,
		Email: st.User.Email, EmailVerified: &st.User.EmailVerified,
	}
	if a.Session {
		out.SessionID = st.Session.ID
	}
	if !a.Cookie { // a cookie is drawn on the session itself
		out.GrantID = st.Grant.ID
	}
	return out
}

// seenIn reads when the asker saw the credential last; zero if it does not say.
func seenIn(form url.Values) (time.Time, error) {
	text, err := single(form, "seen")
	if err != nil || text == "" {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, fault.Bad("/seen", "type", "A time is a number of Unix seconds.")
	}
	return time.Unix(seconds, 0), nil
}

// readForm reads the members of a form from the body, and never from the query.
func readForm(x *exchange) (url.Values, error) {
	media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, errMediaType
	}
	body, err := readBody(x)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errBadRequest
	}
	return form, nil
}

// single returns a member of a form; one that is there twice is refused, because
// nobody can say which was meant (RFC 6749 §3.2).
func single(form url.Values, name string) (string, error) {
	if len(form[name]) > 1 {
		return "", fault.Bad("/"+name, "format", "This member is here more than once.")
	}
	return form.Get(name), nil
}
