package oauth

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// Bounds of a registration: what is read on every request stays small.
const (
	maxName      = 100 // characters
	maxAddresses = 20  // of a kind
	maxWords     = 100 // scopes, and audiences
	maxWord      = 200 // bytes
	maxKeys      = 16 << 10
)

// The bounds of a client's own access lifetime.
const (
	minAccess = time.Minute
	maxAccess = 24 * time.Hour
)

// complete fills in what the type decides and nobody has said.
func (c *Client) complete() {
	if c.AuthMethod == "" {
		switch {
		case c.Type == SPA || c.Type == Native:
			c.AuthMethod = AuthNone
		case c.JWKS != nil || c.JWKSURI != "":
			c.AuthMethod = AuthKey
		default:
			c.AuthMethod = AuthBasic
		}
	}
	if len(c.Grants) == 0 {
		if c.Type == Machine {
			c.Grants = []string{GrantClient}
		} else {
			c.Grants = []string{GrantCode, GrantRefresh}
		}
	}
	if c.IDAlgorithm == "" && c.Type != Machine {
		c.IDAlgorithm = jwt.RS256 // OpenID Connect Dynamic Client Registration 2
	}
	if c.Pairwise && c.Sector == "" {
		c.Sector = c.ownSector()
	}
}

// ownSector returns the host that all redirect addresses have in common, or "".
func (c *Client) ownSector() string {
	sector := ""
	for _, uri := range c.RedirectURIs {
		switch host := hostOf(uri); {
		case sector == "":
			sector = host
		case host != sector:
			return ""
		}
	}
	return sector
}

// settle completes a change: what cannot change stays, and what goes with something that
// was taken away goes with it.
func (c *Client) settle(before *Client) {
	c.ID, c.Type, c.CreatedAt, c.Revision = before.ID, before.Type, before.CreatedAt, before.Revision
	switch {
	case before.AuthMethod == AuthKey && c.AuthMethod != AuthKey:
		c.JWKS, c.JWKSURI = nil, ""
	case before.JWKSURI != "" && c.JWKS != nil && c.JWKSURI == before.JWKSURI:
		c.JWKSURI = ""
	case before.JWKS != nil && c.JWKSURI != "" && bytes.Equal(c.JWKS, before.JWKS):
		c.JWKS = nil
	}
	if !c.Pairwise && c.Sector == before.Sector {
		c.Sector = ""
	}
	c.complete()
}

// clone returns a copy that may be changed.
func (c *Client) clone() Client {
	other := *c
	for _, list := range []*[]string{&other.RedirectURIs, &other.PostLogoutRedirectURIs, &other.Grants, &other.Scopes, &other.Audiences} {
		*list = slices.Clone(*list)
	}
	other.JWKS = bytes.Clone(c.JWKS)
	return other
}

// A review gathers what is wrong with a registration.
type review struct{ wrong fault.Members }

func (r *review) say(member, code, sentence string) {
	r.wrong = append(r.wrong, fault.Member{Member: member, Code: code, Detail: sentence})
}

// refuse says what is wrong if there is a sentence for it.
func (r *review) refuse(member, sentence string) {
	if sentence != "" {
		r.say(member, "format", sentence)
	}
}

// check returns what is wrong with the registration, each member by its name in the
// admin API, or nil.
func (c *Client) check() error {
	var r review
	c.checkName(&r)
	if !slices.Contains(Types, c.Type) {
		r.say("/type", "format", "The types are web, spa, native and machine.")
		return r.wrong
	}
	c.checkGrants(&r)
	c.checkMethod(&r)
	c.checkRedirects(&r)
	c.checkPages(&r)
	c.checkWords(&r)
	c.checkTokens(&r)
	if r.wrong != nil {
		return r.wrong
	}
	return nil
}

func (c *Client) checkName(r *review) {
	switch {
	case c.Name == "":
		r.say("/name", "required", "A client has a name: people read it when they are asked for their consent.")
	case utf8.RuneCountInString(c.Name) > maxName:
		r.say("/name", "too_long", "A name may have 100 characters.")
	case !utf8.ValidString(c.Name), strings.TrimSpace(c.Name) != c.Name,
		strings.ContainsFunc(c.Name, func(ch rune) bool { return ch != ' ' && !unicode.IsPrint(ch) }):
		r.say("/name", "format", "A name is one line of printable characters, without spaces at its ends.")
	}
}

