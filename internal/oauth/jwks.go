package oauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"
)

// assertionAlgorithms are those that a client may sign with: asymmetric ones alone.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256}

// The sizes of a client's RSA key, in bits. The upper one bounds the cost of a check.
const (
	minRSA = 2048
	maxRSA = 4096
)

// maxKeySet is how many keys a client may have at once: those it signs with, and those
// it is about to.
const maxKeySet = 10

// What is wrong with a key set.
const (
	jwksForm    = `A JSON Web Key Set is needed (RFC 7517): {"keys": […]}.`
	jwksCount   = "A key set has one to ten keys."
	jwksPrivate = "That holds a private or a shared key. Give the public keys alone, and make new ones: what was sent here is no secret any more."
	jwksKind    = "Each key is for signatures: RSA of 2048 to 4096 bits, EC with P-256, or OKP with Ed25519; its use, if it says one, is sig."
	jwksNames   = "Each key of several has a kid of its own."
)

// readJWKS reads the public keys of a client, or returns what is wrong with them.
func readJWKS(text []byte) (keys []jose.JSONWebKey, wrong string) {
	list, ok := cutKeySet(text)
	if !ok {
		return nil, jwksForm
	}
	if len(list) == 0 || len(list) > maxKeySet {
		return nil, jwksCount
	}
	names := map[string]bool{}
	for _, each := range list {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(each); err != nil {
			return nil, jwksKind
		}
		if !key.IsPublic() {
			return nil, jwksPrivate
		}
		if !usable(&key) {
			return nil, jwksKind
		}
		if len(list) > 1 && (key.KeyID == "" || names[key.KeyID]) {
			return nil, jwksNames
		}
		names[key.KeyID] = true
		keys = append(keys, key)
	}
	return keys, ""
}

func cutKeySet(text []byte) ([]json.RawMessage, bool) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	return set.Keys, json.Unmarshal(text, &set) == nil
}

// usable reports whether a signature of the key is one that counts here.
func usable(key *jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" || !key.Valid() {
		return false
	}
	return len(algorithmsOf(key)) > 0
}

// algorithmsOf returns what a key may sign with: the algorithm goes by the key, whatever
// a header says (JBCP-1).
func algorithmsOf(key *jose.JSONWebKey) []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits >= minRSA && bits <= maxRSA {
			all = []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			all = []jose.SignatureAlgorithm{jose.ES256}
		}
	case ed25519.PublicKey:
		all = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if key.Algorithm == "" {
		return all
	}
	for _, one := range all {
		if string(one) == key.Algorithm {
			return []jose.SignatureAlgorithm{one}
		}
	}
	return nil
}
