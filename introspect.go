package coatcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// An answer is what the issuer says about a credential (RFC 7662).
type answer struct {
	Active   bool     `json:"active"`
	Subject  string   `json:"sub"`
	Session  string   `json:"sid"`
	Grant    string   `json:"gid"`
	Client   string   `json:"client_id"`
	Audience any      `json:"aud"` // absent for cookies
	Scope    string   `json:"scope"`
	Issued   int64    `json:"iat"` // Unix seconds: when a cookie was read
	Expires  int64    `json:"exp"` // Unix seconds: until when the answer may be remembered
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`

	others map[string]any // members that have no place above
}

// fields are the members of an answer that are no further claims.
var fields = []string{
	"active", "sub", "sid", "gid", "client_id", "aud", "scope", "iat", "exp", "auth_time", "acr", "amr",
	"iss", "jti", "nbf", "token_type", "username",
}

// introspect asks the issuer about a credential, of which hint says the kind.
// used is when it was last seen in use, Unix seconds, for cookies.
func (v *Verifier) introspect(token, hint string, used int64) (answer, error) {
	if v.config.APIKey == "" {
		return answer{}, errors.New("without Config.APIKey the issuer cannot be asked")
	}
	select {
	case v.asking <- struct{}{}:
		defer func() { <-v.asking }()
	case <-v.life.Done():
		return answer{}, v.life.Err()
	}
	ctx, cancel := context.WithTimeout(v.life, askTimeout)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {hint}}
	if used != 0 {
		form.Set("seen", strconv.FormatInt(used, 10))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.base+"/oauth2/introspect", strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+v.config.APIKey)
	// Asking twice is harmless: net/http is to ask again where a connection that was kept
	// turns out to be closed, as it does when a server is restarted. It is not sent.
	r.Header["Idempotency-Key"] = []string{}
	body, err := v.read(r)
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(body)
}

func parseAnswer(body []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, fmt.Errorf("the issuer's answer: %w", err)
	}
	if !a.Active {
		return answer{}, nil
	}
	if err := json.Unmarshal(body, &a.others); err != nil {
		return answer{}, fmt.Errorf("the issuer's answer: %w", err)
	}
	for _, name := range fields {
		delete(a.others, name)
	}
	if len(a.others) == 0 {
		a.others = nil
	}
	return a, nil
}

// An outcome is what asking came to: whom the credential stands for, or a reason
// to refuse.
type outcome struct {
	known  *known
	cookie *knownCookie // the same, unless it is a token
	reason error
}

// caller returns the caller of a cookie, or nil if there is a reason to refuse.
func (o *outcome) caller() *Caller {
	if o.reason != nil {
		return nil
	}
	return o.cookie.caller()
}

// A said is an outcome that is remembered.
type said struct {
	feed.Hold
	credential string
	outcome    outcome
}

func (s *said) Is(credential string) bool { return s.credential == credential }

// Subject is empty for a refusal, which nothing ends but time.
func (s *said) Subject() feed.Subject {
	if s.outcome.reason != nil {
		return feed.Subject{}
	}
	return s.outcome.known.Subject()
}

// How long what the issuer said serves for a credential that must be asked about
// on each call. Whole seconds: the first lasts up to one, the second one to two.
const (
	goodFor = 1
	badFor  = 2
)

// recall returns what the issuer said about a credential a moment ago.
func (v *Verifier) recall(key string, now instant) (outcome, bool) {
	s, verdict := v.lately.Get(key, now.seconds())
	switch {
	case verdict == feed.Unknown, verdict == feed.Expired:
		return outcome{}, false
	case s.outcome.reason == nil && verdict == feed.Over:
		return outcome{reason: ErrRevoked}, true
	}
	return s.outcome, true
}

// keep remembers an outcome for a moment, so that a credential that is sent
// again and again costs the issuer one answer a second at most; a refusal until
// the given time (Unix seconds) if that is later.
func (v *Verifier) keep(key string, o outcome, until int64) {
	expires := v.clock.read().seconds() + goodFor
	if o.reason != nil {
		expires = max(expires-goodFor+badFor, until)
	}
	v.lately.Put(key, &said{credential: strings.Clone(key), outcome: o}, expires)
}

// failed is what a question that got no answer comes to: nobody knows, so
// nothing is accepted, and nobody is sent to sign in again either.
func (v *Verifier) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ErrStale, ctx.Err())
	}
	if errors.Is(err, ErrStale) {
		return err
	}
	v.complain(&v.unanswered, "coatcheck: the issuer could not be asked about a credential", err)
	return fmt.Errorf("%w (%w)", ErrStale, err)
}

// askToken asks about a token that was found genuine here, when that is not
// enough: the log is not heard, or an entry could not be understood.
func (v *Verifier) askToken(ctx context.Context, token string, k *knownToken, now instant) (*Caller, error) {
	o, found := v.recall(token, now)
	if !found {
		var err error
		if o, err = v.questionToken(ctx, token, &k.known); err != nil {
			return nil, v.failed(ctx, err)
		}
	}
	if o.reason != nil {
		return nil, o.reason
	}
	if v.set.Verdict(k.Subject()) == feed.Over {
		return nil, ErrRevoked
	}
	return &k.caller, nil
}

// questionToken asks the issuer about a genuine token, together with all who ask
// just now. The answer to an inactive one does not say why: its session may have
// ended or only changed. So it comes to ErrExpired, upon which the client renews
// and learns which.
func (v *Verifier) questionToken(ctx context.Context, token string, k *known) (outcome, error) {
	return v.asks.do(ctx, token, v.start, func() (outcome, error) {
		if o, found := v.recall(token, v.clock.read()); found { // somebody was answered a moment ago
			return o, nil
		}
		a, err := v.introspect(token, "access_token", 0)
		if err != nil {
			return outcome{}, err
		}
		o := outcome{known: k}
		if !a.Active {
			o = outcome{reason: ErrExpired}
		}
		v.keep(token, o, k.Expires())
		if !a.Active { // after keep, so that whoever puts it back sees the refusal
			v.tokens.Forget(token)
		}
		return o, nil
	})
}
