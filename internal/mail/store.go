package mail

import (
	"context"
	"errors"
	"time"
)

// ErrLease means that somebody else has the message now, or that it is gone.
var ErrLease = errors.New("the lease of this message is over")

// Worth is for how long a message is worth sending that does not say so itself.
const Worth = 72 * time.Hour

// A Letter is a message in the outbox.
type Letter struct {
	Message
	Created  time.Time // when the step was that tells of it; never zero, and neither is Expires
	Attempts int       // how often it was claimed, this time included
	Failure  string    // why it was not sent the last time; empty at the first
}

// Counts say how the outbox is filled.
type Counts struct {
	Waiting int
	Oldest  time.Time // when the oldest that waits was written down; zero if none does
	Dead    int
	Failure string // why the one that died last did, or else what last kept one waiting; no address is in it
}

// A Store keeps the outbox, one atomic step to a method and by its own time; the steps
// of other stores put messages there, too. A step that fails in a way not named here
// has happened whole or not at all, and may be taken again.
type Store interface {
	// Post adds messages that accompany no change, due at once; one that does not say until when it is worth sending is for three days.
	Post(ctx context.Context, messages ...Message) error
	// Next returns when the first message is due, or false if none waits.
	Next(ctx context.Context) (due time.Time, waits bool, err error)
	// Claim gives up to limit messages that are due to the caller, the longest due first, under a lease that keeps them from everyone else until it is over.
	// It also returns the time of the store.
	Claim(ctx context.Context, lease string, length time.Duration, limit int) ([]Letter, time.Time, error)
	// Sent removes a message that the lease still holds; else [ErrLease].
	Sent(ctx context.Context, id, lease string) error
	// Postpone makes a message that the lease still holds due after a while, and keeps why; else [ErrLease].
	Postpone(ctx context.Context, id, lease string, wait time.Duration, why string) error
	// Bury makes a message that the lease still holds a dead letter, and keeps why; else [ErrLease].
	Bury(ctx context.Context, id, lease, why string) error
	// Counts counts what waits and what is dead.
	Counts(ctx context.Context) (Counts, error)
	// ForgetDead removes dead letters that died longer ago than keep, and says how many.
	ForgetDead(ctx context.Context, keep time.Duration) (int, error)
}

// RecipientStore tells what waits for somebody.
type RecipientStore interface {
	// LettersTo returns up to limit messages to an address that were not sent, the oldest first; dead ones too.
	LettersTo(ctx context.Context, address string, limit int) ([]Letter, error)
}
