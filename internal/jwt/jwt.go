// Package jwt reads and writes the one kind of token there is here: the access
// token of RFC 9068, a compact JWS with typ at+jwt, signed with ES256, EdDSA
// (Ed25519) or RS256. It also reads and writes the key sets that go with them.
//
// It refuses everything else: other algorithms, unsigned and encrypted tokens,
// other serialisations, keys or addresses of keys in the header, and JSON or
// base64url that two readers could understand in two ways. A key has one
// algorithm, whatever a header says. There is no way to read the claims of a
// token without checking its signature.
//
// It uses the standard library only, does no I/O, and knows nothing of sessions.
package jwt

import (
	"errors"
	"slices"
	"time"
)

// Algorithm is the signature algorithm of a key, as in RFC 7518.
type Algorithm string

// The algorithms.
const (
	ES256 Algorithm = "ES256" // ECDSA with P-256 and SHA-256
	EdDSA Algorithm = "EdDSA" // Ed25519
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
)

const (
	// MaxLength is the length of a token, in bytes, above which it is refused
	// before anything else is looked at.
	MaxLength = 16 << 10
	// Leeway is how far nbf and iat may lie in the future of whoever checks a
	// token. The issuer may stamp iat up to 2 seconds ahead of its own clock, and
	// clocks differ. It does not apply to exp.
	Leeway = 5 * time.Second
)

// Why a token is refused, for errors.Is. The texts are constant: nothing of a
// token is ever in an error.
var (
	// ErrMalformed: form, header or claims are not those of the profile. The error
	// that is returned says in words what is wrong.
	ErrMalformed = errors.New("token is malformed")
	// ErrUnknownKey: form and header are good, but no key has this id. The caller
	// may look for new keys and try once more.
	ErrUnknownKey = errors.New("token is signed by an unknown key")
	// ErrSignature: the signature is not the key's.
	ErrSignature = errors.New("token signature is wrong")
	// ErrIssuer: the token is another issuer's.
	ErrIssuer = errors.New("token is of another issuer")
	// ErrAudience: the token is for another service.
	ErrAudience = errors.New("token is for another audience")
	// ErrExpired: the token's time is over.
	ErrExpired = errors.New("token has expired")
	// ErrNotYet: the token is not valid yet, or was issued in the future.
	ErrNotYet = errors.New("token is not valid yet")
)

// A formError is an [ErrMalformed] that says what is wrong.
type formError string

func (e formError) Error() string { return ErrMalformed.Error() + ": " + string(e) }

func (e formError) Unwrap() error { return ErrMalformed }

// named says which member err is about. The name must be one of ours: nothing of
// a token may get into an error.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	var form formError
	if errors.As(err, &form) {
		return formError(name + ": " + string(form))
	}
	return err
}

// Claims are the claims of an access token. Times are Unix seconds from 0 to
// 2^53-1; 0 means absent, and so does an empty string.
type Claims struct {
	Issuer    string   // iss, required
	Subject   string   // sub, required
	Audience  []string // aud, required: one or more; a single one is written as a string
	ExpiresAt int64    // exp, required
	NotBefore int64    // nbf
	IssuedAt  int64    // iat, required
	AuthTime  int64    // auth_time
	ID        string   // jti, required
	ClientID  string   // client_id, required
	GrantID   string   // gid
	SessionID string   // sid
	Scope     string   // scope, separated by spaces
	ACR       string   // acr
	AMR       []string // amr

	// Extra holds every other claim: string, bool, float64, nil, []any or
	// map[string]any. It is nil if there is none. For signing, int, int64 and
	// []string will do as well.
	Extra map[string]any
	// KeyID is the kid of the key that signed the token. It is not a claim, and
	// [Signer.Sign] does not look at it.
	KeyID string
}

// Expect is what whoever receives a token expects of it.
type Expect struct {
	Issuer   string // exactly as in iss; not empty
	Audience string // one of aud; not empty
	Now      time.Time
	Leeway   time.Duration // for nbf and iat alone; usually [Leeway]
}

// Check compares the claims with what is expected, in the order issuer,
// audience, expiry, begin, and returns [ErrIssuer], [ErrAudience], [ErrExpired]
// or [ErrNotYet]. A token has expired from the second exp on, without leeway.
// An empty Issuer or Audience matches nothing.
func (c Claims) Check(e Expect) error {
	switch {
	case e.Issuer == "" || c.Issuer != e.Issuer:
		return ErrIssuer
	case e.Audience == "" || !slices.Contains(c.Audience, e.Audience):
		return ErrAudience
	case e.Now.Unix() >= c.ExpiresAt:
		return ErrExpired
	}
	if soon := e.Now.Add(e.Leeway).Unix(); c.NotBefore > soon || c.IssuedAt > soon {
		return ErrNotYet
	}
	return nil
}
