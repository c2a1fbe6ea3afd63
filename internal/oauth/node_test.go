package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

const issuerURL = "https://auth.example.com"

var (
	fromHere = audit.Origin{IP: "192.0.2.7", UserAgent: "shop/1", RequestID: "request"}
	today    = time.Date(2026, 11, 21, 9, 0, 0, 123e6, time.UTC)
)

// A timepiece is the clock of all nodes of a test. It stands still until it is moved.
type timepiece struct{ ahead atomic.Int64 }

func (p *timepiece) now() time.Time       { return today.Add(time.Duration(p.ahead.Load())) }
func (p *timepiece) pass(d time.Duration) { p.ahead.Add(int64(d)) }

// A node is a provider with all of its own but the database and the clock. It has no
// sessions: what is tested with it is about clients alone.
type node struct {
	*oauth.Provider
	t     testing.TB
	db    *sqlstore.DB
	log   *revocation.Log
	clock *timepiece
	asks  *atomic.Int64 // how often the store was asked for a client
}

// A countingStore counts how often it is asked for a client.
type countingStore struct {
	oauth.ClientStore
	asked *atomic.Int64
	read  func() // called when a client was read, and before it is returned; nil: nothing
}

func (s countingStore) FindClient(ctx context.Context, id string) (oauth.Client, time.Time, error) {
	s.asked.Add(1)
	c, at, err := s.ClientStore.FindClient(ctx, id)
	if s.read != nil {
		s.read()
	}
	return c, at, err
}

func newNode(t testing.TB, url string, clock *timepiece) *node {
	t.Helper()
	return newCallingNode(t, url, clock, nil)
}

// newCallingNode is newNode for one that calls addresses of clients.
func newCallingNode(t testing.TB, url string, clock *timepiece, calls *outbound.Client) *node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	db, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: url, Now: clock.now, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	n := &node{t: t, db: db, clock: clock, asks: &atomic.Int64{}}
	n.log = revocation.New(revocation.Config{Lifetime: 10 * time.Minute}, db, clock.now, quiet)
	db.Heard(n.log.Heard)
	n.must(n.log.Hold(t.Context()))
	n.Provider, err = oauth.New(oauth.Config{Issuer: issuerURL, Outbound: calls},
		oauth.Stores{Clients: countingStore{ClientStore: db, asked: n.asks}, Assertions: db, Audit: db},
		nil, nil, n.log, []byte(strings.Repeat("s", 32)), clock.now, quiet)
	n.must(err)
	return n
}

func sqliteAt(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// onBoth runs a test on a fresh database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteAt(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.Postgres(t)) })
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// hears lets so much time pass that the node reads the tail of the log, as it otherwise
// does twenty times a second.
func (n *node) hears() {
	n.t.Helper()
	n.clock.pass(revocation.FreshFor + time.Millisecond)
	n.must(n.log.Current(n.t.Context()))
}

// add registers a client.
func (n *node) add(c oauth.Client) (oauth.Client, string) {
	n.t.Helper()
	if c.Name == "" {
		c.Name = "Shop"
	}
	if c.Type != oauth.Machine && c.RedirectURIs == nil {
		c.RedirectURIs = []string{"https://shop.example/callback"}
	}
	c, secret, err := n.Clients.Add(n.t.Context(), c, "cli", fromHere)
	n.must(err)
	return c, secret
}

// A signer makes assertions with a key of its own.
type signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, key}
}

// keySet returns the public key as a key set.
func (s signer) keySet() json.RawMessage {
	s.t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// claims are those of a good assertion.
func claimsOf(clientID string, now time.Time) map[string]any {
	return map[string]any{
		"iss": clientID, "sub": clientID, "aud": issuerURL, "jti": "a1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

// sign signs claims, given as a map or as text. Headers add to those of a good assertion;
// nil takes one away.
func (s signer) sign(claims any, headers map[string]any) string {
	s.t.Helper()
	payload, isText := claims.(string)
	if !isText {
		text, err := json.Marshal(claims)
		if err != nil {
			s.t.Fatal(err)
		}
		payload = string(text)
	}
	options := (&jose.SignerOptions{}).WithHeader("typ", "JWT").WithHeader("kid", "k1")
	for name, value := range headers {
		if value == nil {
			delete(options.ExtraHeaders, jose.HeaderKey(name))
			continue
		}
		options.WithHeader(jose.HeaderKey(name), value)
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, options)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := by.Sign([]byte(payload))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}
