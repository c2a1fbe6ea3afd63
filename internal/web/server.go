// Package web is the face of the server: the table of routes, the pages that
// people meet, and the endpoints that applications and services call.
//
// It decides nothing about accounts or sessions. A handler reads like the
// sentence it carries out; what all requests share (who asks, from where, may
// this origin, how large, how an error looks) is done once, before and after it,
// as the route's row says.
package web

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// Config is what an operator decides about the HTTP side.
type Config struct {
	PublicURL    *url.URL // the issuer; every link is made from it
	Transports   []string // what sign-in may hand out: cookie, token
	SignUpClosed bool
	SignUpInvite bool // only with an invitation
	Mail         bool // mails go out
	Brand        Brand
	Pages        fs.FS         // an operator's templates and stylesheets, by their names; nil: none
	CookieDomain string        // cookie.domain; empty: host-only
	SameSite     http.SameSite // cookie.same_site
	CORSOrigins  []string      // exact origins
	ReturnTo     []string      // origins beside PublicURL's where sign-in may send people back
	Proxies      []netip.Prefix
	Heartbeat    time.Duration // of the revocation stream
	Version      string
}

// signUpOpen reports whether everybody may make an account.
func (c Config) signUpOpen() bool { return !c.SignUpClosed && !c.SignUpInvite }

// Parts are what the server is made of.
type Parts struct {
	Accounts *account.Directory
	Sessions *session.Manager
	Provider *oauth.Provider
	Ring     *keyring.Ring
	Log      *revocation.Log
	Audit    audit.Store
	Words    *catalogue.Catalogue // what pages say; nil: our own languages
	Outbox   *mail.Outbox         // for the metrics; nil: there are none of mails
	Mails    mail.Store           // likewise
	Letters  mail.RecipientStore  // for the export
	Printer  *mail.Printer        // what /dev/mail shows; nil: there is no such page
	Metrics  *Metrics
	Place    account.Place // names the place of an address; nil knows none
	Now      func() time.Time
	Logger   *slog.Logger
}

// A Server answers all requests. It is safe for concurrent use.
type Server struct {
	Parts
	config   Config
	issuer   string // PublicURL as a string: iss, and our own audience
	origin   string // PublicURL's origin
	cookies  cookieNames
	guard    *originGuard
	mux      *http.ServeMux
	direct   map[call]http.HandlerFunc // the routes without a variable, which the mux need not look for
	strays   [2]http.HandlerFunc       // for programs, and for people
	requests *requestIDs
	stop     chan struct{} // closed when the server begins to stop
	stopped  sync.Once

	metadata document // what does not change while the server runs
	openapi  document
	look     look
}

// New returns a server.
func New(c Config, parts Parts) (*Server, error) {
	s := &Server{Parts: parts, config: c, stop: make(chan struct{}), requests: newRequestIDs()}
	s.issuer = c.PublicURL.String()
	s.origin = c.PublicURL.Scheme + "://" + c.PublicURL.Host
	s.cookies = namesFor(c)
	var err error
	if s.guard, err = newOriginGuard(s.origin, c.CORSOrigins, s.cookies); err != nil {
		return nil, err
	}
	if err := s.readLook(); err != nil {
		return nil, err
	}
	if err := s.writeDocuments(); err != nil {
		return nil, err
	}
	s.route()
	s.Metrics.watch(parts)
	return s, nil
}

// A call is what a route without a variable answers.
type call struct{ method, path string }

func (s *Server) route() {
	s.mux, s.direct = http.NewServeMux(), make(map[call]http.HandlerFunc)
	for i := range routes {
		rt, answer := &routes[i], s.serve(&routes[i])
		s.mux.HandleFunc(rt.method+" "+rt.path, answer)
		if !strings.Contains(rt.path, "{") {
			s.direct[call{rt.method, rt.path}] = answer
		}
	}
	s.strays = [...]http.HandlerFunc{s.serve(&strayCall), s.serve(&strayPage)}
	s.refuseOtherMethods()
}

// Stop turns readiness off and tells streams to move. Requests are still served.
// It may be called more than once.
func (s *Server) Stop() {
	s.stopped.Do(func() {
		close(s.stop)
		s.Log.Stop()
	})
}

func (s *Server) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// serve does what all requests of a route share, in the order that matters:
// nothing of a request is believed before it is checked, and nothing is spent
// before it is known who asks.
func (s *Server) serve(rt *route) http.HandlerFunc {
	times := s.Metrics.timesOf(rt)
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, Request: r, route: rt, arrived: s.Now(), server: s}
		x.id[0] = s.requestID(r)
		s.dress(x)
		err := s.admit(x)
		if err == nil {
			err = rt.handle(s, x)
		}
		if err != nil {
			s.fail(x, err)
		}
		took := s.Now().Sub(x.arrived)
		times.observe(x.status, took)
		s.record(x, took, err)
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
	if x.Body != nil && x.Body != http.NoBody {
		x.Body = http.MaxBytesReader(x.ResponseWriter, x.Body, maxBody)
	}
	if err := s.identify(x); err != nil {
		return err
	}
	return s.checkAccount(x)
}

// record writes a line per request: at info what went wrong on our side, at debug
// all. It never holds a query, a body or a credential.
func (s *Server) record(x *exchange, took time.Duration, err error) {
	level := slog.LevelDebug
	if x.status >= http.StatusInternalServerError && x.Context().Err() == nil { // else who asked has gone
		level = slog.LevelError
	}
	if !s.Logger.Enabled(x.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.id[0]), slog.String("method", x.Method), slog.String("route", x.route.path),
		slog.Int("status", x.status), slog.String("ip", x.from().IP), slog.Duration("took", took),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.Logger.LogAttrs(x.Context(), level, "request", attrs...)
}
