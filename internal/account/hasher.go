package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/hashing"
)

// HashParameters are the costs of one Argon2id hash (RFC 9106).
type HashParameters struct {
	MemoryKiB uint32 // 8 per thread, up to 262,144 (256 MiB)
	Time      uint32 // passes over that memory, 1 to 16
	Threads   uint8  // lanes, 1 to 16
}

// DefaultHashParameters are what OWASP recommends for Argon2id: 19 MiB, 2 passes,
// 1 lane.
var DefaultHashParameters = HashParameters{MemoryKiB: 19 * 1024, Time: 2, Threads: 1}

// ErrBusy answers a caller for whom there is neither a hashing slot nor a place in
// the queue. It travels in a [fault.Retry].
var ErrBusy = fault.New(fault.Unavailable, "busy", "Too many people are signing in at this moment. Please try again shortly.")

// errUnusable means that a stored hash is not one that this package makes, or
// costs more than it accepts. It does not repeat the hash.
var errUnusable = errors.New("stored password hash is not usable")

// A Hasher makes and checks password hashes in a bounded number of slots, so that
// however many people sign in at once, hashing holds at most slots times the
// memory of one hash, and leaves the other processors to those who are signed in
// already. It is safe for concurrent use.
type Hasher struct {
	current HashParameters
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
	sum     hashing.Sum
}

// NewHasher returns a Hasher for hashes with parameters p, of which sum makes slots (at
// least 1) at a time, while at most queue callers wait. Parameters outside of their
// range count as [DefaultHashParameters].
func NewHasher(p HashParameters, slots, queue int, sum hashing.Sum) *Hasher {
	if !p.acceptable() {
		p = DefaultHashParameters
	}
	return &Hasher{current: p, slots: make(chan struct{}, max(1, slots)), queue: int64(max(0, queue)), sum: sum}
}

// Hash returns the hash of a password as a PHC string, with a fresh salt. The
// password has been through [PasswordPolicy.Check]; an empty one, and one over
// 512 bytes, is an error. Otherwise it fails as [Hasher.Check] does.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if !hashable(password) {
		return "", errors.New("hash password: it is empty or too long")
	}
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return h.fresh(password)
}

// Check reports whether password is the one that stored was made of. stored may
// be "", where there is no such account or no password: nothing matches then. A
// password that is empty or over 512 bytes matches nothing either.
//
// Exactly one hash with the current parameters is made on every path, so that
// time does not tell them apart; a caller that has already decided to refuse
// calls it all the same. Where stored has other parameters it costs its own hash
// besides, and if the password is right, upgraded is a hash to store instead;
// otherwise upgraded is "".
//
// It fails with [ErrBusy] in a [fault.Retry]; with the context's error if that
// ends while waiting, upon which the caller's place in the queue is free again;
// with [fault.ErrUnavailable] if hashes cannot be made; and with a plain error if
// stored is not usable. A hash that has begun runs to
// its end and holds its slot until then, whatever becomes of the caller.
func (h *Hasher) Check(ctx context.Context, stored, password string) (ok bool, upgraded string, err error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return false, "", err
	}
	defer release()
	possible := hashable(password)
	if !possible {
		password = ""
	}
	if stored == "" {
		_, err = h.fresh(password)
		return false, "", err
	}
	old, err := parsePHC(stored)
	if err != nil {
		_, failed := h.fresh(password)
		return false, "", fmt.Errorf("check password: %w", errors.Join(err, failed))
	}
	sum, err := h.derive(password, old.salt, old.parameters, len(old.sum))
	if err != nil {
		return false, "", err
	}
	ok = subtle.ConstantTimeCompare(sum, old.sum) == 1 && possible
	if old.parameters == h.current && len(old.salt) == saltLength && len(old.sum) == sumLength {
		return ok, "", nil
	}
	if upgraded, err = h.fresh(password); !ok || err != nil {
		upgraded = ""
	}
	return ok && err == nil, upgraded, err
}

// Slots returns how many slots are busy, how many callers wait for one, and how
// many slots there are.
func (h *Hasher) Slots() (busy, waiting, total int) {
	return len(h.slots), int(h.waiting.Load()), cap(h.slots)
}

// acquire waits for a slot, in order of arrival, and returns what gives it back.
func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for a hashing slot: %w", err)
	}
	release = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return release, nil
	default:
	}
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > h.queue {
		return nil, &fault.Retry{Fault: ErrBusy, After: time.Second}
	}
	select {
	case h.slots <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a hashing slot: %w", ctx.Err())
	}
}

// The lengths of our own salts and hashes, in bytes.
const (
	saltLength = 16
	sumLength  = 32
)

// fresh returns a new hash with the current parameters.
func (h *Hasher) fresh(password string) (string, error) {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails: crypto/rand.Read ends the program instead
	sum, err := h.derive(password, salt, h.current, sumLength)
	if err != nil {
		return "", err
	}
	return phc{h.current, salt, sum}.String(), nil
}

func (h *Hasher) derive(password string, salt []byte, p HashParameters, length int) ([]byte, error) {
	sum, err := h.sum(hashing.Job{
		Password: []byte(password), Salt: salt, MemoryKiB: p.MemoryKiB, Time: p.Time, Threads: p.Threads, Length: uint32(length),
	})
	if err != nil {
		return nil, fmt.Errorf("hash a password: %w: %w", fault.ErrUnavailable, err)
	}
	return sum, nil
}

// hashable reports whether a password may be one at all. The bound keeps work in
// proportion where text comes from strangers.
func hashable(password string) bool { return password != "" && len(password) <= maxPassword }
