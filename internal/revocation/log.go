package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// ErrBehind means that this node cannot vouch for having heard of every end.
var ErrBehind = fault.New(fault.Unavailable, "log_behind", "This node has lost sight of what has ended. Please try again.")

// Config is how the log is followed. Zero members take the defaults.
type Config struct {
	Poll      time.Duration // how often the tail is read: 50 ms
	Heartbeat time.Duration // revocation.heartbeat: 2 s
	Lifetime  time.Duration // the longest access lifetime that this node mints
}

// FreshFor is how long after the start of the last good read of the tail this
// node still serves from memory.
const FreshFor = 2 * time.Second

// MaxDrift is how far this node's clock may be from the store's.
const MaxDrift = 2 * time.Second

const (
	pageSize    = 1000
	holdEvery   = time.Minute
	pollTimeout = 5 * time.Second
)

// A Log follows the store's log, keeps what it says in memory, and fans it out.
// It is safe for concurrent use.
type Log struct {
	config Config
	store  Store
	now    func() time.Time
	logger *slog.Logger
	set    feed.Set
	hub    hub
	wake   chan struct{}

	pending  sync.Mutex   // guards reading
	reading  *reading     // the tail is being read; nil while it is not
	heard    atomic.Int64 // when the last good read began, in ns of the clock
	readable atomic.Bool  // whether a page was ever read
	recorded atomic.Int64 // the highest time that the store was seen to have recorded, in ms
	told     atomic.Int64 // what the store's clock said last, in ms
	mute     atomic.Bool  // a write has failed since one was last known to work
	probing  sync.Mutex   // held by the one who tries whether writing works again

	mu       sync.Mutex
	position Position
	entries  []Logged // the live ones, in order: what snapshots and resumed streams are made of
	drift    time.Duration
	behind   time.Duration // how far the store's clock is behind its own mark
	watchers []func(feed.Entry)
}

// New returns a log over store. Nothing is known until Follow or Current.
func New(c Config, store Store, now func() time.Time, logger *slog.Logger) *Log {
	if c.Poll == 0 {
		c.Poll = 50 * time.Millisecond
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 2 * time.Second
	}
	if c.Lifetime == 0 {
		c.Lifetime = 10 * time.Minute
	}
	l := &Log{config: c, store: store, now: now, logger: logger, wake: make(chan struct{}, 1)}
	l.hub.init(l)
	return l
}

// Set returns what is over. It may be read at any time; whether it may be relied
// on says [Log.Current].
func (l *Log) Set() *feed.Set { return &l.set }

// Heard takes entries that this process has just committed, so that they hold
// here before their step is answered, and has the tail read at once.
func (l *Log) Heard(entries []feed.Entry) {
	l.set.Add(entries...)
	l.Wake()
}

// Wake has the tail read now rather than at the next poll.
func (l *Log) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Watch calls f with every entry that the tail brings from now on, in order, once
// or more often. f must return soon.
func (l *Log) Watch(f func(feed.Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(l.watchers, f)
}

// Age returns how long ago the last good read of the tail began.
func (l *Log) Age() time.Duration {
	if !l.readable.Load() {
		return time.Duration(1<<63 - 1)
	}
	return max(0, l.now().Sub(time.Unix(0, l.heard.Load())))
}

// Epoch returns the epoch of the log as far as it was read; "" before that.
func (l *Log) Epoch() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position.Epoch
}

// Recorded returns the highest time that the store has recorded, or what its own clock
// said last if that is later, as far as it was read. It does not fall below the former
// when the clock is set back, nor with a restart: what had run out by then has run out,
// whatever this machine's clock says.
func (l *Log) Recorded() time.Time { return time.UnixMilli(max(l.recorded.Load(), l.told.Load())) }

// WriteFailed tells that the store could not write for a reason of its own, such as a
// full disk. From then on this node is not ready, until a write works again.
func (l *Log) WriteFailed() { l.mute.Store(true) }

