package web

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// ServeHTTP answers one request. An address that is not written in its one plain form
// (dot segments, doubled or encoded slashes, needless escapes) is unknown: it is never
// tidied up, so no proxy in front and no rule of it can take it for another one than
// we do.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := s.direct[call{r.Method, r.URL.Path}]; answer != nil && r.URL.RawPath == "" {
		answer(w, r)
		return
	}
	if !plainPath(r.URL) {
		s.stray(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func plainPath(u *url.URL) bool {
	return u.RawPath == "" && strings.HasPrefix(u.Path, "/") && path.Clean(u.Path) == u.Path
}

// refuseOtherMethods answers what no row of the table does: a known address asked by
// another method, and every other address.
func (s *Server) refuseOtherMethods() {
	methods := map[string][]string{}
	classes := map[string]class{}
	for i := range routes {
		rt := &routes[i]
		methods[rt.path] = append(methods[rt.path], rt.method)
		classes[rt.path] = rt.class
		if rt.method == http.MethodGet {
			methods[rt.path] = append(methods[rt.path], http.MethodHead)
		}
	}
	for address, list := range methods {
		slices.Sort(list)
		allow := strings.Join(list, ", ")
		s.mux.HandleFunc(address, s.serve(&route{
			method: "other", path: address, class: classes[address],
			handle: func(s *Server, x *exchange) error {
				if s.preflight(x, allow) {
					return nil
				}
				x.Header().Set("Allow", allow)
				return errMethod
			},
		}))
	}
	s.mux.HandleFunc("/", s.stray)
}

// The rows of all addresses that have none: people get a page, programs a problem.
var (
	strayPage = route{method: "other", path: "other", class: page, handle: refuseStray}
	strayCall = route{method: "other", path: "other", class: api, handle: refuseStray}
)

func refuseStray(*Server, *exchange) error { return errNotFound }

func (s *Server) stray(w http.ResponseWriter, r *http.Request) {
	if safe(r.Method) && readsPages(r) {
		s.strays[1](w, r)
		return
	}
	s.strays[0](w, r)
}

// readsPages reports whether whoever asks is shown pages: every browser says so when
// it goes somewhere.
func readsPages(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
