package mail

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	// leaseLength is longer than a batch takes, which begins no mail after batchLength:
	// the last may connect anew and take its time.
	leaseLength = 3 * time.Minute
	batchLength = time.Minute
	batch       = 20
	// mostBreaks is how many lines may break under one batch before the server counts
	// as away; fewer are the fault of single mails, which must not keep others back.
	mostBreaks = 3
	// firstWait doubles with each attempt, up to longestWait. Where the server is away
	// that is not the mail's fault and one attempt is for many, so it stays shorter:
	// what waits goes out soon after the server is back.
	firstWait       = 30 * time.Second
	longestWait     = time.Hour
	longestWaitAway = 5 * time.Minute
	// leastWait is how long before it is no longer worth sending a mail is given up.
	leastWait = 10 * time.Second
	// awayPause is how long nothing is tried after the server was found to be away.
	awayPause = 5 * time.Second
	// look is how often the outbox is looked into, for what other processes put there.
	look = time.Second
	// keepDead is how long dead letters are kept, and forgetEvery how often that is seen to.
	keepDead    = 30 * 24 * time.Hour
	forgetEvery = time.Hour
	// farewell is how long a mail that is under way may still take at the end.
	farewell = 3 * time.Second
)

// An Outbox sends what is in the store. Several nodes may do so from one store: each
// message is one node's at a time.
//
// A message is sent at least once, and once unless the answer of the mail server or the
// process is lost at the wrong moment; copies bear the same Message-ID.
type Outbox struct {
	store     Store
	write     func(Letter) (Written, error)
	transport Transport
	clock     func() time.Time
	logger    *slog.Logger
	wake      chan struct{}

	// Of the goroutine that runs.
	sent   map[string]bool // what was sent and could not be removed
	resume time.Time       // nothing is tried before
	forgot time.Time       // when dead letters were last looked through

	away                      atomic.Bool
	delivered, failed, buried atomic.Uint64
}

// NewOutbox returns an Outbox that writes messages by write and sends them by transport.
func NewOutbox(store Store, write func(Letter) (Written, error), transport Transport, clock func() time.Time, logger *slog.Logger) *Outbox {
	return &Outbox{
		store: store, write: write, transport: transport, clock: clock, logger: logger,
		wake: make(chan struct{}, 1), sent: map[string]bool{},
	}
}

// Wake has the outbox looked into at once. It never waits.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // somebody did so already
	}
}

// Figures are what an Outbox has done since it was made.
type Figures struct {
	Sent   uint64
	Failed uint64 // attempts that failed
	Buried uint64 // that made dead letters
	Away   bool   // the mail server was away when it was last tried
}

// Figures returns what has been done so far.
func (o *Outbox) Figures() Figures {
	return Figures{Sent: o.delivered.Load(), Failed: o.failed.Load(), Buried: o.buried.Load(), Away: o.away.Load()}
}

// Run sends what is due until ctx ends. A mail that is under way then has three
// seconds to get through.
func (o *Outbox) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := o.Deliver(ctx); err != nil && ctx.Err() == nil {
			o.logger.Warn("the outbox cannot be looked into, it will be tried again", "error", err)
		}
		o.forget(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-o.wake:
		}
	}
}

// Deliver sends what is due now. Its error is the store's; what becomes of the mails
// is in the store. It is for one goroutine at a time.
func (o *Outbox) Deliver(ctx context.Context) error {
	for ctx.Err() == nil && !o.clock().Before(o.resume) {
		due, waits, err := o.store.Next(ctx)
		if err != nil || !waits || due.After(o.clock()) {
			return err
		}
		lease := uuid.NewString()
		letters, now, err := o.store.Claim(ctx, lease, leaseLength, batch)
		if err != nil || len(letters) == 0 {
			return err
		}
		if err := o.send(ctx, letters, lease, now); err != nil {
			return err
		}
	}
	return nil
}

// A round is one lease and the line that its letters go over.
type round struct {
	*Outbox
	lease string
	now   time.Time // of the store, when the letters were claimed
	// ctx is the store's: what was begun is brought to its end, the record of what was
	// sent above all. sending outlives the caller's only by the farewell.
	ctx, sending context.Context
	line         Line // nil: none is open
	breaks       int
}

// send sends the letters of one lease. What it has no time for before the lease is
// over it gives back.
func (o *Outbox) send(ctx context.Context, letters []Letter, lease string, now time.Time) error {
	begun := time.Now()
	sending, cancel := lasting(ctx)
	defer cancel()
	r := &round{Outbox: o, lease: lease, now: now, ctx: context.WithoutCancel(ctx), sending: sending}
	defer r.hangUp()
	for i, l := range letters {
		if ctx.Err() != nil || time.Since(begun) > batchLength {
			return r.giveBack(letters[i:])
		}
		w, ready, err := r.prepare(l)
		if err != nil {
			return err
		}
		if !ready {
			continue
		}
		if r.line == nil {
			if r.line, err = o.transport.Connect(sending); err != nil {
				return r.noteAway(letters[i:], err)
			}
		}
		if err = r.line.Send(w); broken(err) {
			r.hangUp()
			if r.breaks++; r.breaks == mostBreaks {
				return r.noteAway(letters[i:], err)
			}
		}
		if err := r.settle(l, err); err != nil {
			return err
		}
	}
	return nil
}

