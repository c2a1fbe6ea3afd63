package sqlstore

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch bounds how many steps share a transaction.
const maxBatch = 256

var errClosed = errors.New("the database is closed")

// A batcher gathers the steps that wait, for one goroutine that performs all of them
// in one transaction. That so few goroutines call SQLite saves more than the sharing
// does: it needs deep stacks, and those of hundreds of callers would grow and be
// shrunk again and again.
type batcher struct {
	queue    chan *operation
	patience time.Duration  // how long a batch waits for as many steps as the one before had
	idle     sync.WaitGroup // the goroutines that perform

	mu     sync.RWMutex // guards closed, and the queue against being closed under a sender
	closed bool
}

// An operation is a step that waits for its turn.
type operation struct {
	ctx   context.Context
	step  *step
	state atomic.Int32
	err   error
	done  chan struct{}
}

// The states of an operation: it is dropped by its caller or begun, never both.
const (
	waiting = iota
	dropped
	begun
)

func newBatcher(patience time.Duration) *batcher {
	return &batcher{queue: make(chan *operation, 4*maxBatch), patience: patience}
}

// do has a step performed. A caller whose context ends before the step has begun is
// let go, and the step never begins; afterwards it waits for the answer.
func (b *batcher) do(ctx context.Context, s *step) error {
	op := &operation{ctx: ctx, step: s, done: make(chan struct{})}
	if err := b.enqueue(op); err != nil {
		return err
	}
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		if op.state.CompareAndSwap(waiting, dropped) {
			return ctx.Err()
		}
		<-op.done
		return op.err
	}
}

func (b *batcher) enqueue(op *operation) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed
	}
	select {
	case b.queue <- op:
		return nil
	case <-op.ctx.Done():
		return op.ctx.Err()
	}
}

// close waits for what was queued to be performed.
func (b *batcher) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.queue)
	}
	b.mu.Unlock()
	b.idle.Wait()
}

// each calls perform with batch after batch until the batcher is closed. The batch is
// valid during the call; perform sets the errors, and closes done of each.
func (b *batcher) each(perform func([]*operation)) {
	batch := make([]*operation, 0, maxBatch)
	for op := range b.queue {
		runtime.Gosched() // whoever is about to ask may do so first
		wanted := len(batch)
		batch = b.gather(take(batch[:0], op), wanted)
		if len(batch) > 0 {
			perform(batch)
		}
		clear(batch)
	}
}

// gather adds what waits, and what comes while there are fewer than wanted. Those who
// were answered together mostly come again together; who comes alone never waits.
func (b *batcher) gather(batch []*operation, wanted int) []*operation {
	var late <-chan time.Time
	for len(batch) < maxBatch {
		select {
		case op, more := <-b.queue:
			if !more {
				return batch
			}
			batch = take(batch, op)
			continue
		default:
		}
		if len(batch) >= wanted || b.patience == 0 {
			return batch
		}
		if late == nil {
			late = time.After(b.patience)
		}
		select {
		case op, more := <-b.queue:
			if !more {
				return batch
			}
			batch = take(batch, op)
		case <-late:
			return batch
		}
	}
	return batch
}

func take(batch []*operation, op *operation) []*operation {
	if op.ctx.Err() == nil && op.state.CompareAndSwap(waiting, begun) {
		batch = append(batch, op)
	}
	return batch
}
