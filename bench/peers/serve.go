package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"

	"github.com/coatcheck/coatcheck"
)

// serve is the process of one Go candidate. It says "ready" and answers until it
// is killed.
func serve(name, port string, s shelf) error {
	for _, c := range candidates {
		if c.name != name || c.handler == nil {
			continue
		}
		h, err := c.handler(s)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, "ready"); err != nil {
			return err
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		return server.Serve(l)
	}
	return fmt.Errorf("there is no candidate %q on Go", name)
}

// hello is what all of them answer a person whom they know.
func hello(w http.ResponseWriter, user string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "Hello "+user+"!\n") // #nosec G705 -- plain text, and an id
}

func refuse(w http.ResponseWriter) {
	http.Error(w, "Please sign in.", http.StatusUnauthorized)
}

func bare(s shelf) (http.Handler, error) {
	users, err := s.lines(usersFile)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hello(w, users[0]) }), nil
}

// floor is what no check of a session can do without: read the cookie, hash it
// because nobody keeps secrets in the clear, look it up.
func floor(s shelf) (http.Handler, error) {
	users, err := s.lines(usersFile)
	if err != nil {
		return nil, err
	}
	known := make(map[[sha256.Size]byte]string, len(users))
	headers := make([]string, len(users))
	for i, user := range users {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // it never fails
		value := base64.RawURLEncoding.EncodeToString(secret)
		known[sha256.Sum256([]byte(value))] = user
		headers[i] = "Cookie: session=" + value
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			refuse(w)
			return
		}
		user, ok := known[sha256.Sum256([]byte(cookie.Value))]
		if !ok {
			refuse(w)
			return
		}
		hello(w, user)
	}), s.writeLines(headersOf("floor"), headers)
}

// coatcheckVerifier stands behind the verifier, which takes tokens and cookies alike.
func coatcheckVerifier(s shelf) (http.Handler, error) {
	var c coatcheck.Config
	for _, field := range []struct {
		at   *string
		file string
	}{{&c.Issuer, issuerFile}, {&c.Audience, audienceFile}, {&c.APIKey, apiKeyFile}} {
		var err error
		if *field.at, err = s.read(field.file); err != nil {
			return nil, err
		}
	}
	v, err := coatcheck.NewVerifier(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := v.Ready(ctx); err != nil {
		return nil, err
	}
	return v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hello(w, coatcheck.CallerFrom(r.Context()).UserID)
	})), nil
}

// golangJWT checks what its documentation tells to check: the algorithm, the
// signature, issuer, audience and time.
func golangJWT(algorithm string) func(shelf) (http.Handler, error) {
	return func(s shelf) (http.Handler, error) {
		key, err := publicKey(s, algorithm)
		if err != nil {
			return nil, err
		}
		issuer, err := s.read(issuerFile)
		if err != nil {
			return nil, err
		}
		audience, err := s.read(audienceFile)
		if err != nil {
			return nil, err
		}
		parser := jwt.NewParser(
			jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(issuer),
			jwt.WithAudience(audience), jwt.WithExpirationRequired())
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			var claims jwt.RegisteredClaims
			if !ok {
				refuse(w)
				return
			}
			if _, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
				refuse(w)
				return
			}
			hello(w, claims.Subject)
		}), nil
	}
}

func publicKey(s shelf, algorithm string) (any, error) {
	text, err := s.read(algorithm + ".pem")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM in the file of the key")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

func scsMemory(s shelf) (http.Handler, error) {
	return scsOver(s, "scs-memory", memstore.New())
}

func scsRedis(s shelf) (http.Handler, error) {
	address, err := s.read(redisFile)
	if err != nil {
		return nil, err
	}
	pool := &redis.Pool{MaxIdle: connections, Dial: func() (redis.Conn, error) { return redis.DialURL(address) }}
	return scsOver(s, "scs-redis", redisstore.New(pool))
}

func scsOver(s shelf, name string, store scs.Store) (http.Handler, error) {
	users, err := s.lines(usersFile)
	if err != nil {
		return nil, err
	}
	sessions := scs.New()
	sessions.Store = store
	headers := make([]string, len(users))
	for i, user := range users {
		ctx, err := sessions.Load(context.Background(), "")
		if err != nil {
			return nil, err
		}
		sessions.Put(ctx, "user", user)
		token, _, err := sessions.Commit(ctx)
		if err != nil {
			return nil, err
		}
		headers[i] = "Cookie: " + sessions.Cookie.Name + "=" + token
	}
	return sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := sessions.GetString(r.Context(), "user")
		if user == "" {
			refuse(w)
			return
		}
		hello(w, user)
	})), s.writeLines(headersOf(name), headers)
}
