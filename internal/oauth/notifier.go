package oauth

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/coatcheck/coatcheck/internal/outbound"
)

const (
	// noticeBatch notices go to one client at once, and noticeLease is longer than they
	// take, each the ten seconds of a call at most: it is what those wait for whose sender
	// has died.
	noticeBatch = 8
	noticeLease = 20 * time.Second
	// noticeReceivers are called at once, each for noticeTurn before it is another's turn.
	noticeReceivers = 32
	noticeTurn      = 15 * time.Second
	// noticeLook is how often it is looked for what is due, and for what has lapsed.
	noticeLook = time.Second
	// noticeUnwritten is longer than a node may know that a session was used before it
	// has written that down.
	noticeUnwritten = time.Minute
	// noticeWait doubles with each attempt, up to noticeLongest.
	noticeWait, noticeLongest = 5 * time.Second, time.Hour
	// A receiver that refuses may still have keys of yesterday, so it is asked some times
	// more, but not for ever: refusalWait doubles as well.
	mostRefusals, refusalWait = 5, time.Minute
	// After so many failures in a row a receiver counts as away: what waits for it is put
	// off without being tried, and it is left alone, longer each time.
	mostStrikes              = 3
	firstPause, longestPause = 5 * time.Second, 5 * time.Minute
	// noticeKept is how long dead letters are kept, and noticeForget how often that is seen to.
	noticeKept, noticeForget = 30 * 24 * time.Hour, time.Hour
	// noticeFarewell is what a call that is under way may still take at the end.
	noticeFarewell = 3 * time.Second
)

// A Notifier tells clients of sign-outs by the back channel. Several nodes may do so from
// one store: each notice is one node's at a time.
//
// A notice is sent at least once, and once unless the answer of the receiver or the
// process is lost at the wrong moment. Each sending bears a token of its own, with a jti
// of its own; what they have in common is sid, by which a receiver knows that it has
// nothing left to do.
type Notifier struct {
	store  NoticeStore
	find   func(ctx context.Context, clientID string) (*Client, error)
	token  func(ctx context.Context, clientID, userID, grantID string, issued time.Time) (string, error)
	call   func(ctx context.Context, call outbound.Call) (outbound.Answer, error)
	clock  func() time.Time
	logger *slog.Logger
	wake   chan struct{}
	forgot time.Time // of the goroutine that runs

	mu        sync.Mutex
	receivers map[string]*receiver
	busy      int

	sent, failed, buried atomic.Uint64
}

// newNotifier returns a Notifier. token makes the logout token of a grant.
func newNotifier(store NoticeStore, find func(context.Context, string) (*Client, error),
	token func(ctx context.Context, clientID, userID, grantID string, issued time.Time) (string, error),
	call func(context.Context, outbound.Call) (outbound.Answer, error), clock func() time.Time, logger *slog.Logger,
) *Notifier {
	return &Notifier{
		store: store, find: find, token: token, call: call, clock: clock, logger: logger,
		wake: make(chan struct{}, 1), receivers: map[string]*receiver{},
	}
}

// A receiver is what a Notifier knows of a client.
type receiver struct {
	busy    bool
	served  time.Time
	strikes int // failures in a row
	pauses  int // in a row
	resume  time.Time
}

// NoticeFigures are what a Notifier has done since it was made.
type NoticeFigures struct {
	Sent   uint64
	Failed uint64 // attempts that failed
	Buried uint64 // that made dead letters
}

// Figures returns what has been done so far.
func (n *Notifier) Figures() NoticeFigures {
	return NoticeFigures{Sent: n.sent.Load(), Failed: n.failed.Load(), Buried: n.buried.Load()}
}

// Counts counts what waits and what is dead of a client, or of all if it is empty.
func (n *Notifier) Counts(ctx context.Context, clientID string) (NoticeCounts, error) {
	return n.store.CountNotices(ctx, clientID)
}

// Wake has it looked at once for what is due. It never waits.
func (n *Notifier) Wake() {
	select {
	case n.wake <- struct{}{}:
	default: // somebody did so already
	}
}

// Run sends what is due until ctx ends. A call that is under way then has three seconds
// to get through.
func (n *Notifier) Run(ctx context.Context) {
	tick := time.NewTicker(noticeLook)
	defer tick.Stop()
	var turns sync.WaitGroup
	defer turns.Wait()
	for {
		n.lapse(ctx)
		n.dispatch(ctx, &turns)
		n.forget(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.wake:
		}
	}
}

