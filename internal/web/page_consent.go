package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A consentView is the page on which a person is asked for their consent.
type consentView struct {
	sheet
	Host     string // where the person is sent on to; "": to a program on their device
	Unsure   bool   // nobody can tell whether the application is the one it says it is
	Asks     []permission
	Audience string // the service that it is about; "": this one
	Until    time.Time
	Offline  bool   // it goes on after signing out
	Policy   string // the application's own privacy policy; "": none
	Rules    string // the application's own terms of use; "": none
	Continue string // the sealed request
	Others   string // where another account is chosen
}

// A permission is one thing that an application asks for.
type permission struct {
	Text string // in words; "": there are none
	Name string // of the scope
}

// getConsent asks for the consent that a request needs. Looking changes nothing.
func (s *Server) getConsent(x *exchange) error {
	text := x.URL.Query().Get("continue")
	r, shown, err := s.Provider.Resume(x.Context(), text, s.browserOf(x))
	if err != nil {
		return s.refuseRequest(x, err)
	}
	h, err := s.holderOfRequest(x, r)
	if err != nil {
		return err
	}
	step, err := s.Provider.Decide(x.Context(), r, h)
	if err != nil {
		return s.refuseRequest(x, err)
	}
	if step != oauth.AskConsent || shown != h.UserID() {
		return s.proceed(x, r)
	}
	return s.showConsent(x, r, h, text)
}

func (s *Server) showConsent(x *exchange, r *oauth.Request, h session.Holder, text string) error {
	v := consentView{sheet: s.sheet(x, "consent.title"), Host: hostOf(r.To.URI), Unsure: !r.Assured(), Audience: r.Audience, Offline: r.Offline, Policy: r.Client.PolicyURI, Rules: r.Client.TermsURI, Continue: text}
	v.Application = r.Client.Name
	if v.Unsure {
		v.Host = "" // it is the person's own device
	}
	v.Title = v.words.Text("consent.title", "application", r.Client.Name)
	v.Others = chooser + "?" + onwardQuery(authorizePath+continued+text)
	in := h.Session()
	v.Until = in.ExpiresAt
	if r.Offline { // a session of its own begins then, which lives as long as this one does from its beginning
		v.Until = s.Now().Add(in.ExpiresAt.Sub(in.CreatedAt))
	}
	v.Asks = permissions(v.words, r.Asks())
	leadsTo(x, r.Origins())
	return s.show(x, http.StatusOK, "consent", v)
}

// permissions says in words what scopes mean.
func permissions(words *catalogue.Language, scopes []string) []permission {
	var all []permission
	for _, scope := range order(scopes) {
		p := permission{Name: scope}
		if key := "scope." + scope; words.Has(key) {
			p.Text = words.Text(key)
		}
		all = append(all, p)
	}
	return all
}

// order puts the scopes that everybody knows first.
func order(scopes []string) []string {
	var known []string
	for _, scope := range oauth.Scopes {
		if slices.Contains(scopes, scope) {
			known = append(known, scope)
		}
	}
	return append(known, slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(known, scope) })...)
}

// submitConsent takes the answer of whoever was shown the page. If somebody else is here by
// now, they are asked themselves.
func (s *Server) submitConsent(x *exchange) error {
	in, err := readFields(x, "continue", "answer")
	if err != nil {
		return err
	}
	r, shown, err := s.Provider.Resume(x.Context(), in["continue"], s.browserOf(x))
	if err != nil {
		return s.refuseRequest(x, err)
	}
	switch {
	case shown == "":
		return oauth.ErrRequestOver
	case in["answer"] == "deny":
		return s.respond(x, s.Provider.Deny(r))
	case in["answer"] != "allow":
		return fault.Bad("/answer", "format", "The answers are allow and deny.")
	}
	h, err := s.holderOfRequest(x, r)
	if err != nil {
		return err
	}
	if !h.Somebody() || h.UserID() != shown {
		return s.proceed(x, r)
	}
	step, err := s.Provider.Decide(x.Context(), r, h)
	switch {
	case err != nil:
		return s.refuseRequest(x, err)
	case step == oauth.AskConsent:
		if err := s.Provider.Allow(x.Context(), r, h, x.from()); err != nil {
			return err
		}
	case step != oauth.Answer:
		return s.proceed(x, r)
	}
	return s.answerRequest(x, r, h)
}
