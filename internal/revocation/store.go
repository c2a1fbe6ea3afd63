// Package revocation keeps the ordered log of what is over and fans it out.
//
// It never decides what ends: the steps that end something append to the log
// themselves. It follows the log, holds what it says in memory, and serves it to
// this node and to every verifier.
package revocation

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// A Position is a place in the log: what a stream's event id says. Bits are
// random and belong to the entry at Seq, so that a number that a failover used
// a second time is told from the first.
type Position struct {
	Epoch string
	Seq   uint64
	Bits  uint16
}

// String returns the event id. Readers treat it as opaque.
func (p Position) String() string {
	bits := hex.EncodeToString([]byte{byte(p.Bits >> 8), byte(p.Bits)})
	return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10) + ":" + bits
}

// ParsePosition reads an event id that [Position.String] wrote.
func ParsePosition(id string) (Position, bool) {
	parts := strings.Split(id, ":")
	if len(id) > 64 || len(parts) != 3 || parts[0] == "" {
		return Position{}, false
	}
	seq, err := strconv.ParseUint(parts[1], 10, 63)
	if err != nil {
		return Position{}, false
	}
	bits, err := hex.DecodeString(parts[2])
	if err != nil || len(bits) != 2 {
		return Position{}, false
	}
	p := Position{Epoch: parts[0], Seq: seq, Bits: uint16(bits[0])<<8 | uint16(bits[1])}
	return p, p.String() == id
}

// A Logged entry is an entry with the random bits of its number.
type Logged struct {
	feed.Entry
	Bits uint16
}

// A Page is what one read of the log found.
type Page struct {
	Head Position  // the end of the log
	Rows []Logged  // in order
	Now  time.Time // the store's clock
	Mark time.Time // the highest time the store has recorded
}

// Store keeps the log. Entries are added by the steps that end something, in the
// stores of those nouns; their numbers rise in the order of commits, without a
// gap, and an entry can be read as soon as the step that wrote it has returned. A step
// that fails in a way not named here has happened whole or not at all, and may be taken
// again.
type Store interface {
	// Since reads the entries numbered from and above, up to limit of them, with
	// the log's end, in one indexed query. A page of an empty log has no rows.
	Since(ctx context.Context, from uint64, limit int) (Page, error)
	// Prune removes the entries whose Until has passed by the store's clock, and
	// returns how many. It never changes the log's end.
	Prune(ctx context.Context) (int, error)
	// NewEpoch puts a fresh epoch in the place of old. When another node was
	// faster it changes nothing and returns nil.
	NewEpoch(ctx context.Context, old string) error
	// Hold states that tokens that live this long may be minted from now on, for
	// as long as they may live; entries stay at least as long as the longest
	// lifetime held. It also raises the mark to the store's clock.
	Hold(ctx context.Context, lifetime time.Duration) error
}

// Margin is how much longer than the longest access token an entry stays.
const Margin = 70 * time.Second

// Before returns the second up to which what was given out is over when an end
// happens at the given time of the store: that time plus one second, rounded up.
// Whatever is given out later is stamped at least one second after it.
func Before(at time.Time) int64 {
	return (at.UnixMilli()+999)/1000 + 1
}

// Until returns the second after which an entry can be forgotten.
func Until(at time.Time, longest time.Duration) int64 {
	return at.Add(longest+Margin).Unix() + 1
}

// checkEpoch guards the one thing a store could get wrong about an epoch.
func checkEpoch(p Page) error {
	if p.Head.Epoch == "" || strings.ContainsAny(p.Head.Epoch, ":\r\n") {
		return fmt.Errorf("revocation log has no usable epoch")
	}
	return nil
}
