package oauth

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// Type is what kind of application a client is, which decides what it may keep secret
// and where it may be answered.
type Type string

// The types of client.
const (
	Web     Type = "web"     // runs on a server, which can keep a secret
	SPA     Type = "spa"     // runs in a browser, and keeps none
	Native  Type = "native"  // runs on a device, and keeps none (RFC 8252)
	Machine Type = "machine" // acts for itself: nobody signs in
)

// Types are all types of client.
var Types = []Type{Web, SPA, Native, Machine}

// AuthMethod is how a client shows who it is (OpenID Connect Core 9).
type AuthMethod string

// The methods.
const (
	AuthNone  AuthMethod = "none" // it cannot keep a secret, and names itself alone
	AuthBasic AuthMethod = "client_secret_basic"
	AuthPost  AuthMethod = "client_secret_post"
	AuthKey   AuthMethod = "private_key_jwt" // an assertion signed with its own key (RFC 7523)
)

// AuthMethods are all methods.
var AuthMethods = []AuthMethod{AuthNone, AuthBasic, AuthPost, AuthKey}

// The grants that a client may use at the token endpoint.
const (
	GrantCode    = "authorization_code"
	GrantRefresh = "refresh_token"
	GrantClient  = "client_credentials"
)

// GrantTypes are all grants. There is no implicit grant and none by password
// (ASVS-10.4.4).
var GrantTypes = []string{GrantCode, GrantRefresh, GrantClient}

// A Client is an application that was registered here. A value that [Registry.Find]
// returns is shared: it must not be changed.
type Client struct {
	ID   string // cli_…, made by us, so that it is never a subject (BCP-9)
	Name string // shown to people who are asked for their consent
	Type Type

	AuthMethod AuthMethod
	SecretHash credential.Hash // of the secret; zero: it has none
	JWKS       json.RawMessage // its public keys (RFC 7517), for AuthKey; nil: none, or at JWKSURI
	JWKSURI    string          // where its public keys are; "": in JWKS

	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	BackchannelLogoutURI   string // where it hears of sign-outs; "": it does not
	HomeURI                string // for people, as are the two below; "": none
	PolicyURI              string
	TermsURI               string

	Grants         []string      // of GrantTypes
	Scopes         []string      // what it may ask for, in the order of registration
	Audiences      []string      // what its tokens may be for, beside the issuer
	AccessLifetime time.Duration // of its access tokens, if shorter than token.access; 0: that
	IDAlgorithm    jwt.Algorithm // signs its ID tokens; "": it gets none
	Pairwise       bool          // its subjects are its sector's own
	Sector         string        // the host that pairwise subjects are made for; "" unless Pairwise

	Trusted     bool // the operator's own: nobody is asked for consent
	WithoutPKCE bool // may leave out PKCE, which a confidential client alone can be allowed
	Disabled    bool // draws nothing

	CreatedAt time.Time // given by the store
	Revision  int64     // counts its changes, from 1; given by the store
}

// Confidential reports whether the client shows by a secret or a key who it is.
func (c *Client) Confidential() bool { return c.AuthMethod != AuthNone }

// MayUse reports whether the client may use a grant of the token endpoint.
func (c *Client) MayUse(grant string) bool { return slices.Contains(c.Grants, grant) }

// MayRedirect reports whether an answer may be sent to uri: it is character for character
// one that was registered (RFC 9700 §2.1). For a native application the port of a
// loopback address may be another one (RFC 8252 §7.3).
func (c *Client) MayRedirect(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	if c.Type != Native {
		return false
	}
	asked, ok := withoutLoopbackPort(uri)
	return ok && slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		at, loopback := withoutLoopbackPort(registered)
		return loopback && at == asked
	})
}

// MayReturn reports whether a browser may be sent to uri after a sign-out: character for
// character one that was registered for that.
func (c *Client) MayReturn(uri string) bool {
	return slices.Contains(c.PostLogoutRedirectURIs, uri)
}

// loopbackHosts begin the redirect addresses whose port a native application chooses
// when it listens. A name is not among them: what it leads to is for others to say
// (RFC 8252 §8.3).
var loopbackHosts = []string{"http://127.0.0.1", "http://[::1]"}

// withoutLoopbackPort cuts the port out of an address at this machine. False if it is no
// such address, or what stands for the port is none.
func withoutLoopbackPort(uri string) (string, bool) {
	for _, host := range loopbackHosts {
		rest, found := strings.CutPrefix(uri, host)
		if !found {
			continue
		}
		if port, has := strings.CutPrefix(rest, ":"); has {
			end := strings.IndexFunc(port, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(port)
			}
			if !isPort(port[:end]) {
				return "", false
			}
			rest = port[end:]
		}
		if rest != "" && rest[0] != '/' && rest[0] != '?' {
			return "", false
		}
		return host + rest, true
	}
	return "", false
}

// isPort reports whether s is a port in its only spelling.
func isPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
		n = 10*n + int(c-'0')
	}
	return n <= 65535
}
