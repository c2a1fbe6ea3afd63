package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

const (
	logoutPath        = "/oauth2/logout"
	logoutConfirmPath = "/oauth2/logout/confirm"
)

// loggingOut are the parameters of the logout endpoint.
var loggingOut = []parameter{
	{"id_token_hint", "an ID token of whom is to be signed out, expired or not: they are not asked"},
	{"client_id", "who asks, where there is no ID token"},
	{"post_logout_redirect_uri", "where to go afterwards: one that is registered, character for character"},
	{"state", "given back as it is"},
	{"ui_locales", "languages, separated by spaces"},
}

// getLogout signs a person out because an application asks for it (OpenID Connect
// RP-Initiated Logout 1.0). Whose ID token the application has got is signed out at once;
// anybody else is asked.
func (s *Server) getLogout(x *exchange) error {
	query, err := url.ParseQuery(x.URL.RawQuery)
	if err != nil {
		return oauth.ErrLogoutRequest
	}
	r, err := s.Provider.ParseLogout(x.Context(), query)
	if err != nil {
		return err
	}
	x.locales = r.Locales
	here, err := s.accountsHere(x)
	if err != nil {
		return err
	}
	if len(here) == 0 {
		return s.loggedOut(x, r)
	}
	if r.UserID != "" && indexOf(here, r.UserID) >= 0 && !guessed(x) {
		if _, err := s.signOutOf(x, r.UserID); err != nil {
			return err
		}
		return s.loggedOut(x, r)
	}
	return s.showLogout(x, r, here)
}

// guessed reports whether a browser or a program fetches ahead what nobody has asked for
// yet.
func guessed(x *exchange) bool {
	return strings.Contains(x.Request.Header.Get("Sec-Purpose"), "prefetch")
}

// postLogout is the same for a form (RPL-1). A browser sends no cookie of ours with a form
// of another site, so the request comes back by an address of its own.
func (s *Server) postLogout(x *exchange) error {
	form, err := readForm(x)
	if err != nil {
		return err
	}
	if _, err := s.Provider.ParseLogout(x.Context(), form); err != nil {
		return err
	}
	query := url.Values{}
	for _, p := range loggingOut {
		if form.Has(p.name) {
			query.Set(p.name, form.Get(p.name))
		}
	}
	return seeOther(x, logoutPath+"?"+query.Encode())
}

// A logoutView is the page that asks a person whether they want to be signed out.
type logoutView struct {
	sheet
	Account string // the id of who is asked
	Client  string // the id of the application that asks; "": none says so
	URI     string
	State   string
}

func (s *Server) showLogout(x *exchange, r *oauth.LogoutRequest, here []present) error {
	v := logoutView{sheet: s.sheet(x, "logout.title"), URI: r.URI, State: r.State}
	one := inUse(here)
	asked := session.PersonOf(&one.Standing.User)
	v.Person, v.Account = &asked, asked.ID
	if r.Client != nil {
		v.Client, v.Application = r.Client.ID, r.Client.Name
	}
	leadsTo(x, r.Origins())
	return s.show(x, http.StatusOK, "logout", v)
}

// inUse returns the account that is in use among those of a browser, or the first of them.
func inUse(here []present) present {
	if i := slices.IndexFunc(here, func(p present) bool { return p.Current }); i >= 0 {
		return here[i]
	}
	return here[0]
}

// submitLogout signs out whom the page has asked. If they are signed out by now, or
// another account is in use, that is as good.
func (s *Server) submitLogout(x *exchange) error {
	in, err := readFields(x, "account", "client_id", "post_logout_redirect_uri", "state")
	if err != nil {
		return err
	}
	form := url.Values{}
	for _, name := range []string{"client_id", "post_logout_redirect_uri", "state"} {
		if in[name] != "" {
			form.Set(name, in[name])
		}
	}
	r, err := s.Provider.ParseLogout(x.Context(), form)
	if err != nil {
		return err
	}
	if in["account"] == "" {
		return fault.Bad("/account", "required", "Say whom the page was shown to.")
	}
	if _, err := s.signOutOf(x, in["account"]); err != nil && !errors.Is(err, session.ErrEnded) {
		return err
	}
	return s.loggedOut(x, r)
}

// loggedOut sends the person back to the application, or says that it is done.
func (s *Server) loggedOut(x *exchange, r *oauth.LogoutRequest) error {
	if back := r.Back(); back != "" {
		return seeOther(x, back)
	}
	return seeOther(x, "/signed-out")
}
