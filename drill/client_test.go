package drill

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A client calls one server as applications and services do. It is safe for
// concurrent use, never retries by itself, and fails no test.
type client struct {
	// URL is the server's address and issuer; APIKey is good for everything.
	URL, APIKey string

	http *http.Client
}

func newClient(url string) *client {
	c := &client{URL: url}
	c.http = &http.Client{
		Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 256, DisableCompression: true},
		Timeout:   60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return c
}

// newClientAt is newClient of a server that is found at another address than its URL
// says.
func newClientAt(url, address string) *client {
	c := newClient(url)
	c.http.Transport.(*http.Transport).DialContext = dialing(address)
	return c
}

// dialing connects to one address, whatever is asked for.
func dialing(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// forget drops connections to a process that is gone.
func (c *client) forget() { c.http.CloseIdleConnections() }

func (c *client) close() { c.forget() }

// An answer is what came back. With Err there was no whole answer, and nobody
// knows whether the call was carried out.
type answer struct {
	Status int
	Code   string // of a problem: "session_ended"
	Header http.Header
	Body   []byte
	Err    error
}

// OK reports whether the server acknowledged the call.
func (a answer) OK() bool { return a.Err == nil && a.Status >= 200 && a.Status < 300 }

// Refused reports whether the server refused it for good: 4xx. What is neither OK
// nor Refused may or may not have happened.
func (a answer) Refused() bool { return a.Err == nil && a.Status >= 400 && a.Status < 500 }

func (a answer) String() string {
	if a.Err != nil {
		return "no answer: " + a.Err.Error()
	}
	return fmt.Sprintf("%d %s", a.Status, a.Code)
}

// A holder is a person with what one sign-in gave them.
type holder struct {
	Email, Password   string
	UserID, SessionID string
	Cookie            string // transport cookie
	Access, Refresh   string // transport token
}

// A with adds something to a request.
type with func(*http.Request)

func bearer(token string) with {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// cookie is the session cookie, sent from a page of the server itself.
func cookie(value string) with {
	return func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "coatcheck_dev", Value: value})
		r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
}

func idempotencyKey(key string) with {
	return func(r *http.Request) {
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
	}
}

// as is the credential that the holder has.
func (h *holder) as() with {
	if h.Cookie != "" {
		return cookie(h.Cookie)
	}
	return bearer(h.Access)
}

// call sends a request with body as JSON, nil for none.
func (c *client) call(ctx context.Context, method, path string, body any, options ...with) answer {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{Err: err}
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, reader)
	if err != nil {
		return answer{Err: err}
	}
	r.GetBody = nil // so that it is never sent twice
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(r)
	}
	return c.send(r)
}

func (c *client) send(r *http.Request) answer {
	response, err := c.http.Do(r)
	if err != nil {
		return answer{Err: err}
	}
	defer response.Body.Close()
	a := answer{Status: response.StatusCode, Header: response.Header}
	if a.Body, a.Err = io.ReadAll(response.Body); a.Err != nil {
		return a
	}
	var problem struct{ Code string }
	if a.Status >= 400 && json.Unmarshal(a.Body, &problem) == nil {
		a.Code = problem.Code
	}
	return a
}

const password = "rain on a tin roof at night"

var emails atomic.Int64

// newEmail returns an address that no other call returned.
func newEmail() string { return fmt.Sprintf("p%d@example.com", emails.Add(1)) }

// newKey returns an Idempotency-Key.
func newKey() string {
	secret := make([]byte, 24)
	_, _ = rand.Read(secret) // never fails
	return base64.RawURLEncoding.EncodeToString(secret)
}

// signUp makes an account and its first session; the transport is cookie or token. A
// node lets one address do so 30 times; addUser is not limited.
// The holder is nil unless the answer is OK.
func (c *client) signUp(ctx context.Context, email, transport string) (*holder, answer) {
	return c.admit(c.call(ctx, http.MethodPost, "/v1/sign-up",
		map[string]string{"email": email, "password": password, "transport": transport}), email, password)
}

// addUser makes an account with the password that signUp gives, as an administrator.
func (c *client) addUser(ctx context.Context, email string) answer {
	return c.call(ctx, http.MethodPost, "/v1/admin/users", map[string]string{"email": email, "password": password}, bearer(c.APIKey))
}

// signIn begins a session of an account.
func (c *client) signIn(ctx context.Context, email, password, transport string) (*holder, answer) {
	return c.admit(c.call(ctx, http.MethodPost, "/v1/sign-in",
		map[string]string{"email": email, "password": password, "transport": transport}), email, password)
}

// tokens are what a refresh gives.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (c *client) admit(a answer, email, password string) (*holder, answer) {
	if !a.OK() {
		return nil, a
	}
	var in struct {
		User    struct{ ID string }
		Session struct{ ID string }
		Tokens  tokens
	}
	if err := json.Unmarshal(a.Body, &in); err != nil {
		a.Err = err
		return nil, a
	}
	h := &holder{
		Email: email, Password: password, UserID: in.User.ID, SessionID: in.Session.ID,
		Access: in.Tokens.Access, Refresh: in.Tokens.Refresh,
	}
	for _, set := range (&http.Response{Header: a.Header}).Cookies() {
		if set.Name == "coatcheck_dev" {
			h.Cookie = set.Value
		}
	}
	return h, a
}

// refresh exchanges a refresh token, with an Idempotency-Key unless that is "".
func (c *client) refresh(ctx context.Context, token, key string) (tokens, answer) {
	a := c.call(ctx, http.MethodPost, "/v1/token/refresh", map[string]string{"refresh_token": token}, idempotencyKey(key))
	var in struct{ Tokens tokens }
	if a.OK() {
		a.Err = json.Unmarshal(a.Body, &in)
	}
	return in.Tokens, a
}

// session asks whose session a credential is of.
func (c *client) session(ctx context.Context, credential with) answer {
	return c.call(ctx, http.MethodGet, "/v1/session", nil, credential)
}

// signOut ends the session behind a credential.
func (c *client) signOut(ctx context.Context, credential with) answer {
	return c.call(ctx, http.MethodPost, "/v1/sign-out", nil, credential)
}

// end ends a session as an administrator does.
func (c *client) end(ctx context.Context, sessionID string) answer {
	return c.call(ctx, http.MethodDelete, "/v1/admin/sessions/"+sessionID, nil, bearer(c.APIKey))
}

// changePassword changes it and ends all other sessions.
func (c *client) changePassword(ctx context.Context, credential with, current, fresh string) answer {
	return c.call(ctx, http.MethodPost, "/v1/user/password",
		map[string]string{"current_password": current, "new_password": fresh}, credential)
}

// rotateKeys lets the next signing key sign.
func (c *client) rotateKeys(ctx context.Context) answer {
	return c.call(ctx, http.MethodPost, "/v1/admin/keys/rotate", map[string]any{}, bearer(c.APIKey))
}

// mustSignUp is signUp with an address of its own, where nothing may go wrong.
func (c *client) mustSignUp(t testing.TB, transport string) *holder {
	t.Helper()
	email := newEmail()
	h, a := c.signUp(t.Context(), email, transport)
	if a.Status == http.StatusTooManyRequests { // one address may sign up thirty people
		if a = c.addUser(t.Context(), email); a.OK() {
			h, a = c.signIn(t.Context(), email, password, transport)
		}
	}
	if !a.OK() {
		t.Fatalf("sign up: %v", a)
	}
	return h
}
