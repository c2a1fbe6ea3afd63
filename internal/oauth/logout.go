package oauth

import (
	"context"
	"errors"
	"net/url"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What is wrong with a request to sign out is for a page of ours: nobody is signed out,
// and nobody is sent anywhere.
var (
	ErrLogoutRequest = fault.New(fault.Syntax, "logout_request", "The application has asked us to sign you out in a way that we do not understand. Nobody was signed out.")
	ErrLogoutHint    = fault.New(fault.Syntax, "invalid_id_token_hint", "The application has asked us to sign you out with an ID token that is not one of ours, or not its own. Nobody was signed out.")
	ErrLogoutURI     = fault.New(fault.Syntax, "logout_uri_mismatch", "The application wants us to send you on to an address that it has not registered for that. Nobody was signed out.")
)

// A LogoutRequest is a request of a client to sign a person out (OpenID Connect
// RP-Initiated Logout 1.0).
type LogoutRequest struct {
	Client *Client // nil: nobody knows who asks
	// UserID is whose ID token came along, and who is to be signed out: they need not be
	// asked. "" if none did, or it is of long ago.
	UserID  string
	URI     string // where the person goes afterwards, one that the client has registered; "" if it named none, or nobody knows who asks
	State   string // given back as it came
	Locales string // languages of the person, as ui_locales has them
}

// logoutParameters are those that a request may have; others are ignored (§2).
var logoutParameters = []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales", "logout_hint"}

// ParseLogout reads a request to sign out. What is not there once, an ID token that was
// not given out here or not to this client, and an address that the client has not
// registered character for character are errors for a page.
//
// An ID token counts whether it has expired or not. One whose key is not kept any more
// could be anybody's, so it counts as none.
func (p *Provider) ParseLogout(ctx context.Context, form url.Values) (*LogoutRequest, error) {
	for _, name := range logoutParameters {
		if len(form[name]) > 1 {
			return nil, ErrLogoutRequest
		}
	}
	r := &LogoutRequest{State: form.Get("state"), Locales: form.Get("ui_locales")}
	clientID, err := p.logoutHint(ctx, r, form.Get("id_token_hint"), form.Get("client_id"))
	if err != nil {
		return nil, err
	}
	if clientID != "" {
		r.Client, err = p.Clients.Find(ctx, clientID)
		if errors.Is(err, ErrNoClient) {
			return nil, ErrUnknownClient
		}
		if err != nil {
			return nil, err
		}
	}
	switch r.URI = form.Get("post_logout_redirect_uri"); {
	case r.Client == nil:
		r.URI = "" // nobody vouches for the address: the person is asked, and stays here
	case r.URI != "" && !r.Client.MayReturn(r.URI):
		return nil, ErrLogoutURI
	}
	return r, nil
}

// logoutHint reads the ID token of a request, if there is one, and returns who asks.
func (p *Provider) logoutHint(ctx context.Context, r *LogoutRequest, token, clientID string) (string, error) {
	if token == "" {
		return clientID, nil
	}
	hint, err := p.sessions.ReadHint(ctx, token)
	switch {
	case errors.Is(err, session.ErrTokenExpired):
		return clientID, nil
	case errors.Is(err, session.ErrInvalidToken):
		return "", ErrLogoutHint
	case err != nil:
		return "", err
	case clientID != "" && clientID != hint.ClientID:
		return "", ErrLogoutHint
	}
	r.UserID = hint.UserID
	return hint.ClientID, nil
}

// Back returns where the person goes when they are signed out; "" if the client did not
// say.
func (r *LogoutRequest) Back() string {
	if r.URI == "" || r.State == "" {
		return r.URI
	}
	return Response{To: Destination{URI: r.URI}, Parameters: []Parameter{{"state", r.State}}}.Address()
}

// Origins returns those that a page may lead to on the way there.
func (r *LogoutRequest) Origins() []string {
	if r.URI == "" {
		return nil
	}
	return origins(r.URI, r.Client)
}
