package web

import (
	"net/http"
	"slices"
)

// A header is one header of an answer.
type header struct{ name, value string }

// A page names what it loads: its stylesheet and icon, nothing else. There is no
// script.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"

// What is no page is never shown as one: were a browser made to, it would have
// neither an origin nor anything to load.
const plainPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

// common are the headers of whatever is no page.
var common = []header{
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Content-Security-Policy", plainPolicy},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
}

// clothes are the headers that every answer of a class bears, beside X-Request-Id,
// Strict-Transport-Security where there is TLS, and those of CORS. An answer that may
// be cached says so itself.
var clothes = map[class][]header{
	page: {
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		// Not no-referrer: with it a browser sends "Origin: null" with a form (Fetch §3.1),
		// and no form of ours could be told from a stranger's. Nobody else sees a referrer.
		{"Referrer-Policy", "same-origin"},
		{"Content-Security-Policy", pagePolicy},
		{"Cross-Origin-Opener-Policy", "same-origin"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
		{"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
	},
	api:     append([]header{{"Vary", "Origin"}}, common...),
	service: common,
	gateway: common,
	metadata: {
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"},
		{"Content-Security-Policy", plainPolicy},
		{"Cross-Origin-Opener-Policy", "same-origin"},
		{"Cross-Origin-Resource-Policy", "cross-origin"},
		{"Vary", "Origin"},
	},
	health: common,
}

// hsts is a year, and holds for every host below ours, as the browser's list asks.
const hsts = "max-age=31536000; includeSubDomains"

// dress puts on the headers that do not depend on what the answer will be, so that
// errors bear them too.
func (s *Server) dress(x *exchange) {
	h := x.Header()
	for _, each := range clothes[x.route.class] {
		h.Set(each.name, each.value)
	}
	h.Set("X-Request-Id", x.from.RequestID)
	if s.config.PublicURL.Scheme == "https" {
		h.Set("Strict-Transport-Security", hsts)
	}
	if origin := s.sharedWith(x); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, WWW-Authenticate, X-Request-Id")
	}
}

// sharedWith returns the origin whose scripts may read the answer: the one that asks,
// if it is one of cors.origins to the letter and the route is for applications or
// public. Otherwise "": a browser then keeps the answer from the script.
func (s *Server) sharedWith(x *exchange) string {
	if x.route.class != api && x.route.class != metadata {
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
