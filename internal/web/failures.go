package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What the HTTP side itself refuses.
var (
	errInvalidJSON     = fault.New(fault.Syntax, "invalid_json", "The body is not JSON that we can read.")
	errBadRequest      = fault.New(fault.Syntax, "bad_request", "This request cannot be understood.")
	errCursor          = fault.New(fault.Syntax, "invalid_cursor", "This cursor is not one that this list gave out. Read on from the first page.")
	errNotFound        = fault.New(fault.NotFound, "not_found", "There is no such thing, or it is not yours.")
	errMethod          = fault.New(fault.MethodNotAllowed, "method_not_allowed", "This address does not take that method.")
	errTooLarge        = fault.New(fault.TooLarge, "too_large", "The body is larger than what is taken here.")
	errMediaType       = fault.New(fault.UnsupportedMedia, "unsupported_media_type", "Send the body as the content type that this call takes.")
	errCrossOrigin     = fault.New(fault.Forbidden, "cross_origin", "This request comes from a site that may not make it.")
	errHost            = fault.New(fault.Misdirected, "misdirected", "This server does not answer under that name.")
	errProxyNotTrusted = fault.New(fault.Forbidden, "proxy_not_trusted", "The proxy that asks is not in the configured proxies.")
	errTwoCookies      = fault.New(fault.Unauthenticated, "duplicate_cookie", "The browser sent our cookie twice. Please sign in again.")
	errTwoCredentials  = fault.New(fault.Unauthenticated, "two_credentials", "Send a cookie or a token, not both.")
	errCookieNeeded    = fault.New(fault.Forbidden, "cookie_required", "This call takes the session's cookie. A token is renewed with its refresh token.")
	errTransport       = fault.New(fault.Forbidden, "transport_not_allowed", "This way of receiving credentials is switched off here.")
)

// failures is every fault that can leave the server: docs/faults.md is made of
// it, and a test holds it against the declarations.
var failures = []*fault.Fault{
	fault.ErrInternal, fault.ErrInvalid,
	errInvalidJSON, errBadRequest, errCursor, errNotFound, errMethod, errTooLarge, errMediaType, errCrossOrigin, errHost,
	errProxyNotTrusted, errTwoCookies, errTwoCredentials, errCookieNeeded, errTransport, errAccountChanged,
	account.ErrCredentials, account.ErrTooMany, account.ErrSignUpClosed, account.ErrEmailTaken, account.ErrLost,
	account.ErrLinkOver, account.ErrWrongCode, account.ErrNoMail, account.ErrSetupOver, account.ErrNoAPIKey, account.ErrScope, account.ErrBusy,
	session.ErrNoCredential, session.ErrInvalidToken, session.ErrTokenExpired, session.ErrEnded, session.ErrRefreshReused,
	session.ErrInvalidTarget, session.ErrInvalidScope, fault.ErrUnavailable, session.ErrTokenTooLarge,
	session.ErrVersionChanged, session.ErrVersionNeeded,
	oauth.ErrClient, oauth.ErrGrant, oauth.ErrClientNotAllowed, oauth.ErrGrantType, session.ErrUnsupportedToken, oauth.ErrUnavailable, oauth.ErrServer,
	oauth.ErrResponseType, oauth.ErrAccessDenied, oauth.ErrLoginRequired, oauth.ErrConsentRequired,
	oauth.ErrAuthentication, oauth.ErrRequestObject, oauth.ErrRequestURI, oauth.ErrRegistration,
	oauth.ErrLogoutRequest, oauth.ErrLogoutHint, oauth.ErrLogoutURI,
	oauth.ErrUnknownClient, oauth.ErrRedirectURI, oauth.ErrRequestOver, oauth.ErrAnswered,
	revocation.ErrBehind, revocation.ErrStopping,
}

var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Syntax: http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized, fault.Forbidden: http.StatusForbidden,
	fault.NotFound: http.StatusNotFound, fault.MethodNotAllowed: http.StatusMethodNotAllowed,
	fault.Conflict: http.StatusConflict, fault.PreconditionFailed: http.StatusPreconditionFailed,
	fault.TooLarge: http.StatusRequestEntityTooLarge, fault.UnsupportedMedia: http.StatusUnsupportedMediaType,
	fault.Misdirected: http.StatusMisdirectedRequest, fault.Invalid: http.StatusUnprocessableEntity,
	fault.PreconditionRequired: http.StatusPreconditionRequired, fault.TooMany: http.StatusTooManyRequests,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// A problem is an error as it goes over the wire (RFC 9457).
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Code   string         `json:"code"`
	Detail string         `json:"detail"`
	Errors []fault.Member `json:"errors,omitempty"`
}

// fail answers with the declared fault in err, or with the one sentence for
// everything that was not declared.
func (s *Server) fail(x *exchange, err error) {
	if x.status != 0 { // the answer is on its way already
		return
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		err = errTooLarge
	}
	f := fault.Of(err)
	if after := retryAfter(err, f); after > 0 {
		x.Header().Set("Retry-After", strconv.Itoa(after))
	}
	if x.route.class == provider || x.asClient {
		s.failAsOAuth(x, err)
		return
	}
	p := problem{
		Type: "urn:coatcheck:fault:" + f.Code, Title: http.StatusText(statuses[f.Kind]), Status: statuses[f.Kind],
		Code: f.Code, Detail: f.Sentence,
	}
	var members fault.Members
	if errors.As(err, &members) {
		p.Errors = members
	}
	if f.Kind == fault.Unauthenticated {
		x.Header().Set("WWW-Authenticate", challenge(f))
	}
	if x.route.class == page && s.failPage(x, p) {
		return
	}
	x.Header().Set("Content-Type", "application/problem+json")
	x.Header().Set("Cache-Control", "no-store")
	x.WriteHeader(p.Status)
	_ = json.NewEncoder(x).Encode(p) // the client has gone: nobody is left to tell
}

// retryAfter is in whole seconds; what is unavailable is worth a try after one.
func retryAfter(err error, f *fault.Fault) int {
	var retry *fault.Retry
	if errors.As(err, &retry) {
		return int((retry.After + time.Second - 1) / time.Second)
	}
	if f.Kind == fault.Unavailable {
		return 1
	}
	return 0
}

// challenge is what a 401 must bear (RFC 6750 §3, RFC 9110 §11.6.1).
func challenge(f *fault.Fault) string {
	switch f {
	case session.ErrNoCredential, account.ErrNoAPIKey, account.ErrCredentials, account.ErrLinkOver, account.ErrWrongCode:
		return `Bearer realm="coatcheck"`
	}
	return `Bearer realm="coatcheck", error="invalid_token"`
}
