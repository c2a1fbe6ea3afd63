package jwt

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// encoding refuses what is not the one way to write the bytes, but passes over
// line breaks, so these are looked for apart.
var encoding = base64.RawURLEncoding.Strict()

const (
	errLong      formError = "it is too long"
	errParts     formError = "it has not three parts separated by dots"
	errBase64    formError = "it is not base64url in its only form"
	errHeader    formError = "its header has a member other than alg, kid and typ"
	errAlgorithm formError = "its algorithm is not ES256, EdDSA or RS256"
	errKeyID     formError = "its kid is not 1 to 128 letters, digits or _ . ~ -"
	errType      formError = "its type is not at+jwt"
	errOtherKind formError = "its algorithm is not the one of the key"
)

// Parse checks a token's form, header and signature and the types of its claims,
// in this order, and returns the claims. It does not look at what they say: see
// [Claims.Check]. It asks keys for the key at most once, and only with an id of 1
// to 128 unreserved URL characters.
//
// An error is [ErrMalformed], [ErrUnknownKey] or [ErrSignature]; the claims are
// then empty. Strings of the claims may share memory with each other, but not
// with the token.
func Parse(token string, keys func(kid string) (PublicKey, bool)) (Claims, error) {
	p, err := split(token)
	if err != nil {
		return Claims{}, err
	}
	// Usual tokens are taken apart on the stack; larger ones move to the heap.
	var rawSpace, textSpace [1536]byte
	raw := append(rawSpace[:0], token...)
	header, err := encoding.AppendDecode(textSpace[:0], raw[:p.first])
	if err != nil {
		return Claims{}, errBase64
	}
	both, err := encoding.AppendDecode(header, raw[p.first+1:p.second])
	if err != nil {
		return Claims{}, errBase64
	}
	var signatureSpace [512]byte
	signature, err := encoding.AppendDecode(signatureSpace[:0], raw[p.second+1:])
	if err != nil {
		return Claims{}, errBase64
	}
	text := string(both)
	h, err := readHeader(text[:len(header)])
	if err != nil {
		return Claims{}, err
	}
	key, found := keys(h.keyID)
	switch {
	case !found:
		return Claims{}, ErrUnknownKey
	case string(key.Algorithm) != h.algorithm:
		return Claims{}, errOtherKind
	case !key.verify(raw[:p.second], signature):
		return Claims{}, ErrSignature
	}
	c, err := readClaims(text[len(header):])
	if err != nil {
		return Claims{}, err
	}
	c.KeyID = h.keyID
	return c, nil
}

// parts are the positions of the two dots.
type parts struct{ first, second int }

// split finds the three parts of a token. A further dot is left to the decoder.
func split(token string) (parts, error) {
	if len(token) > MaxLength {
		return parts{}, errLong
	}
	first := strings.IndexByte(token, '.')
	second := first + 1 + strings.IndexByte(token[first+1:], '.')
	if first <= 0 || second <= first+1 || second == len(token)-1 {
		return parts{}, errParts
	}
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return parts{}, errBase64
	}
	return parts{first, second}, nil
}

type header struct{ algorithm, keyID, kind string }

// readHeader reads a header, which has exactly the members alg, kid and typ.
func readHeader(text string) (header, error) {
	var h header
	s := scanner{text: text, members: maxMembers}
	err := s.document(func(name string) error {
		var at *string
		switch name {
		case "alg":
			at = &h.algorithm
		case "kid":
			at = &h.keyID
		case "typ":
			at = &h.kind
		default:
			return errHeader
		}
		if *at != "" {
			return errDuplicate
		}
		var err error
		if *at, err = s.stringValue(); err == nil && *at == "" {
			err = errMissing
		}
		return named(name, err)
	})
	switch {
	case err != nil:
		return header{}, err
	case !known(h.algorithm):
		return header{}, errAlgorithm
	case !isAccessToken(h.kind):
		return header{}, errType
	case !isKeyID(h.keyID):
		return header{}, errKeyID
	}
	return h, nil
}

func known(algorithm string) bool {
	switch Algorithm(algorithm) {
	case ES256, EdDSA, RS256:
		return true
	}
	return false
}

// isAccessToken says whether a typ is the media type application/at+jwt, whose
// prefix may be left out (RFC 7515 §4.1.9). Media types have no case.
func isAccessToken(kind string) bool {
	const prefix = "application/"
	if len(kind) > len(prefix) && strings.EqualFold(kind[:len(prefix)], prefix) {
		kind = kind[len(prefix):]
	}
	return strings.EqualFold(kind, "at+jwt")
}

// isKeyID keeps key ids harmless wherever they end up.
func isKeyID(id string) bool {
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '.', c == '~', c == '-':
		default:
			return false
		}
	}
	return 1 <= len(id) && len(id) <= 128
}

func digest(signed []byte) []byte {
	sum := sha256.Sum256(signed)
	return sum[:]
}
