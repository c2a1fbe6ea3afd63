package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// clientFlags are what may be said of a client.
type clientFlags struct {
	name, method, algorithm, sector  string
	backchannel, home, policy, terms string
	jwks, jwksURI                    string
	redirects, returns, grants       []string
	scopes, audiences                []string
	lifetime                         time.Duration
	trusted, pairwise, withoutPKCE   bool
}

// flagNames are the members of a registration, each with the flag that sets it.
var flagNames = [][2]string{
	{"/name", "name"},
	{"/type", "type"},
	{"/token_endpoint_auth_method", "auth-method"},
	{"/grant_types", "grant"},
	{"/redirect_uris", "redirect-uri"},
	{"/post_logout_redirect_uris", "post-logout-redirect-uri"},
	{"/backchannel_logout_uri", "backchannel-logout-uri"},
	{"/scope", "scope"},
	{"/audiences", "audience"},
	{"/access_token_lifetime", "access-lifetime"},
	{"/id_token_signed_response_alg", "id-token-algorithm"},
	{"/pairwise", "pairwise"},
	{"/sector", "sector"},
	{"/without_pkce", "without-pkce"},
	{"/trusted", "trusted"},
	{"/jwks", "jwks"},
	{"/jwks_uri", "jwks-uri"},
	{"/client_uri", "client-uri"},
	{"/policy_uri", "policy-uri"},
	{"/tos_uri", "tos-uri"},
}

func (f *clientFlags) declare(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "what people are told that it is called")
	flags.StringArrayVar(&f.redirects, "redirect-uri", nil, "where people come back to when they have signed in")
	flags.StringArrayVar(&f.returns, "post-logout-redirect-uri", nil, "where people may be sent when they have signed out")
	flags.StringVar(&f.backchannel, "backchannel-logout-uri", "", "where it hears that somebody was signed out")
	flags.StringSliceVar(&f.scopes, "scope", nil, "what it may ask for, such as openid, offline_access or words of your own (if people sign in: openid, email and profile)")
	flags.StringSliceVar(&f.audiences, "audience", nil, "what its tokens may be for, beside this server")
	flags.StringVar(&f.method, "auth-method", "", "how it shows who it is: none, client_secret_basic, client_secret_post or private_key_jwt")
	flags.StringSliceVar(&f.grants, "grant", nil, "authorization_code, refresh_token, client_credentials")
	flags.BoolVar(&f.trusted, "trusted", false, "it is your own: nobody is asked for consent")
	flags.BoolVar(&f.pairwise, "pairwise", false, "it knows people by subjects of its own, which say nothing to others")
	flags.StringVar(&f.sector, "sector", "", "the host that pairwise subjects are made for, if its addresses are at several")
	flags.BoolVar(&f.withoutPKCE, "without-pkce", false, "it may leave out PKCE; only for what keeps a secret and cannot do better")
	flags.StringVar(&f.algorithm, "id-token-algorithm", "", "what signs its ID tokens: RS256 (as the standard has it), ES256 or EdDSA")
	flags.DurationVar(&f.lifetime, "access-lifetime", 0, "how long its access tokens live, such as 5m; never longer than token.access")
	flags.StringVar(&f.jwks, "jwks", "", "a file with its public keys (a JSON Web Key Set), for private_key_jwt")
	flags.StringVar(&f.jwksURI, "jwks-uri", "", "the address of its public keys, instead")
	flags.StringVar(&f.home, "client-uri", "", "its page, for people")
	flags.StringVar(&f.policy, "policy-uri", "", "its privacy policy, for people")
	flags.StringVar(&f.terms, "tos-uri", "", "its terms of service, for people")
}

// said reports whether anything of a client was said.
func (f *clientFlags) said(cmd *cobra.Command) bool {
	return slices.ContainsFunc(flagNames, func(pair [2]string) bool { return cmd.Flags().Changed(pair[1]) })
}

// apply takes over what was said of a client, and nothing else.
func (f *clientFlags) apply(cmd *cobra.Command, c *oauth.Client) error {
	given := cmd.Flags().Changed
	for name, set := range map[string]func(){
		"name": func() { c.Name = f.name }, "redirect-uri": func() { c.RedirectURIs = words(f.redirects) },
		"post-logout-redirect-uri": func() { c.PostLogoutRedirectURIs = words(f.returns) },
		"backchannel-logout-uri":   func() { c.BackchannelLogoutURI = f.backchannel },
		"scope":                    func() { c.Scopes = words(f.scopes) }, "audience": func() { c.Audiences = words(f.audiences) },
		"auth-method": func() { c.AuthMethod = oauth.AuthMethod(f.method) }, "grant": func() { c.Grants = words(f.grants) },
		"trusted": func() { c.Trusted = f.trusted }, "pairwise": func() { c.Pairwise = f.pairwise },
		"sector": func() { c.Sector = f.sector }, "without-pkce": func() { c.WithoutPKCE = f.withoutPKCE },
		"id-token-algorithm": func() { c.IDAlgorithm = jwt.Algorithm(f.algorithm) },
		"access-lifetime":    func() { c.AccessLifetime = f.lifetime }, "jwks-uri": func() { c.JWKSURI = f.jwksURI },
		"client-uri": func() { c.HomeURI = f.home }, "policy-uri": func() { c.PolicyURI = f.policy }, "tos-uri": func() { c.TermsURI = f.terms },
	} {
		if given(name) {
			set()
		}
	}
	if !given("jwks") {
		return nil
	}
	keys, err := os.ReadFile(f.jwks)
	if err != nil {
		return fmt.Errorf("the file of the keys cannot be read: %w", err)
	}
	c.JWKS = keys
	return nil
}

// words is a list without empty words, so that an empty flag takes everything away.
func words(list []string) []string {
	var all []string
	for _, word := range list {
		if word != "" {
			all = append(all, word)
		}
	}
	return all
}
