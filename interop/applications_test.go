package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/loopback"
)

// ownerOf returns the number of a user of this machine; -1 if there is none.
func ownerOf(name string) int {
	u, err := user.Lookup(name)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(u.Uid)
	if err != nil {
		return -1
	}
	return n
}

// keep runs a program until the test is over, and tells what it said if the test fails.
func (s *server) keep(cmd *exec.Cmd, logs ...string) {
	s.t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if !s.t.Failed() {
			return
		}
		s.t.Logf("%s ended with %v, having said\n%s", cmd.Path, err, said.String())
		for _, file := range logs {
			text, _ := os.ReadFile(file)
			s.t.Logf("%s:\n%s", file, text)
		}
	})
}

// reach returns when something answers at an address.
func (s *server) reach(address string) {
	s.t.Helper()
	s.eventually("something answers at "+address, func() bool {
		res, err := http.Get(address) // #nosec G107 -- an address of this test
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
}

// eventually waits for real programs to come so far.
func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("not within half a minute: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// node runs the application of node/app.mjs.
func (s *server) node() application {
	t := s.t
	t.Helper()
	if err := packages(); err != nil {
		t.Fatal(err)
	}
	port, err := loopback.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("http://localhost:%d", port)
	made := s.client("--name", "Node", "--type", "web", "--redirect-uri", own+"/callback", "--post-logout-redirect-uri", own+"/me",
		"--scope", "openid", "--scope", "email", "--backchannel-logout-uri", own+"/backchannel")
	settings, err := json.Marshal(map[string]any{"issuer": s.url, "id": made.ID, "secret": made.Secret, "port": port})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "app.mjs", string(settings))
	cmd.Dir, cmd.SysProcAttr = "node", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.keep(cmd)
	s.reach(own + "/me")
	return application{name: "Node", enter: own + "/login", inside: own + "/me", leave: own + "/logout"}
}

// A goApp signs people in with go-oidc and x/oauth2.
type goApp struct {
	provider *oidc.Provider
	config   oauth2.Config
	own      string

	mu     sync.Mutex
	flows  map[string]string      // verifiers by state
	people map[string]*goSignedIn // by cookie
}

type goSignedIn struct {
	id     *oidc.IDToken
	raw    string
	access string
	sid    string
}

// goApp runs such an application.
func (s *server) goApp() (application, *goApp) {
	t := s.t
	t.Helper()
	a := &goApp{flows: map[string]string{}, people: map[string]*goSignedIn{}}
	mux := http.NewServeMux()
	served := httptest.NewServer(mux)
	t.Cleanup(served.Close)
	a.own = served.URL
	made := s.client("--name", "Go", "--type", "web", "--redirect-uri", a.own+"/callback", "--post-logout-redirect-uri", a.own+"/me",
		"--scope", "openid", "--scope", "email", "--backchannel-logout-uri", a.own+"/backchannel")
	var err error
	if a.provider, err = oidc.NewProvider(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	a.config = oauth2.Config{
		ClientID: made.ID, ClientSecret: made.Secret, Endpoint: a.provider.Endpoint(), RedirectURL: a.own + "/callback",
		Scopes: []string{oidc.ScopeOpenID, "email"},
	}
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("GET /me", a.me)
	mux.HandleFunc("GET /logout", a.logout)
	mux.HandleFunc("POST /backchannel", a.backchannel)
	return application{name: "Go", enter: a.own + "/login", inside: a.own + "/me", leave: a.own + "/logout"}, a
}

func (a *goApp) login(w http.ResponseWriter, r *http.Request) {
	state, verifier := random(), oauth2.GenerateVerifier()
	a.mu.Lock()
	a.flows[state] = verifier
	a.mu.Unlock()
	http.Redirect(w, r, a.config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(state)), http.StatusSeeOther)
}

func (a *goApp) callback(w http.ResponseWriter, r *http.Request) {
	in, err := a.redeem(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cookie := random()
	a.mu.Lock()
	a.people[cookie] = in
	a.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "go_app", Value: cookie, Path: "/", HttpOnly: true})
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

func (a *goApp) redeem(r *http.Request) (*goSignedIn, error) {
	state := r.FormValue("state")
	a.mu.Lock()
	verifier, known := a.flows[state]
	delete(a.flows, state)
	a.mu.Unlock()
	if !known || r.FormValue("iss") != a.provider.Endpoint().AuthURL[:len(r.FormValue("iss"))] {
		return nil, errors.New("this answer is to nothing that was asked")
	}
	t, err := a.config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, err
	}
	raw, _ := t.Extra("id_token").(string)
	id, err := a.provider.Verifier(&oidc.Config{ClientID: a.config.ClientID}).Verify(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	var claims struct{ Sid string }
	if err := id.Claims(&claims); err != nil {
		return nil, err
	}
	if id.Nonce != state {
		return nil, errors.New("the nonce is another one")
	}
	if _, err := a.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(t)); err != nil {
		return nil, err
	}
	return &goSignedIn{id: id, raw: raw, access: t.AccessToken, sid: claims.Sid}, nil
}

func (a *goApp) visitor(r *http.Request) (string, *goSignedIn) {
	c, err := r.Cookie("go_app")
	if err != nil {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.Value, a.people[c.Value]
}

func (a *goApp) me(w http.ResponseWriter, r *http.Request) {
	if _, in := a.visitor(r); in == nil {
		http.Error(w, "nobody", http.StatusUnauthorized)
	}
}

func (a *goApp) logout(w http.ResponseWriter, r *http.Request) {
	cookie, in := a.visitor(r)
	if in == nil {
		http.Error(w, "nobody", http.StatusUnauthorized)
		return
	}
	a.mu.Lock()
	delete(a.people, cookie)
	a.mu.Unlock()
	var d struct {
		End string `json:"end_session_endpoint"`
	}
	if err := a.provider.Claims(&d); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	q := url.Values{"id_token_hint": {in.raw}, "post_logout_redirect_uri": {a.own + "/me"}}
	http.Redirect(w, r, d.End+"?"+q.Encode(), http.StatusSeeOther)
}

func (a *goApp) backchannel(w http.ResponseWriter, r *http.Request) {
	token, err := a.provider.Verifier(&oidc.Config{ClientID: a.config.ClientID}).VerifyLogout(r.Context(), r.PostFormValue("logout_token"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var claims struct{ Sid string }
	if err := token.Claims(&claims); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for cookie, in := range a.people {
		if in.sid == claims.Sid {
			delete(a.people, cookie)
		}
	}
	w.Header().Set("Cache-Control", "no-store") // BCL-4
}

// insideOf reports whether the browser's person is signed in to an application, without
// giving it a chance to sign them in again.
func (b *browser) insideOf(a application) bool {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, a.inside, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// Three applications that nobody here wrote the insides of (Go with go-oidc, Node with
// openid-client, Apache with mod_auth_openidc) sign somebody in through one sign-in. Sign
// out at any of them, and all of them have signed the person out: each was told by the
// back channel. And a service that follows the log refuses the access token at once.
func TestSingleSignOut(t *testing.T) {
	s := newServer(t)
	s.person(ada)
	node, apache := s.node(), s.apache()
	ours, app := s.goApp()
	all := []application{ours, node, apache}
	var key struct{ Key string }
	s.command(&key, "apikey", "add", "--name", "orders", "--scope", "revocations,introspect")
	v, err := coatcheck.NewVerifier(coatcheck.Config{Issuer: s.url, Audience: s.url, APIKey: key.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, from := range all {
		t.Run("out at "+from.name, func(t *testing.T) {
			s := &server{t: t, url: s.url, env: s.env, dir: s.dir}
			b := newBrowser(t)
			for n, a := range all {
				page := b.open(a.enter)
				if n == 0 {
					page = page.signIn(ada)
				} else if page.shows("Sign in") {
					t.Fatalf("%s asks for a password: there is no single sign-on", a.name)
				}
				if page = page.allow(); !b.insideOf(a) {
					t.Fatalf("nobody is signed in to %s; the browser is at %s (%d): %s", a.name, page.address, page.status, page.words())
				}
			}
			_, in := app.visitor(b.request(ours.inside))
			caller, err := v.Verify(t.Context(), in.access)
			if err != nil || caller.SessionID != "" || caller.GrantID != in.sid {
				t.Fatalf("the access token: %+v, %v", caller, err)
			}
			page := b.open(from.leave)
			if page.shows("Sign out") {
				page.press("Sign out")
			}
			for _, a := range all {
				s.eventually(a.name+" has signed the person out", func() bool { return !b.insideOf(a) })
			}
			select {
			case <-caller.Done():
			case <-time.After(30 * time.Second):
				t.Error("the verifier has not heard of the end")
			}
			if _, err := v.Verify(t.Context(), in.access); !errors.Is(err, coatcheck.ErrRevoked) {
				t.Errorf("the access token after it: %v", err)
			}
		})
	}
}

// request is one that bears the browser's cookies for an address.
func (b *browser) request(address string) *http.Request {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	return r
}
