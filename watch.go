package coatcheck

import (
	"math"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// watches are the callers somebody wants to know the end of: one watch for each
// credential, however many ask, by all that an entry of the log could name.
type watches struct {
	mu sync.Mutex
	of map[string]*watch // by credential
	by map[name]map[*watch]struct{}
}

// A name is what an entry of the log can end.
type name struct {
	kind feed.Kind
	id   string
}

type watch struct {
	caller    *Caller
	done      chan struct{}
	asking    bool
	due       int64 // when the issuer is to be asked, Unix nanoseconds
	confirmed int64 // when it was last known to be good
	unsure    int64 // since when an answer is awaited; 0 if none is
}

func (c *Caller) isCookie() bool { return c.origin.key == nil }

func (c *Caller) names() []name {
	return []name{{feed.Session, c.SessionID}, {feed.Grant, c.GrantID}, {feed.User, c.UserID}}
}

// nextAsk returns when a caller is to be asked about again without a cause: a
// cookie when the answer about it runs out, a token never.
func (c *Caller) nextAsk() int64 {
	if c.isCookie() {
		return c.origin.expires * int64(time.Second)
	}
	return math.MaxInt64
}

// watch returns a channel that is closed at the caller's end. It registers
// first, and then looks at what is known, so that no end falls between.
func (v *Verifier) watch(c *Caller) <-chan struct{} {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	w := v.watches.of[c.origin.credential]
	if w == nil {
		w = v.watches.add(c, now)
	}
	v.look(w, now)
	return w.done
}

func (ws *watches) add(c *Caller, now instant) *watch {
	w := &watch{caller: c, done: make(chan struct{}), due: c.nextAsk(), confirmed: now.unix}
	if ws.of == nil {
		ws.of = make(map[string]*watch)
		ws.by = make(map[name]map[*watch]struct{})
	}
	ws.of[c.origin.credential] = w
	ws.index(w)
	return w
}

func (ws *watches) index(w *watch) {
	for _, n := range w.caller.names() {
		if n.id == "" {
			continue
		}
		if ws.by[n] == nil {
			ws.by[n] = make(map[*watch]struct{})
		}
		ws.by[n][w] = struct{}{}
	}
}

func (ws *watches) unindex(w *watch) {
	for _, n := range w.caller.names() {
		delete(ws.by[n], w)
		if len(ws.by[n]) == 0 {
			delete(ws.by, n)
		}
	}
}

// end closes a watch. The caller holds the lock.
func (ws *watches) end(w *watch) {
	delete(ws.of, w.caller.origin.credential)
	ws.unindex(w)
	close(w.done)
}

// look holds a watch to all that is known now. The caller holds the lock.
func (v *Verifier) look(w *watch, now instant) {
	verdict := v.set.Verdict(w.caller.subject())
	key := w.caller.origin.key
	switch {
	case verdict == feed.Over, key != nil && key.withdrawn.Load():
		v.watches.end(w)
	case verdict == feed.Unsure:
		v.confirm(w, now)
	default:
		v.pace(w, v.fresh(now), now)
	}
}

// pace ends a watch whose time is over or for which nobody vouches any more, and
// asks when that is due. The caller holds the lock.
func (v *Verifier) pace(w *watch, fresh bool, now instant) {
	policy := v.config.WhenStale
	switch {
	case v.life.Err() != nil,
		!fresh && (policy == Deny || policy == Offline && w.caller.isCookie()),
		w.unsure != 0 && now.unix-w.unsure >= int64(max(v.config.Staleness, askTimeout)):
		v.lapse(w)
	case !w.caller.isCookie() && now.seconds() >= w.caller.origin.expires:
		v.watches.end(w)
	case now.unix >= w.due, !fresh && policy == Ask && now.unix >= w.confirmed+int64(v.config.Staleness):
		v.confirm(w, now)
	}
}

// lapse ends a watch though its session may go on. Its callers are forgotten, so
// that whoever comes with the same credential later gets one whose Done is open.
func (v *Verifier) lapse(w *watch) {
	v.watches.end(w)
	v.tokens.Forget(w.caller.origin.credential)
	v.sessions.Forget(w.caller.origin.credential)
}

// hear holds the watches to new entries, which the set already holds.
func (v *Verifier) hear(entries []feed.Entry) {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	if len(v.watches.of) == 0 {
		return
	}
	for _, e := range entries {
		switch e.Kind {
		case feed.Changed: // is no end
		case feed.Session, feed.Grant, feed.User:
			for w := range v.watches.by[name{e.Kind, e.ID}] {
				v.look(w, now)
			}
		default:
			for _, w := range v.watches.of {
				v.look(w, now)
			}
		}
	}
}

// lookAll holds all watches to what is known, after keys were withdrawn.
func (v *Verifier) lookAll() {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	for _, w := range v.watches.of {
		v.look(w, now)
	}
}

// paceAll does what the time demands.
func (v *Verifier) paceAll(now instant) {
	fresh := v.fresh(now)
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	for _, w := range v.watches.of {
		v.pace(w, fresh, now)
	}
}

// confirmAll asks about all watches, after the log was interrupted: an entry
// that ended one of them may have come and gone meanwhile.
func (v *Verifier) confirmAll() {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	for _, w := range v.watches.of {
		v.confirm(w, now)
	}
}

func (v *Verifier) closeAll() {
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	for _, w := range v.watches.of {
		v.watches.end(w)
	}
}

// confirm asks the issuer about a watch. The caller holds the lock, and does not
// wait.
func (v *Verifier) confirm(w *watch, now instant) {
	if w.asking {
		return
	}
	if w.unsure == 0 {
		w.unsure = now.unix
	}
	c := w.caller
	w.asking = v.start(func() {
		var o outcome
		var err error
		if c.isCookie() {
			latest := v.latest(c)
			o, err = v.questionCookie(v.life, c.origin.credential, latest, latest.origin.used.Load())
		} else {
			o, err = v.questionToken(v.life, c.origin.credential, c)
		}
		v.settle(w, o, err)
	})
}

// latest returns the caller that requests with the same cookie get now, and by
// that when one last came: a socket that is merely open does not keep its session
// from becoming idle.
func (v *Verifier) latest(c *Caller) *Caller {
	if latest, verdict := v.sessions.Get(c.origin.credential, math.MinInt64); verdict != feed.Unknown {
		return latest
	}
	return c
}

// settle ends a watch or lets it go on, by what asking came to.
func (v *Verifier) settle(w *watch, o outcome, err error) {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	if v.watches.of[w.caller.origin.credential] != w {
		return // it has ended meanwhile
	}
	w.asking = false
	switch {
	case err != nil:
		w.due = now.add(time.Second)
	case o.reason != nil, o.caller.UserID != w.caller.UserID, o.caller.SessionID != w.caller.SessionID:
		v.watches.end(w)
	default:
		v.watches.unindex(w)
		w.caller, w.confirmed, w.unsure = o.caller, now.unix, 0
		v.watches.index(w)
		w.due = max(o.caller.nextAsk(), now.add(time.Second))
	}
}