func (c *Client) checkGrants(r *review) {
	unknown := slices.ContainsFunc(c.Grants, func(grant string) bool { return !slices.Contains(GrantTypes, grant) })
	code, refresh, client := c.MayUse(GrantCode), c.MayUse(GrantRefresh), c.MayUse(GrantClient)
	switch {
	case len(c.Grants) == 0:
		r.say("/grant_types", "required", "Name at least one of authorization_code, refresh_token and client_credentials.")
	case unknown || repeats(c.Grants):
		r.say("/grant_types", "format", "The grant types are authorization_code, refresh_token and client_credentials, each once.")
	case c.Type == Machine && (code || refresh):
		r.say("/grant_types", "format", "Nobody signs in to a machine: its one grant type is client_credentials.")
	case c.Type != Machine && !code:
		r.say("/grant_types", "format", "People sign in to it, so authorization_code is one of its grant types; what acts for itself alone is of the type machine.")
	case client && !c.Confidential():
		r.say("/grant_types", "format", "What cannot keep a secret cannot use client_credentials: anybody could.")
	}
}

func (c *Client) checkMethod(r *review) {
	const member = "/token_endpoint_auth_method"
	keys := c.JWKS != nil || c.JWKSURI != ""
	switch public := c.Type == SPA || c.Type == Native; {
	case !slices.Contains(AuthMethods, c.AuthMethod):
		r.say(member, "format", "The methods are none, client_secret_basic, client_secret_post and private_key_jwt.")
	case c.Type == SPA && c.AuthMethod != AuthNone:
		r.say(member, "format", "What runs in a browser keeps no secret: its method is none.")
	case public && (c.AuthMethod == AuthBasic || c.AuthMethod == AuthPost):
		r.say(member, "format", "A secret that is handed out with an application is none: its method is none, or private_key_jwt with a key of each device's own.")
	case c.Type == Machine && c.AuthMethod == AuthNone:
		r.say(member, "format", "A machine shows by a secret or a key who it is.")
	case c.AuthMethod == AuthKey && !keys:
		r.say("/jwks", "required", "private_key_jwt needs the client's public keys: jwks or jwks_uri.")
	case c.AuthMethod != AuthKey && keys:
		r.say(member, "format", "Keys are for private_key_jwt alone.")
	case c.JWKS != nil && c.JWKSURI != "":
		r.say("/jwks_uri", "format", "Either jwks or jwks_uri, not both.")
	}
	if c.JWKS != nil {
		r.refuse("/jwks", checkJWKS(c.JWKS))
	}
	if c.JWKSURI != "" {
		r.refuse("/jwks_uri", checkRedirect(Web, c.JWKSURI))
	}
	if c.WithoutPKCE && !c.Confidential() {
		r.say("/without_pkce", "format", "PKCE is all that keeps a code of a public client from others: it cannot be left out (RFC 9700 section 2.1.1).")
	}
}

func (c *Client) checkRedirects(r *review) {
	switch {
	case c.Type == Machine && len(c.RedirectURIs)+len(c.PostLogoutRedirectURIs) > 0:
		r.say("/redirect_uris", "format", "Nobody signs in to a machine, so there is nowhere to send them.")
		return
	case c.Type != Machine && len(c.RedirectURIs) == 0:
		r.say("/redirect_uris", "required", "Where is a browser sent when somebody has signed in? Such as https://shop.example/callback.")
	}
	for member, list := range map[string][]string{"/redirect_uris": c.RedirectURIs, "/post_logout_redirect_uris": c.PostLogoutRedirectURIs} {
		if len(list) > maxAddresses {
			r.say(member, "too_long", "At most 20 addresses.")
			continue
		}
		if repeats(list) {
			r.say(member, "format", "Name each address once.")
		}
		if i := slices.IndexFunc(list, func(uri string) bool { return checkRedirect(c.Type, uri) != "" }); i >= 0 {
			r.refuse(member, checkRedirect(c.Type, list[i]))
		}
	}
}

