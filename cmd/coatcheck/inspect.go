package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/loopback"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An inspection is what is to be said of a credential. It holds no secret.
type inspection struct {
	Kind   string          `json:"kind"` // access_token, session_cookie, refresh_token, api_key or unknown
	Good   bool            `json:"good"`
	Says   string          `json:"says"`              // what is wrong, or what is known, in words
	ID     string          `json:"id,omitempty"`      // of what the credential names
	EndsAt *time.Time      `json:"ends_at,omitempty"` // when it stops being good by itself
	Header json.RawMessage `json:"header,omitempty"`
	Claims json.RawMessage `json:"claims,omitempty"`
}

func (r *inspection) kindInWords() string {
	switch r.Kind {
	case "access_token":
		return "an access token"
	case "session_cookie":
		return "a session cookie"
	case "refresh_token":
		return "a refresh token"
	case "api_key":
		return "an API key"
	}
	return "no credential of Coatcheck"
}

// recognise says what a credential is, by how it begins, and what it names. The
// ids stand in front of the secrets, at a place of their own.
func recognise(text string) inspection {
	for _, known := range []struct{ prefix, kind, id string }{
		{"cks_", "session_cookie", credential.Session},
		{"ckr_", "refresh_token", credential.Grant},
		{"cka_", "api_key", credential.APIKey},
	} {
		rest, found := strings.CutPrefix(text, known.prefix)
		if !found {
			continue
		}
		r := inspection{Kind: known.kind}
		const ordinal = credential.IDLength - len(credential.Session)
		if len(rest) > ordinal && credential.IsID(known.id, known.id+rest[:ordinal]) {
			r.ID = known.id + rest[:ordinal]
		}
		return r
	}
	r := inspection{Kind: "unknown", Says: "It is neither a JSON Web Token nor does it begin with cks_, ckr_ or cka_."}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return r
	}
	r.Header, r.Claims = decoded(parts[0]), decoded(parts[1])
	if r.Header == nil || r.Claims == nil {
		r.Header, r.Claims = nil, nil
		return r
	}
	r.Kind, r.Says = "access_token", ""
	var c struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(r.Claims, &c) == nil && c.Expires > 0 && c.Expires < 1<<40 {
		at := time.Unix(int64(c.Expires), 0).UTC()
		r.EndsAt = &at
	}
	return r
}

// decoded returns the JSON object that a part of a token holds, or nil.
func decoded(part string) json.RawMessage {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return nil
	}
	return text
}

// indented returns JSON for people. What a terminal could take for a command is
// escaped.
func indented(text json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "        ", "  "); err != nil {
		return ""
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = audit.Safe(lines[i], longestToken)
	}
	return strings.Join(lines, "\n")
}

// judge checks an access token's signature and claims.
func (r *inspection) judge(text, issuer, audience string, now time.Time, keys func(string) (jwt.PublicKey, bool)) {
	claims, err := jwt.Parse(text, keys)
	if err == nil {
		expect := jwt.Expect{Issuer: issuer, Audience: audience, Now: now, Leeway: jwt.Leeway}
		if audience == "" {
			expect.Audience = claims.Audience[0]
		}
		err = claims.Check(expect)
	}
	switch {
	case errors.Is(err, jwt.ErrUnknownKey):
		r.Says = fmt.Sprintf("No key that %s publishes has its id, %s: another server signed it, or the key was retired or is no longer trusted.", issuer, r.keyID())
	case errors.Is(err, jwt.ErrSignature):
		r.Says = "The signature is wrong: the token was changed, or was never signed by the key that it names."
	case errors.Is(err, jwt.ErrIssuer):
		r.Says = fmt.Sprintf("Its issuer is %q, and not %q.", audit.Safe(claims.Issuer, 200), issuer)
	case errors.Is(err, jwt.ErrAudience):
		r.Says = fmt.Sprintf("It is for %q, and not for %q.", audit.Safe(strings.Join(claims.Audience, " "), 200), audience)
	case errors.Is(err, jwt.ErrExpired):
		r.Says = "It has expired. The application should renew it; nobody has to sign in again for that."
	case errors.Is(err, jwt.ErrNotYet):
		r.Says = "It was issued in the future: one of the clocks is wrong."
	case err != nil:
		r.Says = "It cannot be an access token of Coatcheck: " + err.Error() + "."
	default:
		r.Good = true
		r.Says = "Its signature and its claims are good (key " + claims.KeyID + ")."
		r.ID = claims.SessionID
	}
}

// keyID is the key that the header names.
func (r *inspection) keyID() string {
	var h struct {
		KeyID string `json:"kid"`
	}
	_ = json.Unmarshal(r.Header, &h) // it has been read before
	return audit.Safe(h.KeyID, 128)
}

// An inspector knows what the database knows.
type inspector struct {
	app      *app.App
	issuer   string
	audience string
	now      time.Time
}

