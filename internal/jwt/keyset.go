package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Limits of a key set that is read.
const (
	maxSetLength  = 64 << 10
	maxSetKeys    = 64
	maxSetMembers = maxSetKeys * 32
)

// A KeySet holds keys by their ids.
type KeySet map[string]PublicKey

var (
	errSetLength = errors.New("key set is over 64 KiB")
	errSetKeys   = errors.New("key set has over 64 keys")
	errSetForm   = errors.New("key set is not a JSON object with a list of keys")
	errSetID     = errors.New("key set has two keys of the same id")
	errPrivate   = errors.New("key set holds a private key")
	errKeyMember = errors.New("key has a member of the wrong type or form")
)

// ParseKeySet reads a JWK set (RFC 7517). It passes over keys that cannot have
// signed a token of the profile: of another type, curve, algorithm or use, or
// without an id that a token may name. It refuses the whole set if it is over 64
// KiB or 64 keys, is not strict JSON, has an id twice, holds anything private, or
// if a key that it would take is malformed or weak. The set may be empty.
func ParseKeySet(jwks []byte) (KeySet, error) {
	if len(jwks) > maxSetLength {
		return nil, errSetLength
	}
	all := map[string]any{}
	s := scanner{text: string(jwks), members: maxSetMembers}
	if err := s.document(func(name string) error { return s.into(all, name) }); err != nil {
		var form formError
		if errors.As(err, &form) { // it is no token that is malformed
			err = errors.New(string(form))
		}
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys, ok := all["keys"].([]any)
	if !ok {
		return nil, errSetForm
	}
	if len(keys) > maxSetKeys {
		return nil, errSetKeys
	}
	set := KeySet{}
	ids := map[string]bool{}
	for _, one := range keys {
		members, ok := one.(map[string]any)
		if !ok {
			return nil, errSetForm
		}
		k := jwk{members: members}
		if err := set.add(&k, ids); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// add adds a key unless it is to be passed over. All ids are noted in ids.
func (set KeySet) add(k *jwk, ids map[string]bool) error {
	if k.private() {
		return errPrivate
	}
	id := k.string("kid")
	if id != "" && ids[id] {
		return errSetID
	}
	ids[id] = true
	algorithm, wanted := k.algorithm()
	switch {
	case k.err != nil:
		return k.err
	case !wanted || !isKeyID(id):
		return nil
	}
	public, err := k.publicKey(id, algorithm)
	if err != nil {
		return fmt.Errorf("key %s: %w", id, err)
	}
	set[id] = public
	return nil
}

// A jwk is one key of a set, in reading. The first failure stays in err.
type jwk struct {
	members map[string]any
	err     error
}

// private says whether there is a member that only private and symmetric keys
// have (RFC 7518 §6).
func (k *jwk) private() bool {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, found := k.members[name]; found {
			return true
		}
	}
	return false
}

// string returns a member that must be a string if it is there.
func (k *jwk) string(name string) string {
	v, found := k.members[name]
	text, ok := v.(string)
	if found && !ok {
		k.err = errKeyMember
	}
	return text
}

// bytes returns a member that must be there, decoded.
func (k *jwk) bytes(name string) []byte {
	text := k.string(name)
	b, err := encoding.DecodeString(text)
	if err != nil || len(b) == 0 || strings.ContainsAny(text, "\r\n") {
		k.err = errKeyMember
	}
	return b
}

// algorithm returns the one algorithm of the key, or false if it has none of
// ours or is not there for checking signatures.
func (k *jwk) algorithm() (Algorithm, bool) {
	kind, curve, stated, use := k.string("kty"), k.string("crv"), k.string("alg"), k.string("use")
	if kind == "" {
		k.err = errKeyMember
	}
	if use != "" && use != "sig" || !k.verifies() {
		return "", false
	}
	var own Algorithm
	switch {
	case kind == "EC" && curve == "P-256":
		own = ES256
	case kind == "OKP" && curve == "Ed25519":
		own = EdDSA
	case kind == "RSA":
		own = RS256
	}
	if known(stated) && stated != string(own) {
		k.err = errKeyType
	}
	return own, own != "" && (stated == "" || stated == string(own))
}

// verifies says whether key_ops, if there is one, names checking signatures.
func (k *jwk) verifies() bool {
	v, found := k.members["key_ops"]
	if !found {
		return true
	}
	list, ok := v.([]any)
	if !ok {
		k.err = errKeyMember
	}
	return slices.Contains(list, any("verify"))
}

func (k *jwk) publicKey(id string, algorithm Algorithm) (PublicKey, error) {
	public := PublicKey{ID: id, Algorithm: algorithm}
	var err error
	switch algorithm {
	case ES256:
		x, y := k.bytes("x"), k.bytes("y")
		if len(x) != scalarSize || len(y) != scalarSize {
			return PublicKey{}, errKeyMember
		}
		public.key, err = pointKey(slices.Concat([]byte{4}, x, y))
	case EdDSA:
		public.key, err = edwardsKey(k.bytes("x"))
	case RS256:
		n, e := k.bytes("n"), k.bytes("e")
		if k.err != nil || n[0] == 0 || e[0] == 0 || len(e) > 4 {
			return PublicKey{}, errKeyMember
		}
		public.key, err = modulusKey(n, int(new(big.Int).SetBytes(e).Int64()))
	}
	if k.err != nil {
		return PublicKey{}, k.err
	}
	if err != nil {
		return PublicKey{}, err
	}
	return public, nil
}

// Marshal returns the set as a JWK set, sorted by id. A key is written with its
// public members, kid, alg and use alone.
func (set KeySet) Marshal() ([]byte, error) {
	b := []byte(`{"keys":[`)
	for i, id := range slices.Sorted(maps.Keys(set)) {
		if i > 0 {
			b = append(b, ',')
		}
		members, err := set[id].members()
		if err != nil || set[id].ID != id {
			return nil, fmt.Errorf("key set: %w", errKeyType)
		}
		b = fmt.Appendf(b, `{%s,"kid":"%s","alg":"%s","use":"sig"}`, members, id, set[id].Algorithm)
	}
	return append(b, `]}`...), nil
}

// members returns what RFC 7518 §6 and RFC 8037 §2 want of a public key.
func (k PublicKey) members() (string, error) {
	encode := encoding.EncodeToString
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil || len(point) != 1+2*scalarSize {
			return "", errKeyPoint
		}
		x, y := point[1:1+scalarSize], point[1+scalarSize:]
		return fmt.Sprintf(`"kty":"EC","crv":"P-256","x":"%s","y":"%s"`, encode(x), encode(y)), nil
	case ed25519.PublicKey:
		return fmt.Sprintf(`"kty":"OKP","crv":"Ed25519","x":"%s"`, encode(key)), nil
	case *rsa.PublicKey:
		e := big.NewInt(int64(key.E))
		return fmt.Sprintf(`"kty":"RSA","n":"%s","e":"%s"`, encode(key.N.Bytes()), encode(e.Bytes())), nil
	}
	return "", errKeyType
}
