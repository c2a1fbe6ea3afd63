package revocation

import (
	"context"
	"fmt"
	"time"
)

// A reading is one go over the tail, which many may wait for.
type reading struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed once err is set
	err    error
}

// begin returns the reading that is under way. Where none is it begins one for as long
// as ctx lasts, which is the caller's to carry out.
func (l *Log) begin(ctx context.Context) (r *reading, mine bool) {
	l.pending.Lock()
	defer l.pending.Unlock()
	if l.reading != nil {
		return l.reading, false
	}
	r = &reading{done: make(chan struct{})}
	r.ctx, r.cancel = context.WithTimeout(ctx, pollTimeout)
	l.reading = r
	return r, true
}

func (l *Log) carryOut(r *reading) {
	r.err = l.read(r.ctx)
	r.cancel()
	l.pending.Lock()
	l.reading = nil
	l.pending.Unlock()
	close(r.done)
}

// poll reads the tail: what was in the log when it was called is known when it
// returns nil.
func (l *Log) poll(ctx context.Context) error {
	for {
		r, mine := l.begin(ctx)
		if mine {
			l.carryOut(r)
			return r.err
		}
		select {
		case <-r.done: // it may have begun before what is sought was there
		case <-ctx.Done():
			r.cancel()
			<-r.done
			return ctx.Err()
		}
	}
}

// Current returns nil if this node knows of every end up to [FreshFor] ago. If it
// does not it has the tail read now, and if that fails, or takes so long that it
// would be of no use, returns [ErrBehind]. All who ask meanwhile wait for the same
// reading, so that a store which says nothing keeps each of them no longer than one.
func (l *Log) Current(ctx context.Context) error {
	if l.fresh() {
		return nil
	}
	enough := time.NewTimer(FreshFor)
	defer enough.Stop()
	for {
		r, mine := l.begin(context.WithoutCancel(ctx)) // others may come to wait for it
		if mine {
			go l.carryOut(r)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBehind, ctx.Err())
		case <-enough.C:
			return fmt.Errorf("%w: the revocation log could not be read within %s", ErrBehind, FreshFor)
		}
		if r.err != nil {
			return fmt.Errorf("%w: %w", ErrBehind, r.err)
		}
		if mine || l.fresh() { // else it began too long before this call
			return nil
		}
	}
}

// CurrentAt is Current for a caller that has just looked at the clock.
func (l *Log) CurrentAt(ctx context.Context, now time.Time) error {
	if l.readable.Load() && now.UnixNano()-l.heard.Load() < int64(FreshFor) {
		return nil
	}
	return l.Current(ctx)
}

func (l *Log) fresh() bool { return l.readable.Load() && l.Age() < FreshFor }

// abandon ends a reading that somebody else has begun.
func (l *Log) abandon() {
	l.pending.Lock()
	r := l.reading
	l.pending.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}

// read brings memory up to the end of the store's log. One at a time does.
func (l *Log) read(ctx context.Context) error {
	for {
		began := l.now()
		l.mu.Lock()
		from := l.position
		l.mu.Unlock()
		page, err := l.store.Since(ctx, from.Seq, pageSize)
		if err == nil {
			err = checkEpoch(page)
		}
		if err != nil {
			return fmt.Errorf("read the revocation log: %w", err)
		}
		if err := l.take(ctx, from, page); err != nil {
			return err
		}
		if mark := page.Mark.UnixMilli(); mark > l.recorded.Load() { // one reads at a time
			l.recorded.Store(mark)
		}
		l.told.Store(page.Now.UnixMilli())
		l.mu.Lock()
		l.drift = page.Now.Sub(l.now())
		l.behind = page.Mark.Sub(page.Now)
		caught := l.position == page.Head
		l.mu.Unlock()
		if caught {
			l.heard.Store(began.UnixNano())
			l.readable.Store(true)
			return nil
		}
	}
}
