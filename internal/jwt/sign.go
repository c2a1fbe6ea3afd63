package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
)

// A Signer signs tokens with one key. It is safe for concurrent use if the key
// is, as those of the standard library are.
type Signer struct {
	public PublicKey
	key    crypto.Signer
	header string // encoded, with the dot
	length int    // of a signature, encoded
}

// NewSigner returns a signer that uses ES256 for a P-256 key, EdDSA for an
// Ed25519 key and RS256 for an RSA key. It refuses what [NewPublicKey] refuses.
func NewSigner(id string, key crypto.Signer) (*Signer, error) {
	if key == nil {
		return nil, errKeyType
	}
	s := &Signer{key: key}
	var algorithm Algorithm
	size := 2 * scalarSize
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		algorithm = ES256
	case ed25519.PublicKey:
		algorithm, size = EdDSA, ed25519.SignatureSize
	case *rsa.PublicKey:
		algorithm, size = RS256, public.Size()
	default:
		return nil, errKeyType
	}
	var err error
	if s.public, err = NewPublicKey(id, algorithm, key.Public()); err != nil {
		return nil, err
	}
	header := fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":"at+jwt"}`, algorithm, id)
	s.header = encoding.EncodeToString(header) + "."
	s.length = encoding.EncodedLen(size)
	return s, nil
}

// Public returns the key that checks what the signer signs.
func (s *Signer) Public() PublicKey { return s.public }

// Sign returns a token that [Parse] takes. It fails, with an error that names
// the claim but not its value, if a required claim is missing, a time is out of
// range, a string is not UTF-8, an extra claim has the name of a registered one
// or a type that JSON has not, or the token would exceed a limit of [Parse].
func (s *Signer) Sign(c Claims) (string, error) {
	e := encoder{out: make([]byte, 0, 1024)}
	if err := e.claims(&c); err != nil {
		return "", err
	}
	return s.seal(s.header, e.out)
}

// seal puts a header, which is encoded and has its dot, before claims and signs both.
func (s *Signer) seal(header string, claims []byte) (string, error) {
	length := len(header) + encoding.EncodedLen(len(claims)) + 1 + s.length
	if length > MaxLength {
		return "", errors.New("sign token: it is too long")
	}
	token := append(make([]byte, 0, length), header...)
	token = encoding.AppendEncode(token, claims)
	var space [maxRSABits / 8]byte
	signature, err := s.sign(space[:0], token)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	token = append(token, '.')
	return string(encoding.AppendEncode(token, signature)), nil
}

// sign appends the signature of what is signed, as a token carries it.
func (s *Signer) sign(b, signed []byte) ([]byte, error) {
	switch s.public.Algorithm {
	case ES256:
		der, err := s.key.Sign(rand.Reader, digest(signed), crypto.SHA256)
		if err != nil {
			return nil, err
		}
		b, ok := appendScalars(b, der)
		if !ok {
			return nil, errors.New("the key returns no ECDSA signature")
		}
		return b, nil
	case EdDSA:
		return s.key.Sign(rand.Reader, signed, crypto.Hash(0))
	default:
		return s.key.Sign(rand.Reader, digest(signed), crypto.SHA256)
	}
}
