package oauth

import "github.com/coatcheck/coatcheck/internal/fault"

// What a client is told, by the codes of RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2 and
// OpenID Connect Core §3.1.2.6. The token endpoint and its neighbours answer them as
// JSON; the authorization endpoint by redirect, or on a page where nothing of a request
// can be trusted. A scope or a target that a client may not have is
// [session.ErrInvalidScope] and [session.ErrInvalidTarget], which bear the same codes.
var (
	ErrClient           = fault.New(fault.Unauthenticated, "invalid_client", "This client is not known here, or did not prove that it is the one it says. Check client_id, the secret or key, and the method it was registered with.")
	ErrRequest          = fault.New(fault.Syntax, "invalid_request", "A parameter is missing, is there twice, or cannot be understood.")
	ErrGrant            = fault.New(fault.Syntax, "invalid_grant", "This code or refresh token is not good: it is over, was used already, or was given to somebody else. Begin at the authorization endpoint again.")
	ErrClientNotAllowed = fault.New(fault.Syntax, "unauthorized_client", "This client may not use this grant type or response type. An operator can allow it.")
	ErrGrantType        = fault.New(fault.Syntax, "unsupported_grant_type", "There is no such grant type here. The metadata lists those there are.")
	ErrScope            = fault.New(fault.Forbidden, "insufficient_scope", "This access token was not granted the scope that is needed here, openid.")
	ErrResponseType     = fault.New(fault.Syntax, "unsupported_response_type", "There is no such response type here: ask for code.")
	ErrAccessDenied     = fault.New(fault.Syntax, "access_denied", "The person, or this server, has said no.")
	ErrLoginRequired    = fault.New(fault.Syntax, "login_required", "Nobody is signed in here as was asked for, and this request allows no page to do so.")
	ErrConsentRequired  = fault.New(fault.Syntax, "consent_required", "The person has not allowed this yet, and this request allows no page to ask.")
	ErrAuthentication   = fault.New(fault.Syntax, "unmet_authentication_requirements", "Nobody can sign in here in the way that was asked for.")
	ErrRequestObject    = fault.New(fault.Syntax, "request_not_supported", "Requests are not read from request objects here. Send the parameters themselves.")
	ErrRegistration     = fault.New(fault.Syntax, "registration_not_supported", "A request cannot register a client. Ask the operator to register it.")
	ErrRequestURI       = fault.New(fault.Syntax, "request_uri_not_supported", "Requests are not fetched from elsewhere here. Send the parameters themselves.")
	ErrUnavailable      = fault.New(fault.Unavailable, "temporarily_unavailable", "We cannot answer for this right now. Please try again.")
	ErrServer           = fault.New(fault.Internal, "server_error", "Something went wrong on our side. Please try again.")
)
