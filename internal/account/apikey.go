package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// The scopes that an API key may have.
const (
	ScopeIntrospect  = "introspect"
	ScopeRevocations = "revocations"
	ScopeAdmin       = "admin"
)

// Scopes are all scopes that an API key may have.
var Scopes = []string{ScopeIntrospect, ScopeRevocations, ScopeAdmin}

// The faults of API keys.
var (
	ErrNoAPIKey = fault.New(fault.Unauthenticated, "invalid_api_key", "This call needs an API key: Authorization: Bearer cka_…")
	ErrScope    = fault.New(fault.Forbidden, "insufficient_scope", "This API key lacks the scope for that.")
)

const (
	apiKeyPrefix = "cka_"
	apiKeyLength = len(apiKeyPrefix) + credential.IDLength - len(credential.APIKey) + credential.SecretLength
	keyMemory    = 10_000
	keyLife      = time.Minute // how long a key is remembered before the store is asked again
)

// apiKeys checks API keys and remembers good ones, held to the log.
type apiKeys struct {
	store APIKeyStore
	log   *revocation.Log
	known *feed.Memory[knownKey, *knownKey]
	now   func() time.Time
}

// A knownKey is a key that is remembered by its text.
type knownKey struct {
	feed.Hold
	text string
	key  APIKey
	read int64 // Unix seconds
}

func (k *knownKey) Is(text string) bool { return k.text == text }

func (k *knownKey) Subject() feed.Subject { return feed.Subject{IssuedAt: k.read} }

func newAPIKeys(store APIKeyStore, log *revocation.Log, now func() time.Time) *apiKeys {
	return &apiKeys{store: store, log: log, now: now, known: feed.NewMemory[knownKey](log.Set(), keyMemory)}
}

// cutAPIKey cuts a key by position.
func cutAPIKey(text string) (id string, secret credential.Secret, ok bool) {
	if len(text) != apiKeyLength || !strings.HasPrefix(text, apiKeyPrefix) {
		return "", secret, false
	}
	rest := text[len(apiKeyPrefix):]
	cut := len(rest) - credential.SecretLength
	id = credential.APIKey + rest[:cut]
	secret, ok = credential.ParseSecret(rest[cut:])
	return id, secret, ok && credential.IsID(credential.APIKey, id)
}

// CheckAPIKey returns the key behind its text if it has the scope: else
// ErrNoAPIKey or ErrScope.
func (d *Directory) CheckAPIKey(ctx context.Context, text, scope string) (APIKey, error) {
	k, err := d.apikeys.find(ctx, text)
	if err != nil {
		return APIKey{}, err
	}
	if !slices.Contains(k.Scopes, scope) {
		return APIKey{}, ErrScope
	}
	return k, nil
}

func (a *apiKeys) find(ctx context.Context, text string) (APIKey, error) {
	id, secret, ok := cutAPIKey(text)
	if !ok {
		return APIKey{}, ErrNoAPIKey
	}
	now := a.now()
	if a.log.Current(ctx) == nil {
		if k, verdict := a.known.Get(text, now.Unix()); verdict == feed.Live && !a.log.Set().Holds(feed.APIKey, k.key.ID) {
			return k.key, nil
		}
	}
	k, err := a.store.FindAPIKey(ctx, id)
	if errors.Is(err, ErrNoUser) || err == nil && !secret.Opens(k.Hash) {
		return APIKey{}, ErrNoAPIKey
	}
	if err != nil {
		return APIKey{}, fmt.Errorf("read an API key: %w: %w", fault.ErrUnavailable, err)
	}
	a.known.Put(text, &knownKey{text: strings.Clone(text), key: k, read: now.Unix()}, now.Add(keyLife).Unix())
	return k, nil
}

// AddAPIKey makes a key with the given scopes and returns its text, which is
// nowhere else.
func (d *Directory) AddAPIKey(ctx context.Context, name string, scopes []string, actor string, from audit.Origin) (APIKey, string, error) {
	if err := checkName("/name", name); err != nil {
		return APIKey{}, "", err
	}
	if name == "" {
		return APIKey{}, "", fault.Bad("/name", "required", "A key has a name, by which it is known again.")
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	if len(scopes) == 0 {
		return APIKey{}, "", fault.Bad("/scopes", "required", "Name at least one of introspect, revocations and admin.")
	}
	for _, scope := range scopes {
		if !slices.Contains(Scopes, scope) {
			return APIKey{}, "", fault.Bad("/scopes", "format", "The scopes are introspect, revocations and admin.")
		}
	}
	secret := credential.NewSecret()
	k := APIKey{ID: credential.NewID(credential.APIKey), Name: name, Scopes: scopes, Hash: secret.Hash()}
	e := audit.New(audit.APIKeyAdded, audit.OK, from)
	e.Actor, e.Subject = actor, k.ID
	k, err := d.apikeys.store.AddAPIKey(ctx, k, e)
	if err != nil {
		return APIKey{}, "", err
	}
	return k, apiKeyPrefix + k.ID[len(credential.APIKey):] + secret.Encode(), nil
}

// APIKeys returns all keys, oldest first.
func (d *Directory) APIKeys(ctx context.Context) ([]APIKey, error) {
	return d.apikeys.store.APIKeys(ctx)
}

// RemoveAPIKey removes a key and cuts its streams, or returns ErrNoUser.
func (d *Directory) RemoveAPIKey(ctx context.Context, id, actor string, from audit.Origin) error {
	if !credential.IsID(credential.APIKey, id) {
		return ErrNoUser
	}
	e := audit.New(audit.APIKeyRemoved, audit.OK, from)
	e.Actor, e.Subject = actor, id
	return d.apikeys.store.RemoveAPIKey(ctx, id, e)
}
