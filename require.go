package coatcheck

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Option is a further demand of [Verifier.Require].
type Option func(*demand)

// A demand is what a handler asks of its callers beyond a good credential.
type demand struct {
	scopes  []string
	age     time.Duration
	aged    bool
	methods []string
}

// Scope demands a scope, or several with spaces between them: 403
// insufficient_scope otherwise. A session cookie carries no scopes, so it never
// suffices.
func Scope(scope string) Option {
	return func(d *demand) { d.scopes = append(d.scopes, strings.Fields(scope)...) }
}

// MaxAge demands that the person proved who they are no longer ago than this:
// 401 insufficient_user_authentication otherwise, with max_age for the client to
// ask for (RFC 9470).
func MaxAge(age time.Duration) Option {
	return func(d *demand) {
		if !d.aged || age < d.age {
			d.age, d.aged = age, true
		}
	}
}

// Method demands that the person proved who they are by this method (RFC 8176),
// such as "otp": 401 insufficient_user_authentication otherwise.
func Method(method string) Option {
	return func(d *demand) { d.methods = append(d.methods, method) }
}

// Require lets a request through to h only with a good credential: a Bearer
// access token, an access token in its cookie, or a session cookie; two of them
// at once are refused. [CallerFrom] then tells who it is. All else is answered
// with a problem (RFC 9457) and WWW-Authenticate.
//
// An unsafe request with a cookie, a WebSocket handshake included, must come
// from the service's own origin or from [Config.TrustedOrigins].
func (v *Verifier) Require(h http.Handler, opts ...Option) http.Handler {
	var d demand
	for _, option := range opts {
		option(&d)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := v.admit(r, &d)
		if err != nil {
			v.refuse(w, err, &d)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

func (v *Verifier) admit(r *http.Request, d *demand) (*Caller, error) {
	kind, value, err := v.credentialOf(r.Header)
	if err != nil {
		return nil, err
	}
	if kind != bearer && !v.sameSite(r) {
		return nil, ErrCrossOrigin
	}
	var c *Caller
	switch kind {
	case sessionCookie:
		c, err = v.checkCookie(r.Context(), value)
	case tokenCookie:
		c, err = v.Verify(r.Context(), strings.Clone(value)) // not to keep the whole Cookie header
	default:
		c, err = v.Verify(r.Context(), value)
	}
	if err == nil {
		err = d.met(c, &v.clock)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// met checks what a handler demands of a good credential.
func (d *demand) met(c *Caller, clock *clock) error {
	for _, scope := range d.scopes {
		if !slices.Contains(c.Scopes, scope) {
			return ErrScope
		}
	}
	if d.aged && (c.AuthTime.IsZero() || clock.read().time().Sub(c.AuthTime) > d.age) {
		return ErrTooOld
	}
	for _, method := range d.methods {
		if !slices.Contains(c.AMR, method) {
			return ErrTooOld
		}
	}
	return nil
}

// A kind of credential that a request can bear.
type kind string

const (
	bearer        kind = "a Bearer token"
	tokenCookie   kind = "a token cookie"
	sessionCookie kind = "a session cookie"
)

// credentialOf returns the one credential that a request bears.
func (v *Verifier) credentialOf(h http.Header) (kind, string, error) {
	var first, other kind
	var value string
	if lines := h["Authorization"]; len(lines) > 0 {
		token, err := bearerOf(lines)
		if err != nil {
			return "", "", err
		}
		first, value = bearer, token
	}
	lines := h["Cookie"]
	if len(lines) == 0 && first != "" {
		return first, value, nil
	}
	token, session := v.cookies.find(lines)
	for _, of := range [...]struct {
		kind    kind
		cookies found
	}{{tokenCookie, token}, {sessionCookie, session}} {
		switch {
		case of.cookies.times > 1:
			v.log.Info("coatcheck: refused a request with two cookies of one name", "kind", string(of.kind))
			return "", "", &particular{ErrInvalid, "invalid_request", "The request bears " + string(of.kind) + " twice."}
		case of.cookies.times == 1 && first == "":
			first, value = of.kind, of.cookies.value
		case of.cookies.times == 1 && other == "":
			other = of.kind
		}
	}
	switch {
	case first == "":
		return "", "", ErrNoCredential
	case other == "":
		return first, value, nil
	}
	return "", "", &particular{
		ErrInvalid, "invalid_request",
		"The request bears both " + string(first) + " and " + string(other) + ". Send one of them.",
	}
}

// bearerOf returns the token of an Authorization header (RFC 6750). Whatever
// else stands there is refused, never passed over.
func bearerOf(lines []string) (string, error) {
	if len(lines) > 1 {
		return "", &particular{ErrInvalid, "invalid_request", "The request bears two Authorization headers."}
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &particular{ErrInvalid, "invalid_request", "The Authorization header holds no Bearer token."}
	}
	if len(lines[0]) > len("Bearer ")+len(token) {
		token = strings.Clone(token) // not to keep a line full of spaces
	}
	return token, nil
}

// sameSite reports whether a request with a cookie comes from where it may. An
// Origin must be the service's own or trusted to the letter, whatever else is
// said; without one, Sec-Fetch-Site must vouch for an unsafe request.
func (v *Verifier) sameSite(r *http.Request) bool {
	check := r
	if slices.ContainsFunc(r.Header["Upgrade"], isWebSocket) { // a GET that opens what can do anything
		check = &http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL}
	}
	switch check.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	if v.fetch.Check(check) != nil {
		return false
	}
	origins := r.Header["Origin"]
	switch len(origins) {
	case 0:
		return r.Header.Get("Sec-Fetch-Site") != ""
	case 1:
		return slices.Contains(v.config.TrustedOrigins, origins[0]) || v.ownOrigin(origins[0], r.Host)
	}
	return false
}

func isWebSocket(upgrade string) bool {
	return strings.Contains(strings.ToLower(upgrade), "websocket")
}

// ownOrigin reports whether origin is the service's, whose name is host. Browsers
// send our cookies over https alone, so that is its scheme whatever a proxy in
// front makes of it, except beside an issuer on plain http.
func (v *Verifier) ownOrigin(origin, host string) bool {
	return host != "" && (origin == "https://"+host || v.origin.Scheme == "http" && origin == "http://"+host)
}

// A problem is the body of a refusal (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (v *Verifier) refuse(w http.ResponseWriter, err error, d *demand) {
	var r *refusal
	if !errors.As(err, &r) {
		_ = errors.As(ErrStale, &r) // nobody can vouch for the caller
	}
	challenge, detail := r.challenge, r.detail
	var p *particular
	if errors.As(err, &p) {
		challenge, detail = p.challenge, p.detail
	}
	body, err := json.Marshal(problem{
		Type: "urn:coatcheck:fault:" + r.code, Title: r.title, Status: r.status, Code: r.code, Detail: detail,
	})
	if err != nil {
		v.log.Error("coatcheck: a refusal could not be encoded", "error", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("WWW-Authenticate", v.challenge(challenge, detail, r, d))
	if r.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "2") // a heartbeat
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(body)
}

// challenge returns the value of WWW-Authenticate (RFC 6750, RFC 9470).
func (v *Verifier) challenge(code, detail string, r *refusal, d *demand) string {
	if code == "" {
		return "Bearer realm=" + quoted(v.config.Audience)
	}
	value := "Bearer error=" + quoted(code) + ", error_description=" + quoted(detail)
	switch {
	case errors.Is(r, ErrScope):
		value += ", scope=" + quoted(strings.Join(d.scopes, " "))
	case errors.Is(r, ErrTooOld) && d.aged:
		value += ", max_age=" + strconv.FormatInt(int64(d.age/time.Second), 10)
	}
	return value
}

// quoted returns text as a quoted-string (RFC 9110 §5.6.4).
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
