package app

import (
	"context"
	"fmt"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/wakeup"
)

// wireWakeups has what this node ends read by the other nodes at once, and the other
// way round, where a Redis is configured.
func (a *App) wireWakeups() error {
	if a.config.Redis == "" {
		a.Store.Heard(a.Log.Heard)
		return nil
	}
	var err error
	a.bell, err = wakeup.New(wakeup.Config{URL: a.config.Redis, Epoch: a.Log.Epoch, Wake: a.Log.Wake, Logger: a.logger})
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	a.Store.Heard(func(ended []feed.Entry) {
		a.Log.Heard(ended)
		a.bell.Ring()
	})
	a.metrics.WatchWakeups(a.bell)
	return nil
}

// followWakeups connects to Redis, if one is configured. Commands beside a server do
// not: what they end is read at the next poll.
func (a *App) followWakeups(ctx context.Context) {
	if a.bell != nil {
		a.bell.Run(ctx)
	}
}
