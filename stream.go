package coatcheck

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

const (
	firstPause   = 100 * time.Millisecond // at most, before the second attempt
	longestPause = 3 * time.Second        // at most, however often it failed: one that works again is heard within five
	refusedPause = 30 * time.Second       // after the API key was refused
	longestRetry = time.Minute            // of what Retry-After may ask for
	patience     = time.Minute            // with a connection whose heartbeat is not known yet

	// snapshotAge is how old the log may be that a snapshot is taken from: a node
	// whose own reading is older serves no stream.
	snapshotAge = 2 * time.Second
)

// A follower follows the issuer's log. What it has heard outlives its
// connections: it resumes after the last event of which it holds everything.
type follower struct {
	v     *Verifier
	last  string // id of that event; empty: a snapshot is needed
	epoch string
	seq   uint64
	whole bool // has everything of this connection so far, and seq is its position
	good  bool // this connection has told something new
}

// A connection is one attempt to hear the log, as the watchdog sees it.
type connection struct {
	cut     context.CancelFunc
	began   instant
	beat    atomic.Int64 // when it last gave a sign of life, Unix nanoseconds
	longest atomic.Int64 // time between two heartbeats, nanoseconds; 0 before the second
	quick   int64        // the least that its heartbeats came after their own time; of the reader alone
	beats   int
}

var (
	errMissed = errors.New("entries of the log were missed")
	errLate   = errors.New("the log comes too late")
)

// follow hears the log until the verifier is closed.
func (v *Verifier) follow() {
	f := &follower{v: v}
	for failures := 0; ; failures++ {
		f.good = false
		err := f.connect()
		if v.life.Err() != nil {
			return
		}
		if f.good {
			failures = 0
		}
		v.progress.log(err)
		v.complain(&v.deaf, "coatcheck: the log of revocations is interrupted", err)
		wait := time.NewTimer(pause(failures, err))
		select {
		case <-wait.C:
		case <-v.life.Done():
			wait.Stop()
			return
		}
	}
}

// pause returns how long to wait after so many failures in a row: at random up
// to a limit that doubles, so that the verifiers of a server that comes back do
// not come all at once.
func pause(failures int, err error) time.Duration {
	limit := min(longestPause, firstPause<<min(failures, 10))
	var status *statusError
	switch {
	case !errors.As(err, &status):
	case status.refused():
		return refusedPause + jitter(refusedPause)
	case status.retry > 0:
		least := min(longestRetry, status.retry)
		if least < longestPause {
			limit = min(limit, longestPause-least)
		}
		return least + jitter(limit)
	}
	return jitter(limit)
}

// jitter returns a time at random, at least a tenth of limit and below it.
func jitter(limit time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand.Read ends the program instead
	least := limit / 10
	return least + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(limit-least))
}

// connect hears the log over one connection, and returns why that ended.
func (f *follower) connect() error {
	v := f.v
	ctx, cancel := context.WithCancel(v.life)
	defer cancel()
	c := &connection{cut: cancel, began: v.clock.read()}
	c.beat.Store(c.began.unix)
	v.connection.Store(c)
	defer v.connection.Store(nil)
	body, err := v.openStream(ctx, f.last)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	f.whole = f.last != "" // where the stream resumes; else a snapshot comes
	for in := feed.NewReader(body); ; {
		e, err := in.Next()
		if err != nil {
			return err
		}
		if err := f.take(c, e); err != nil {
			if !errors.Is(err, errLate) {
				f.last = "" // what we hold is not what we think: begin anew
			}
			return err
		}
	}
}

// take acts on one event. Events it does not know are passed over.
func (f *follower) take(c *connection, e feed.Event) error {
	switch e.Name {
	case feed.EventSnapshot:
		var s feed.Snapshot
		if err := e.Decode(&s); err != nil {
			return err
		}
		f.snapshot(c, e.ID, &s)
	case feed.EventRevocation:
		var entry feed.Entry
		if err := e.Decode(&entry); err != nil {
			return err
		}
		return f.entry(e.ID, entry)
	case feed.EventHeartbeat:
		var h feed.Heartbeat
		if err := e.Decode(&h); err != nil {
			return err
		}
		return f.heartbeat(c, &h)
	case feed.EventResync:
		f.whole = false
		f.v.log.Info("coatcheck: the issuer starts the log of revocations anew")
	}
	return nil
}

