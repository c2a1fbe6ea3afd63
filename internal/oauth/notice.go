package oauth

import (
	"context"
	"errors"
	"time"
)

// ErrLease means that somebody else has the notice now, or that it is gone.
var ErrLease = errors.New("the lease of this notice is over")

// NoticeWorth is for how long a notice is worth sending.
const NoticeWorth = 72 * time.Hour

// A Notice is a sign-out that a client is to be told of by the back channel (OpenID
// Connect Back-Channel Logout 1.0): the end of one grant.
type Notice struct {
	GrantID  string // its id, too
	ClientID string
	UserID   string    // who may be deleted
	Created  time.Time // when the grant ended, or was found to be over
	Expires  time.Time // when it is no longer worth sending
	Attempts int       // how often it was claimed, this time included
	Failure  string    // why it was not taken the last time; empty at the first
}

// NoticeCounts say what waits to be sent.
type NoticeCounts struct {
	Waiting  int
	Oldest   time.Time // when the oldest that waits was made; zero if none does
	Dead     int
	ClientID string // whose notice failed last; "" if none did
	Failure  string // why; no path and no query of an address is in it
}

// A NoticeStore keeps the notices, one atomic step to a method and by its own time. The
// steps that end grants make them, of every grant whose client wants to be told. A step
// that fails in a way not named here has happened whole or not at all, and may be taken
// again.
type NoticeStore interface {
	// Lapse makes notices of grants that are over without a step that named them: by their session's time, or because everything or everything of their client was ended.
	// A session counts as unused only when that is so for unwritten longer than it may be.
	// It returns how many it made, and whether there may be more.
	Lapse(ctx context.Context, unwritten time.Duration) (told int, more bool, err error)
	// DueNotices returns the clients that have notices that are due, by ascending id.
	DueNotices(ctx context.Context) (clients []string, err error)
	// ClaimNotices gives up to limit notices of a client that are due to the caller, the longest due first, under a lease that keeps them from everyone else until it is over.
	// It also returns the time of the store.
	ClaimNotices(ctx context.Context, clientID, lease string, length time.Duration, limit int) ([]Notice, time.Time, error)
	// NoticeSent removes a notice that the lease still holds; else [ErrLease].
	NoticeSent(ctx context.Context, grantID, lease string) error
	// PostponeNotice makes a notice that the lease still holds due after a while, and keeps why; else [ErrLease].
	PostponeNotice(ctx context.Context, grantID, lease string, wait time.Duration, why string) error
	// BuryNotice makes a notice that the lease still holds a dead letter, and keeps why; else [ErrLease].
	BuryNotice(ctx context.Context, grantID, lease, why string) error
	// CountNotices counts what waits and what is dead of a client, or of all if it is empty.
	CountNotices(ctx context.Context, clientID string) (NoticeCounts, error)
	// ForgetNotices removes dead letters that died longer ago than keep, and says how many.
	ForgetNotices(ctx context.Context, keep time.Duration) (int, error)
}
