package web_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var apiHeaders = map[string]string{
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; sandbox",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

var pageHeaders = map[string]string{
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Content-Security-Policy":      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

// shown are the headers of a page that somebody reads.
var shown = with(pageHeaders, "Content-Type", "text/html; charset=utf-8", "Content-Language", "en", "Vary", "Accept-Language")

func with(base map[string]string, more ...string) map[string]string {
	out := maps.Clone(base)
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// The exact set of headers of every class of answer, errors among them: none is
// missing and none is there that was not meant to be (ASVS-3.2.1, 3.4.3 to 3.4.8,
// 4.1.1, V-112).
func TestHeaders(t *testing.T) {
	plain, tls := front(t), front(t, secure...)
	const html = "text/html"
	cases := []struct {
		name, method, path, accept string
		want                       map[string]string
	}{
		{"page", "GET", "/sign-in", html, shown},
		{"page to another page", "GET", "/", html, with(pageHeaders, "Location", "/sign-in")},
		{"page that is not there", "GET", "/nothing", html, shown},
		{"page by another method", "PUT", "/sign-in", html, with(shown, "Allow", "GET, HEAD, POST")},
		{"stylesheet", "GET", "/static/style.css", "", with(pageHeaders, "Content-Type", "text/css; charset=utf-8", "Cache-Control", "public, max-age=300", "Etag", "*")},
		{"api", "GET", "/v1/session", "", with(apiHeaders, "Content-Type", "application/problem+json", "Vary", "Origin", "Www-Authenticate", `Bearer realm="coatcheck"`)},
		{"api that is not there", "GET", "/v1/nothing", "", with(apiHeaders, "Content-Type", "application/problem+json", "Vary", "Origin")},
		{"api by another method", "PUT", "/v1/session", "", with(apiHeaders, "Content-Type", "application/problem+json", "Vary", "Origin", "Allow", "GET, HEAD")},
		{"service", "GET", "/v1/admin/users", "", with(apiHeaders, "Content-Type", "application/problem+json", "Www-Authenticate", `Bearer realm="coatcheck"`)},
		{"provider", "GET", "/oauth2/userinfo", "", with(apiHeaders, "Content-Type", "application/json", "Vary", "Origin", "Pragma", "no-cache", "Www-Authenticate", `Bearer realm="coatcheck"`)},
		{"provider, who is no client", "POST", "/oauth2/token", "", with(apiHeaders, "Content-Type", "application/json", "Vary", "Origin", "Pragma", "no-cache")},
		{"provider by another method", "GET", "/oauth2/token", "", with(apiHeaders, "Content-Type", "application/json", "Vary", "Origin", "Pragma", "no-cache", "Allow", "POST")},
		{"gateway", "GET", "/v1/forward-auth", "", with(apiHeaders, "Content-Type", "application/problem+json")},
		{"metadata", "GET", "/.well-known/jwks.json", "", with(apiHeaders, "Content-Type", "application/jwk-set+json",
			"Vary", "Origin", "Cross-Origin-Resource-Policy", "cross-origin", "Cache-Control", "public, max-age=300", "Etag", "*")},
		{"health", "GET", "/healthz", "", with(apiHeaders, "Content-Type", "application/json")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			headers := []string{}
			if c.accept != "" {
				headers = append(headers, "Accept", c.accept)
			}
			if diff := cmp.Diff(c.want, meant(t, plain.ask(t, c.method, c.path, "", headers...).header)); diff != "" {
				t.Errorf("over http (-want +got):\n%s", diff)
			}
			over := with(c.want, "Strict-Transport-Security", "max-age=31536000; includeSubDomains") // ASVS-3.4.1, V-108
			if diff := cmp.Diff(over, meant(t, tls.ask(t, c.method, c.path, "", headers...).header)); diff != "" {
				t.Errorf("over TLS (-want +got):\n%s", diff)
			}
		})
	}
}

// meant returns the headers of an answer that are a matter of choice.
func meant(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	if h.Get("X-Request-Id") == "" {
		t.Error("there is no X-Request-Id")
	}
	out := map[string]string{}
	for name, values := range h {
		switch name {
		case "Date", "Content-Length", "X-Request-Id", "Connection":
		case "Etag":
			out[name] = "*"
		default:
			out[name] = strings.Join(values, " | ")
		}
	}
	return out
}

// The answers that bear a credential or tell of a person are kept nowhere (V-112).
func TestNothingOfAPersonIsCached(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	phone := s.phone(t, "ada@example.com")
	own := []string{"Cookie", ada.cookie, "Origin", s.origin.String()}
	for _, r := range []reply{
		s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 200),
		s.ask(t, "POST", "/v1/token/refresh", `{"refresh_token":"`+phone.refresh+`"}`).must(t, 200),
		s.ask(t, "POST", "/v1/session/token", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/session", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/session/data", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/sessions", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/user", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/user/export", "", own...).must(t, 200),
		s.ask(t, "GET", "/account", "", own...).must(t, 200),
		s.ask(t, "GET", "/v1/forward-auth", "", append(own, "X-Forwarded-Method", "GET")...).must(t, 200),
		s.ask(t, "POST", "/sign-in", encode("email", "ada@example.com", "password", goodPassword)).must(t, 303),
	} {
		if got := r.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control is %q in the answer %.100s", got, r.text)
		}
	}
}

// V-109, ASVS-3.4.2: the scripts of configured origins may read answers, to the
// letter, and nobody else's; "null" is nobody.
func TestCORS(t *testing.T) {
	s := front(t, append([]string{"cors.origins", "https://app.example.com,https://shop.example"}, secure...)...)
	own := s.origin.String()
	cases := []struct {
		path   string
		origin string
		shared bool
	}{
		{"/v1/session", "https://app.example.com", true},
		{"/v1/session", "https://shop.example", true},
		{"/v1/nothing", "https://shop.example", true},
		{"/.well-known/jwks.json", "https://app.example.com", true},
		{"/v1/session", own, false}, // needs nobody's leave
		{"/v1/session", "null", false},
		{"/v1/session", "*", false},
		{"/v1/session", "https://evil.example", false},
		{"/v1/session", "http://app.example.com", false},
		{"/v1/session", "https://app.example.com:444", false},
		{"/v1/session", "https://app.example.com.evil.example", false},
		{"/v1/session", "https://xapp.example.com", false},
		{"/v1/session", "https://APP.example.com", false},
		{"/v1/session", "https://app.example.com/", false},
		{"/v1/session", "https://app.example.com, https://shop.example", false},
		{"/v1/admin/users", "https://app.example.com", false},
		{"/oauth2/introspect", "https://app.example.com", false},
		{"/v1/forward-auth", "https://app.example.com", false},
		{"/sign-in", "https://app.example.com", false},
		{"/healthz", "https://app.example.com", false},
	}
	for _, c := range cases {
		got := s.ask(t, "GET", c.path, "", "Origin", c.origin).header
		if shared := got.Get("Access-Control-Allow-Origin") == c.origin && got.Get("Access-Control-Allow-Credentials") == "true"; shared != c.shared {
			t.Errorf("GET %s for %s is shared: %v, want %v", c.path, c.origin, shared, c.shared)
		}
		if !c.shared && got.Get("Access-Control-Allow-Origin")+got.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("GET %s for %s bears CORS headers", c.path, c.origin)
		}
		asked := s.ask(t, "OPTIONS", c.path, "", "Origin", c.origin, "Access-Control-Request-Method", "GET")
		if allowed := asked.status == 204 && strings.Contains(asked.header.Get("Access-Control-Allow-Methods"), "GET"); allowed != (c.shared && c.path != "/v1/nothing") {
			t.Errorf("the preflight of GET %s for %s is %d", c.path, c.origin, asked.status)
		}
	}
	if got := s.ask(t, "GET", "/v1/session", "", "Origin", "https://app.example.com", "Origin", "https://shop.example").header; got.Get("Access-Control-Allow-Origin") != "" {
		t.Error("two origins are shared with")
	}
	if got := s.ask(t, "GET", "/v1/session", "").header; got.Get("Vary") != "Origin" {
		t.Error("an answer that depends on Origin does not say so")
	}
}
