package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// listClients lists the clients, oldest first.
func (s *Server) listClients(x *exchange) error {
	w, _, err := windowOf(x)
	if err != nil {
		return err
	}
	rows, err := s.Provider.Clients.List(x.Context(), w.after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(c *oauth.Client) string { return c.ID }
	return writeJSON(x, http.StatusOK, pageOf(w, rows, id, (*oauth.Client).Describe))
}

// clientMembers are what may be said of a client; what is absent stays as it is, or as its
// type has it. An empty list or text takes away what was there.
type clientMembers struct {
	Name                   *string          `json:"name,omitzero"`
	AuthMethod             *string          `json:"token_endpoint_auth_method,omitzero" about:"none, client_secret_basic, client_secret_post or private_key_jwt"`
	Grants                 *[]string        `json:"grant_types,omitzero" about:"authorization_code, refresh_token, client_credentials"`
	RedirectURIs           *[]string        `json:"redirect_uris,omitzero" about:"compared character for character"`
	PostLogoutRedirectURIs *[]string        `json:"post_logout_redirect_uris,omitzero"`
	BackchannelLogoutURI   *string          `json:"backchannel_logout_uri,omitzero"`
	Scope                  *string          `json:"scope,omitzero" about:"what it may ask for, separated by spaces"`
	Audiences              *[]string        `json:"audiences,omitzero" about:"what its tokens may be for, beside public_url"`
	AccessLifetime         *int64           `json:"access_token_lifetime,omitzero" about:"seconds, if shorter than token.access; 0: that"`
	IDAlgorithm            *string          `json:"id_token_signed_response_alg,omitzero" about:"RS256, ES256 or EdDSA"`
	Pairwise               *bool            `json:"pairwise,omitzero" about:"its subjects are its sector's own"`
	Sector                 *string          `json:"sector,omitzero" about:"a host; needed if the redirect addresses are at several"`
	Trusted                *bool            `json:"trusted,omitzero" about:"the operator's own: nobody is asked for consent"`
	WithoutPKCE            *bool            `json:"without_pkce,omitzero" about:"may leave out PKCE; a confidential client alone"`
	HomeURI                *string          `json:"client_uri,omitzero"`
	PolicyURI              *string          `json:"policy_uri,omitzero"`
	TermsURI               *string          `json:"tos_uri,omitzero"`
	JWKS                   *json.RawMessage `json:"jwks,omitzero" about:"its public keys (RFC 7517), for private_key_jwt"`
	JWKSURI                *string          `json:"jwks_uri,omitzero" about:"where they are, instead"`
}

// set takes over what was said.
func set[T any](into *T, said *T) {
	if said != nil {
		*into = *said
	}
}

// apply takes over what was said of a client.
func (m *clientMembers) apply(c *oauth.Client) {
	set(&c.Name, m.Name)
	set(&c.AuthMethod, (*oauth.AuthMethod)(m.AuthMethod))
	set(&c.Grants, m.Grants)
	set(&c.RedirectURIs, m.RedirectURIs)
	set(&c.PostLogoutRedirectURIs, m.PostLogoutRedirectURIs)
	set(&c.BackchannelLogoutURI, m.BackchannelLogoutURI)
	set(&c.Audiences, m.Audiences)
	set(&c.IDAlgorithm, (*jwt.Algorithm)(m.IDAlgorithm))
	set(&c.Pairwise, m.Pairwise)
	set(&c.Sector, m.Sector)
	set(&c.Trusted, m.Trusted)
	set(&c.WithoutPKCE, m.WithoutPKCE)
	set(&c.HomeURI, m.HomeURI)
	set(&c.PolicyURI, m.PolicyURI)
	set(&c.TermsURI, m.TermsURI)
	set(&c.JWKSURI, m.JWKSURI)
	if m.Scope != nil {
		c.Scopes = strings.Fields(*m.Scope)
	}
	if m.AccessLifetime != nil {
		c.AccessLifetime = lifetimeOf(*m.AccessLifetime)
	}
	set(&c.JWKS, m.JWKS)
}

// lifetimeOf returns so many seconds, or a time that nobody accepts for what is beyond all
// sense.
func lifetimeOf(seconds int64) time.Duration {
	const year = 365 * 24 * 3600
	if seconds < 0 || seconds > year {
		return -time.Second
	}
	return time.Duration(seconds) * time.Second
}

type newClientRequest struct {
	Type          string `json:"type" about:"web, spa, native or machine"`
	clientMembers `json:",inline"`
}

// A clientWithSecret is a client with a secret that was made for it just now.
type clientWithSecret struct {
	oauth.Description `json:",inline"`

	Secret string `json:"client_secret,omitzero" about:"shown this once; absent where no secret was made"`
}

// addClient registers a client.
func (s *Server) addClient(x *exchange) error {
	var in newClientRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	draft := oauth.Client{Type: oauth.Type(in.Type)}
	in.apply(&draft)
	c, secret, err := s.Provider.Clients.Add(x.Context(), draft, x.key.ID, x.from())
	if err != nil {
		return err
	}
	x.Header().Set("Location", "/v1/admin/clients/"+c.ID)
	return writeJSON(x, http.StatusCreated, clientWithSecret{c.Describe(), secret})
}

// getClientByID answers with one client.
func (s *Server) getClientByID(x *exchange) error {
	c, err := s.Provider.Clients.Find(x.Context(), x.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, c.Describe())
}

type clientChangeRequest struct {
	Disabled      *bool `json:"disabled,omitzero" about:"true ends all that the client drew"`
	clientMembers `json:",inline"`
}

// patchClientByID changes a client.
func (s *Server) patchClientByID(x *exchange) error {
	var in clientChangeRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	if in == (clientChangeRequest{}) {
		return fault.Bad("", "required", "Name at least one member that is to change.")
	}
	c, secret, err := s.Provider.Clients.Change(x.Context(), x.PathValue("id"), func(c *oauth.Client) error {
		in.apply(c)
		set(&c.Disabled, in.Disabled)
		return nil
	}, x.key.ID, x.from())
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, clientWithSecret{c.Describe(), secret})
}

// deleteClientByID removes a client and ends all that it drew.
func (s *Server) deleteClientByID(x *exchange) error {
	if err := s.Provider.Clients.Remove(x.Context(), x.PathValue("id"), x.key.ID, x.from()); err != nil {
		return err
	}
	return noContent(x)
}

// A freshSecret is one that takes the place of another.
type freshSecret struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret" about:"shown this once; the one before is dead"`
}

// postClientSecret gives a client another secret.
func (s *Server) postClientSecret(x *exchange) error {
	id := x.PathValue("id")
	secret, err := s.Provider.Clients.RotateSecret(x.Context(), id, x.key.ID, x.from())
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, freshSecret{id, secret})
}
