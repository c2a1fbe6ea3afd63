// Package keyring keeps the keys that sign tokens: the one that signs, the next
// one, published ahead of its first use, and the old ones, published for as long
// as a token of theirs may live.
//
// A key signs tokens and nothing else. Private halves are sealed at rest and
// never leave this package but as a signer.
package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

const (
	// Period is how long a key signs.
	Period = 30 * 24 * time.Hour
	// Lead is how long a key is published before it signs, at least.
	Lead = 10 * time.Minute
	// MaxAge is how long the published set may be cached: less than Lead, so that
	// whoever obeys it has a key before the first token of it.
	MaxAge = 5 * time.Minute

	maintainEvery = time.Minute
	attempts      = 5

	lookEvery   = 100 * time.Millisecond // between two readings that unknown ids cause
	lookTimeout = 3 * time.Second        // of such a reading
)

// Config is what an operator decides about keys.
type Config struct {
	Algorithm jwt.Algorithm // token.algorithm
	Access    time.Duration // the longest lifetime of a token: how long an old key stays
}

// A Ring holds the keys. It is safe for concurrent use.
type Ring struct {
	config Config
	store  Store
	sealer sealer
	log    *revocation.Log
	now    func() time.Time
	logger *slog.Logger

	held    atomic.Pointer[keys]
	loading sync.Mutex

	looking sync.Mutex
	looked  time.Time // guarded by looking
}

// keys is one reading of the store.
type keys struct {
	stored    []StoredKey // by ActiveAt
	signers   map[string]*jwt.Signer
	public    jwt.KeySet
	published []byte
	tag       string
	version   int64
}

// ErrNoKey means that no key may sign now.
var ErrNoKey = errors.New("no signing key is active")

// New returns a ring that seals under secret. Load it before use.
func New(c Config, store Store, log *revocation.Log, secret []byte, now func() time.Time, logger *slog.Logger) (*Ring, error) {
	sealer, err := newSealer(secret)
	if err != nil {
		return nil, err
	}
	r := &Ring{config: c, store: store, sealer: sealer, log: log, now: now, logger: logger}
	r.held.Store(&keys{})
	return r, nil
}

// Signer returns the key that signs access tokens now: of the configured algorithm,
// or of another one until the first of that may sign.
func (r *Ring) Signer() (*jwt.Signer, error) {
	held, now := r.held.Load(), r.now()
	if signer := held.signer(r.config.Algorithm, now); signer != nil {
		return signer, nil
	}
	if signer := held.signer("", now); signer != nil {
		return signer, nil
	}
	return nil, ErrNoKey
}

// SignerFor returns the key that signs now what has to be signed by one algorithm; ""
// is for any. Where there is none yet, it reads the keys and makes what clients need:
// [ErrNoKey] if no client was registered with that algorithm.
func (r *Ring) SignerFor(ctx context.Context, algorithm jwt.Algorithm) (*jwt.Signer, error) {
	if algorithm == "" || algorithm == r.config.Algorithm {
		return r.Signer()
	}
	if signer := r.held.Load().signer(algorithm, r.now()); signer != nil {
		return signer, nil
	}
	if err := r.Load(ctx); err != nil {
		return nil, err
	}
	if signer := r.held.Load().signer(algorithm, r.now()); signer != nil {
		return signer, nil
	}
	return nil, ErrNoKey
}

// Algorithms returns by which algorithms keys sign now: the configured one first, the
// others by name.
func (r *Ring) Algorithms() []jwt.Algorithm {
	held, now := r.held.Load(), r.now()
	all := []jwt.Algorithm{r.config.Algorithm}
	for _, algorithm := range algorithmsOf(held.stored) {
		if algorithm != r.config.Algorithm && held.signer(algorithm, now) != nil {
			all = append(all, algorithm)
		}
	}
	return all
}

// signer returns what signs at the given time by an algorithm, or by any if that is
// empty; nil if there is nothing.
func (k *keys) signer(algorithm jwt.Algorithm, now time.Time) *jwt.Signer {
	for _, one := range slices.Backward(k.stored) {
		if !one.ActiveAt.After(now) && (algorithm == "" || one.Algorithm == algorithm) {
			return k.signers[one.ID]
		}
	}
	return nil
}

// Public returns a published key by its id.
func (r *Ring) Public(id string) (jwt.PublicKey, bool) {
	k, found := r.held.Load().public[id]
	return k, found
}

// Published returns the JWKS (RFC 7517 §5) and a strong entity tag of it.
func (r *Ring) Published() (set []byte, tag string) {
	held := r.held.Load()
	return held.published, held.tag
}

// Load reads the keys, and makes, retires and removes what is due.
func (r *Ring) Load(ctx context.Context) error {
	needed, err := r.needed(ctx)
	if err != nil {
		return err
	}
	return r.change(ctx, nil, needed.due)
}

