package keyring

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// shelf keeps keys in memory, so that a test can play another node, a slow store or
// a thief with the database.
type shelf struct {
	keys    []StoredKey
	version int64
	now     time.Time
	changes []Change
	audited []audit.Entry
	rival   func() // another node, just before a change is applied
	read    int    // readings
	clients []jwt.Algorithm
}

func (s *shelf) Algorithms(context.Context) ([]jwt.Algorithm, error) { return s.clients, nil }

func (s *shelf) Keys(context.Context) ([]StoredKey, int64, time.Time, error) {
	s.read++
	return slices.Clone(s.keys), s.version, s.now, nil
}

func (s *shelf) Change(_ context.Context, version int64, c Change, e *audit.Entry) error {
	if rival := s.rival; rival != nil {
		s.rival = nil
		rival()
	}
	if version != s.version {
		return ErrLost
	}
	s.version++
	s.changes = append(s.changes, c)
	s.keys = slices.DeleteFunc(s.keys, func(k StoredKey) bool {
		return slices.Contains(c.Remove, k.ID) || slices.ContainsFunc(c.Put, func(p StoredKey) bool { return p.ID == k.ID })
	})
	s.keys = append(s.keys, c.Put...)
	if e != nil {
		s.audited = append(s.audited, *e)
	}
	return nil
}

var secret = []byte(strings.Repeat("s", 32))

func newShelf() *shelf { return &shelf{now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)} }

func newRing(t *testing.T, s *shelf, algorithm jwt.Algorithm) *Ring {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	clock := func() time.Time { return s.now }
	log := revocation.New(revocation.Config{}, nil, clock, quiet)
	r, err := New(Config{Algorithm: algorithm, Access: 10 * time.Minute}, s, log, secret, clock, quiet)
	if err != nil {
		t.Fatal(err)
	}
	load(t, r)
	return r
}

