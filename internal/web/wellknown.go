package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// getKeys answers with the public keys: those that sign, the next one before its
// first use, and old ones for as long as a token of theirs may live. Who asks past
// every cache, as a verifier does that was shown a key it does not know, is told of a
// key that another node has just made.
func (s *Server) getKeys(x *exchange) error {
	if x.Request.Header.Get("Cache-Control") == "no-cache" {
		s.Ring.LookAgain(x.Context())
	}
	set, tag := s.Ring.Published()
	return publish(x, "application/jwk-set+json", document{body: set, tag: tag})
}

// A document is public and may be cached.
type document struct {
	body []byte
	tag  string // a strong entity tag
	// zipped is the body for who accepts gzip; nil: it is too small to matter. There is
	// nothing secret in a document, so its length tells nobody anything.
	zipped []byte
}

func newDocument(body []byte) document {
	sum := sha256.Sum256(body)
	return document{body: body, tag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

// newLargeDocument is newDocument for one that is worth compressing.
func newLargeDocument(body []byte) document {
	d := newDocument(body)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(body) // a buffer takes what it is given
	_ = w.Close()
	d.zipped = zipped.Bytes()
	return d
}

// as returns the document in the form that the request accepts, each with a tag of its
// own (RFC 9110 §8.8.3.3), and whether that is the compressed one.
func (d document) as(r *http.Request) (document, bool) {
	if d.zipped == nil || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return d, false
	}
	return document{body: d.zipped, tag: strings.TrimSuffix(d.tag, `"`) + `-gzip"`}, true
}

// writeDocuments makes the documents that do not change while the server runs.
func (s *Server) writeDocuments() error {
	body, err := json.Marshal(s.describe())
	if err != nil {
		return fmt.Errorf("write the metadata: %w", err)
	}
	s.metadata = newDocument(body)
	if body, err = describeAPI(s.issuer, s.cookies.session, s.config.Version); err != nil {
		return fmt.Errorf("write the OpenAPI document: %w", err)
	}
	s.openapi = newLargeDocument(body)
	return nil
}

// getOpenAPI answers with the description of all calls.
func (s *Server) getOpenAPI(x *exchange) error { return publish(x, "application/json", s.openapi) }

// publish answers with a document that may be cached for less time than a new key
// is published before it signs.
func publish(x *exchange, media string, d document) error {
	h := x.Header()
	if d.zipped != nil {
		h.Add("Vary", "Accept-Encoding")
	}
	d, zipped := d.as(x.Request)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(keyring.MaxAge/time.Second)))
	h.Set("ETag", d.tag)
	if matches(x.Request.Header.Get("If-None-Match"), d.tag) {
		x.WriteHeader(http.StatusNotModified)
		return nil
	}
	if zipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	x.WriteHeader(http.StatusOK)
	if x.Method != http.MethodHead {
		_, _ = x.Write(d.body) // the client has gone: nobody is left to tell
	}
	return nil
}

// A keySet is a set of public keys.
type keySet struct {
	Keys []map[string]string `json:"keys"`
}

