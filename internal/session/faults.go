package session

import "github.com/coatcheck/coatcheck/internal/fault"

// What a holder of a credential is told. Clients renew only on ErrTokenExpired,
// and forget a person only on ErrEnded and ErrRefreshReused.
var (
	ErrNoCredential  = fault.New(fault.Unauthenticated, "no_credential", "Sign in first.")
	ErrInvalidToken  = fault.New(fault.Unauthenticated, "invalid_token", "This credential is not one of ours, or is no longer good.")
	ErrTokenExpired  = fault.New(fault.Unauthenticated, "token_expired", "This token is over. Renew it and try again.")
	ErrEnded         = fault.New(fault.Unauthenticated, "session_ended", "This session is over. Please sign in again.")
	ErrRefreshReused = fault.New(fault.Unauthenticated, "refresh_reused", "An old token was used again, so the session was ended. Please sign in again.")
	ErrInvalidTarget = fault.New(fault.Syntax, "invalid_target", "This client may not ask for this audience.")
	ErrInvalidScope  = fault.New(fault.Syntax, "invalid_scope", "This client may not ask for this scope.")
	// ErrUnsupportedToken has the code of RFC 7009 §2.2.1.
	ErrUnsupportedToken = fault.New(fault.Syntax, "unsupported_token_type", "This token is drawn on no grant that could be ended: it is over within minutes.")

	ErrNoSession      = fault.New(fault.NotFound, "not_found", "There is no such thing, or it is not yours.")
	ErrTokenTooLarge  = fault.New(fault.Internal, "token_too_large", "The claims configured for this token make it larger than token.max_bytes allows.")
	ErrVersionChanged = fault.New(fault.PreconditionFailed, "version_changed", "Someone else has written in the meantime. Read it again and retry.")
	ErrVersionNeeded  = fault.New(fault.PreconditionRequired, "version_required", "Say in If-Match which version this replaces.")
	ErrTooBig         = fault.New(fault.TooLarge, "too_large", "This is larger than what may be kept here.")
)
