package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

// faultyCodes breaks a store of codes on demand, before or after it has done its work.
type faultyCodes struct {
	session.CodeStore
	before, after error
}

func (f *faultyCodes) OfCode(ctx context.Context, id string) (session.Code, session.Standing, error) {
	if f.before != nil {
		return session.Code{}, session.Standing{}, f.before
	}
	return f.CodeStore.OfCode(ctx, id)
}

func (f *faultyCodes) OfClient(ctx context.Context, id string) (session.Standing, error) {
	if f.before != nil {
		return session.Standing{}, f.before
	}
	return f.CodeStore.OfClient(ctx, id)
}

func (f *faultyCodes) AddCode(ctx context.Context, c session.Code, life time.Duration, maxOpen int) error {
	if f.before != nil {
		return f.before
	}
	return f.CodeStore.AddCode(ctx, c, life, maxOpen)
}

func (f *faultyCodes) Redeem(ctx context.Context, id string, offline *session.Session, g session.Grant, e audit.Entry) error {
	if f.before != nil {
		return f.before
	}
	if err := f.CodeStore.Redeem(ctx, id, offline, g, e); err != nil {
		return err
	}
	return f.after
}

func (f *faultyCodes) GrantsOf(ctx context.Context, userID string, limit int) ([]session.Standing, error) {
	if f.before != nil {
		return nil, f.before
	}
	return f.CodeStore.GrantsOf(ctx, userID, limit)
}

// client is an application that is not the operator's own.
func (w *world) client(change ...func(*session.ClientTerms)) session.ClientTerms {
	w.t.Helper()
	c := session.ClientTerms{
		ID: credential.NewID(credential.Client), Audiences: []string{"orders"}, Access: 10 * time.Minute, IDAlgorithm: jwt.ES256,
		Scopes: []string{"openid", "email", "profile", "roles", "read", "write", "offline_access"},
	}
	for _, f := range change {
		f(&c)
	}
	w.must(w.db.SetTerms(w.t.Context(), c))
	return c
}

// holder is who has this cookie.
func (w *world) holder(opened session.Opened) session.Holder {
	w.t.Helper()
	h, err := w.CheckCookie(w.t.Context(), opened.Cookie)
	w.must(err)
	return h
}

// code is a code for the client, on the session of the holder.
func (w *world) code(h session.Holder, c session.ClientTerms, change ...func(*session.Code)) string {
	w.t.Helper()
	code := session.Code{RequestID: credential.NewID("req_"), ClientID: c.ID, Scope: "openid email read", Nonce: "a nonce"}
	for _, f := range change {
		f(&code)
	}
	text, err := w.IssueCode(w.t.Context(), h, code)
	w.must(err)
	return text
}

// redeem presents a code as a client does that may renew what it is given.
func (w *world) redeem(code string) (session.Drawn, error) {
	p, err := w.OfCode(w.t.Context(), code)
	if err != nil {
		return session.Drawn{}, err
	}
	p.Renewable = true
	return w.OpenGrant(w.t.Context(), p, here)
}

// drawn is what a client was given by a code for a new person, who has signed in.
func (w *world) drawn(email string, c session.ClientTerms, change ...func(*session.Code)) (session.Drawn, session.Opened) {
	w.t.Helper()
	opened := w.begin(email)
	d, err := w.redeem(w.code(w.holder(opened), c, change...))
	w.must(err)
	return d, opened
}

// renew asks for a successor as the client does.
func (w *world) renew(token string, c session.ClientTerms, change ...func(*session.RefreshRequest)) (session.Drawn, error) {
	r := session.RefreshRequest{Token: token, ClientID: c.ID, Arrived: w.now(), From: here}
	for _, f := range change {
		f(&r)
	}
	return w.RefreshGrant(w.t.Context(), r)
}

// active reports whether a token is worth anything, to the operator.
func (w *world) active(token string) bool {
	w.t.Helper()
	_, active, err := w.Introspect(w.t.Context(), token, time.Time{}, "")
	w.must(err)
	return active
}

// claims are those of an access token.
func (w *world) claims(token string) jwt.Claims {
	w.t.Helper()
	claims, err := jwt.Parse(token, w.ring.Public)
	w.must(err)
	return claims
}

// statement is what an ID token or a logout token says.
func (w *world) statement(token, kind string) jwt.Statement {
	w.t.Helper()
	st, err := jwt.ParseStatement(token, kind, w.ring.Public)
	w.must(err)
	return st
}

func offline(c *session.Code) { c.Offline, c.Scope = true, "openid read offline_access" }

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errorIs(err, want) {
		t.Errorf("%s answers %v, want %v", what, err, want)
	}
}