// Read reads the keys and changes nothing.
func (r *Ring) Read(ctx context.Context) error {
	return r.change(ctx, nil, func([]StoredKey, time.Time) (Change, error) { return Change{}, nil })
}

// LookAgain reads the keys anew for somebody who was shown a token by a key that is
// not held: another node may have made it a moment ago, before the log has told. All
// who ask meanwhile wait for the one reading, and none is made within 100 ms of the last,
// so that tokens by made-up keys cost next to nothing. It reports whether what is held
// has been read since the call.
func (r *Ring) LookAgain(ctx context.Context) bool {
	before := r.held.Load()
	r.looking.Lock()
	defer r.looking.Unlock()
	if r.held.Load() != before {
		return true
	}
	if r.now().Sub(r.looked).Abs() < lookEvery {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout) // it is for all who wait
	defer cancel()
	err := r.Read(ctx)
	r.looked = r.now()
	return err == nil
}

// Keys returns the keys as they were last read, in the order in which they sign.
func (r *Ring) Keys() []StoredKey { return slices.Clone(r.held.Load().stored) }

// Rotate lets the next key of each algorithm sign as soon as it has been published for
// Lead, and makes another next one. It returns from when on access tokens are signed
// by the new key.
func (r *Ring) Rotate(ctx context.Context, e audit.Entry) (time.Time, error) {
	needed, err := r.needed(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var from time.Time
	err = r.change(ctx, &e, func(stored []StoredKey, now time.Time) (c Change, err error) {
		c, from, err = needed.rotation(stored, now)
		return c, err
	}, needed.due)
	return from, err
}

// Distrust ends trust in every key there is, through the log, and puts fresh
// ones in their place: for a leak. All access tokens must be renewed.
func (r *Ring) Distrust(ctx context.Context, e audit.Entry) error {
	needed, err := r.needed(ctx)
	if err != nil {
		return err
	}
	return r.change(ctx, &e, func(stored []StoredKey, now time.Time) (Change, error) {
		var c Change
		for _, k := range stored {
			c.Remove = append(c.Remove, k.ID)
		}
		c.Distrust = c.Remove
		fresh, err := needed.due(nil, now)
		c.Put = fresh.Put
		return c, err
	}, needed.due)
}

// A decision says what is to happen to the keys, which are in the order of ActiveAt.
type decision func(stored []StoredKey, now time.Time) (Change, error)

// change reads the keys, lets decide say what is to happen to them, and applies
// it if no other node was faster; then whatever is left to decide, and holds what there is.
func (r *Ring) change(ctx context.Context, e *audit.Entry, decide decision, rest ...decision) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	for range attempts {
		stored, version, now, err := r.store.Keys(ctx)
		if err != nil {
			return fmt.Errorf("read signing keys: %w", err)
		}
		slices.SortFunc(stored, byActive)
		c, err := decide(slices.Clone(stored), now)
		if err != nil {
			return err
		}
		if len(c.Put)+len(c.Remove) == 0 {
			return r.hold(stored, version)
		}
		if err := r.store.Change(ctx, version, c, e); err != nil && !errors.Is(err, ErrLost) {
			return fmt.Errorf("change signing keys: %w", err)
		} else if err == nil {
			e = nil // said once
			if len(rest) > 0 {
				decide, rest = rest[0], nil
			}
		}
	}
	return fmt.Errorf("change signing keys: %w", ErrLost)
}

func byActive(a, b StoredKey) int { return a.ActiveAt.Compare(b.ActiveAt) }

// hold opens the stored keys and puts them in the place of what was held.
func (r *Ring) hold(stored []StoredKey, version int64) error {
	old := r.held.Load()
	next := &keys{stored: stored, version: version, signers: map[string]*jwt.Signer{}, public: jwt.KeySet{}}
	for _, k := range stored {
		public, err := publicKey(k)
		if err != nil {
			return err
		}
		next.public[k.ID] = public
		if next.signers[k.ID] = old.signers[k.ID]; next.signers[k.ID] == nil {
			if next.signers[k.ID], err = r.sealer.open(k); err != nil {
				return err
			}
		}
	}
	var err error
	if next.published, err = next.public.Marshal(); err != nil {
		return fmt.Errorf("publish keys: %w", err)
	}
	sum := sha256.Sum256(next.published)
	next.tag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	r.held.Store(next)
	return nil
}

// Run keeps the keys in order until ctx ends: each minute, and whenever the log
// says that keys have changed.
func (r *Ring) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	r.log.Watch(func(e feed.Entry) {
		if e.Kind == feed.Key || e.Kind == feed.Changed && len(e.ID) > 4 && e.ID[:4] == "key_" {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
		if err := r.Load(ctx); err != nil && ctx.Err() == nil {
			r.logger.Error("signing keys could not be kept in order, it will be tried again", "error", err)
		}
	}
}
