package web

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What the endpoints refuse that clients call. Of a request nobody can say what was
// meant: RFC 6749 §3.2, §2.3.
var (
	errInAddress  = fault.New(fault.Syntax, "invalid_request", "Send parameters in the body, and never in the address: that is written down on the way.")
	errTwoMethods = fault.New(fault.Syntax, "invalid_request", "Show in one way who you are: by the Authorization header, a secret in the body, or an assertion.")
	errTwoTokens  = fault.New(fault.Syntax, "invalid_request", "Send the token once, in the Authorization header or in the body.")
)

// clientParameters are what shows which client asks, as parameters of a form (RFC 6749
// §2.3.1, RFC 7523 §2.2); they are absent where the Authorization header says so.
type clientParameters struct {
	ClientID            string `json:"client_id,omitzero"`
	ClientSecret        string `json:"client_secret,omitzero" about:"for client_secret_post"`
	ClientAssertionType string `json:"client_assertion_type,omitzero" about:"for private_key_jwt: urn:ietf:params:oauth:client-assertion-type:jwt-bearer"`
	ClientAssertion     string `json:"client_assertion,omitzero" about:"for private_key_jwt"`
}

// clientOf finds out which client asks, from the form that it sends.
func (s *Server) clientOf(x *exchange) (err error) {
	if x.parameters, err = readParameters(x); err != nil {
		return err
	}
	c, err := credentialsOf(x.Request, x.parameters)
	if err != nil {
		return err
	}
	c.From = x.from()
	x.client, err = s.Provider.Authenticate(x.Context(), c)
	return err
}

// clientOrKeyOf finds out which service asks: by an API key, or as a client that can
// show who it is.
func (s *Server) clientOrKeyOf(x *exchange) (err error) {
	if _, own := ownKey(x); own || isBearer(x.Request) {
		x.key, err = s.keyOf(x)
		return err
	}
	x.asClient = true
	if err = s.clientOf(x); err == nil && !x.client.Confidential() {
		return oauth.ErrClient
	}
	return err
}

// readParameters reads the parameters of a form, each of which is there once but for
// resource. One without a value is as good as absent (RFC 6749 §3.2).
func readParameters(x *exchange) (url.Values, error) {
	if x.URL.RawQuery != "" {
		return nil, errInAddress
	}
	form, err := readForm(x)
	if err != nil {
		return nil, err
	}
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return nil, oauth.ErrRequest
		}
		if len(values) == 1 && values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// credentialsOf reads how a request says which client it comes from. Two ways at once
// are refused: whoever compares one must not find that the other counted.
func credentialsOf(r *http.Request, form url.Values) (oauth.Credentials, error) {
	c := oauth.Credentials{
		ID: form.Get("client_id"), Secret: form.Get("client_secret"), Post: form.Has("client_secret"),
		AssertionType: form.Get("client_assertion_type"), Assertion: form.Get("client_assertion"),
	}
	asserts := c.Assertion != "" || c.AssertionType != ""
	header, basic := r.Header["Authorization"]
	switch {
	case asserts && (c.Post || basic), c.Post && basic:
		return oauth.Credentials{}, errTwoMethods
	case !basic:
		return c, nil
	}
	id, secret, ok := cutBasic(header)
	switch {
	case !ok:
		return oauth.Credentials{}, oauth.ErrClient
	case c.ID != "" && c.ID != id:
		return oauth.Credentials{}, errTwoMethods
	}
	c.ID, c.Secret, c.Basic = id, secret, true
	return c, nil
}

// cutBasic reads a Basic header, in which id and secret are encoded as in a form (RFC
// 6749 §2.3.1).
func cutBasic(header []string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header[0], " ")
	if len(header) != 1 || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	id, secret, found := strings.Cut(string(text), ":")
	id, err = url.QueryUnescape(id)
	if err != nil || !found {
		return "", "", false
	}
	secret, err = url.QueryUnescape(secret)
	return id, secret, err == nil && id != ""
}

// isBearer reports whether a request bears a token or an API key in its header, be it
// good or not.
func isBearer(r *http.Request) bool {
	values := r.Header["Authorization"]
	return len(values) > 0 && len(values[0]) >= len("Bearer") && strings.EqualFold(values[0][:len("Bearer")], "Bearer")
}

// accessTokenOf returns the access token that a request bears: in its header, or in the
// form of a POST (RFC 6750 §2.1, §2.2), and never in the address (§2.3).
func accessTokenOf(x *exchange) (string, error) {
	if x.URL.Query().Has("access_token") {
		return "", errInAddress
	}
	token, present, err := bearerOf(x.Request)
	if err != nil {
		return "", err
	}
	inBody := ""
	if x.Method == http.MethodPost && x.ContentLength != 0 {
		form, err := readParameters(x)
		if err != nil {
			return "", err
		}
		inBody = form.Get("access_token")
	}
	switch {
	case present && inBody != "":
		return "", errTwoTokens
	case inBody != "":
		return inBody, nil
	case !present:
		return "", session.ErrNoCredential
	}
	return token, nil
}
