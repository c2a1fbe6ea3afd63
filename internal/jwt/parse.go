package jwt

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync/atomic"
)

// encoding refuses what is not the one way to write the bytes, but passes over
// line breaks, so decode counts what it has read.
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
	return parse(nil, token, keys)
}

// A Parser parses as [Parse] does, and knows the headers that it has seen on genuine
// tokens: an issuer writes one for each of its keys. It holds a few, short ones. The
// zero Parser is ready. It is safe for concurrent use.
type Parser struct {
	headers [4]atomic.Pointer[header]
	next    atomic.Uint32
}

// maxHeader is the length of an encoded header that is worth knowing.
const maxHeader = 256

// Parse is [Parse].
func (p *Parser) Parse(token string, keys func(kid string) (PublicKey, bool)) (Claims, error) {
	return parse(p, token, keys)
}

func parse(by *Parser, token string, keys func(kid string) (PublicKey, bool)) (Claims, error) {
	text, keyID, err := open(by, token, keys, ofAccessToken)
	if err != nil {
		return Claims{}, err
	}
	c, err := readClaims(text)
	if err != nil {
		return Claims{}, err
	}
	c.KeyID = keyID
	return c, nil
}

// open checks a token's form, header and signature, and returns its claims as text and
// the id of its key. kind says whether a header is of the type that is wanted.
func open(by *Parser, token string, keys func(kid string) (PublicKey, bool), kind func(header) error) (claims, keyID string, err error) {
	p, err := split(token)
	if err != nil {
		return "", "", err
	}
	// Usual tokens are taken apart on the stack; larger ones move to the heap.
	var space [2048]byte
	raw := append(space[:0], token...)
	var headerText, text, signature []byte
	free := space[min(len(raw), len(space)):]
	h, known := by.find(token[:p.first])
	if !known {
		headerText, free, err = decode(free, raw[:p.first])
	}
	if err == nil {
		text, free, err = decode(free, raw[p.first+1:p.second])
	}
	if err == nil {
		signature, _, err = decode(free, raw[p.second+1:])
	}
	if err != nil {
		return "", "", errBase64
	}
	if !known {
		if h, err = readHeader(string(headerText), kind); err != nil {
			return "", "", err
		}
	}
	key, found := keys(h.keyID)
	switch {
	case !found:
		return "", "", ErrUnknownKey
	case string(key.Algorithm) != h.algorithm:
		return "", "", errOtherKind
	case !key.Verify(raw[:p.second], signature):
		return "", "", ErrSignature
	}
	if !known {
		by.keep(h, token[:p.first])
	}
	return string(text), h.keyID, nil
}

// decode decodes part into free, or into more room if it does not fit, and returns
// what is still free.
func decode(free, part []byte) (decoded, rest []byte, err error) {
	size := encoding.DecodedLen(len(part))
	if size > len(free) {
		free = make([]byte, size)
	}
	n, err := encoding.Decode(free[:size:size], part)
	if err == nil && (n != size || len(part)%4 == 1) { // the decoder has passed over line breaks
		err = errBase64
	}
	return free[:n:n], free[n:], err
}

// find returns the header that was read from this text before.
func (p *Parser) find(text string) (header, bool) {
	if p == nil {
		return header{}, false
	}
	for i := range p.headers {
		if h := p.headers[i].Load(); h != nil && h.text == text {
			return *h, true
		}
	}
	return header{}, false
}

// keep holds a genuine token's header, in the place of one that came earlier.
func (p *Parser) keep(h header, text string) {
	if p == nil || len(text) > maxHeader {
		return
	}
	h.text = strings.Clone(text)
	p.headers[p.next.Add(1)%uint32(len(p.headers))].Store(&h)
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
	return parts{first, second}, nil
}

type header struct {
	algorithm, keyID, kind string
	text                   string // encoded, if it is kept
}

// readHeader reads a header, which has exactly the members alg, kid and typ.
func readHeader(text string, kind func(header) error) (header, error) {
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
	if err != nil {
		return header{}, err
	}
	if !known(h.algorithm) {
		return header{}, errAlgorithm
	}
	if err := kind(h); err != nil {
		return header{}, err
	}
	if !isKeyID(h.keyID) {
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

func ofAccessToken(h header) error {
	if !isAccessToken(h.kind) {
		return errType
	}
	return nil
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
