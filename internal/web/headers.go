package web

import (
	"net/http"
	"slices"
)

// A header is one header of an answer: its canonical name, and its one value as all
// answers share it. Whoever sets another one replaces the list and leaves this.
type header struct {
	name   string
	values []string
}

func line(name, value string) header { return header{name, []string{value}} }

// A page names what it loads: its stylesheet and icon, nothing else. There is no
// script.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"

// What is no page is never shown as one: were a browser made to, it would have
// neither an origin nor anything to load.
const plainPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

// common are the headers of whatever is no page.
var common = []header{
	line("X-Content-Type-Options", "nosniff"),
	line("X-Frame-Options", "DENY"),
	line("Referrer-Policy", "no-referrer"),
	line("Content-Security-Policy", plainPolicy),
	line("Cross-Origin-Opener-Policy", "same-origin"),
	line("Cross-Origin-Resource-Policy", "same-origin"),
	line("Cache-Control", "no-store"),
}

// clothes are the headers that every answer of a class bears, beside X-Request-Id,
// Strict-Transport-Security where there is TLS, and those of CORS. An answer that may
// be cached says so itself.
var clothes = [...][]header{
	page: {
		line("X-Content-Type-Options", "nosniff"),
		line("X-Frame-Options", "DENY"),
		// Not no-referrer: with it a browser sends "Origin: null" with a form (Fetch §3.1),
		// and no form of ours could be told from a stranger's. Nobody else sees a referrer.
		line("Referrer-Policy", "same-origin"),
		line("Content-Security-Policy", pagePolicy),
		line("Cross-Origin-Opener-Policy", "same-origin"),
		line("Cross-Origin-Resource-Policy", "same-origin"),
		line("Cache-Control", "no-store"),
		line("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
	},
	api:     append([]header{line("Vary", "Origin")}, common...),
	service: common,
	provider: append([]header{
		line("Vary", "Origin"),
		line("Pragma", "no-cache"), // as RFC 6749 §5.1 wants it of whatever bears a token
	}, common...),
	gateway: common,
	metadata: {
		line("X-Content-Type-Options", "nosniff"),
		line("X-Frame-Options", "DENY"),
		line("Referrer-Policy", "no-referrer"),
		line("Content-Security-Policy", plainPolicy),
		line("Cross-Origin-Opener-Policy", "same-origin"),
		line("Cross-Origin-Resource-Policy", "cross-origin"),
		line("Vary", "Origin"),
	},
	health: common,
}

// hsts is a year, and holds for every host below ours, as the browser's list asks.
var hsts = line("Strict-Transport-Security", "max-age=31536000; includeSubDomains")

// dress puts on the headers that do not depend on what the answer will be, so that
// errors bear them too.
func (s *Server) dress(x *exchange) {
	h := x.Header()
	for _, each := range clothes[x.route.class] {
		h[each.name] = each.values
	}
	h["X-Request-Id"] = x.id[:]
	if s.config.PublicURL.Scheme == "https" {
		h[hsts.name] = hsts.values
	}
	if origin := s.sharedWith(x); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		if x.route.class != provider { // which takes no cookie
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, WWW-Authenticate, X-Request-Id")
	}
}

// sharedWith returns the origin whose scripts may read the answer: the one that asks,
// if it is one of cors.origins to the letter and the route is for applications or
// public. Otherwise "": a browser then keeps the answer from the script.
func (s *Server) sharedWith(x *exchange) string {
	if x.route.class != api && x.route.class != provider && x.route.class != metadata {
		return ""
	}
	origin := only(x.Request, "Origin")
	if origin == "" || !slices.Contains(s.config.CORSOrigins, origin) {
		return ""
	}
	return origin
}

// preflight answers a browser that asks whether a script of another origin may call
// this address (Fetch §4.8), and reports whether it did.
func (s *Server) preflight(x *exchange, methods string) bool {
	if x.Method != http.MethodOptions || s.sharedWith(x) == "" || only(x.Request, "Access-Control-Request-Method") == "" {
		return false
	}
	h := x.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id")
	h.Set("Access-Control-Max-Age", "600")
	x.WriteHeader(http.StatusNoContent)
	return true
}
