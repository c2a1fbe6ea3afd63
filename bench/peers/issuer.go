package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

const (
	audience = "hello"
	spare    = 20 // sessions that are ended to see how soon that is felt
)

// An issuer is a Coatcheck server that runs as anybody would run it.
type issuer struct {
	url    string
	apiKey string
	people []person // the last of them are spare
}

// A person holds what can be drawn on one session.
type person struct {
	user, session, token, cookie string
}

// newIssuer fills a database with n people who are signed in, and then starts the
// binary on it. Only the filling is quicker than in life: passwords are hashed with
// parameters that protect nothing, and tokens live for the whole run.
func newIssuer(ctx context.Context, r *runner, n int) (*issuer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://127.0.0.1:" + port}
	settings := map[string]string{
		"public_url": i.url, "listen": "127.0.0.1:" + port, "token.access": "6h", "token.audiences": audience,
		"database": "sqlite:" + filepath.Join(r.dir, "coatcheck.db"),
	}
	if err := i.fill(ctx, settings, n); err != nil {
		return nil, fmt.Errorf("fill the database: %w", err)
	}
	binary := filepath.Join(r.dir, "coatcheck")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/coatcheck") // #nosec G204 -- into our own folder
	build.Dir = r.source
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build coatcheck: %w\n%s", err, out)
	}
	arguments := []string{binary, "serve"}
	for name, value := range settings {
		arguments = append(arguments, "--"+strings.NewReplacer(".", "-", "_", "-").Replace(name)+"="+value)
	}
	out, err := r.start(r.beside, arguments...)
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return i, r.await(ctx, i.url+"/readyz")
}

func (i *issuer) fill(ctx context.Context, settings map[string]string, n int) error {
	config, err := app.Configure(settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	a, err := app.New(ctx, app.Options{Config: config, Hash: &account.HashParameters{MemoryKiB: 8, Time: 1, Threads: 1}})
	if err != nil {
		cancel()
		return err
	}
	stopped := make(chan struct{})
	go func() { a.Run(ctx); close(stopped) }()
	_, i.apiKey, err = a.Accounts.AddAPIKey(ctx, "peers", account.Scopes, "system", app.Origin)
	if err == nil {
		i.people = make([]person, n)
		err = inParallel(8*runtime.NumCPU(), n, func(k int) (err error) { // as many as the server lets wait for a hash
			i.people[k], err = signUp(ctx, a, k)
			return err
		})
	}
	cancel()
	<-stopped
	return errors.Join(err, a.Close())
}

func signUp(ctx context.Context, a *app.App, k int) (person, error) {
	from := audit.Origin{IP: fmt.Sprintf("10.%d.%d.%d", k>>16&255, k>>8&255, k&255), UserAgent: "peers"}
	// #nosec G101 -- of a server that lives as long as a run
	proof, err := a.Accounts.SignUp(ctx, account.NewUser{
		Email: fmt.Sprintf("person%d@example.com", k), Password: "rain on a tin roof at night",
	}, from)
	if err != nil {
		return person{}, err
	}
	opened, err := a.Sessions.Begin(ctx, proof, session.Opening{
		From: from, Event: audit.SignedUp, Cookie: true, Tokens: true, Audience: audience,
	})
	if err != nil {
		return person{}, err
	}
	return person{
		user: opened.Standing.User.ID, session: opened.Standing.Session.ID,
		token: opened.Tokens.Access, cookie: opened.Cookie,
	}, nil
}

// handOut puts on the shelf who the people are, Coatcheck's credentials, and for
// the libraries that check tokens the same claims under keys of their own.
func (i *issuer) handOut(s shelf) error {
	people := i.people[:len(i.people)-spare]
	column := func(file string, of func(person) string) error {
		lines := make([]string, len(people))
		for k, p := range people {
			lines[k] = of(p)
		}
		return s.writeLines(file, lines)
	}
	err := errors.Join(
		s.write(issuerFile, i.url), s.write(audienceFile, audience), s.write(apiKeyFile, i.apiKey),
		column(usersFile, func(p person) string { return p.user }),
		column(headersOf("coatcheck-token"), person.bearer),
		column(headersOf("coatcheck-cookie"), person.cookieHeader),
		column(headersOf("bare"), person.cookieHeader),
		column(headersOf("express"), person.cookieHeader),
	)
	for _, of := range []struct {
		method jwt.SigningMethod
		files  []string
	}{
		{jwt.SigningMethodES256, []string{"golang-jwt-es256", "express-jwt-es256"}},
		{jwt.SigningMethodEdDSA, []string{"golang-jwt-eddsa"}},
		{jwt.SigningMethodRS256, []string{"express-jwt-rs256"}},
	} {
		lines, signed := signAll(s, of.method, people)
		err = errors.Join(err, signed)
		for _, name := range of.files {
			err = errors.Join(err, s.writeLines(headersOf(name), lines))
		}
	}
	return err
}

func (p person) bearer() string { return "Authorization: Bearer " + p.token }

// cookieHeader names the cookie as servers on plain http do.
func (p person) cookieHeader() string { return "Cookie: coatcheck_dev=" + p.cookie }

// signAll signs everybody's claims anew, and leaves the key that checks them.
func signAll(s shelf, method jwt.SigningMethod, people []person) ([]string, error) {
	key, err := newKey(method)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	err = s.write(method.Alg()+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(people))
	return lines, inParallel(runtime.NumCPU(), len(people), func(k int) error {
		var claims jwt.MapClaims
		if _, _, err := jwt.NewParser().ParseUnverified(people[k].token, &claims); err != nil {
			return err
		}
		token := jwt.NewWithClaims(method, claims)
		token.Header["typ"], token.Header["kid"] = "at+jwt", "peers"
		text, err := token.SignedString(key)
		lines[k] = "Authorization: Bearer " + text
		return err
	})
}

func newKey(method jwt.SigningMethod) (crypto.Signer, error) {
	switch method {
	case jwt.SigningMethodES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwt.SigningMethodEdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}
