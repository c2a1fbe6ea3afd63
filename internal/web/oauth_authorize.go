package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

const (
	authorizePath = "/oauth2/authorize"
	consentPath   = "/consent"
	// continued is the query of a request that comes back from a page of ours.
	continued = "?continue="
)

// authorization are the parameters of the authorization endpoint.
var authorization = []parameter{
	{"client_id", "who asks"},
	{"redirect_uri", "where to answer: one that is registered, character for character"},
	{"response_type", "code"},
	{"response_mode", "query (default) or form_post"},
	{"scope", "scopes that the client is registered for, separated by spaces"},
	{"state", "given back as it is"},
	{"nonce", "for the ID token"},
	{"code_challenge", "of PKCE (RFC 7636)"},
	{"code_challenge_method", "S256"},
	{"resource", "whom the access token is for (RFC 8707)"},
	{"prompt", "none, login, consent or select_account"},
	{"max_age", "seconds since the person proved who they are, at most"},
	{"login_hint", "an email address"},
	{"id_token_hint", "an ID token of whom it has to be"},
	{"acr_values", "levels that are wished for"},
	{"claims", "JSON (OpenID Connect Core 5.5)"},
	{"ui_locales", "languages, separated by spaces"},
}

// getAuthorize answers an authorization request (OAuth 2.1 §4.1), or goes on with one that
// comes back from a page of ours.
func (s *Server) getAuthorize(x *exchange) error {
	query, err := url.ParseQuery(x.URL.RawQuery)
	if err != nil {
		return oauth.ErrRequest
	}
	var r *oauth.Request
	if text := query["continue"]; len(text) == 1 && len(query) == 1 {
		r, _, err = s.Provider.Resume(x.Context(), text[0], s.browserOf(x))
	} else {
		x.refused = onPage(query)
		r, err = s.Provider.ParseRequest(x.Context(), query)
	}
	if err != nil {
		return s.refuseRequest(x, err)
	}
	return s.proceed(x, r)
}

// postAuthorize is the same for a form (OC-9). A browser sends no cookie of ours with a
// form of another site, so the request comes back by an address of its own.
func (s *Server) postAuthorize(x *exchange) error {
	form, err := readForm(x)
	if err != nil {
		return err
	}
	x.refused = onPage(form)
	r, err := s.Provider.ParseRequest(x.Context(), form)
	if err != nil {
		return s.refuseRequest(x, err)
	}
	text, err := s.Provider.Seal(r, credential.Hash{}, session.Holder{}, oauth.Answer)
	if err != nil {
		return err
	}
	return seeOther(x, authorizePath+continued+text)
}

// proceed does what comes next: the answer, or the page that is needed before it.
func (s *Server) proceed(x *exchange, r *oauth.Request) error {
	h, err := s.holderOfRequest(x, r)
	var step oauth.Step
	if err == nil {
		step, err = s.Provider.Decide(x.Context(), r, h)
	}
	if err != nil {
		return s.refuseRequest(x, r.Silently(err))
	}
	if step == oauth.Answer {
		return s.answerRequest(x, r, h)
	}
	text, err := s.Provider.Seal(r, s.bind(x), h, step)
	if err != nil {
		return err
	}
	back := onwardQuery(authorizePath + continued + text)
	switch step {
	case oauth.AskConsent:
		return seeOther(x, consentPath+continued+text)
	case oauth.SelectAccount:
		return seeOther(x, chooser+"?"+back)
	case oauth.Reauthenticate:
		return seeOther(x, "/sign-in?prompt="+promptLogin+"&login_hint="+url.QueryEscape(h.Person().Email)+"&"+back)
	}
	if r.LoginHint != "" {
		back = "login_hint=" + url.QueryEscape(r.LoginHint) + "&" + back
	}
	return seeOther(x, "/sign-in?"+back)
}

// holderOfRequest returns who is here for a request; nobody is no error. Whom it names by
// an ID token may be another account of this browser than the one in use.
func (s *Server) holderOfRequest(x *exchange, r *oauth.Request) (session.Holder, error) {
	x.locales = r.Locales
	h, err := s.holderOf(x)
	switch {
	case errors.Is(err, errTwoCookies), errors.Is(err, errTwoCredentials):
		return session.Holder{}, err
	case err != nil && fault.Of(err).Kind != fault.Unauthenticated:
		return session.Holder{}, err
	case err != nil:
		h = session.Holder{}
	}
	if named := r.Hinted(); named != "" && (!h.Somebody() || h.UserID() != named) {
		other, found, err := s.holderFor(x, named)
		if err != nil {
			return session.Holder{}, err
		}
		if found {
			h = other
		}
	}
	x.holder = h
	return h, nil
}

