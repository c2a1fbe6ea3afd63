package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/keyring"
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
	return publish(x, "application/jwk-set+json", document{set, tag})
}

// A document is public and may be cached.
type document struct {
	body []byte
	tag  string // a strong entity tag
}

func newDocument(body []byte) document {
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
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
	s.openapi = newDocument(body)
	return nil
}

// getOpenAPI answers with the description of all calls.
func (s *Server) getOpenAPI(x *exchange) error { return publish(x, "application/json", s.openapi) }

// publish answers with a document that may be cached for less time than a new key
// is published before it signs.
func publish(x *exchange, media string, d document) error {
	h := x.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(keyring.MaxAge/time.Second)))
	h.Set("ETag", d.tag)
	if matches(x.Request.Header.Get("If-None-Match"), d.tag) {
		x.WriteHeader(http.StatusNotModified)
		return nil
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

// A metadataDocument describes the server to programs (RFC 8414 §2). It names what
// there is and nothing else: a client that needs an endpoint that is not named here
// does not find one.
type metadataDocument struct {
	Issuer                string   `json:"issuer"`
	JWKSURI               string   `json:"jwks_uri"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported" about:"Bearer: an API key with the scope introspect"`
	ResponseTypes         []string `json:"response_types_supported" about:"none: there is no authorization endpoint"`
	GrantTypes            []string `json:"grant_types_supported" about:"none: there is no token endpoint"`
	ServiceDocumentation  string   `json:"service_documentation"`
}

// getMetadata answers with the metadata of the authorization server.
func (s *Server) getMetadata(x *exchange) error {
	return publish(x, "application/json", s.metadata)
}

func (s *Server) describe() metadataDocument {
	return metadataDocument{
		Issuer: s.issuer, JWKSURI: s.issuer + "/.well-known/jwks.json",
		IntrospectionEndpoint: s.issuer + "/oauth2/introspect", IntrospectionMethods: []string{"Bearer"},
		ResponseTypes: []string{}, GrantTypes: []string{}, ServiceDocumentation: s.issuer + "/docs",
	}
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
