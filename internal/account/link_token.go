package account

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// A token is its prefix, the characters of the link's id, and what proves it, cut by
// position. It does not say its kind: what proves it covers that.
const (
	tokenPrefix = "ckl_"
	tokenLength = len(tokenPrefix) + credential.IDLength - len(credential.Link) + credential.SecretLength
	codeDigits  = 6
)

// A linkKey derives what opens a link from its id. Nothing of it is in the database,
// so who reads that, or the outbox, opens nothing.
type linkKey [32]byte

func newLinkKey(secret []byte) (linkKey, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck mailed link", len(linkKey{}))
	if err != nil {
		return linkKey{}, fmt.Errorf("derive the key of mailed links: %w", err)
	}
	return linkKey(key), nil
}

// sum has no two readings: neither a use nor a kind holds a NUL.
func (k linkKey) sum(use string, kind LinkKind, id string) credential.Secret {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(use + "\x00" + string(kind) + "\x00" + id))
	return credential.Secret(mac.Sum(nil))
}

func (k linkKey) token(kind LinkKind, id string) string {
	return tokenPrefix + strings.TrimPrefix(id, credential.Link) + k.sum("token", kind, id).Encode()
}

// code returns six digits, each as likely as any other to within 2⁻⁴⁴.
func (k linkKey) code(kind LinkKind, id string) string {
	sum := k.sum("code", kind, id)
	return fmt.Sprintf("%0*d", codeDigits, binary.BigEndian.Uint64(sum[:8])%1_000_000)
}

// parse returns the id in a token that this key has made, and the kind it was made
// for. It asks no store, and a token has one spelling.
func (k linkKey) parse(token string) (kind LinkKind, id string, ok bool) {
	if len(token) != tokenLength || !strings.HasPrefix(token, tokenPrefix) {
		return "", "", false
	}
	rest := token[len(tokenPrefix):]
	cut := len(rest) - credential.SecretLength
	id = credential.Link + rest[:cut]
	given, ok := credential.ParseSecret(rest[cut:])
	if !ok || !credential.IsID(credential.Link, id) {
		return "", "", false
	}
	for _, one := range linkKinds {
		if want := k.sum("token", one, id); subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			kind = one
		}
	}
	if kind == "" {
		return "", "", false
	}
	return kind, id, true
}

// readCode returns the digits of a code as a person types it, with spaces anywhere.
func readCode(text string) (code string, ok bool) {
	if len(text) > 4*codeDigits {
		return "", false
	}
	code = strings.ReplaceAll(text, " ", "")
	return code, len(code) == codeDigits && strings.Trim(code, "0123456789") == ""
}

// opens reports whether code is the one of the link.
func (k linkKey) opens(l Link, code string) bool {
	return subtle.ConstantTimeCompare([]byte(k.code(l.Kind, l.ID)), []byte(code)) == 1
}

// bound reports whether a sign-up began in the browser that has the secret with this
// hash. The zero hash is that of no browser.
func (l Link) bound(browser credential.Hash) bool {
	return l.Kind == LinkSignUp && browser != credential.Hash{} && subtle.ConstantTimeCompare(browser[:], l.Browser[:]) == 1
}
