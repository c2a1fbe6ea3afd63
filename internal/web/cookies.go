package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/cookie"
	"github.com/coatcheck/coatcheck/internal/session"
)

// refreshPath is where the refresh cookie is sent, and nowhere else.
const refreshPath = "/v1/token/refresh"

// cookieNames are the names that our cookies have under this configuration.
type cookieNames struct {
	session  string
	accounts string // the sessions of further accounts
	access   string
	refresh  string
	binding  string // which browser began a sign-up
	device   string // which browser has been signed in before
	flow     string // which browser an authorization request goes on in
	secure   bool
	domain   string
	site     http.SameSite
}

// namesFor picks names by what browsers enforce of them: __Host- for a host of our
// own, __Secure- where a domain is configured, and a name of its own for plain http
// on loopback, which no browser takes for one of the others.
func namesFor(c Config) cookieNames {
	n := cookieNames{
		session: "__Host-coatcheck", access: "__Host-coatcheck_at", refresh: "__Secure-coatcheck_rt",
		accounts: "__Host-coatcheck_accounts", binding: "__Host-coatcheck_signup", device: "__Host-coatcheck_device", flow: "__Host-coatcheck_flow", secure: true, domain: c.CookieDomain, site: c.SameSite,
	}
	switch {
	case c.PublicURL.Scheme == "http":
		n.session, n.access, n.refresh, n.secure = "coatcheck_dev", "coatcheck_dev_at", "coatcheck_dev_rt", false
		n.accounts, n.binding, n.device, n.flow = "coatcheck_dev_accounts", "coatcheck_dev_signup", "coatcheck_dev_device", "coatcheck_dev_flow"
	case c.CookieDomain != "":
		n.session = "__Secure-coatcheck"
	}
	return n
}

// any reports whether the request bears a cookie of ours.
func (n cookieNames) any(r *http.Request) bool {
	for _, name := range []string{n.session, n.accounts, n.access, n.refresh, n.binding, n.flow} {
		if _, times := named(r, name); times > 0 {
			return true
		}
	}
	return false
}

// named returns how many cookies have exactly this name, compared as bytes, and the
// value of the first.
func named(r *http.Request, name string) (value string, times int) {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var key, found string
			if key, found, line = cookie.Cut(line); key != name {
				continue
			}
			if times++; times == 1 {
				value = found
			}
		}
	}
	return value, times
}

// one returns the value of the cookie of this name, "" if there is none. Two of one
// name are refused: one of them was put there by someone else.
func one(r *http.Request, name string) (string, error) {
	value, times := named(r, name)
	if times > 1 {
		return "", errTwoCookies
	}
	return value, nil
}

func (n cookieNames) set(x *exchange, name, value, path string, until time.Time) {
	c := &http.Cookie{ // #nosec G124 -- Secure is off for plain http on loopback alone, SameSite is Lax or Strict
		Name: name, Value: value, Path: path, HttpOnly: true, Secure: n.secure, SameSite: n.site, Expires: until,
	}
	switch name {
	case n.session:
		c.Domain = n.domain
	case n.flow: // it has to come along when another site sends a person here
		c.SameSite = http.SameSiteLaxMode
	}
	http.SetCookie(x, c)
}

// setSession gives the session's cookie to the browser. It goes with the browser
// unless the person asked to be remembered. A browser that holds tokens in cookies
// gives them up: it has one way of being signed in, since two are refused.
func (s *Server) setSession(x *exchange, opened session.Opened) {
	var until time.Time
	if opened.Standing.Session.Remember {
		until = opened.Standing.Session.ExpiresAt
	}
	s.cookies.set(x, s.cookies.session, opened.Cookie, "/", until)
	s.setDevice(x, opened)
	if _, times := named(x.Request, s.cookies.access); times > 0 {
		s.clearTokens(x)
	}
}

// setTokens gives both tokens to the browser as cookies that no script reads, and
// takes the session's cookie from it.
func (s *Server) setTokens(x *exchange, t session.Tokens) {
	s.cookies.set(x, s.cookies.access, t.Access, "/", t.Until)
	s.cookies.set(x, s.cookies.refresh, t.Refresh, refreshPath, t.Until)
	if _, times := named(x.Request, s.cookies.session); times > 0 {
		s.cookies.set(x, s.cookies.session, "", "/", past)
	}
}

// clear takes all our cookies from the browser. A refusal never does this: a
// sibling request may have just renewed them.
func (s *Server) clear(x *exchange) {
	s.cookies.set(x, s.cookies.session, "", "/", past)
	s.clearTokens(x)
}

func (s *Server) clearTokens(x *exchange) {
	s.cookies.set(x, s.cookies.access, "", "/", past)
	s.cookies.set(x, s.cookies.refresh, "", refreshPath, past)
}

// past is when a cookie ends that is taken away.
var past = time.Unix(1, 0)

// cookie returns the value of our cookie of this name. Two of them are refused,
// noted, and taken from the browser as far as they are ours to take.
func (s *Server) cookie(x *exchange, name string) (string, error) {
	value, err := one(x.Request, name)
	if err != nil {
		s.clear(x)
		s.Logger.WarnContext(x.Context(), "a request bears our cookie twice: another host may be setting it", "cookie", name, "request_id", x.from().RequestID, "ip", x.from().IP)
	}
	return value, err
}

// identify finds out who asks, as the route demands it.
func (s *Server) identify(x *exchange) error {
	var err error
	switch x.route.who {
	case holder:
		x.holder, err = s.holderOf(x)
		s.Metrics.checked(err)
	case apiKey:
		x.key, err = s.keyOf(x)
	case client:
		err = s.clientOf(x)
	case clientOrKey:
		err = s.clientOrKeyOf(x)
	}
	return err
}

// holderOf returns who holds the credential that the request bears: a Bearer token,
// the cookie with an access token, or the session's cookie; two kinds are refused.
func (s *Server) holderOf(x *exchange) (session.Holder, error) {
	cookie, err := s.cookie(x, s.cookies.session)
	if err != nil {
		return session.Holder{}, err
	}
	token, err := s.cookie(x, s.cookies.access)
	if err != nil {
		return session.Holder{}, err
	}
	bearer, present, err := bearerOf(x.Request)
	if err != nil {
		return session.Holder{}, err
	}
	switch {
	case present && cookie+token != "", cookie != "" && token != "":
		return session.Holder{}, errTwoCredentials
	case present:
		return s.Sessions.CheckToken(x.Context(), bearer)
	case token != "":
		return s.Sessions.CheckToken(x.Context(), token)
	case cookie != "":
		return s.Sessions.CheckCookie(x.Context(), cookie)
	}
	return session.Holder{}, session.ErrNoCredential
}

// keyOf returns the API key that the request bears, if it has the route's scope.
func (s *Server) keyOf(x *exchange) (account.APIKey, error) {
	if own, ok := ownKey(x); ok {
		return own, nil
	}
	text, present, err := bearerOf(x.Request)
	if err != nil || !present {
		return account.APIKey{}, account.ErrNoAPIKey
	}
	return s.Accounts.CheckAPIKey(x.Context(), text, x.route.scope)
}

// bearerOf cuts the token from the Authorization header (RFC 6750 §2.1). Another
// scheme, two headers or an empty token are refused and never passed over.
func bearerOf(r *http.Request) (token string, present bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if len(values) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", false, session.ErrInvalidToken
	}
	return token, true, nil
}
