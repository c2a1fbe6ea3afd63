package coatcheck

import (
	"context"
	"sync"
)

// A flight makes one call serve all who ask for the same key while it is under
// way. The zero flight is ready. It is safe for concurrent use.
type flight[T any] struct {
	mu    sync.Mutex
	calls map[string]*call[T]
}

type call[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// do returns what one call of fn returned. fn runs by start, apart from ctx, so
// that a caller who goes away takes nothing from the others; where start refuses
// because the verifier is closed, do returns ErrStale.
func (f *flight[T]) do(ctx context.Context, key string, start func(func()) bool, fn func() (T, error)) (T, error) {
	f.mu.Lock()
	c := f.calls[key]
	if c == nil {
		c = &call[T]{done: make(chan struct{})}
		if f.calls == nil {
			f.calls = make(map[string]*call[T])
		}
		f.calls[key] = c
		f.mu.Unlock()
		run := func() {
			c.value, c.err = fn()
			f.land(key, c)
		}
		if !start(run) {
			c.err = ErrStale
			f.land(key, c)
		}
	} else {
		f.mu.Unlock()
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (f *flight[T]) land(key string, c *call[T]) {
	f.mu.Lock()
	delete(f.calls, key)
	f.mu.Unlock()
	close(c.done)
}
