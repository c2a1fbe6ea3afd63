package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A signingIssuer is all that a verifier needs of a server, in this process: keys, a
// log with ends of others, and answers about cookies. So it can sign ten thousand
// tokens without as many people signing in, and takes nothing from what is measured.
type signingIssuer struct {
	url     string
	server  *http.Server
	signers map[jwt.Algorithm]*jwt.Signer
}

const (
	benchAudience = "orders"
	benchAPIKey   = "cka_bench"
	otherEnds     = 1000 // that the log holds while tokens are checked
)

func startIssuer(keys map[jwt.Algorithm]crypto.Signer) (*signingIssuer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &signingIssuer{url: "http://" + l.Addr().String(), signers: map[jwt.Algorithm]*jwt.Signer{}}
	for algorithm, key := range keys {
		if s.signers[algorithm], err = jwt.NewSigner(credential.NewID(credential.Key), key); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", s.keySet)
	mux.HandleFunc("GET /v1/revocations", s.stream)
	mux.HandleFunc("POST /oauth2/introspect", s.introspect)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }() // until Close
	return s, nil
}

func (s *signingIssuer) close() { _ = s.server.Close() }

func (s *signingIssuer) keySet(w http.ResponseWriter, _ *http.Request) {
	set := jwt.KeySet{}
	for _, signer := range s.signers {
		set[signer.Public().ID] = signer.Public()
	}
	body, err := set.Marshal()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

func (s *signingIssuer) stream(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Unix()
	entries := make([]feed.Entry, otherEnds)
	for i := range entries {
		entries[i] = feed.Entry{Seq: uint64(i + 1), Kind: feed.Session, ID: credential.NewID(credential.Session), At: now, Until: now + 3600}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event, id string, payload any) bool {
		frame, err := feed.Frame(event, id, payload)
		if err == nil {
			_, err = w.Write(frame)
		}
		return err == nil && http.NewResponseController(w).Flush() == nil
	}
	ok := send(feed.EventSnapshot, "e:1", feed.Snapshot{Epoch: "e", Seq: otherEnds, Entries: entries})
	beat := time.NewTicker(2 * time.Second)
	defer beat.Stop()
	for ok {
		ok = send(feed.EventHeartbeat, "", feed.Heartbeat{Epoch: "e", Seq: otherEnds, At: time.Now().Unix(), AgeMS: 10})
		select {
		case <-beat.C:
		case <-r.Context().Done():
			return
		}
	}
}

// introspect answers as a server does about the cookie of a person with an address.
func (s *signingIssuer) introspect(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.PostFormValue("token"), "cks_")[:len(credential.NewID(""))]
	now := time.Now().Unix()
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone needs no answer
		"active": true, "sub": "usr_" + id, "sid": "ses_" + id, "client_id": "first-party",
		"iat": now, "exp": now + 3600, "auth_time": now - 60, "acr": "aal1", "amr": []string{"pwd"},
		"email": "ada.lovelace@example.com", "email_verified": true,
	})
}

// claims are what a session mints for one of its clients, about 600 bytes signed.
func (s *signingIssuer) claims() jwt.Claims {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand.Read ends the program instead
	now := time.Now().Unix()
	return jwt.Claims{
		Issuer: s.url, Subject: credential.NewID(credential.User), Audience: []string{benchAudience},
		ExpiresAt: now + 3600, IssuedAt: now, AuthTime: now - 60,
		ID: base64.RawURLEncoding.EncodeToString(random[:]), ClientID: "first-party",
		GrantID: credential.NewID(credential.Grant), SessionID: credential.NewID(credential.Session),
		Scope: "read write", ACR: "aal1", AMR: []string{"pwd"},
	}
}

// tokens signs n tokens of sessions of their own.
func (s *signingIssuer) tokens(n int, algorithm jwt.Algorithm) ([]string, error) {
	all := make([]string, n)
	for i := range all {
		token, err := s.signers[algorithm].Sign(s.claims())
		if err != nil {
			return nil, err
		}
		all[i] = token
	}
	return all, nil
}

// cookieValues makes n session cookies.
func cookieValues(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "cks_" + credential.NewID("") + credential.NewSecret().Encode()
	}
	return all
}

// verifier starts one that is ready and remembers so many tokens and cookies; 0 for
// what is usual.
func (s *signingIssuer) verifier(ctx context.Context, remember int) (*coatcheck.Verifier, error) {
	v, err := coatcheck.NewVerifier(coatcheck.Config{
		Issuer: s.url, Audience: benchAudience, APIKey: benchAPIKey, Remember: remember,
		Staleness: time.Minute, // a machine that is busy measuring may let a heartbeat wait
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := v.Ready(ctx); err != nil {
		v.Close()
		return nil, fmt.Errorf("a verifier is not ready: %w", err)
	}
	return v, nil
}
