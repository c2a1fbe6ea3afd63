package coatcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// An OfflineStore keeps what an [Offline] verifier must not forget over a
// restart: the issuer's keys, what is over, and the highest time seen. It holds
// no secret, but whoever can change it decides whom the verifier believes. The
// verifier calls it from one goroutine at a time.
type OfflineStore interface {
	// Load returns what was saved last. Before the first Save it returns nothing,
	// or an error that is [fs.ErrNotExist].
	Load(ctx context.Context) ([]byte, error)
	// Save keeps state in the place of what was kept before, whole or not at all.
	Save(ctx context.Context, state []byte) error
}

// A state is what an OfflineStore keeps.
type state struct {
	Version int             `json:"version"`
	Issuer  string          `json:"issuer"`
	Time    int64           `json:"time"` // the highest seen, Unix nanoseconds
	Keys    json.RawMessage `json:"keys"`
	Entries []feed.Entry    `json:"entries"`
}

const (
	stateVersion = 1
	storeTimeout = 5 * time.Second
	saveInterval = time.Minute // of the time, when nothing else changes
)

// trustsOffline reports whether a genuine token is accepted though the log is
// stale: under Offline, unless the clock is behind a time that it has shown
// before, because then nothing can be said to have expired.
func (v *Verifier) trustsOffline(now instant) bool {
	behind := time.Duration(now.unix - now.wall)
	return v.config.WhenStale == Offline && behind <= jwt.Leeway && v.life.Err() == nil
}

// load reads the OfflineStore. What it cannot read it reports and does without:
// then nothing is known, and nothing is accepted before the issuer is reached.
func (v *Verifier) load() {
	if v.config.OfflineStore == nil {
		return
	}
	ctx, cancel := context.WithTimeout(v.life, storeTimeout)
	defer cancel()
	kept, err := v.config.OfflineStore.Load(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(kept) == 0 {
		return
	}
	if err == nil {
		err = v.restore(kept)
	}
	if err != nil {
		v.log.Error("coatcheck: what the OfflineStore keeps could not be used", "error", err)
	}
	v.progress.keys(err)
}

func (v *Verifier) restore(kept []byte) error {
	var s state
	if err := json.Unmarshal(kept, &s); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if s.Version != stateVersion || s.Issuer != v.config.Issuer {
		return errors.New("it was written by another version or for another issuer")
	}
	keys, err := jwt.ParseKeySet(s.Keys)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	v.clock.raise(s.Time)
	v.set.Add(s.Entries...)
	v.adopt(keys, s.Keys, "")
	return nil
}

// save writes the OfflineStore if anything is new, and the time now and then.
func (v *Verifier) save(ctx context.Context, now instant) {
	if v.config.OfflineStore == nil || !v.keys.known() {
		return
	}
	due := now.unix-v.saved >= int64(saveInterval)
	if !v.changed.Swap(false) && !due {
		return
	}
	v.keys.mu.Lock()
	raw := v.keys.raw
	v.keys.mu.Unlock()
	kept, err := json.Marshal(state{
		Version: stateVersion, Issuer: v.config.Issuer, Time: now.unix, Keys: raw, Entries: v.set.Entries(),
	})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		err = v.config.OfflineStore.Save(ctx, kept)
	}
	if err != nil {
		v.changed.Store(true)
		v.complain(&v.unsaved, "coatcheck: the OfflineStore could not be written", err)
		return
	}
	v.saved = now.unix
}