// checkPages looks at the addresses that people are shown, and at the one of the back
// channel.
func (c *Client) checkPages(r *review) {
	for _, at := range []struct{ member, uri string }{
		{"/client_uri", c.HomeURI}, {"/policy_uri", c.PolicyURI}, {"/tos_uri", c.TermsURI}, {"/backchannel_logout_uri", c.BackchannelLogoutURI},
	} {
		if at.uri != "" {
			r.refuse(at.member, checkRedirect(Web, at.uri))
		}
	}
	if c.Type == Machine && c.BackchannelLogoutURI != "" {
		r.say("/backchannel_logout_uri", "format", "Nobody signs in to a machine, so it has nothing to hear of.")
	}
}

func (c *Client) checkWords(r *review) {
	for _, at := range []struct {
		member string
		list   []string
		good   func(rune) bool
		says   string
	}{
		{"/scope", c.Scopes, isScopeCharacter, "A scope is one word of printable ASCII without quotes and backslashes (RFC 6749 section 3.3), each once."},
		{"/audiences", c.Audiences, isAudienceCharacter, "An audience is the name or the https address of an API: printable ASCII without spaces and fragments, each once."},
	} {
		bad := func(word string) bool {
			return word == "" || strings.ContainsFunc(word, func(ch rune) bool { return !at.good(ch) })
		}
		switch {
		case len(at.list) > maxWords, slices.ContainsFunc(at.list, func(word string) bool { return len(word) > maxWord }):
			r.say(at.member, "too_long", "At most 100, of 200 characters each.")
		case slices.ContainsFunc(at.list, bad), repeats(at.list):
			r.say(at.member, "format", at.says)
		}
	}
	if c.Type == Machine && (slices.Contains(c.Scopes, "openid") || slices.Contains(c.Scopes, "offline_access")) {
		r.say("/scope", "format", "openid and offline_access are about a person, and nobody signs in to a machine.")
	}
}

func (c *Client) checkTokens(r *review) {
	if c.AccessLifetime != 0 && (c.AccessLifetime < minAccess || c.AccessLifetime > maxAccess || c.AccessLifetime%time.Second != 0) {
		r.say("/access_token_lifetime", "format", "From one minute to a day, in whole seconds; never longer than token.access, which is in force without it.")
	}
	switch {
	case c.IDAlgorithm != "" && !slices.Contains([]jwt.Algorithm{jwt.RS256, jwt.ES256, jwt.EdDSA}, c.IDAlgorithm):
		r.say("/id_token_signed_response_alg", "format", "ID tokens are signed with RS256, ES256 or EdDSA.")
	case c.IDAlgorithm != "" && c.Type == Machine:
		r.say("/id_token_signed_response_alg", "format", "There are no ID tokens where nobody signs in.")
	case c.IDAlgorithm == "" && c.Type != Machine:
		r.say("/id_token_signed_response_alg", "required", "ID tokens are signed with RS256, ES256 or EdDSA.")
	}
	switch {
	case c.Type == Machine && c.Pairwise:
		r.say("/pairwise", "format", "There are no subjects where nobody signs in.")
	case !c.Pairwise && c.Sector != "":
		r.say("/sector", "format", "A sector is for pairwise subjects alone.")
	case c.Pairwise && c.Sector == "":
		r.say("/sector", "required", "Name the sector, a host: the redirect addresses are at several, or at none (OpenID Connect Core section 8.1).")
	case c.Pairwise && !isHost(c.Sector):
		r.say("/sector", "format", "A sector is a host in lower case, such as shop.example. Nothing is fetched from it.")
	}
}

func isScopeCharacter(r rune) bool { return r > ' ' && r < 0x7f && r != '"' && r != '\\' }

func isAudienceCharacter(r rune) bool { return isScopeCharacter(r) && r != '#' }

// repeats reports whether a list says anything twice.
func repeats(list []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(list)))) != len(list)
}

// checkJWKS returns what is wrong with a client's key set, or "".
func checkJWKS(text json.RawMessage) string {
	if len(text) > maxKeys {
		return "A key set may have 16 KiB."
	}
	_, wrong := readJWKS(text)
	return wrong
}
