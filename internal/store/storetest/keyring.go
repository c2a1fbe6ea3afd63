package storetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/keyring"
)

var keyringPromises = []promise{
	{"keyring.Store.Keys", "Keys returns all keys, their version, and the store's clock.", []proof{
		{"byte for byte", keysRoundTrip},
		{"none at first", keysAtFirst},
	}},
	{"keyring.Store.Change", "Change applies c if the keys are still at version, and raises it; else it changes nothing and returns [ErrLost].", []proof{
		{"keys are added, replaced and removed in one step", changeKeys},
		{"a key that is distrusted and one that has changed are logged, others are not", changeKeysLogs},
		{"at another version there is no trace", changeKeysLost},
		{"of eight nodes one wins", changeKeysRace},
	}},
	{"keyring.Store.Change", "A nil entry is not audited.", []proof{{"any other is", changeKeysAudits}}},
}

func byKeyID(a, b keyring.StoredKey) int { return strings.Compare(a.ID, b.ID) }

// storedKey is a key of the size that RSA keys have, of bytes that are no text.
func (f *fixture) storedKey(active time.Duration) keyring.StoredKey {
	return keyring.StoredKey{
		ID: credential.NewID(credential.Key), Algorithm: jwt.ES256,
		Sealed: bytes.Repeat([]byte{0, 0xff, '\n', '\''}, 500), Public: bytes.Repeat([]byte{0x80, 0, 1}, 100),
		CreatedAt: f.clock.Now(), ActiveAt: f.clock.Now().Add(active),
	}
}

// keys returns the keys by id, and their version.
func (f *fixture) keys(t *testing.T) ([]keyring.StoredKey, int64) {
	t.Helper()
	keys, version, now, err := f.Keys.Keys(t.Context())
	must(t, err)
	equal(t, "the store's clock", now, f.clock.Now())
	slices.SortFunc(keys, byKeyID)
	return keys, version
}

// putKeys adds keys.
func (f *fixture) putKeys(t *testing.T, keys ...keyring.StoredKey) {
	t.Helper()
	_, version := f.keys(t)
	must(t, f.Keys.Change(t.Context(), version, keyring.Change{Put: keys}, nil))
}

func keysRoundTrip(t *testing.T, f *fixture) {
	want := []keyring.StoredKey{f.storedKey(0), f.storedKey(30 * 24 * time.Hour), f.storedKey(-time.Millisecond)}
	want[1].Algorithm, want[2].Algorithm = jwt.EdDSA, jwt.RS256
	f.putKeys(t, want...)
	slices.SortFunc(want, byKeyID)
	got, _ := f.keys(t)
	equal(t, "the keys", got, want)
}

func keysAtFirst(t *testing.T, f *fixture) {
	keys, _ := f.keys(t)
	equal(t, "the keys", keys, []keyring.StoredKey{})
}

func changeKeys(t *testing.T, f *fixture) {
	stays, moves, goes := f.storedKey(0), f.storedKey(time.Hour), f.storedKey(2*time.Hour)
	f.putKeys(t, stays, moves, goes)
	_, version := f.keys(t)
	moves.ActiveAt = f.clock.Now().Add(time.Minute)
	comes := f.storedKey(3 * time.Hour)
	c := keyring.Change{Put: []keyring.StoredKey{moves, comes}, Remove: []string{goes.ID}}
	must(t, f.Keys.Change(t.Context(), version, c, nil))
	want := []keyring.StoredKey{stays, moves, comes}
	slices.SortFunc(want, byKeyID)
	got, next := f.keys(t)
	equal(t, "the keys", got, want)
	if next <= version {
		t.Errorf("the version went from %d to %d, want it raised", version, next)
	}
}

func changeKeysLogs(t *testing.T, f *fixture) {
	stolen, retired, next := f.storedKey(0), f.storedKey(time.Hour), f.storedKey(2*time.Hour)
	f.putKeys(t, stolen, retired, next)
	f.wantLog(t, 0)
	_, version := f.keys(t)
	c := keyring.Change{
		Put: []keyring.StoredKey{f.storedKey(3 * time.Hour)}, Remove: []string{stolen.ID, retired.ID},
		Distrust: []string{stolen.ID}, Changed: next.ID,
	}
	must(t, f.Keys.Change(t.Context(), version, c, nil))
	f.wantLog(t, 0, f.entry(feed.Key, stolen.ID, ""), f.entry(feed.Changed, next.ID, ""))
	if !f.ear.heard(feed.Key, stolen.ID) || !f.ear.heard(feed.Changed, next.ID) {
		t.Error("the step was answered before its entries were heard")
	}
}

func changeKeysLost(t *testing.T, f *fixture) {
	key := f.storedKey(0)
	f.putKeys(t, key)
	_, version := f.keys(t)
	for _, at := range []int64{version - 1, version + 1} {
		f.unchanged(t, "a lost change", func() {
			c := keyring.Change{
				Put: []keyring.StoredKey{f.storedKey(0)}, Remove: []string{key.ID}, Distrust: []string{key.ID}, Changed: key.ID,
			}
			e := noted(audit.KeysDistrusted)
			wantErr(t, "Change", f.Keys.Change(t.Context(), at, c, &e), keyring.ErrLost)
		})
	}
}

func changeKeysRace(t *testing.T, f *fixture) {
	_, version := f.keys(t)
	oneWinner(t, race(racers, func(int) error {
		e := noted(audit.KeyRotated)
		return f.Keys.Change(t.Context(), version, keyring.Change{Put: []keyring.StoredKey{f.storedKey(0)}}, &e)
	}), keyring.ErrLost)
	keys, _ := f.keys(t)
	equal(t, "the number of keys", len(keys), 1)
	equal(t, "the number of audit entries", len(f.audits(t)), 1)
}

func changeKeysAudits(t *testing.T, f *fixture) {
	f.putKeys(t, f.storedKey(0))
	equal(t, "the number of audit entries", len(f.audits(t)), 0)
	_, version := f.keys(t)
	e := noted(audit.KeyRotated)
	must(t, f.Keys.Change(t.Context(), version, keyring.Change{Put: []keyring.StoredKey{f.storedKey(0)}}, &e))
	f.wantAudit(t, 0, e)
}
