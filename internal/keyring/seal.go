package keyring

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// sealer encrypts private keys at rest with a key of its own, drawn from the
// server's secret by HKDF (RFC 5869). The key id and algorithm are bound in, so a
// sealed key cannot be passed off as another.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret []byte) (sealer, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck signing key at rest", 32)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the sealing key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the sealing key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the sealing key: %w", err)
	}
	return sealer{aead}, nil
}

func bound(k StoredKey) []byte { return []byte(k.ID + " " + string(k.Algorithm)) }

func (s sealer) seal(k StoredKey, private []byte) []byte {
	return s.aead.Seal(nil, nil, private, bound(k)) // #nosec G407 -- the cipher draws a random nonce for each seal
}

// open returns the signer in a stored key. It fails if the key was sealed under
// another secret or tampered with.
func (s sealer) open(k StoredKey) (*jwt.Signer, error) {
	private, err := s.aead.Open(nil, nil, k.Sealed, bound(k))
	if err != nil {
		return nil, fmt.Errorf("signing key %s does not open with this secret", k.ID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s cannot sign", k.ID)
	}
	return jwt.NewSigner(k.ID, signer)
}

// generate makes a key that signs from active on.
func (s sealer) generate(algorithm jwt.Algorithm, created, active time.Time) (StoredKey, error) {
	k := StoredKey{ID: credential.NewID(credential.Key), Algorithm: algorithm, CreatedAt: created, ActiveAt: active}
	signer, err := newPrivateKey(algorithm)
	if err != nil {
		return StoredKey{}, fmt.Errorf("generate a signing key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return StoredKey{}, fmt.Errorf("generate a signing key: %w", err)
	}
	if k.Public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return StoredKey{}, fmt.Errorf("generate a signing key: %w", err)
	}
	k.Sealed = s.seal(k, private)
	return k, nil
}

func newPrivateKey(algorithm jwt.Algorithm) (crypto.Signer, error) {
	switch algorithm {
	case jwt.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwt.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jwt.RS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("unknown algorithm %q", algorithm)
}

func publicKey(k StoredKey) (jwt.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return jwt.PublicKey{}, fmt.Errorf("signing key %s: %w", k.ID, err)
	}
	return jwt.NewPublicKey(k.ID, k.Algorithm, public)
}
