package coatcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/jwt"
)

const (
	longestTick   = 250 * time.Millisecond
	shortestTick  = 5 * time.Millisecond
	sweepInterval = time.Minute
	// knownFor is how long a cookie that has run out is still known to have been
	// good once.
	knownFor = 10 * time.Minute
)

// live is the verifier's life in the background.
func (v *Verifier) live() {
	v.load()
	if v.config.APIKey != "" {
		v.start(v.follow)
	}
	tick := time.NewTicker(min(longestTick, max(shortestTick, v.config.Staleness/20)))
	defer tick.Stop()
	swept := v.clock.read().unix
	for {
		now := v.clock.read()
		if behind := time.Duration(now.late - now.wall); behind > jwt.Leeway {
			v.complain(&v.behind, "coatcheck: the clock went back, or is behind the issuer's; until it catches up, nothing becomes younger",
				fmt.Errorf("it is %v behind", behind.Round(time.Second)))
		}
		v.watchdog(now)
		v.paceAll(now)
		if now.unix >= v.keys.due.Load() {
			v.keys.due.Store(now.add(keyRetry)) // until the reading says when
			v.start(func() { _ = v.refreshKeys(v.life, 0) })
		}
		if now.unix-swept >= int64(sweepInterval) {
			swept = now.unix
			v.sweep(now)
		}
		v.save(v.life, now)
		select {
		case <-tick.C:
		case <-v.life.Done():
			v.save(context.WithoutCancel(v.life), v.clock.read())
			return
		}
	}
}

// sweep forgets what can no longer matter. The clock never goes back, so nothing
// of it can be good again.
func (v *Verifier) sweep(now instant) {
	s := now.seconds()
	v.set.Prune(s)
	v.tokens.Sweep(s)
	v.lately.Sweep(s)
	v.sessions.Sweep(s - int64(knownFor/time.Second))
}

// Ready waits until the verifier can check credentials: it has the issuer's keys
// and the first snapshot of the log, or, under [Offline], has tried in vain to get
// one. It returns early when the issuer refuses the API key, and otherwise, when
// ctx is done or the verifier is closed, with what was in the way.
func (v *Verifier) Ready(ctx context.Context) error {
	for {
		changed, noKeys, noLog := v.progress.look()
		deaf := v.config.WhenStale == Offline && (v.config.APIKey == "" || noLog != nil)
		if v.keys.usable() && (deaf || v.fresh(v.clock.read())) {
			return nil
		}
		err := errors.Join(noLog, noKeys)
		var status *statusError
		if errors.As(err, &status) && status.refused() {
			return fmt.Errorf("coatcheck: not ready: %w", err)
		}
		select {
		case <-changed:
			continue
		case <-v.life.Done():
			return errors.New("coatcheck: not ready: the verifier is closed")
		case <-ctx.Done():
		}
		if err != nil {
			return fmt.Errorf("coatcheck: not ready: %w: %w", ctx.Err(), err)
		}
		return fmt.Errorf("coatcheck: not ready: %w", ctx.Err())
	}
}

// progress is how far the verifier has come, for those who wait.
type progress struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	noKeys  error         // why there are none, if that is known
	noLog   error
}

func (p *progress) init() { p.changed = make(chan struct{}) }

func (p *progress) keys(err error) { p.note(&p.noKeys, err) }

func (p *progress) log(err error) { p.note(&p.noLog, err) }

func (p *progress) note(what *error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*what = err
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) look() (changed <-chan struct{}, noKeys, noLog error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed, p.noKeys, p.noLog
}

// complaint spaces out what would otherwise be logged at every request.
type complaint struct{ last atomic.Int64 }

const complainInterval = 10 * time.Second

// complain logs an error, but not again within the interval. A refused API key
// is an error that an operator must mend; all else may pass by itself.
func (v *Verifier) complain(c *complaint, text string, err error) {
	now, last := v.clock.read().unix, c.last.Load()
	if last != 0 && now-last < int64(complainInterval) || !c.last.CompareAndSwap(last, now) || v.life.Err() != nil {
		return
	}
	level := slog.LevelWarn
	var status *statusError
	if errors.As(err, &status) && status.refused() {
		level = slog.LevelError
	}
	v.log.Log(context.Background(), level, text, "issuer", v.config.Issuer, "error", err)
}