// A metadataDocument describes the server to clients (RFC 8414 §2, OpenID Connect
// Discovery §3). It names what there is and nothing else.
type metadataDocument struct {
	Issuer                   string   `json:"issuer"`
	AuthorizationEndpoint    string   `json:"authorization_endpoint"`
	TokenEndpoint            string   `json:"token_endpoint"`
	UserInfoEndpoint         string   `json:"userinfo_endpoint"`
	EndSessionEndpoint       string   `json:"end_session_endpoint"`
	RevocationEndpoint       string   `json:"revocation_endpoint"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint"`
	JWKSURI                  string   `json:"jwks_uri"`
	Scopes                   []string `json:"scopes_supported" about:"those of OpenID Connect; others are as clients are registered for"`
	ResponseTypes            []string `json:"response_types_supported"`
	ResponseModes            []string `json:"response_modes_supported"`
	GrantTypes               []string `json:"grant_types_supported"`
	Prompts                  []string `json:"prompt_values_supported"`
	ACRs                     []string `json:"acr_values_supported"`
	SubjectTypes             []string `json:"subject_types_supported"`
	IDTokenAlgorithms        []string `json:"id_token_signing_alg_values_supported"`
	Claims                   []string `json:"claims_supported"`
	ClaimTypes               []string `json:"claim_types_supported"`
	Locales                  []string `json:"ui_locales_supported"`
	ChallengeMethods         []string `json:"code_challenge_methods_supported"`
	TokenMethods             []string `json:"token_endpoint_auth_methods_supported"`
	TokenAlgorithms          []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationMethods        []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms     []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionMethods     []string `json:"introspection_endpoint_auth_methods_supported" about:"Bearer: an API key with the scope introspect"`
	IntrospectionAlgorithms  []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	IssInResponse            bool     `json:"authorization_response_iss_parameter_supported" about:"RFC 9207"`
	ClaimsParameter          bool     `json:"claims_parameter_supported"`
	RequestParameter         bool     `json:"request_parameter_supported"`
	RequestURIParameter      bool     `json:"request_uri_parameter_supported"`
	BackchannelLogout        bool     `json:"backchannel_logout_supported"`
	BackchannelLogoutSession bool     `json:"backchannel_logout_session_supported" about:"the sid of a logout token is that of the ID token"`
	ServiceDocumentation     string   `json:"service_documentation"`
}

// getMetadata answers with the metadata of the authorization server.
func (s *Server) getMetadata(x *exchange) error {
	return publish(x, "application/json", s.metadata)
}

func (s *Server) describe() metadataDocument {
	confidential := []string{string(oauth.AuthBasic), string(oauth.AuthPost), string(oauth.AuthKey)}
	methods, algorithms := append(slices.Clone(confidential), string(oauth.AuthNone)), oauth.AssertionAlgorithms()
	return metadataDocument{
		Issuer: s.issuer, JWKSURI: s.issuer + "/.well-known/jwks.json", ServiceDocumentation: s.issuer + "/docs",
		AuthorizationEndpoint: s.issuer + "/oauth2/authorize", TokenEndpoint: s.issuer + "/oauth2/token",
		UserInfoEndpoint: s.issuer + "/oauth2/userinfo", EndSessionEndpoint: s.issuer + "/oauth2/logout",
		RevocationEndpoint: s.issuer + "/oauth2/revoke", IntrospectionEndpoint: s.issuer + "/oauth2/introspect",

		Scopes: oauth.Scopes, ResponseTypes: []string{"code"}, ResponseModes: []string{"query", "form_post"},
		GrantTypes: oauth.GrantTypes, Prompts: []string{"none", "login", "consent", "select_account"},
		ACRs: []string{"aal1"}, SubjectTypes: []string{"public", "pairwise"}, IDTokenAlgorithms: oauth.IDTokenAlgorithms(),
		Claims: slices.Concat(oauth.ProtocolClaims, oauth.Claims()), ClaimTypes: []string{"normal"}, Locales: locales(s.Words),
		ChallengeMethods: []string{"S256"},
		TokenMethods:     methods, TokenAlgorithms: algorithms,
		RevocationMethods: methods, RevocationAlgorithms: algorithms,
		IntrospectionMethods: append(confidential, "Bearer"), IntrospectionAlgorithms: algorithms,
		IssInResponse: true, ClaimsParameter: true, BackchannelLogout: true, BackchannelLogoutSession: true,
	}
}

// locales are the languages that pages are read in.
func locales(words *catalogue.Catalogue) []string {
	var tags []string
	for _, l := range words.Languages() {
		tags = append(tags, l.Tag())
	}
	return tags
}

// matches reports whether an If-None-Match names the tag (RFC 9110 §13.1.2).
func matches(header, tag string) bool {
	for each := range strings.SplitSeq(header, ",") {
		each = strings.TrimPrefix(strings.TrimSpace(each), "W/")
		if each == tag || each == "*" {
			return true
		}
	}
	return false
}