// Ready returns nil if this node may serve: its tail is fresh, its clock agrees with
// the store's, and the store can write. After a write has failed it writes to know, one
// caller at a time.
func (l *Log) Ready(ctx context.Context) error {
	if err := l.Current(ctx); err != nil {
		return err
	}
	if l.mute.Load() {
		if !l.probing.TryLock() {
			return fmt.Errorf("%w: it is being tried whether the store can write", ErrBehind)
		}
		defer l.probing.Unlock()
		if err := l.Hold(ctx); err != nil {
			return fmt.Errorf("%w: the store cannot write: %w", ErrBehind, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.drift.Abs() > MaxDrift:
		return fmt.Errorf("%w: this machine's clock and the store's are %s apart", ErrBehind, l.drift.Abs())
	case l.behind > 0:
		return fmt.Errorf("%w: the store's clock is %s behind the highest time it has recorded; wait, or see coatcheck doctor --accept-clock", ErrBehind, l.behind)
	}
	return nil
}

// take adds a page to memory and hands it to the streams.
func (l *Log) take(ctx context.Context, from Position, page Page) error {
	rows := page.Rows
	if from.Epoch != "" {
		if reason := diverged(from, page); reason != "" {
			return l.restart(ctx, from, page, reason)
		}
		for len(rows) > 0 && rows[0].Seq <= from.Seq {
			rows = rows[1:]
		}
	}
	news := make([]feed.Entry, len(rows))
	for i, row := range rows {
		news[i] = row.Entry
	}
	l.set.Add(news...)
	l.mu.Lock()
	l.entries = append(l.entries, rows...)
	l.position.Epoch = page.Head.Epoch
	switch {
	case len(rows) > 0 && rows[len(rows)-1].Seq < page.Head.Seq:
		last := rows[len(rows)-1]
		l.position.Seq, l.position.Bits = last.Seq, last.Bits
	default:
		l.position = page.Head
	}
	watchers := l.watchers
	l.hub.publish(rows, page.Head.Epoch)
	l.mu.Unlock()
	for _, e := range news {
		for _, watch := range watchers {
			watch(e)
		}
	}
	return nil
}

// diverged says why what the store holds does not continue what this node knows:
// another epoch, an end before our position, or another entry at it.
func diverged(from Position, page Page) string {
	switch {
	case page.Head.Epoch != from.Epoch:
		return "epoch"
	case page.Head.Seq < from.Seq:
		return "future"
	case page.Head.Seq == from.Seq && page.Head.Bits != from.Bits:
		return "diverged"
	case len(page.Rows) > 0 && page.Rows[0].Seq == from.Seq && page.Rows[0].Bits != from.Bits:
		return "diverged"
	}
	return ""
}

// restart begins anew at the store's log. What memory holds as over stays over.
// Where no new epoch says so already, one is begun, so that verifiers of other
// nodes learn of it too.
func (l *Log) restart(ctx context.Context, from Position, page Page, reason string) error {
	l.logger.Warn("the revocation log does not continue: streams begin anew", "reason", reason, "seq", from.Seq)
	if reason != "epoch" {
		if err := l.store.NewEpoch(ctx, page.Head.Epoch); err != nil {
			return fmt.Errorf("begin a new epoch: %w", err)
		}
	}
	l.mu.Lock()
	l.position, l.entries = Position{}, nil
	l.mu.Unlock()
	l.hub.resync(reason)
	return nil
}

// Stop ends all streams, which are told to connect elsewhere, and begins no more. It
// does not wait for them, and may be called more than once.
func (l *Log) Stop() { l.hub.close() }

// Follow reads the tail until ctx ends, tells streams that this node is alive,
// and prunes what can no longer matter. At the end it stops the streams, and returns
// when their connections are closed, within about a second.
func (l *Log) Follow(ctx context.Context) {
	poll, beat, hold := time.NewTicker(l.config.Poll), time.NewTicker(l.config.Heartbeat), time.NewTicker(holdEvery)
	defer poll.Stop()
	defer beat.Stop()
	defer hold.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			l.hub.close()
			l.hub.active.Wait() // for the farewells
			l.abandon()
			l.recordTime(ctx)
			return
		case <-poll.C:
		case <-l.wake:
		case <-beat.C:
			l.hub.beat()
			continue
		case <-hold.C:
			l.keep(ctx)
			continue
		}
		err := l.poll(ctx)
		switch {
		case err != nil && !failing && !errors.Is(err, context.Canceled):
			l.logger.Error("the revocation log cannot be read, checks will soon be refused", "error", err)
		case err == nil && failing:
			l.logger.Info("the revocation log can be read again")
		}
		failing = err != nil
	}
}

// Hold states how long tokens minted here may live. It must have succeeded
// before the first of them.
func (l *Log) Hold(ctx context.Context) error {
	if err := l.store.Hold(ctx, l.config.Lifetime); err != nil {
		return fmt.Errorf("state the access lifetime: %w", err)
	}
	l.mute.Store(false)
	return nil
}

// recordTime has the store record the time at which this node stops, so that it is not
// earlier when a node starts again with its clock set back.
func (l *Log) recordTime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := l.Hold(ctx); err != nil {
		l.logger.Warn("the time of stopping could not be recorded", "error", err)
	}
}

// keep states the lifetime again and prunes.
func (l *Log) keep(ctx context.Context) {
	if err := l.Hold(ctx); err != nil {
		l.logger.Warn("revocation upkeep failed, it will be tried again", "error", err)
	}
	if _, err := l.store.Prune(ctx); err != nil {
		l.logger.Warn("revocation upkeep failed, it will be tried again", "error", err)
	}
	l.Prune()
}

// Prune drops from memory what can no longer matter.
func (l *Log) Prune() {
	now := l.now().Unix()
	l.set.Prune(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	stale := 0 // from the front only, so that what is kept has no gap
	for stale < len(l.entries) && l.entries[stale].Until < now {
		stale++
	}
	l.entries = slices.Clone(l.entries[stale:])
}
