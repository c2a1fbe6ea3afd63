package web

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

type introspectRequest struct {
	Token string `json:"token" about:"an access token, a refresh token or a session cookie"`
	Hint  string `json:"token_type_hint,omitzero" about:"access_token, refresh_token or session_cookie; what kind it is shows in the token all the same"`
	Seen  int64  `json:"seen,omitzero" about:"for cookies: when this one was last used, in Unix seconds"`
	clientParameters
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

// postIntrospect says what a credential is worth: to a service by its API key of all, to
// a client of its own.
func (s *Server) postIntrospect(x *exchange) (err error) {
	form, asks := x.parameters, ""
	if x.asClient {
		asks = x.client.ID
	} else if form, err = readForm(x); err != nil {
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
	answer, active, err := s.Sessions.Introspect(x.Context(), token, seen, asks)
	if err != nil {
		return err
	}
	if !active {
		return writeJSON(x, http.StatusOK, introspection{})
	}
	out := introspectionOf(&answer)
	if x.asClient && !slices.Contains(strings.Fields(answer.Scope), oauth.ScopeEmail) {
		out.Email, out.EmailVerified = "", nil
	}
	return writeJSON(x, http.StatusOK, out)
}

func introspectionOf(a *session.Answer) introspection {
	st := &a.Standing
	out := introspection{
		Active: true, Subject: a.Subject, ClientID: st.Client.ID, Audience: a.Audience, Scope: a.Scope,
		Issued: a.Issued, Expires: a.Expires,
	}
	if a.ClientOnly {
		return out
	}
	out.AuthTime, out.ACR, out.AMR = st.Session.AuthTime, st.Session.ACR, st.Session.AMR
	out.Email, out.EmailVerified = st.User.Email, &st.User.EmailVerified
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
	if x.form != nil {
		return x.form, nil
	}
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
	x.form = form
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
