// Package web is the face of the server: the table of routes, the pages that
// people meet, and the endpoints that applications and services call.
//
// It decides nothing about accounts or sessions. A handler reads like the
// sentence it carries out; what all requests share (who asks, from where, may
// this origin, how large, how an error looks) is done once, before and after it,
// as the route's row says.
package web

import (
	"crypto/rand"
	"encoding/base64"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// Config is what an operator decides about the HTTP side.
type Config struct {
	PublicURL    *url.URL // the issuer; every link is made from it
	Transports   []string // what sign-in may hand out: cookie, token
	SignUpClosed bool
	CookieDomain string        // cookie.domain; empty: host-only
	SameSite     http.SameSite // cookie.same_site
	CORSOrigins  []string      // exact origins
	ReturnTo     []string      // origins beside PublicURL's where sign-in may send people back
	Proxies      []netip.Prefix
	Heartbeat    time.Duration // of the revocation stream
	Version      string
}

// Parts are what the server is made of.
type Parts struct {
	Accounts *account.Directory
	Sessions *session.Manager
	Ring     *keyring.Ring
	Log      *revocation.Log
	Audit    audit.Store
	Metrics  *Metrics
	Now      func() time.Time
	Logger   *slog.Logger
}

// A Server answers all requests. It is safe for concurrent use.
type Server struct {
	Parts
	config  Config
	issuer  string // PublicURL as a string: iss, and our own audience
	origin  string // PublicURL's origin
	cookies cookieNames
	guard   *originGuard
	mux     *http.ServeMux
	stop    chan struct{} // closed when the server begins to stop
	stopped sync.Once

	metadata document // what does not change while the server runs
	openapi  document
	style    document
	icon     document
	pages    map[string]*template.Template
}

// New returns a server.
func New(c Config, parts Parts) (*Server, error) {
	s := &Server{Parts: parts, config: c, stop: make(chan struct{})}
	s.issuer = c.PublicURL.String()
	s.origin = c.PublicURL.Scheme + "://" + c.PublicURL.Host
	s.cookies = namesFor(c)
	var err error
	if s.guard, err = newOriginGuard(s.origin, c.CORSOrigins, s.cookies); err != nil {
		return nil, err
	}
	if err := s.writeDocuments(); err != nil {
		return nil, err
	}
	if err := s.readPages(); err != nil {
		return nil, err
	}
	s.mux = http.NewServeMux()
	for i := range routes {
		s.mux.HandleFunc(routes[i].method+" "+routes[i].path, s.serve(&routes[i]))
	}
	s.refuseOtherMethods()
	s.Metrics.watch(parts)
	return s, nil
}

// Stop turns readiness off and tells streams to move. Requests are still served.
// It may be called more than once.
func (s *Server) Stop() { s.stopped.Do(func() { close(s.stop) }) }

func (s *Server) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// An exchange is one request on its way through: what every handler needs to know
// of it, found out once.
type exchange struct {
	http.ResponseWriter
	*http.Request
	route   *route
	from    audit.Origin
	arrived time.Time
	holder  session.Holder // where the route asks for one
	key     account.APIKey // where the route asks for one
	status  int            // as it was written; 0: not yet
}

// Header returns the header of the answer; the request's is x.Request.Header.
func (x *exchange) Header() http.Header { return x.ResponseWriter.Header() }

// WriteHeader notes the status for the log and the metrics.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write answers 200 unless a status was written.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// serve does what all requests of a route share, in the order that matters:
// nothing of a request is believed before it is checked, and nothing is spent
// before it is known who asks.
func (s *Server) serve(rt *route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, Request: r, route: rt, arrived: s.Now()}
		x.from = audit.Origin{IP: clientAddress(r, s.config.Proxies), UserAgent: r.UserAgent(), RequestID: requestID(r)}
		s.dress(x)
		err := s.admit(x)
		if err == nil {
			err = rt.handle(s, x)
		}
		if err != nil {
			s.fail(x, err)
		}
		s.Metrics.observe(rt, x.status, s.Now().Sub(x.arrived))
		s.record(x, err)
	}
}

// admit decides whether the route's handler may run.
func (s *Server) admit(x *exchange) error {
	if err := s.checkHost(x); err != nil {
		return err
	}
	if err := s.guard.check(x); err != nil {
		return err
	}
	if x.Body != nil {
		x.Body = http.MaxBytesReader(x.ResponseWriter, x.Body, maxBody)
	}
	return s.identify(x)
}

// record writes a line per request: at info what went wrong on our side, at debug
// all. It never holds a query, a body or a credential.
func (s *Server) record(x *exchange, err error) {
	level := slog.LevelDebug
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.from.RequestID), slog.String("method", x.Method), slog.String("route", x.route.path),
		slog.Int("status", x.status), slog.String("ip", x.from.IP), slog.Duration("took", s.Now().Sub(x.arrived)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.Logger.LogAttrs(x.Context(), level, "request", attrs...)
}

// requestID takes over a proxy's id if it is short and plain, else makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if plain(id) {
		return id
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand.Read ends the program instead
	return base64.RawURLEncoding.EncodeToString(random[:])
}

func plain(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
