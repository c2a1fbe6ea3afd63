package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coatcheck/coatcheck/internal/outbound"
)

const (
	keysFresh = 10 * time.Minute // how long keys that were fetched are used without a look
	keysKept  = 24 * time.Hour   // how long they are used while they cannot be fetched again
	// keysPause lies between two calls to one address, whatever comes in: strangers who
	// name unknown keys make this server call nobody more often (V-20).
	keysPause = 10 * time.Second
	keysRoom  = 64 << 10 // bytes of an answer
	maxRemote = 20       // keys that are used of an answer
	maxSets   = 10_000   // addresses that are remembered
)

// remoteKeys are the keys of clients that have them at an address of their own. It is
// safe for concurrent use.
type remoteKeys struct {
	call   func(context.Context, outbound.Call) (outbound.Answer, error) // nil: nobody is called
	now    func() time.Time
	logger *slog.Logger

	mu   sync.Mutex
	sets map[string]*remoteSet // by address
}

// A remoteSet is what was fetched from one address.
type remoteSet struct {
	mu      sync.Mutex // held while it is fetched: whoever comes meanwhile waits for that
	keys    []jose.JSONWebKey
	fetched time.Time // zero: never
	tried   time.Time
}

// errNoKeys means that nothing can be said for the client: its keys are not to be had.
var errNoKeys = errors.New("the keys at jwks_uri cannot be fetched")

// keysOf returns the keys that a client may sign with; kid is what an assertion names, or "".
func (a *authenticator) keysOf(ctx context.Context, c *Client, kid string) ([]jose.JSONWebKey, error) {
	if c.JWKSURI != "" {
		return a.keys.of(ctx, c.JWKSURI, kid)
	}
	keys, wrong := readJWKS(c.JWKS)
	if wrong != "" {
		return nil, errAssertionKey
	}
	return keys, nil
}

// of returns the keys at an address. They are fetched again when they are ten minutes old,
// or lack the one that is named; a failure leaves those that are known for a day.
func (r *remoteKeys) of(ctx context.Context, address, kid string) ([]jose.JSONWebKey, error) {
	set := r.set(address)
	set.mu.Lock()
	defer set.mu.Unlock()
	now := r.now()
	if !set.serves(now, kid) && now.Sub(set.tried) >= keysPause {
		set.tried = now
		keys, err := r.fetch(context.WithoutCancel(ctx), address) // for those who wait as well
		if err == nil {
			set.keys, set.fetched = keys, now
		} else {
			r.logger.Warn("the keys of a client cannot be fetched", "error", err)
		}
	}
	if set.fetched.IsZero() || now.Sub(set.fetched) > keysKept {
		return nil, errNoKeys
	}
	return set.keys, nil
}

// set returns what is remembered of an address.
func (r *remoteKeys) set(address string) *remoteSet {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.sets[address]
	if set == nil {
		if r.sets == nil || len(r.sets) >= maxSets {
			r.sets = map[string]*remoteSet{}
		}
		set = &remoteSet{}
		r.sets[address] = set
	}
	return set
}

// serves reports whether what was fetched may be used without a look.
func (s *remoteSet) serves(now time.Time, kid string) bool {
	return !s.fetched.IsZero() && now.Sub(s.fetched) < keysFresh &&
		(kid == "" || slices.ContainsFunc(s.keys, func(k jose.JSONWebKey) bool { return k.KeyID == kid || k.KeyID == "" }))
}

// fetch reads a key set. Keys of other kinds and for other uses are passed over.
func (r *remoteKeys) fetch(ctx context.Context, address string) ([]jose.JSONWebKey, error) {
	if r.call == nil {
		return nil, errNoKeys
	}
	answer, err := r.call(ctx, outbound.Call{
		Method: http.MethodGet, URL: address, Accept: "application/jwk-set+json, application/json", Room: keysRoom,
	})
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("the answer has the status %d, not 200", answer.Status)
	}
	list, ok := cutKeySet(answer.Body)
	if !ok {
		return nil, errors.New("the answer is no key set")
	}
	var keys []jose.JSONWebKey
	for _, each := range list {
		var key jose.JSONWebKey
		if len(keys) < maxRemote && key.UnmarshalJSON(each) == nil && key.IsPublic() && usable(&key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no key that may sign here")
	}
	return keys, nil
}

// forgetAssertions removes assertions that have expired, until ctx ends.
func (a *authenticator) forgetAssertions(ctx context.Context) {
	const every, chunk = time.Minute, 1000
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for more := true; more; {
			var err error
			if _, more, err = a.assertions.SweepAssertions(ctx, chunk); err != nil {
				if ctx.Err() == nil {
					a.logger.Warn("old client assertions could not be removed, it will be tried again", "error", err)
				}
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
