package keyring

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A StoredKey is a signing key as a store keeps it: the private half sealed.
type StoredKey struct {
	ID        string
	Algorithm jwt.Algorithm
	Sealed    []byte // PKCS #8, sealed under the secret with AES-256-GCM, nonce first
	Public    []byte // PKIX, DER
	CreatedAt time.Time
	ActiveAt  time.Time // signs from here on, until the ActiveAt of the next key of its algorithm
}

// Succeeded reports whether another of the keys signs in the place of k at the given
// time: a later one of the same algorithm.
func (k StoredKey) Succeeded(keys []StoredKey, now time.Time) bool {
	return slices.ContainsFunc(keys, func(next StoredKey) bool {
		return next.Algorithm == k.Algorithm && next.ActiveAt.After(k.ActiveAt) && !next.ActiveAt.After(now)
	})
}

// A Change is what happens to the stored keys in one step.
type Change struct {
	Put      []StoredKey // added, or replaced by id
	Remove   []string    // ids that are gone from the published set
	Distrust []string    // ids among Remove for which a key entry is appended to the log
	Changed  string      // an id for which a changed entry is appended, so that all nodes look again; may be empty
}

// ErrLost means that the keys were changed by another node in the meantime.
var ErrLost = errors.New("keys were changed meanwhile")

// Store keeps the signing keys. A step that fails in a way not named here has happened
// whole or not at all, and may be taken again.
type Store interface {
	// Keys returns all keys, their version, and the store's clock.
	Keys(ctx context.Context) (keys []StoredKey, version int64, now time.Time, err error)
	// Algorithms returns by which algorithms the ID tokens of clients are to be signed,
	// each once, by name. Clients that were removed count no more.
	Algorithms(ctx context.Context) ([]jwt.Algorithm, error)
	// Change applies c if the keys are still at version, and raises it; else it
	// changes nothing and returns [ErrLost]. A nil entry is not audited.
	Change(ctx context.Context, version int64, c Change, e *audit.Entry) error
}
