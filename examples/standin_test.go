package examples_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const standInKey = "cka_stand-in"

// A standIn is an issuer that speaks what the contract says and nothing else:
// metadata, the key set, the stream of revocations and introspection. It is written
// with the standard library, from the contract alone, and shares no code with ours.
type standIn struct {
	url  string
	key  *ecdsa.PrivateKey
	stop chan struct{} // closed when its streams are to end

	mu      sync.Mutex
	entries []map[string]any
	news    chan struct{} // closed, and made anew, with each entry
}

func newStandIn(t *testing.T) *standIn {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{key: key, stop: make(chan struct{}), news: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	mux.HandleFunc("GET /.well-known/jwks.json", s.keys)
	mux.HandleFunc("GET /v1/revocations", s.revocations)
	mux.HandleFunc("POST /oauth2/introspect", s.introspect)
	server := httptest.NewServer(mux)
	s.url = server.URL
	t.Cleanup(func() {
		close(s.stop)
		server.Close()
	})
	return s
}

func (s *standIn) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"issuer": s.url, "jwks_uri": s.url + "/.well-known/jwks.json"})
}

func (s *standIn) keys(w http.ResponseWriter, _ *http.Request) {
	public, err := s.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
		"x": encode(public[1:33]), "y": encode(public[33:]),
	}}})
}

// revocations streams a snapshot, and then entries and heartbeats.
func (s *standIn) revocations(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+standInKey {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event, id string, data any) {
		body, _ := json.Marshal(data) // of maps of plain values
		_, _ = fmt.Fprintf(w, "event: %s\n", event)
		if id != "" {
			_, _ = fmt.Fprintf(w, "id: %s\n", id)
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", body)
		_ = http.NewResponseController(w).Flush()
	}
	entries, news := s.read(0)
	told := len(entries)
	send("snapshot", position(told), map[string]any{"epoch": "e1", "seq": told, "entries": entries, "more": false})
	beat := time.NewTicker(500 * time.Millisecond)
	defer beat.Stop()
	for {
		send("heartbeat", "", map[string]any{"epoch": "e1", "seq": told, "at": time.Now().Unix(), "age_ms": 0})
		select {
		case <-r.Context().Done():
			return
		case <-s.stop:
			return
		case <-beat.C:
		case <-news:
			entries, news = s.read(told)
			for _, e := range entries {
				told++
				send("revocation", position(told), e)
			}
		}
	}
}

func (s *standIn) introspect(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+standInKey {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	writeJSON(w, map[string]any{"active": false})
}

// read returns the entries after the given number, and what is closed at the next.
func (s *standIn) read(after int) ([]map[string]any, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]map[string]any, 0, len(s.entries))
	return append(entries, s.entries[after:]...), s.news
}

// end ends a session.
func (s *standIn) end(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Unix()
	s.entries = append(s.entries, map[string]any{
		"seq": len(s.entries) + 1, "kind": "session", "id": session, "reason": "ended", "at": now, "until": now + 670,
	})
	close(s.news)
	s.news = make(chan struct{})
}

// token signs an access token (RFC 9068) with ES256.
func (s *standIn) token(user, session, audience string) string {
	now := time.Now().Unix()
	header := map[string]any{"typ": "at+jwt", "alg": "ES256", "kid": "k1"}
	claims := map[string]any{
		"iss": s.url, "sub": user, "aud": audience, "exp": now + 600, "iat": now, "jti": encode([]byte(session + audience)),
		"client_id": "first-party", "sid": session, "gid": "grt_" + session, "scope": "read",
		"auth_time": now, "acr": "aal1", "amr": []string{"pwd"},
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return ""
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	t.FillBytes(signature[32:])
	return signed + "." + encode(signature)
}

func position(seq int) string { return fmt.Sprintf("e1:%d:0000", seq) }

func part(members map[string]any) string {
	body, _ := json.Marshal(members) // of maps of plain values
	return encode(body)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func writeJSON(w http.ResponseWriter, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