// broken reports whether the error is one of the line.
func broken(err error) bool {
	var refused *Refusal
	return err != nil && !errors.As(err, &refused)
}

func (r *round) hangUp() {
	if r.line != nil {
		r.line.Close()
		r.line = nil
	}
}

// lasting returns a context that outlives ctx by the farewell.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })
	return kept, func() { stop(); cancel() }
}

// prepare writes a letter, unless it is settled already: sent, or too old.
func (r *round) prepare(l Letter) (w Written, ready bool, err error) {
	if r.sent[l.ID] {
		return w, false, r.remove(l)
	}
	if !r.now.Before(l.Expires) {
		why := "it was not sent in time"
		if l.Failure != "" {
			why += ": " + l.Failure
		}
		return w, false, r.bury(l, why)
	}
	w, err = r.write(l)
	if err != nil {
		r.logger.Error("a mail cannot be written, it will be tried again", "kind", string(l.Kind), "id", l.ID, "error", err)
		return w, false, r.putOff(l, longestWait, "the mail cannot be written")
	}
	return w, true, nil
}

// settle keeps what became of a letter that was sent, or was not.
func (r *round) settle(l Letter, err error) error {
	if err == nil {
		r.noteBack()
		r.delivered.Add(1)
		r.logger.Debug("a mail was sent", "kind", string(l.Kind), "id", l.ID)
		return r.remove(l)
	}
	if refused := (*Refusal)(nil); errors.As(err, &refused) {
		r.noteBack()
		if refused.Final {
			r.failed.Add(1)
			return r.bury(l, refused.Why)
		}
	}
	r.logger.Info("a mail was not taken, it will be tried again", "kind", string(l.Kind), "id", l.ID, "why", err.Error())
	return r.putOff(l, longestWait, err.Error())
}

// remove takes a letter that was sent out of the store. If that fails it is kept in
// mind, so that this node at least does not send it again.
func (r *round) remove(l Letter) error {
	err := r.store.Sent(r.ctx, l.ID, r.lease)
	if err != nil && !errors.Is(err, ErrLease) {
		r.sent[l.ID] = true
		return err
	}
	delete(r.sent, l.ID)
	return nil
}

func (r *round) bury(l Letter, why string) error {
	r.buried.Add(1)
	r.logger.Warn("a mail could not be sent and is a dead letter now", "kind", string(l.Kind), "id", l.ID, "attempts", l.Attempts, "why", why)
	return unleased(r.store.Bury(r.ctx, l.ID, r.lease, why))
}

// putOff makes a letter due later.
func (r *round) putOff(l Letter, longest time.Duration, why string) error {
	r.failed.Add(1)
	return unleased(r.store.Postpone(r.ctx, l.ID, r.lease, waitOf(l, r.now, longest), why))
}

// giveBack makes letters that were not tried due at once.
func (r *round) giveBack(letters []Letter) error {
	for _, l := range letters {
		if err := unleased(r.store.Postpone(r.ctx, l.ID, r.lease, 0, l.Failure)); err != nil {
			return err
		}
	}
	return nil
}

// unleased lets pass that another node has the letter now.
func unleased(err error) error {
	if errors.Is(err, ErrLease) {
		return nil
	}
	return err
}

// waitOf returns how long a letter waits for its next attempt: twice as long each
// time, up to a bound, but never more than half of the time in which it is still worth
// sending, so that the last attempts come close to its end.
func waitOf(l Letter, now time.Time, longest time.Duration) time.Duration {
	wait := longest
	if doublings := l.Attempts - 1; doublings < 10 {
		wait = min(longest, firstWait<<max(0, doublings))
	}
	return max(leastWait, min(wait, l.Expires.Sub(now)/2))
}

// noteAway puts off what was to go over a line that is not there, and everything else
// for a moment.
func (r *round) noteAway(letters []Letter, err error) error {
	if !r.away.Swap(true) {
		r.logger.Warn("no mail can be sent: they wait, and it is tried again", "error", err)
	}
	r.resume = r.clock().Add(awayPause)
	for _, l := range letters {
		if err := r.putOff(l, longestWaitAway, err.Error()); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) noteBack() {
	if o.away.Swap(false) {
		o.logger.Info("mails are sent again")
	}
}

// forget removes old dead letters, seldom.
func (o *Outbox) forget(ctx context.Context) {
	now := o.clock()
	if !o.forgot.IsZero() && now.Sub(o.forgot) < forgetEvery {
		return
	}
	o.forgot = now
	if _, err := o.store.ForgetDead(ctx, keepDead); err != nil && ctx.Err() == nil {
		o.logger.Warn("old dead letters could not be removed, it will be tried again", "error", err)
	}
}
