package coatcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer is the most that is read of one answer, the stream apart.
const maxAnswer = 64 << 10

// newClient returns a client that leaves the issuer's origin in no case.
func newClient(given *http.Client, issuer *url.URL) *http.Client {
	c := &http.Client{}
	if given != nil {
		c.Transport = given.Transport
	} else if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		c.Transport = standard.Clone() // so that Close can close its connections alone
	}
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || !sameOrigin(r.URL, issuer) {
			return errors.New("the issuer redirects to another origin")
		}
		return nil
	}
	return c
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) && a.User == nil
}

// A statusError is an answer that is not the one asked for.
type statusError struct {
	status int
	keyed  bool          // the request bore the API key
	retry  time.Duration // from Retry-After; zero if it bore none
}

func (e *statusError) Error() string {
	text := "the issuer answered " + strconv.Itoa(e.status) + " " + http.StatusText(e.status)
	if e.refused() {
		text += ": is Config.APIKey right, and does it have the scopes revocations and introspect?"
	}
	return text
}

// refused reports whether the issuer does not accept the API key.
func (e *statusError) refused() bool {
	return e.keyed && (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden)
}

func newStatusError(res *http.Response, now time.Time) *statusError {
	e := &statusError{status: res.StatusCode, keyed: res.Request != nil && res.Request.Header.Get("Authorization") != ""}
	after := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 16); err == nil {
		e.retry = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		e.retry = max(0, at.Sub(now))
	}
	return e
}

// read sends the request and returns the body of a 200 answer.
func (v *Verifier) read(r *http.Request) ([]byte, error) {
	res, err := v.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // so that the connection serves again
		return nil, newStatusError(res, v.clock.read().at)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the issuer's answer is over %d bytes", maxAnswer)
	}
	return body, nil
}

// get reads one of the issuer's public documents.
func (v *Verifier) get(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Cache-Control", "no-cache") // a kept copy would hide a new key
	return v.read(r)
}

// discover returns where the issuer's keys are: what its metadata says
// (RFC 8414), or the usual place if it has none.
func (v *Verifier) discover(ctx context.Context) (string, error) {
	at := *v.origin
	path := strings.TrimSuffix(at.Path, "/")
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+path, ""
	body, err := v.get(ctx, at.String())
	var status *statusError
	if errors.As(err, &status) {
		return v.base + "/.well-known/jwks.json", nil
	}
	if err != nil {
		return "", err
	}
	var metadata struct {
		Issuer string `json:"issuer"`
		KeysAt string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &metadata); err != nil {
		return "", fmt.Errorf("the issuer's metadata: %w", err)
	}
	if metadata.Issuer != v.config.Issuer {
		return "", errors.New("the issuer's metadata names another issuer than Config.Issuer")
	}
	if metadata.KeysAt == "" {
		return v.base + "/.well-known/jwks.json", nil
	}
	keys, err := url.Parse(metadata.KeysAt)
	if err != nil || !sameOrigin(keys, v.origin) {
		return "", errors.New("the issuer's metadata names keys at another origin")
	}
	return keys.String(), nil
}

// openStream begins to read the log after the event last; from the start if it
// is empty. The body is the caller's to close.
func (v *Verifier) openStream(ctx context.Context, last string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+"/v1/revocations", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+v.config.APIKey)
	r.Header.Set("Cache-Control", "no-store")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := v.client.Do(r)
	if err != nil {
		return nil, err
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode != http.StatusOK:
		err = newStatusError(res, v.clock.read().at)
	case err != nil || kind != "text/event-stream":
		err = errors.New("the issuer's answer is no event stream")
	default:
		return res.Body, nil
	}
	_ = res.Body.Close()
	return nil, err
}
