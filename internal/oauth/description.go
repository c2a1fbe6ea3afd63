package oauth

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A Description is a client as operators see it: all that is known of it but its secret.
// Members are named as in RFC 7591 where that has a name.
type Description struct {
	ID                     string          `json:"client_id"`
	Name                   string          `json:"name"`
	Type                   Type            `json:"type" about:"web, spa, native or machine"`
	AuthMethod             AuthMethod      `json:"token_endpoint_auth_method" about:"none, client_secret_basic, client_secret_post or private_key_jwt"`
	Grants                 []string        `json:"grant_types"`
	RedirectURIs           []string        `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs []string        `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI   string          `json:"backchannel_logout_uri,omitempty"`
	Scope                  string          `json:"scope" about:"what it may ask for, separated by spaces"`
	Audiences              []string        `json:"audiences,omitempty" about:"what its tokens may be for, beside public_url"`
	AccessLifetime         int64           `json:"access_token_lifetime,omitempty" about:"seconds, if shorter than token.access; absent: that"`
	IDAlgorithm            string          `json:"id_token_signed_response_alg,omitempty" about:"RS256, ES256 or EdDSA"`
	Pairwise               bool            `json:"pairwise" about:"its subjects are its sector's own"`
	Sector                 string          `json:"sector,omitempty" about:"the host that pairwise subjects are made for"`
	Trusted                bool            `json:"trusted" about:"the operator's own: nobody is asked for consent"`
	WithoutPKCE            bool            `json:"without_pkce" about:"may leave out PKCE"`
	Disabled               bool            `json:"disabled"`
	HomeURI                string          `json:"client_uri,omitempty" about:"of the application, for people"`
	PolicyURI              string          `json:"policy_uri,omitempty" about:"how it treats what it learns of people"`
	TermsURI               string          `json:"tos_uri,omitempty" about:"its terms of service"`
	JWKS                   json.RawMessage `json:"jwks,omitempty" about:"its public keys (RFC 7517)"`
	JWKSURI                string          `json:"jwks_uri,omitempty" about:"where its public keys are"`
	CreatedAt              time.Time       `json:"created_at"`
}

// Describe returns the client as operators see it.
func (c *Client) Describe() Description {
	return Description{
		ID: c.ID, Name: c.Name, Type: c.Type, AuthMethod: c.AuthMethod, Grants: slices.Clone(c.Grants),
		RedirectURIs: slices.Clone(c.RedirectURIs), PostLogoutRedirectURIs: slices.Clone(c.PostLogoutRedirectURIs),
		BackchannelLogoutURI: c.BackchannelLogoutURI, Scope: strings.Join(c.Scopes, " "), Audiences: slices.Clone(c.Audiences),
		AccessLifetime: int64(c.AccessLifetime / time.Second), IDAlgorithm: string(c.IDAlgorithm),
		Pairwise: c.Pairwise, Sector: c.Sector, Trusted: c.Trusted, WithoutPKCE: c.WithoutPKCE, Disabled: c.Disabled,
		HomeURI: c.HomeURI, PolicyURI: c.PolicyURI, TermsURI: c.TermsURI, JWKS: slices.Clone(c.JWKS), JWKSURI: c.JWKSURI,
		CreatedAt: c.CreatedAt.UTC(),
	}
}
