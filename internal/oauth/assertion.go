package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// assertionType is the one form of client_assertion_type (RFC 7523 §2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertion = 16 << 10         // bytes
	maxJTI       = 255              // bytes
	assertLife   = 10 * time.Minute // how far ahead exp may lie
	assertLeeway = 10 * time.Second // how far ahead of us a client's clock may be
	// clocksApart is added to how long a jti is remembered: the clocks of the nodes and
	// of the store may differ by seconds, and none must take an assertion that another
	// has forgotten.
	clocksApart = time.Minute
)

// An assertion is what a client says of itself (RFC 7523 §3).
type assertion struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  json.RawMessage  `json:"aud"`
	Expires   *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
}

// assertedClient returns whom an assertion names. Nothing of it is checked: it says
// which client's keys are to be looked at.
func assertedClient(text string) (string, bool) {
	token, ok := parseAssertion(text)
	if !ok {
		return "", false
	}
	var said assertion
	if err := token.UnsafeClaimsWithoutVerification(&said); err != nil || said.Subject == "" {
		return "", false
	}
	return said.Subject, true
}

// parseAssertion reads the form of an assertion: one compact signature with an algorithm
// of ours, and no header that would have a key looked for anywhere but with the client.
func parseAssertion(text string) (*jwt.JSONWebToken, bool) {
	if len(text) > maxAssertion || strings.Count(text, ".") != 2 {
		return nil, false
	}
	token, err := jwt.ParseSigned(text, assertionAlgorithms)
	if err != nil || len(token.Headers) != 1 {
		return nil, false
	}
	h := token.Headers[0]
	for _, name := range []jose.HeaderKey{"crit", "b64", "zip", "enc"} {
		if _, there := h.ExtraHeaders[name]; there {
			return nil, false
		}
	}
	return token, h.JSONWebKey == nil && isAssertionType(h.ExtraHeaders[jose.HeaderType])
}

// isAssertionType reports whether typ is one that a client assertion may bear: no other
// kind of token is one (JBCP-4, V-18).
func isAssertionType(typ any) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(text), "application/") {
	case "jwt", "client-authentication+jwt":
		return true
	}
	return false
}

// Why an assertion does not count, for the audit and the log.
var (
	errAssertionForm      = errors.New("the assertion cannot be read")
	errAssertionKey       = errors.New("no key of the client has signed the assertion")
	errAssertionName      = errors.New("iss and sub of the assertion are not both the client's id")
	errAssertionAudience  = errors.New("aud of the assertion is not our issuer alone, as one string")
	errAssertionTime      = errors.New("the assertion is not valid now, or for longer than ten minutes")
	errAssertionID        = errors.New("the assertion has no jti of 1 to 255 bytes")
	errAssertionIsSpent   = errors.New("the assertion was used before")
	errAssertionNoClient  = errors.New("client_id is not the one that the assertion names")
	errAssertionWrongType = errors.New("client_assertion_type is not " + assertionType)
)

// checkAssertion returns nil if the client has signed the assertion for us, for now, and
// it was not used before. Otherwise why it does not count; an error that wraps
// [fault.ErrUnavailable] means that nobody knows.
func (a *authenticator) checkAssertion(ctx context.Context, c *Client, text string) error {
	token, ok := parseAssertion(text)
	if !ok {
		return errAssertionForm
	}
	said, err := a.verified(ctx, c, token)
	if err != nil {
		return err
	}
	now := a.now()
	switch {
	case said.Issuer != c.ID || said.Subject != c.ID:
		return errAssertionName
	case !isAlone(said.Audience, a.issuer):
		return errAssertionAudience
	case said.Expires == nil, !now.Before(said.Expires.Time()), said.Expires.Time().After(now.Add(assertLife + assertLeeway)),
		isAhead(said.NotBefore, now), isAhead(said.IssuedAt, now):
		return errAssertionTime
	case said.ID == "" || len(said.ID) > maxJTI:
		return errAssertionID
	}
	id := sha256.Sum256([]byte(c.ID + "\x00" + said.ID))
	err = a.assertions.SpendAssertion(ctx, base64.RawURLEncoding.EncodeToString(id[:]), said.Expires.Time().Add(clocksApart))
	switch {
	case errors.Is(err, ErrSpent):
		return errAssertionIsSpent
	case err != nil:
		return fmt.Errorf("spend an assertion: %w: %w", fault.ErrUnavailable, err)
	}
	return nil
}

// verified returns the claims if a key of the client has signed them.
func (a *authenticator) verified(ctx context.Context, c *Client, token *jwt.JSONWebToken) (said assertion, err error) {
	h := token.Headers[0]
	keys, err := a.keysOf(ctx, c, h.KeyID)
	if err != nil {
		return said, err
	}
	for _, key := range keys {
		if h.KeyID != "" && key.KeyID != "" && h.KeyID != key.KeyID {
			continue
		}
		if !slices.Contains(algorithmsOf(&key), jose.SignatureAlgorithm(h.Algorithm)) {
			continue
		}
		if err := token.Claims(key.Key, &said); err == nil {
			return said, nil
		}
	}
	return assertion{}, errAssertionKey
}

// isAlone reports whether aud is one string, and that the issuer: an array, be it of the
// issuer alone, and the address of an endpoint would count elsewhere as well (BCP-12).
func isAlone(aud json.RawMessage, issuer string) bool {
	var text string
	return json.Unmarshal(aud, &text) == nil && text == issuer
}

func isAhead(at *jwt.NumericDate, now time.Time) bool {
	return at != nil && at.Time().After(now.Add(assertLeeway))
}
