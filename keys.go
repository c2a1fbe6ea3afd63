package coatcheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

const (
	keyCooldown = 10 * time.Second // between two readings of the key set that unknown keys cause
	keyInterval = time.Hour        // between two readings in any case
	keyRetry    = 30 * time.Second // after a reading that failed, when keys are known
)

// A keyCache holds the issuer's public keys.
type keyCache struct {
	held    atomic.Pointer[map[string]*trusted]
	fetches flight[struct{}]
	tried   atomic.Int64 // when the key set was last asked for, Unix nanoseconds; 0 for never
	due     atomic.Int64 // when it is to be read again

	mu      sync.Mutex // guards what follows, and changes of held
	address string     // of the key set; empty until discovered, and after a failure
	raw     []byte     // the last good key set
}

// A trusted key signs for the issuer until it is withdrawn. Whatever it signed
// is remembered with a pointer to it, so that all of it falls at once.
type trusted struct {
	id        string
	public    jwt.PublicKey
	withdrawn atomic.Bool
	vouches   vouches
}

func (k *keyCache) find(id string) *trusted {
	if held := k.held.Load(); held != nil {
		return (*held)[id]
	}
	return nil
}

func (k *keyCache) known() bool { return k.held.Load() != nil }

// usable reports whether there is a key that is not withdrawn.
func (k *keyCache) usable() bool {
	held := k.held.Load()
	return held != nil && len(*held) > 0
}

// refreshKeys reads the key set, unless that was tried within the cooldown.
// Everybody who needs it waits for the one reading; what is known stays in force
// when it fails.
func (v *Verifier) refreshKeys(ctx context.Context, cooldown time.Duration) error {
	_, err := v.keys.fetches.do(ctx, "", v.start, func() (struct{}, error) {
		now := v.clock.read()
		if tried := v.keys.tried.Load(); tried != 0 && now.unix-tried < int64(cooldown) {
			return struct{}{}, nil
		}
		v.keys.tried.Store(now.unix)
		ctx, cancel := context.WithTimeout(v.life, askTimeout)
		defer cancel()
		err := v.readKeys(ctx)
		for pause := shortestRest; errors.Is(err, errBehind) && pause <= longestRest && v.rest(pause); pause *= 2 {
			err = v.readKeys(ctx)
		}
		v.progress.keys(err)
		if errors.Is(err, errBehind) { // soon, since tokens of the new keys are under way
			v.keys.tried.Store(now.unix - int64(keyCooldown-time.Second))
		}
		if err != nil {
			v.keys.due.Store(now.add(v.retryKeys()))
			v.complain(&v.keyless, "coatcheck: the issuer's keys could not be read", err)
			return struct{}{}, err
		}
		v.keys.due.Store(now.add(keyInterval))
		return struct{}{}, nil
	})
	return err
}

// errBehind means that the key set is from before the log ended every key in it: the
// node that answered has not caught up with the one that the log was heard from.
var errBehind = errors.New("the issuer's key set names only keys that are no longer trusted")

// How long to wait for a node that is behind, the first time and the last.
const (
	shortestRest = 50 * time.Millisecond
	longestRest  = 400 * time.Millisecond
)

// rest waits, and reports whether the verifier still lives.
func (v *Verifier) rest(d time.Duration) bool {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-v.life.Done():
		return false
	}
}

// retryKeys returns how long to wait after a reading that failed.
func (v *Verifier) retryKeys() time.Duration {
	if v.keys.usable() {
		return keyRetry
	}
	return time.Second
}

func (v *Verifier) readKeys(ctx context.Context) error {
	v.keys.mu.Lock()
	address := v.keys.address
	v.keys.address = "" // looked for anew next time, unless this one is good
	v.keys.mu.Unlock()
	if address == "" {
		found, err := v.discover(ctx)
		if err != nil {
			return err
		}
		address = found
	}
	raw, err := v.get(ctx, address)
	if err != nil {
		return err
	}
	set, err := jwt.ParseKeySet(raw)
	if err != nil {
		return fmt.Errorf("the issuer's key set: %w", err)
	}
	if len(set) == 0 {
		return errors.New("the issuer's key set is empty")
	}
	if v.endedAll(set) {
		return errBehind
	}
	v.adopt(set, raw, address)
	v.lookAll()
	return nil
}

// endedAll reports whether the log has named every key of a set.
func (v *Verifier) endedAll(set jwt.KeySet) bool {
	for id := range set {
		if !v.set.Holds(feed.Key, id) {
			return false
		}
	}
	return true
}

// adopt puts a good key set in force: a key that is missing from it is withdrawn
// with all it signed, and so is one that the log has named.
func (v *Verifier) adopt(set jwt.KeySet, raw []byte, address string) {
	v.keys.mu.Lock()
	defer v.keys.mu.Unlock()
	old := map[string]*trusted{}
	if held := v.keys.held.Load(); held != nil {
		old = *held
	}
	next := make(map[string]*trusted, len(set))
	for id, public := range set {
		if v.set.Holds(feed.Key, id) {
			continue
		}
		next[id] = &trusted{id: id, public: public}
		if known := old[id]; known != nil && known.public.Equal(public) {
			next[id] = known
		}
	}
	for id, key := range old {
		if next[id] != key {
			key.withdrawn.Store(true)
		}
	}
	v.keys.held.Store(&next)
	v.keys.raw, v.keys.address = raw, address
	v.changed.Store(true)
}

// withdraw drops a key that the log has named, after the set holds the entry.
func (v *Verifier) withdraw(id string) {
	v.keys.mu.Lock()
	defer v.keys.mu.Unlock()
	held := v.keys.held.Load()
	if held == nil || (*held)[id] == nil {
		return
	}
	next := make(map[string]*trusted, len(*held))
	for other, key := range *held {
		if other != id {
			next[other] = key
		}
	}
	(*held)[id].withdrawn.Store(true)
	// Fresh keys sign from now on. The log has said so and no stranger's token, so
	// the cooldown does not stand in the way of the one reading that brings them.
	v.keys.tried.Store(0)
	v.keys.held.Store(&next)
}
