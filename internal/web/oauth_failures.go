package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An oauthError is an error as clients are told it (RFC 6749 §5.2).
type oauthError struct {
	Error       string `json:"error" about:"a code of RFC 6749, 6750, 7009 or 8707"`
	Description string `json:"error_description" about:"a constant sentence for whoever writes the client"`
}

// failAsOAuth answers a client with the declared fault in err, as its protocol wants it.
func (s *Server) failAsOAuth(x *exchange, err error) {
	f := fault.Of(err)
	code, status := oauthCode(f)
	out := oauthError{Error: code, Description: f.Sentence}
	var members fault.Members
	if errors.As(err, &members) && len(members) > 0 {
		out.Description = strings.TrimPrefix(members[0].Member, "/") + ": " + members[0].Detail
	}
	h := x.Header()
	switch {
	case code == oauth.ErrClient.Code:
		h.Set("WWW-Authenticate", `Basic realm="coatcheck"`)
	case f.Kind == fault.Unauthenticated:
		h.Set("WWW-Authenticate", challenge(f))
	case f == oauth.ErrScope:
		h.Set("WWW-Authenticate", `Bearer realm="coatcheck", error="insufficient_scope", scope="openid"`)
	}
	h["Content-Type"] = jsonMedia.values
	x.WriteHeader(status)
	_ = json.NewEncoder(x).Encode(out) // the client has gone: nobody is left to tell
}

// protocolCodes are the codes that the standards know and that leave as they are.
var protocolCodes = []*fault.Fault{
	oauth.ErrClient, oauth.ErrRequest, oauth.ErrGrant, oauth.ErrClientNotAllowed, oauth.ErrGrantType, session.ErrUnsupportedToken,
	session.ErrInvalidScope, session.ErrInvalidTarget, session.ErrInvalidToken, oauth.ErrScope,
}

// oauthCode returns the code and the status of a fault. What a client cannot have meant
// is an invalid request; what has passed of a token is told by one code.
func oauthCode(f *fault.Fault) (code string, status int) {
	for _, known := range protocolCodes {
		if f.Code == known.Code && f.Kind == known.Kind {
			return f.Code, statuses[f.Kind]
		}
	}
	switch f.Kind {
	case fault.Unavailable, fault.TooMany:
		return oauth.ErrUnavailable.Code, statuses[f.Kind]
	case fault.Internal:
		return oauth.ErrServer.Code, http.StatusInternalServerError
	case fault.Unauthenticated:
		return session.ErrInvalidToken.Code, http.StatusUnauthorized
	case fault.MethodNotAllowed, fault.TooLarge, fault.NotFound:
		return oauth.ErrRequest.Code, statuses[f.Kind]
	}
	return oauth.ErrRequest.Code, http.StatusBadRequest
}