// snapshot adds what a snapshot tells. It takes nothing away: what a lagging or
// restored server no longer knows stays over here. Only the last part makes the
// log whole.
func (f *follower) snapshot(c *connection, id string, s *feed.Snapshot) {
	v := f.v
	v.learn(s.Entries)
	v.sign(c)
	if s.More {
		f.whole = false
		return
	}
	if s.Epoch != f.epoch {
		v.clock.forget()
	}
	f.epoch, f.seq, f.last = s.Epoch, s.Seq, id
	f.whole, f.good = true, true
	told := &heard{clock: &v.clock, at: c.began, old: snapshotAge}
	if now := v.clock.read(); told.age(now) < v.heard.Load().age(now) {
		v.heard.Store(told)
	}
	v.progress.log(nil)
	v.confirmAll()
}

// entry adds one entry. A gap in the numbers means that some were missed.
func (f *follower) entry(id string, e feed.Entry) error {
	f.v.learn([]feed.Entry{e})
	if !f.whole || e.Seq <= f.seq {
		return nil // part of a snapshot under way, or heard before
	}
	if e.Seq != f.seq+1 {
		return errMissed
	}
	f.seq, f.good = e.Seq, true
	if id != "" {
		f.last = id
	}
	return nil
}

// heartbeat takes a sign of life: the issuer's word on how old its knowledge
// was, which counts as older by as much as it came later than the quickest. Its
// own time is in whole seconds, so up to one of them is no lateness.
func (f *follower) heartbeat(c *connection, h *feed.Heartbeat) error {
	v := f.v
	now := v.clock.read()
	v.sign(c)
	if !f.whole {
		return nil
	}
	if h.Seq != f.seq || h.Epoch != f.epoch {
		return errMissed
	}
	v.clock.told(h.At)
	if h.AgeMS < 0 || h.AgeMS > int64(longestAge/time.Millisecond) {
		return errLate
	}
	travelled := now.wall - h.At*int64(time.Second)
	if c.beats == 0 || travelled < c.quick {
		c.quick = travelled
	}
	c.beats++
	late := max(0, time.Duration(travelled-c.quick)-time.Second)
	told := &heard{clock: &v.clock, at: now, old: time.Duration(h.AgeMS)*time.Millisecond + late}
	if late >= v.config.Staleness {
		return errLate // or a clock was set: a new connection measures anew
	}
	f.good = true
	v.heard.Store(told)
	v.progress.log(nil)
	return nil
}

// longestAge bounds what a heartbeat may say, far above what is of any use.
const longestAge = 24 * time.Hour

// learn adds entries to the set and has everything follow that must.
func (v *Verifier) learn(entries []feed.Entry) {
	if v.set.Add(entries...) == 0 {
		return
	}
	v.changed.Store(true)
	for _, e := range entries {
		if e.Kind == feed.Key {
			v.withdraw(e.ID)
		}
	}
	v.hear(entries)
}

// sign notes a sign of life of the connection.
func (v *Verifier) sign(c *connection) {
	now := v.clock.read().unix
	last := c.beat.Swap(now)
	if c.beats > 0 {
		c.longest.Store(max(c.longest.Load(), now-last))
	}
}

// watchdog cuts a connection that has been silent for too long: three
// heartbeats, where their pace is known, and never longer than makes it stale.
func (v *Verifier) watchdog(now instant) {
	c := v.connection.Load()
	if c == nil {
		return
	}
	limit := min(patience, v.config.Staleness)
	if longest := time.Duration(c.longest.Load()); longest > 0 {
		limit = min(limit, max(time.Second, 3*longest))
	}
	if now.unix-c.beat.Load() >= int64(limit) {
		v.complain(&v.deaf, "coatcheck: the log of revocations is silent", fmt.Errorf("nothing for %v", limit))
		c.cut()
	}
}