func (in *inspector) inspect(ctx context.Context, text string) (inspection, error) {
	r := recognise(text)
	switch r.Kind {
	case "unknown":
		return r, nil
	case "api_key":
		return r, in.apiKey(ctx, text, &r)
	case "access_token":
		if err := in.app.Ring.Read(ctx); err != nil {
			return r, err
		}
		if r.judge(text, in.issuer, in.audience, in.now, in.app.Ring.Public); !r.Good {
			return r, nil
		}
	}
	// Looking is no use of the session: it must not keep it from becoming idle.
	answer, active, err := in.app.Sessions.Introspect(ctx, text, time.Unix(1, 0), "")
	if err != nil {
		return r, err
	}
	if !active {
		r.Good = false
		r.Says = in.why(ctx, r)
		return r, nil
	}
	r.Good = true
	switch r.Kind {
	case "access_token":
		if answer.ClientOnly {
			r.Says += " A client has drawn it for itself, and that client may go on."
		} else {
			r.Says += " Its session is live."
		}
	case "session_cookie":
		ends := answer.Standing.IdleEnds(answer.Standing.Session.LastSeenAt).UTC()
		r.EndsAt = &ends
		r.Says = "Its session is live, of " + answer.Standing.User.Email + " on " + answer.Standing.Session.Device + ". Unless it is used it ends earlier than in all."
	case "refresh_token":
		ends := answer.Standing.Session.ExpiresAt.UTC()
		r.EndsAt = &ends
		r.Says = "It is the current one of its grant, and its session is live, of " + answer.Standing.User.Email + "."
	}
	return r, nil
}

// why says why a credential that looks good is not.
func (in *inspector) why(ctx context.Context, r inspection) string {
	switch r.Kind {
	case "access_token":
		if _, err := in.app.Sessions.Find(ctx, r.ID); r.ID != "" && errors.Is(err, session.ErrNoSession) {
			return "Its signature and its claims are good, but its session has ended."
		}
		return "Its signature and its claims are good, but something has changed since it was issued (roles, email, a new sign-in), or its grant has ended. The application should renew it."
	case "session_cookie":
		if _, err := in.app.Sessions.Find(ctx, r.ID); r.ID != "" && err == nil {
			return "Its session is live, but the secret is not the session's: it was renewed since, or this was never the cookie."
		}
		return "No session that it could open is live."
	}
	return "It is not the current one of a live grant: it has been renewed since, its session has ended, or it was never issued here."
}

func (in *inspector) apiKey(ctx context.Context, text string, r *inspection) error {
	_, err := in.app.Accounts.CheckAPIKey(ctx, text, account.ScopeAdmin)
	switch {
	case errors.Is(err, account.ErrNoAPIKey):
		r.Says = "No API key of this server is that: it was removed, or never made here."
		return nil
	case err != nil && !errors.Is(err, account.ErrScope):
		return err
	}
	r.Good, r.Says = true, "It is a key of this server, good until it is removed: see coatcheck apikey list."
	return nil
}

// inspectRemotely decides by the keys that another server publishes.
func inspectRemotely(ctx context.Context, text, issuer, audience string, now time.Time) (inspection, error) {
	if at, err := url.Parse(issuer); err != nil || at.Host == "" || at.Scheme != "https" && (at.Scheme != "http" || !loopback.Is(at.Hostname())) {
		return inspection{}, usage{errors.New("--issuer is an address like https://auth.example.com (http only on this machine)")}
	}
	r := recognise(text)
	if r.Kind == "unknown" {
		return r, nil
	}
	if r.Kind != "access_token" {
		r.Says = "Only the server that issued it can tell whether it is good."
		return r, nil
	}
	keys, err := fetchKeys(ctx, issuer)
	if err != nil {
		return r, err
	}
	r.judge(text, issuer, audience, now, func(id string) (jwt.PublicKey, bool) {
		k, found := keys[id]
		return k, found
	})
	if r.Good {
		r.Says += " Whether its session has ended only the issuer can tell."
	}
	return r, nil
}

// fetchKeys reads the key set of an issuer: where its metadata says, or at the
// usual place.
func fetchKeys(ctx context.Context, issuer string) (jwt.KeySet, error) {
	base := strings.TrimSuffix(issuer, "/")
	where := base + "/.well-known/jwks.json"
	var metadata struct {
		Keys string `json:"jwks_uri"`
	}
	if body, err := fetch(ctx, base+"/.well-known/oauth-authorization-server"); err == nil && json.Unmarshal(body, &metadata) == nil {
		if strings.HasPrefix(metadata.Keys, base+"/") { // a stranger's keys are never looked for
			where = metadata.Keys
		}
	}
	body, err := fetch(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("read the keys of %s: %w", issuer, err)
	}
	return jwt.ParseKeySet(body)
}

func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, 64<<10))
}