// Deliver does once what Run does again and again, and returns when all that was due
// then was sent, or was not. It is not for use beside Run.
func (n *Notifier) Deliver(ctx context.Context) {
	var turns sync.WaitGroup
	n.lapse(ctx)
	n.dispatch(ctx, &turns)
	turns.Wait()
	n.forget(ctx)
}

// lapse makes notices of what has ended by itself.
func (n *Notifier) lapse(ctx context.Context) {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if _, more, err = n.store.Lapse(ctx, noticeUnwritten); err != nil {
			if ctx.Err() == nil {
				n.logger.Warn("it cannot be looked for sessions that have lapsed, it will be tried again", "error", err)
			}
			return
		}
	}
}

// dispatch gives each client whose notices are due a turn, those first that have waited
// for theirs longest.
func (n *Notifier) dispatch(ctx context.Context, turns *sync.WaitGroup) {
	due, err := n.store.DueNotices(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.logger.Warn("it cannot be looked for notices of sign-outs, it will be tried again", "error", err)
		}
		return
	}
	for _, id := range n.admit(due) {
		turns.Go(func() {
			defer n.leave(id)
			if err := n.serve(ctx, id); err != nil && ctx.Err() == nil {
				n.logger.Warn("notices of sign-outs could not be sent, it will be tried again", "client", id, "error", err)
			}
		})
	}
}

// admit returns those of the clients that have a turn now.
func (n *Notifier) admit(due []string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock()
	for id, r := range n.receivers {
		if !r.busy && !slices.Contains(due, id) && r.pauses == 0 {
			delete(n.receivers, id)
		}
	}
	served := func(id string) time.Time {
		if r := n.receivers[id]; r != nil {
			return r.served
		}
		return time.Time{}
	}
	slices.SortStableFunc(due, func(a, b string) int { return served(a).Compare(served(b)) })
	var admitted []string
	for _, id := range due {
		r := n.receivers[id]
		if r == nil {
			r = &receiver{}
			n.receivers[id] = r
		}
		if r.busy || now.Before(r.resume) || n.busy == noticeReceivers {
			continue
		}
		r.busy, r.served = true, now
		n.busy++
		admitted = append(admitted, id)
	}
	return admitted
}

func (n *Notifier) leave(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.receivers[id].busy = false
	n.busy--
}

// serve sends what is due to a client until none is, its turn is over, or it is away.
// Whatever was begun is brought to its end, the record of what was sent above all.
func (n *Notifier) serve(ctx context.Context, id string) error {
	begun := time.Now()
	sending, cancel := lasting(ctx)
	defer cancel()
	for ctx.Err() == nil && time.Since(begun) < noticeTurn && !n.away(id) {
		lease := uuid.NewString()
		notices, now, err := n.store.ClaimNotices(ctx, id, lease, noticeLease, noticeBatch)
		if err != nil || len(notices) == 0 {
			return err
		}
		b := &noticeRound{Notifier: n, lease: lease, now: now, claimed: time.Now(), ctx: context.WithoutCancel(ctx), sending: sending, stop: ctx}
		if err := b.send(id, notices); err != nil {
			return err
		}
	}
	return nil
}

// lasting returns a context that outlives ctx by the farewell.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(noticeFarewell, cancel) })
	return kept, func() { stop(); cancel() }
}

// away reports whether a receiver is left alone.
func (n *Notifier) away(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock().Before(n.receivers[id].resume)
}

// note keeps whether a receiver answered.
func (n *Notifier) note(id string, answered bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.receivers[id]
	if answered {
		r.strikes, r.pauses, r.resume = 0, 0, time.Time{}
		return
	}
	if r.strikes++; r.strikes >= mostStrikes && !n.clock().Before(r.resume) {
		r.resume = n.clock().Add(min(longestPause, firstPause<<min(r.pauses, 10)))
		r.pauses++
	}
}

// forget removes old dead letters, seldom.
func (n *Notifier) forget(ctx context.Context) {
	now := n.clock()
	if !n.forgot.IsZero() && now.Sub(n.forgot) < noticeForget {
		return
	}
	n.forgot = now
	if _, err := n.store.ForgetNotices(ctx, noticeKept); err != nil && ctx.Err() == nil {
		n.logger.Warn("old notices could not be removed, it will be tried again", "error", err)
	}
}
