package session

import (
	"context"
	"errors"
	"slices"
	"time"
)

// How often upkeep happens, by the wall. What it does decides nothing: limits are
// kept at the read, upkeep or not.
const (
	flushEvery = 5 * time.Second
	sweepEvery = time.Minute
	sweepBatch = 1000
)

// Declare writes the terms of the first-party client, which come from the
// configuration.
func (m *Manager) Declare(ctx context.Context, t ClientTerms) error {
	if err := m.upkeep.SetTerms(ctx, t); err != nil {
		return unavailable("write the terms of a client", err)
	}
	m.firstParty.Store(&t)
	return nil
}

// MayAsk returns what Begin would of an audience and a scope, before there is a
// session: so that nothing is begun, and no account made, for a request that asks
// for too much. It knows what was declared by this process.
func (m *Manager) MayAsk(audience, scope string) error {
	terms := m.firstParty.Load()
	if terms == nil {
		return nil // nothing was declared here: the store decides
	}
	st := Standing{Client: *terms}
	if _, err := st.target(audience, m.config.Issuer); err != nil {
		return err
	}
	_, err := st.scope(scope)
	return err
}

// Count returns the number of live sessions.
func (m *Manager) Count(ctx context.Context) (int, error) { return m.upkeep.Count(ctx) }

// Run writes when sessions were seen and removes what is long over, until ctx
// ends; then it writes what is left.
func (m *Manager) Run(ctx context.Context) {
	flush, sweep := time.NewTicker(flushEvery), time.NewTicker(sweepEvery)
	defer flush.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			m.report("flush", m.writeAllSeen(last))
			return
		case <-flush.C:
			m.report("flush", m.writeDueSeen(ctx))
		case <-sweep.C:
			m.report("sweep", m.Sweep(ctx))
		}
	}
}

// writeDueSeen writes sightings that have waited for long enough, as far as a turn's
// share of time goes.
func (m *Manager) writeDueSeen(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < flushEvery/seenShare; {
		batch := m.seen.due(m.now(), seenBatch)
		if err := m.writeSeen(ctx, batch); err != nil {
			return err
		}
		if len(batch) < seenBatch {
			break
		}
	}
	return nil
}

// writeAllSeen writes what the store does not have, as far as there is time.
func (m *Manager) writeAllSeen(ctx context.Context) error {
	for batch := range slices.Chunk(m.seen.all(), seenBatch) {
		if err := m.writeSeen(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes sessions that have been over for longer than any credential drawn
// on them could be presented, and codes that nobody presents any more, and forgets what
// memory need not hold.
func (m *Manager) Sweep(ctx context.Context) error {
	now := m.now()
	m.records.Sweep(now.Unix())
	m.tokens.Sweep(now.Unix())
	m.answers.Sweep(now.Unix())
	return errors.Join(
		sweep(ctx, "sweep codes", codesKept, m.codes.SweepCodes),
		sweep(ctx, "sweep sessions", m.config.Absolute, m.upkeep.Sweep),
	)
}

// sweep removes by batches until there is no more.
func sweep(ctx context.Context, what string, keep time.Duration, batch func(context.Context, time.Duration, int) (int, bool, error)) error {
	for {
		_, more, err := batch(ctx, keep, sweepBatch)
		if err != nil {
			return unavailable(what, err)
		}
		if !more {
			return nil
		}
	}
}

func (m *Manager) report(what string, err error) {
	if err != nil {
		m.logger.Warn("session upkeep failed, it will be tried again", "step", what, "error", err)
	}
}
