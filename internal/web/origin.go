package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// clientAddress returns who is at the other end. X-Forwarded-For is believed only
// from configured proxies, and of it only the right-most address that is no
// proxy of ours; every other forwarding header is ignored.
func clientAddress(r *http.Request, proxies []netip.Prefix) string {
	addr, ok := peer(r)
	if !ok {
		return "unknown"
	}
	if !trusted(addr, proxies) {
		return addr.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // whoever wrote this is not to be believed about those before
		}
		addr = next.Unmap().WithZone("")
		if !trusted(addr, proxies) {
			break
		}
	}
	return addr.String()
}

func peer(r *http.Request) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap().WithZone(""), err == nil
}

func trusted(addr netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// fromProxy reports whether the request comes from a configured proxy.
func (s *Server) fromProxy(x *exchange) bool {
	if len(s.config.Proxies) == 0 {
		return false
	}
	addr, ok := peer(x.Request)
	return ok && trusted(addr, s.config.Proxies)
}

// checkHost refuses names that are not ours where a page or a cookie could be
// confused by them. No link is ever made from a Host header all the same.
func (s *Server) checkHost(x *exchange) error {
	if x.route.class != page && x.route.class != api {
		return nil
	}
	host := x.Host
	if forwarded := x.Request.Header["X-Forwarded-Host"]; len(forwarded) == 1 && s.fromProxy(x) {
		host = forwarded[0]
	}
	if strings.EqualFold(host, s.config.PublicURL.Host) {
		return nil
	}
	if withPort := net.JoinHostPort(s.config.PublicURL.Hostname(), defaultPort(s.config.PublicURL)); strings.EqualFold(host, withPort) {
		return nil
	}
	return errHost
}

func defaultPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// originGuard refuses what another site makes a browser do. It wraps
// http.CrossOriginProtection and is stricter: an Origin, when there is one, must be
// ours or configured, exactly; and a request that says nothing of where it comes
// from may not bear a cookie.
type originGuard struct {
	protection *http.CrossOriginProtection
	origins    []string
	cookies    cookieNames
}

func newOriginGuard(own string, others []string, cookies cookieNames) (*originGuard, error) {
	g := &originGuard{protection: http.NewCrossOriginProtection(), origins: append([]string{own}, others...), cookies: cookies}
	for _, origin := range g.origins {
		if err := g.protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin %q: %w", origin, err)
		}
	}
	return g, nil
}

// check returns errCrossOrigin for an unsafe request that a foreign site caused and
// that reads or sets a cookie. Reading one includes sign-in and sign-up, which set
// one; a request for applications that bears a token and no cookie was made by a
// program, or by a script that was let through a preflight.
func (g *originGuard) check(x *exchange) error {
	if x.route.class != page && x.route.class != api || safe(x.Method) || x.route.foreign {
		return nil
	}
	bears := g.cookies.any(x.Request)
	if _, bearer, err := bearerOf(x.Request); !bears && bearer && err == nil && x.route.class == api {
		return nil
	}
	return g.foreign(x.Request, x.Request.Header.Values("Origin"), bears)
}

func (g *originGuard) foreign(r *http.Request, origin []string, bears bool) error {
	site := r.Header.Values("Sec-Fetch-Site")
	switch {
	case len(origin) > 1 || len(site) > 1:
		return errCrossOrigin
	case len(origin) == 1 && !slices.Contains(g.origins, origin[0]):
		return errCrossOrigin
	case len(origin) == 0 && len(site) == 0 && bears:
		return errCrossOrigin
	case len(site) == 1 && (len(origin) == 0 || origin[0] == g.origins[0]) && site[0] != "same-origin" && site[0] != "none":
		return errCrossOrigin // our own name, but another site had a hand in it
	case g.protection.Check(r) != nil:
		return errCrossOrigin
	}
	return nil
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
