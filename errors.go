package coatcheck

import "net/http"

// What [Verifier.Verify] and [Verifier.Require] refuse with, for errors.Is.
var (
	// ErrNoCredential: the request bears no credential. 401 no_credential.
	ErrNoCredential error = &refusal{http.StatusUnauthorized, "no_credential", "", "Not signed in", "The request bears no credential."}
	// ErrInvalid: the credential is malformed, forged, for somebody else or
	// unknown. 401 invalid_token.
	ErrInvalid error = &refusal{http.StatusUnauthorized, "invalid_token", "invalid_token", "Credential not valid", "The credential is not valid here."}
	// ErrExpired: the credential was good, and the client should renew it. 401
	// token_expired.
	ErrExpired error = &refusal{http.StatusUnauthorized, "token_expired", "invalid_token", "Token expired", "The token has expired or must be renewed."}
	// ErrRevoked: the session behind the credential has ended. 401 session_ended.
	ErrRevoked error = &refusal{http.StatusUnauthorized, "session_ended", "invalid_token", "Session ended", "The session has ended. Please sign in again."}
	// ErrTooOld: the person must prove anew, or more strongly, who they are
	// (RFC 9470). 401 insufficient_user_authentication.
	ErrTooOld error = &refusal{http.StatusUnauthorized, "insufficient_user_authentication", "insufficient_user_authentication", "Sign-in not sufficient", "This needs a more recent or a stronger sign-in."}
	// ErrScope: the credential does not reach this far. 403 insufficient_scope.
	ErrScope error = &refusal{http.StatusForbidden, "insufficient_scope", "insufficient_scope", "Scope not sufficient", "The credential does not carry the scope that this needs."}
	// ErrCrossOrigin: another site made a browser send this. 403 cross_origin.
	ErrCrossOrigin error = &refusal{http.StatusForbidden, "cross_origin", "invalid_request", "Cross-origin request", "The request bears a cookie and comes from another origin."}
	// ErrStale: nobody can vouch for the credential now; the same request may
	// succeed in a moment. 503 verifier_stale.
	ErrStale error = &refusal{http.StatusServiceUnavailable, "verifier_stale", "", "Cannot check now", "Credentials cannot be checked at the moment. Please try again."}
)

// A refusal is what the outside sees of an error.
type refusal struct {
	status    int
	code      string // of the problem, stable
	challenge string // error code of RFC 6750 and RFC 9470, empty for none
	title     string
	detail    string
}

func (r *refusal) Error() string { return "coatcheck: " + r.code + ": " + r.detail }

// A particular is a refusal with a sentence of its own.
type particular struct {
	err       error
	challenge string // in place of the refusal's
	detail    string // constant
}

func (p *particular) Error() string { return p.err.Error() + " " + p.detail }

func (p *particular) Unwrap() error { return p.err }
