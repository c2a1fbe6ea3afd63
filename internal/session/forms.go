package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// The prefixes of credentials, by which a leaked one can be found.
const (
	cookiePrefix  = "cks_"
	refreshPrefix = "ckr_"
)

const (
	ordinalLength = credential.IDLength - len(credential.Session)
	cookieLength  = len(cookiePrefix) + ordinalLength + credential.SecretLength

	generationLength = 8
	keyIDLength      = 4
	tagLength        = 22
	refreshLength    = len(refreshPrefix) + ordinalLength + generationLength + keyIDLength + credential.SecretLength + tagLength
)

// cookieValue is the session cookie: prefix, session id, secret.
func cookieValue(sessionID string, secret credential.Secret) string {
	return cookiePrefix + sessionID[len(credential.Session):] + secret.Encode()
}

// ordinalOf returns where a cookie of ours has the ordinal, and "" of what has another
// length.
func ordinalOf(value string) string {
	if len(value) != cookieLength {
		return ""
	}
	return value[len(cookiePrefix) : len(cookiePrefix)+ordinalLength]
}

// cutCookie cuts a cookie by position. The ordinal is the session's id without its
// prefix.
func cutCookie(value string) (ordinal string, secret credential.Secret, ok bool) {
	if len(value) != cookieLength || value[:len(cookiePrefix)] != cookiePrefix {
		return "", secret, false
	}
	rest := value[len(cookiePrefix):]
	secret, ok = credential.ParseSecret(rest[ordinalLength:])
	_, isOrdinal := credential.ParseOrdinal(rest[:ordinalLength])
	return rest[:ordinalLength], secret, ok && isOrdinal
}

// A refreshToken is what a refresh token says.
type refreshToken struct {
	grantID    string
	generation uint32
	secret     credential.Secret
}

// refreshKeys make and recognise refresh tokens. Both keys come from the secret
// by HKDF (RFC 5869) and are in no database, so whoever has the database cannot
// make a token, and whoever knows a grant's id cannot make one that we take for
// genuine.
type refreshKeys struct {
	id         string // names the keys within a token
	tag        macs
	derivation macs
}

// macs are HMACs under one key, of which each is used again: to begin one anew costs
// more than to use it.
type macs struct{ *sync.Pool }

func newMACs(key []byte) macs {
	return macs{&sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum returns the HMAC of the parts, one after the other.
func (m macs) sum(into []byte, parts ...[]byte) []byte {
	mac := m.Get().(hash.Hash)
	defer m.Put(mac)
	mac.Reset()
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(into)
}

func newRefreshKeys(secret []byte) (*refreshKeys, error) {
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "coatcheck refresh token "+purpose, 32)
	}
	id, err := derive("key id")
	if err != nil {
		return nil, fmt.Errorf("derive refresh keys: %w", err)
	}
	tag, err := derive("tag")
	if err != nil {
		return nil, fmt.Errorf("derive refresh keys: %w", err)
	}
	derivation, err := derive("successor")
	if err != nil {
		return nil, fmt.Errorf("derive refresh keys: %w", err)
	}
	return &refreshKeys{id: hex.EncodeToString(id[:keyIDLength/2]), tag: newMACs(tag), derivation: newMACs(derivation)}, nil
}

// encode returns the token's text.
func (k *refreshKeys) encode(t refreshToken) string {
	body := k.body(t)
	return body + k.tagOf(body)
}

func (k *refreshKeys) body(t refreshToken) string {
	return refreshPrefix + t.grantID[len(credential.Grant):] + fmt.Sprintf("%08x", t.generation) + k.id + t.secret.Encode()
}

// tagOf covers everything before the tag: kind, grant, generation, key id, secret.
func (k *refreshKeys) tagOf(body string) string {
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(k.tag.sum(sum[:0], []byte(body))[:16])
}

// parse cuts a token by position and checks its tag, so what it returns was once
// issued by us. It touches no store.
func (k *refreshKeys) parse(text string) (refreshToken, bool) {
	var t refreshToken
	if len(text) != refreshLength || text[:len(refreshPrefix)] != refreshPrefix {
		return t, false
	}
	body, tag := text[:refreshLength-tagLength], text[refreshLength-tagLength:]
	if !hmac.Equal([]byte(tag), []byte(k.tagOf(body))) {
		return t, false
	}
	rest := body[len(refreshPrefix):]
	t.grantID, rest = credential.Grant+rest[:ordinalLength], rest[ordinalLength:]
	generation, err := hex.DecodeString(rest[:generationLength])
	if err != nil || !credential.IsID(credential.Grant, t.grantID) {
		return t, false
	}
	for _, b := range generation {
		t.generation = t.generation<<8 | uint32(b)
	}
	var ok bool
	t.secret, ok = credential.ParseSecret(rest[generationLength+keyIDLength:])
	return t, ok
}

// successor derives the secret of the next generation, so that it can be given
// out again without having been stored. The salt is fresh for each rotation.
func (k *refreshKeys) successor(t refreshToken, salt [16]byte) refreshToken {
	next := refreshToken{grantID: t.grantID, generation: t.generation + 1}
	k.derivation.sum(next.secret[:0], []byte(k.body(t)), salt[:])
	return next
}
