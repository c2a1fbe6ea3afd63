package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// forwarded are the headers by which a proxy tells what the original request was.
var forwarded = []parameter{
	{"X-Forwarded-Method", "the original method"},
	{"X-Forwarded-Proto", "http or https; from a configured proxy"},
	{"X-Forwarded-Host", "the original host; from a configured proxy"},
	{"X-Forwarded-Uri", "the original path and query; from a configured proxy"},
}

// vouched are the headers by which we tell who sends it.
var vouched = []parameter{
	{"X-Auth-User", "the id of the user: the key to use"},
	{"X-Auth-Session", "the id of the session"},
	{"X-Auth-Scope", "the scope of an access token; cookies have none"},
	{"X-Auth-Email", "the email, only when it is verified"},
}

// getForwardAuth answers a proxy that asks, for each request it is about to pass on,
// who sends it. What the original request was is believed from the configured
// proxies alone: see [Server.original].
func (s *Server) getForwardAuth(x *exchange) error {
	o := s.original(x)
	h, err := s.passHolder(x, o)
	if err == nil {
		return s.vouch(x, h)
	}
	if f := fault.Of(err); f.Kind != fault.Unauthenticated {
		return err
	}
	x.Header().Set("X-Auth-Redirect", s.signInAddress(o))
	if x.URL.Query().Get("redirect") == "1" {
		x.Header().Set("Location", s.signInAddress(o))
		x.WriteHeader(http.StatusFound)
		return nil
	}
	return err
}

// passHolder returns who sends the original request, if it may pass.
func (s *Server) passHolder(x *exchange, o original) (session.Holder, error) {
	if !o.believed && !safe(o.method) {
		return session.Holder{}, errProxyNotTrusted
	}
	if !safe(o.method) && s.cookies.any(x.Request) && !s.sameOrigin(x.Request, o) {
		return session.Holder{}, errCrossOrigin
	}
	h, err := s.holderOf(x)
	s.Metrics.checked(err)
	return h, err
}

// vouch tells the proxy who it is. The key to use is X-Auth-User; an email is told
// only when it is proven to be theirs.
func (s *Server) vouch(x *exchange, h session.Holder) error {
	header := x.Header()
	x.said[0], x.said[1] = h.UserID(), h.SessionID()
	header["X-Auth-User"], header["X-Auth-Session"] = x.said[:1:1], x.said[1:2:2]
	if h.Scope != "" {
		header.Set("X-Auth-Scope", h.Scope)
	}
	if email, verified := h.VerifiedEmail(); verified {
		x.said[2] = email
		header["X-Auth-Email"] = x.said[2:]
	}
	x.WriteHeader(http.StatusOK)
	return nil
}

// An original is the request that a proxy asks about, as the proxy tells it.
type original struct {
	believed bool   // told by a configured proxy
	method   string // "" if unknown, which counts as unsafe
	origin   string // scheme and host; "" if unknown
	uri      string // path and query
}

// original reads what the proxy says of the original request. Of a proxy that is not
// configured only the method is heard: one that it calls safe does no harm even if
// that is a lie, because a browser lets no foreign site set the header.
func (s *Server) original(x *exchange) original {
	o := original{believed: s.fromProxy(x), method: only(x.Request, "X-Forwarded-Method")}
	if !o.believed {
		return o
	}
	o.uri = only(x.Request, "X-Forwarded-Uri")
	scheme, host := only(x.Request, "X-Forwarded-Proto"), only(x.Request, "X-Forwarded-Host")
	if scheme == "http" || scheme == "https" {
		if u, err := url.Parse(scheme + "://" + host); err == nil && host != "" && u.Host == host {
			o.origin = strings.ToLower(scheme + "://" + host)
		}
	}
	return o
}

// only returns the value of a header, by its canonical name, that is there exactly
// once, else "".
func only(r *http.Request, name string) string {
	if values := r.Header[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// sameOrigin reports whether the original request was made by a page of its own
// origin, or of one that is trusted. A request that does not say is not.
func (s *Server) sameOrigin(r *http.Request, o original) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	switch {
	case len(origins) > 1 || len(sites) > 1:
		return false
	case len(origins) == 1 && slices.Contains(s.guard.origins, origins[0]):
		return true
	case len(origins) == 1 && (o.origin == "" || origins[0] != o.origin):
		return false
	case len(sites) == 1:
		return sites[0] == "same-origin" || sites[0] == "none" && len(origins) == 0
	}
	return len(origins) == 1
}

// signInAddress is where a person signs in, and comes back from if the original
// address is one to which sign-in may send people.
func (s *Server) signInAddress(o original) string {
	address := s.issuer + "/sign-in"
	uri, _, _ := strings.Cut(o.uri, "#")
	if o.origin == "" || !s.mayReturn(o.origin+uri) {
		return address
	}
	return address + "?return_to=" + url.QueryEscape(o.origin+uri)
}