// answerRequest gives out the code.
func (s *Server) answerRequest(x *exchange, r *oauth.Request, h session.Holder) error {
	response, err := s.Provider.Answer(x.Context(), r, h, x.from())
	if err != nil {
		return s.refuseRequest(x, r.Silently(err))
	}
	return s.respond(x, response)
}

// refuseRequest tells the client what is wrong, if it can be told; else the person.
func (s *Server) refuseRequest(x *exchange, err error) error {
	var told *oauth.RedirectError
	if errors.As(err, &told) {
		return s.respond(x, s.Provider.Refusal(told))
	}
	return err
}

// A formPostView is the page that carries a response to the client.
type formPostView struct {
	sheet
	To         string
	Parameters []oauth.Parameter
	Host       string
	Nonce      string // of its script
}

// respond sends the browser to the client with the response: in the address, or in a form
// that a script sends on, and a person where there is none (Form Post 1.0).
func (s *Server) respond(x *exchange, r oauth.Response) error {
	if r.To.Mode != oauth.ModeFormPost {
		return seeOther(x, r.Address())
	}
	v := formPostView{sheet: s.sheet(x, "form_post.title"), To: r.To.URI, Parameters: r.Parameters, Host: hostOf(r.To.URI), Nonce: credential.NewSecret().Encode()}
	leadsTo(x, r.Origins)
	policy := x.Header().Get("Content-Security-Policy")
	x.Header().Set("Content-Security-Policy", policy+"; script-src 'nonce-"+v.Nonce+"'")
	holdsToken(x) // and with the page's own policy the form would bear Origin: null
	return s.show(x, http.StatusOK, "form_post", v)
}

// leadsTo lets the page's forms lead to further origins in the end: browsers hold every
// address on the way against the policy of the page.
func leadsTo(x *exchange, origins []string) {
	var sources strings.Builder
	for _, origin := range origins {
		if scheme, _, six := strings.Cut(origin, "://["); six { // a policy cannot name an IPv6 address
			origin = scheme + ":"
		}
		sources.WriteString(" " + origin)
	}
	x.Header().Set("Content-Security-Policy", strings.Replace(pagePolicy, "form-action 'self'", "form-action 'self'"+sources.String(), 1))
}

// hostOf is what a person recognises of an address; "" where it is a program's own.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// onPage is what of a request its developer wants to see on the page that refuses it: the
// redirect address, where it is nothing but one.
func onPage(form url.Values) string {
	uri := form.Get("redirect_uri")
	if len(form["redirect_uri"]) != 1 || len(uri) > 256 || !strings.Contains(uri, ":") {
		return ""
	}
	for _, c := range []byte(uri) {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return uri
}

// browserOf returns the hash of the secret by which this browser's requests are known, the
// zero hash where there is none. Two cookies count as none: one of them was put there by
// someone else.
func (s *Server) browserOf(x *exchange) credential.Hash {
	value, err := one(x.Request, s.cookies.flow)
	secret, ok := credential.ParseSecret(value)
	if err != nil || !ok {
		return credential.Hash{}
	}
	return secret.Hash()
}

// bind is browserOf, and gives the browser a secret for as long as requests live. It is one
// for all of its tabs.
func (s *Server) bind(x *exchange) credential.Hash {
	value, err := one(x.Request, s.cookies.flow)
	secret, ok := credential.ParseSecret(value)
	if err != nil || !ok {
		secret = credential.NewSecret()
	}
	s.cookies.set(x, s.cookies.flow, secret.Encode(), "/", s.Now().Add(oauth.RequestLife+time.Minute))
	return secret.Hash()
}

// sealedIn returns the sealed request of an address of our own that goes on with one.
func sealedIn(address string) (text string, ok bool) {
	text, ok = strings.CutPrefix(address, authorizePath+continued)
	if !ok || text == "" || len(text) > oauth.MaxSealed {
		return "", false
	}
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
	}
	return text, true
}
