package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/session"
)

// RequestLife is how long a request may take to be answered.
const RequestLife = time.Hour

// MaxSealed is the most characters that a sealed request has.
const MaxSealed = 6500

// A progress is what has happened to a request so far.
type progress struct {
	asked  *asked // whoever was here when a page of ours was last shown; nil: none was
	chosen bool   // the person was asked which account it should be
}

// asked is who was here then.
type asked struct {
	Session  string `json:"s,omitzero"` // "": nobody
	AuthTime int64  `json:"t,omitzero"` // Unix seconds
}

// carried is a request as it travels: what was sent, which is read again when it comes
// back, because the client's registration may be another one by then, and its progress.
type carried struct {
	ID      string `json:"i"`
	Began   int64  `json:"b"`           // Unix milliseconds
	Browser []byte `json:"w,omitempty"` // SHA-256 of the browser's secret; none: any browser
	Sent    string `json:"p"`
	Hinted  string `json:"h,omitzero"`
	Asked   *asked `json:"a,omitzero"`
	Chosen  bool   `json:"c,omitzero"`
	Shown   string `json:"u,omitzero"` // id of the user who is asked for their consent
}

// A sealer encrypts what travels. Each seal has a key of its own, drawn by HKDF from 128
// random bits, so no number of seals wears the key out.
type sealer struct{ key []byte }

const sealSalt = 16

func newSealer(secret []byte) (sealer, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "coatcheck authorization request", 32)
	if err != nil {
		return sealer{}, fmt.Errorf("derive the key of requests: %w", err)
	}
	return sealer{key}, nil
}

func (s sealer) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, salt, "", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal returns text that only this server, and any node with its secret, can read or have
// written.
func (s sealer) seal(plain []byte) (string, error) {
	salt := make([]byte, sealSalt)
	_, _ = rand.Read(salt) // never fails: crypto/rand.Read ends the program instead
	aead, err := s.aead(salt)
	if err != nil {
		return "", fmt.Errorf("seal a request: %w", err)
	}
	// The key is used for this one message, so its nonce need not be another one.
	sealed := aead.Seal(salt, make([]byte, aead.NonceSize()), plain, nil) // #nosec G407 -- one key, one message
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

var errSeal = errors.New("this was not sealed here")

func (s sealer) open(text string) ([]byte, error) {
	if len(text) > MaxSealed {
		return nil, errSeal
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < sealSalt {
		return nil, errSeal
	}
	aead, err := s.aead(sealed[:sealSalt])
	if err != nil {
		return nil, errSeal
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed[sealSalt:], nil) // #nosec G407 -- one key, one message
	if err != nil {
		return nil, errSeal
	}
	return plain, nil
}

// Seal returns the request as text that comes back by [Provider.Resume], within
// RequestLife, and in the browser that has the secret behind the hash alone; the zero hash
// binds it to none. It remembers who is here now, so that it can be told later whether
// they have done what was asked of them at this step.
func (p *Provider) Seal(r *Request, browser credential.Hash, h session.Holder, step Step) (string, error) {
	c := carried{ID: r.ID, Began: r.Began.UnixMilli(), Sent: r.sent.Encode(), Hinted: r.hinted, Chosen: r.progress.chosen || step == SelectAccount}
	if browser != (credential.Hash{}) {
		c.Browser = browser[:]
	}
	if step != Answer {
		c.Asked = &asked{}
		if h.Somebody() {
			c.Asked.Session, c.Asked.AuthTime = h.SessionID(), h.Session().AuthTime.Unix()
		}
	}
	if step == AskConsent {
		c.Asked, c.Shown = r.progress.asked, h.UserID()
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("seal a request: %w", err)
	}
	return p.seals.seal(plain)
}

// Resume reads a sealed request again. ErrRequestOver if it was not sealed here, is too
// old, or belongs to another browser; else as [Provider.ParseRequest]. shown is the id of
// the user whom a page has asked for their consent to it, "" if none has.
func (p *Provider) Resume(ctx context.Context, text string, browser credential.Hash) (r *Request, shown string, err error) {
	plain, err := p.seals.open(text)
	if err != nil {
		return nil, "", ErrRequestOver
	}
	var c carried
	if err := json.Unmarshal(plain, &c); err != nil {
		return nil, "", ErrRequestOver
	}
	began := time.UnixMilli(c.Began)
	if p.now().Sub(began) > RequestLife || c.Browser != nil && subtle.ConstantTimeCompare(c.Browser, browser[:]) != 1 {
		return nil, "", ErrRequestOver
	}
	sent, err := url.ParseQuery(c.Sent)
	if err != nil {
		return nil, "", ErrRequestOver
	}
	r = &Request{ID: c.ID, Began: began, hinted: c.Hinted}
	if err := p.read(ctx, r, sent); err != nil {
		return nil, "", err
	}
	r.progress.asked, r.progress.chosen = c.Asked, c.Chosen
	return r, c.Shown, nil
}