func load(t *testing.T, r *Ring) {
	t.Helper()
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func signs(t *testing.T, r *Ring) string {
	t.Helper()
	signer, err := r.Signer()
	if err != nil {
		t.Fatal(err)
	}
	return signer.Public().ID
}

func published(r *Ring, id string) bool {
	_, found := r.Public(id)
	set, _ := r.Published()
	return found && bytes.Contains(set, []byte(id))
}

func TestANewRingSignsAndHasANextKey(t *testing.T) {
	for _, algorithm := range []jwt.Algorithm{jwt.ES256, jwt.EdDSA, jwt.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			r := newRing(t, newShelf(), algorithm)
			signer, err := r.Signer()
			if err != nil {
				t.Fatal(err)
			}
			token, err := signer.Sign(jwt.Claims{
				Issuer: "i", Subject: "s", Audience: []string{"a"}, ExpiresAt: 2, IssuedAt: 1, ID: "j", ClientID: "c",
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jwt.Parse(token, r.Public); err != nil {
				t.Errorf("its own token: %v", err)
			}
			if len(r.Keys()) != 2 {
				t.Errorf("%d keys, want the current and the next", len(r.Keys()))
			}
		})
	}
}

// OD-3: the next key is published before its first use, the old one until its last
// token is over.
func TestRotationByTime(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	first := signs(t, r)
	next := r.Keys()[1].ID
	if !published(r, next) {
		t.Error("the next key is not published")
	}
	s.now = s.now.Add(Period)
	if got := signs(t, r); got != next {
		t.Errorf("%s signs, want the next key, by its time alone", got)
	}
	load(t, r)
	if !published(r, first) {
		t.Error("the old key is gone while its tokens live")
	}
	s.now = s.now.Add(10*time.Minute + revocation.Margin + time.Second)
	load(t, r)
	if published(r, first) {
		t.Error("the old key is still published after its last token")
	}
	if len(r.Keys()) != 2 || r.Keys()[1].ActiveAt.Sub(s.now) < Period-time.Hour {
		t.Errorf("keys %v", r.Keys())
	}
}

func TestRotationByHandWaitsForThePublishedSet(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	first := signs(t, r)
	from, err := r.Rotate(t.Context(), audit.Entry{Event: audit.KeyRotated})
	if err != nil || !from.Equal(s.now.Add(Lead)) {
		t.Fatalf("from %v, %v", from, err)
	}
	if signs(t, r) != first {
		t.Error("a key signs that verifiers cannot have yet")
	}
	s.now = from
	if signs(t, r) == first {
		t.Error("the old key signs on")
	}
	if len(s.audited) != 1 || s.changes[len(s.changes)-1].Changed == "" {
		t.Errorf("audited %d times, log told %q", len(s.audited), s.changes[len(s.changes)-1].Changed)
	}
}

func TestDistrustEndsEveryKey(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	before := r.Keys()
	if err := r.Distrust(t.Context(), audit.Entry{Event: audit.KeysDistrusted}); err != nil {
		t.Fatal(err)
	}
	for _, k := range before {
		if published(r, k.ID) || !slices.Contains(s.changes[1].Distrust, k.ID) {
			t.Errorf("key %s is published %v, told to the log %v", k.ID, published(r, k.ID), slices.Contains(s.changes[1].Distrust, k.ID))
		}
	}
	if slices.ContainsFunc(before, func(k StoredKey) bool { return k.ID == signs(t, r) }) {
		t.Error("a distrusted key signs")
	}
	if len(s.audited) != 1 {
		t.Errorf("audited %d times", len(s.audited))
	}
}

func TestAnotherAlgorithmTakesOverAfterTheLead(t *testing.T) {
	s := newShelf()
	newRing(t, s, jwt.ES256)
	r := newRing(t, s, jwt.EdDSA)
	signer, err := r.Signer()
	if err != nil || signer.Public().Algorithm != jwt.ES256 {
		t.Fatalf("signs with %v, %v", signer.Public().Algorithm, err)
	}
	s.now = s.now.Add(Lead)
	if signer, err = r.Signer(); err != nil || signer.Public().Algorithm != jwt.EdDSA {
		t.Errorf("after the lead it signs with %v, %v", signer.Public().Algorithm, err)
	}
}

// signsFor returns which key signs by an algorithm.
func signsFor(t *testing.T, r *Ring, algorithm jwt.Algorithm) string {
	t.Helper()
	signer, err := r.SignerFor(t.Context(), algorithm)
	if err != nil {
		t.Fatal(err)
	}
	if algorithm != "" && signer.Public().Algorithm != algorithm {
		t.Errorf("by %s signs a key of %s", algorithm, signer.Public().Algorithm)
	}
	return signer.Public().ID
}

// What clients need besides the configured algorithm has keys of its own, which come and
// go as the others do.
func TestKeysForClients(t *testing.T) { // OC-8, OD-3
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	if _, err := r.SignerFor(t.Context(), jwt.RS256); !errors.Is(err, ErrNoKey) || len(r.Keys()) != 2 {
		t.Errorf("a key that nobody needs: %v, %d keys", err, len(r.Keys()))
	}
	s.clients = []jwt.Algorithm{jwt.ES256, jwt.RS256} // without a word to this node
	access := signs(t, r)
	first := signsFor(t, r, jwt.RS256)
	if signsFor(t, r, jwt.ES256) != access || signsFor(t, r, "") != access || !published(r, first) {
		t.Error("access tokens are signed by another key, or the new one is not published")
	}
	if !slices.Equal(r.Algorithms(), []jwt.Algorithm{jwt.ES256, jwt.RS256}) || len(r.Keys()) != 4 {
		t.Errorf("algorithms %v, %d keys, want two with two each", r.Algorithms(), len(r.Keys()))
	}
	other := newRing(t, s, jwt.ES256)
	if signsFor(t, other, jwt.RS256) != first || signs(t, other) != access {
		t.Error("another node signs by other keys")
	}
	s.now = s.now.Add(Period)
	load(t, r)
	if signsFor(t, r, jwt.RS256) == first || signs(t, r) == access || !published(r, first) || !published(r, access) {
		t.Error("after a period the first keys sign on, or are gone")
	}
	s.now = s.now.Add(10*time.Minute + revocation.Margin + time.Second)
	load(t, r)
	if published(r, first) || published(r, access) || len(r.Keys()) != 4 {
		t.Errorf("%d keys, want the current and the next of each", len(r.Keys()))
	}
}

func bothSign(t *testing.T, r *Ring) [2]string {
	t.Helper()
	return [2]string{signs(t, r), signsFor(t, r, jwt.RS256)}
}

func TestKeysForClientsRotateAndFallWithTheOthers(t *testing.T) {
	s := newShelf()
	s.clients = []jwt.Algorithm{jwt.RS256}
	r := newRing(t, s, jwt.ES256)
	first := bothSign(t, r)
	from, err := r.Rotate(t.Context(), audit.Entry{Event: audit.KeyRotated})
	if err != nil || bothSign(t, r) != first {
		t.Fatalf("rotated before the lead: %v", err)
	}
	s.now = from
	second := bothSign(t, r)
	if second[0] == first[0] || second[1] == first[1] {
		t.Error("a key was not rotated")
	}
	before := r.Keys()
	if err := r.Distrust(t.Context(), audit.Entry{Event: audit.KeysDistrusted}); err != nil {
		t.Fatal(err)
	}
	for _, k := range before {
		if published(r, k.ID) {
			t.Errorf("a %s key is trusted on", k.Algorithm)
		}
	}
	if now := bothSign(t, r); now[0] == second[0] || now[1] == second[1] {
		t.Error("a distrusted key signs")
	}
}

func TestKeysThatNobodyNeedsLapse(t *testing.T) {
	s := newShelf()
	s.clients = []jwt.Algorithm{jwt.EdDSA}
	r := newRing(t, s, jwt.ES256)
	last := signsFor(t, r, jwt.EdDSA)
	s.clients = nil
	load(t, r)
	if !published(r, last) || len(r.Keys()) != 3 {
		t.Errorf("%d keys, want that which has signed, and no next one", len(r.Keys()))
	}
	s.now = s.now.Add(Period + 10*time.Minute + revocation.Margin + time.Second)
	load(t, r)
	if published(r, last) {
		t.Error("it is published on")
	}
	for _, k := range r.Keys() {
		if k.Algorithm != jwt.ES256 {
			t.Errorf("a key of %s is left", k.Algorithm)
		}
	}
}

// A database that has slept for long, and is then served by another algorithm, signs at
// once.
func TestAnotherAlgorithmAfterALongSleep(t *testing.T) {
	s := newShelf()
	newRing(t, s, jwt.ES256)
	s.now = s.now.Add(10 * Period)
	r := newRing(t, s, jwt.EdDSA)
	signsFor(t, r, jwt.EdDSA)
	if len(r.Keys()) < 2 || len(r.Algorithms()) != 1 {
		t.Errorf("keys %v", r.Keys())
	}
}

func TestTwoNodesMakeOneChange(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	s.rival = func() {
		other := &Ring{config: r.config, store: s, sealer: r.sealer, log: r.log, now: r.now, logger: r.logger}
		other.held.Store(&keys{})
		if err := other.Distrust(context.Background(), audit.Entry{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Rotate(t.Context(), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	if len(r.Keys()) != 3 {
		t.Errorf("%d keys, want the other node's two and one more next", len(r.Keys()))
	}
}

// JCS-1, NIST: whoever has the database has no key.
// A token by a key that another node has just made is known at the first look, and
// tokens by made-up keys cost ten readings a second.
func TestAKeyThatAnotherNodeHasJustMade(t *testing.T) { // D-18, V-20
	s := newShelf()
	one, other := newRing(t, s, jwt.ES256), newRing(t, s, jwt.ES256)
	if err := one.Distrust(t.Context(), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	id := signs(t, one)
	if published(other, id) {
		t.Fatal("it is known already")
	}
	if !other.LookAgain(t.Context()) || !published(other, id) {
		t.Error("it is not known after a look")
	}
	before := s.read
	for range 100 {
		if other.LookAgain(t.Context()) {
			t.Error("the store is read again at once")
		}
	}
	s.now = s.now.Add(lookEvery)
	if !other.LookAgain(t.Context()) || s.read != before+1 {
		t.Errorf("%d readings, want one once it is time", s.read-before)
	}
}

func TestKeysAreSealed(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	k := s.keys[0]
	if bytes.Contains(k.Sealed, []byte("PRIVATE")) {
		t.Error("a private key in the clear")
	}
	other, err := newSealer([]byte(strings.Repeat("x", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.open(k); err == nil {
		t.Error("opened with another secret")
	}
	k.ID = s.keys[1].ID
	if _, err := r.sealer.open(k); err == nil {
		t.Error("one key passes for another")
	}
	if set, _ := r.Published(); bytes.Contains(set, []byte(`"d"`)) {
		t.Error("a private member is published")
	}
}

func TestNoKeyIsAnError(t *testing.T) {
	s := newShelf()
	r := newRing(t, s, jwt.ES256)
	s.now = s.now.Add(-time.Hour)
	if _, err := r.Signer(); !errors.Is(err, ErrNoKey) {
		t.Errorf("signs before any key is active: %v", err)
	}
}
