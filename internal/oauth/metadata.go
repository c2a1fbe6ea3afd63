package oauth

import "github.com/coatcheck/coatcheck/internal/jwt"

// ProtocolClaims are the claims that ID tokens bear about the sign-in itself, beside
// those about the person.
var ProtocolClaims = []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"}

// IDTokenAlgorithms returns the algorithms that a client may choose for its ID tokens.
func IDTokenAlgorithms() []string {
	return []string{string(jwt.RS256), string(jwt.ES256), string(jwt.EdDSA)}
}

// AssertionAlgorithms returns the algorithms by which clients may sign their assertions.
func AssertionAlgorithms() []string {
	names := make([]string, len(assertionAlgorithms))
	for i, algorithm := range assertionAlgorithms {
		names[i] = string(algorithm)
	}
	return names
}
