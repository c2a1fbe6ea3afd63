package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
)

// Sizes of RSA keys, in bits. The upper limit bounds the cost of one check.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// minRSAExponent is the exponent that all make who make keys today.
const minRSAExponent = 65537

// A PublicKey checks signatures of one algorithm. It is immutable and safe for
// concurrent use. The empty PublicKey accepts no signature.
type PublicKey struct {
	ID        string // kid: 1 to 128 letters, digits or _ . ~ -
	Algorithm Algorithm
	key       crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
}

// NewPublicKey returns a key that checks signatures of the given algorithm. It
// copies key, and refuses one of another type or curve, a point off the curve,
// and RSA keys outside 2048 to 8192 bits or with a small exponent.
func NewPublicKey(id string, algorithm Algorithm, key crypto.PublicKey) (PublicKey, error) {
	if !isKeyID(id) {
		return PublicKey{}, errors.New("key id is not 1 to 128 letters, digits or _ . ~ -")
	}
	k := PublicKey{ID: id, Algorithm: algorithm}
	var err error
	switch given := key.(type) {
	case *ecdsa.PublicKey:
		if algorithm != ES256 || given.Curve != elliptic.P256() {
			return PublicKey{}, errKeyType
		}
		point, invalid := given.Bytes()
		if invalid != nil {
			return PublicKey{}, errKeyPoint
		}
		k.key, err = pointKey(point)
	case ed25519.PublicKey:
		if algorithm != EdDSA {
			return PublicKey{}, errKeyType
		}
		k.key, err = edwardsKey(given)
	case *rsa.PublicKey:
		if algorithm != RS256 || given.N == nil {
			return PublicKey{}, errKeyType
		}
		k.key, err = modulusKey(given.N.Bytes(), given.E)
	default:
		return PublicKey{}, errKeyType
	}
	if err != nil {
		return PublicKey{}, err
	}
	return k, nil
}

var (
	errKeyType     = errors.New("key is not of its algorithm")
	errKeyPoint    = errors.New("key is not a point of its curve")
	errKeySize     = errors.New("RSA key is not of 2048 to 8192 bits")
	errKeyExponent = errors.New("RSA key has an unusual exponent")
)

// pointKey returns the key of an uncompressed point.
func pointKey(point []byte) (*ecdsa.PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, errKeyPoint
	}
	return key, nil
}

func edwardsKey(point []byte) (ed25519.PublicKey, error) {
	if len(point) != ed25519.PublicKeySize {
		return nil, errKeyPoint
	}
	return append(ed25519.PublicKey(nil), point...), nil
}

func modulusKey(modulus []byte, exponent int) (*rsa.PublicKey, error) {
	n := new(big.Int).SetBytes(modulus)
	switch {
	case n.BitLen() < minRSABits || n.BitLen() > maxRSABits || n.Bit(0) == 0:
		return nil, errKeySize
	case exponent < minRSAExponent || exponent > 1<<31-1 || exponent&1 == 0:
		return nil, errKeyExponent
	}
	return &rsa.PublicKey{N: n, E: exponent}, nil
}

// Equal reports whether both are the same key under the same id and algorithm.
func (k PublicKey) Equal(other PublicKey) bool {
	if k.ID != other.ID || k.Algorithm != other.Algorithm {
		return false
	}
	own, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(other.key)
}

// Verify reports whether the signature, as a token carries it, is the key's over
// signed. It looks at nothing else: whoever holds a token calls [Parse].
func (k PublicKey) Verify(signed, signature []byte) bool {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		var space [maxDER]byte
		der, ok := appendDER(space[:0], signature)
		sum := sha256.Sum256(signed)
		return ok && k.Algorithm == ES256 && ecdsa.VerifyASN1(key, sum[:], der)
	case ed25519.PublicKey:
		return k.Algorithm == EdDSA && ed25519.Verify(key, signed, signature)
	case *rsa.PublicKey:
		return k.Algorithm == RS256 && rsa.VerifyPKCS1v15(key, crypto.SHA256, digest(signed), signature) == nil
	}
	return false
}
