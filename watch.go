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
	of map[ticket]*watch
	by map[name]map[*watch]struct{}
}

// A name is what an entry of the log can end.
type name struct {
	kind feed.Kind
	id   string
}

type watch struct {
	known     *known       // the latest of the credential
	cookie    *knownCookie // the same, unless it is a token, or was forgotten
	done      chan struct{}
	asking    bool
	due       int64 // when the issuer is to be asked, Unix nanoseconds
	confirmed int64 // when it was last known to be good
	unsure    int64 // since when an answer is awaited; 0 if none is
}

func (k *known) names() []name {
	s := k.Subject()
	return []name{{feed.Session, s.Session}, {feed.Grant, s.Grant}, {feed.User, s.User}}
}

// A ticket is a credential in two parts, to be told apart by both together.
type ticket struct{ header, rest string }

func (k *known) ticket() ticket { return ticket{k.by.header, k.rest()} }

// nextAsk returns when a caller is to be asked about again without a cause: a
// cookie when the answer about it runs out, a token never.
func (k *known) nextAsk() int64 {
	if k.isCookie() {
		return max(0, k.Expires()) * int64(time.Second)
	}
	return math.MaxInt64
}

// watch returns a channel that is closed at the caller's end. It registers
// first, and then looks at what is known, so that no end falls between.
func (v *Verifier) watch(k *known) *watch {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	w := v.watches.of[k.ticket()]
	if w == nil {
		w = v.watches.add(k, now)
		if k.isCookie() {
			w.cookie = v.sessions.Peek(k.rest())
		}
	}
	v.look(w, now)
	return w
}

func (ws *watches) add(k *known, now instant) *watch {
	w := &watch{known: k, done: make(chan struct{}), due: k.nextAsk(), confirmed: now.unix}
	if ws.of == nil {
		ws.of = make(map[ticket]*watch)
		ws.by = make(map[name]map[*watch]struct{})
	}
	ws.of[k.ticket()] = w
	ws.index(w)
	return w
}

func (ws *watches) index(w *watch) {
	for _, n := range w.known.names() {
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
	for _, n := range w.known.names() {
		delete(ws.by[n], w)
		if len(ws.by[n]) == 0 {
			delete(ws.by, n)
		}
	}
}

// end closes a watch. The caller holds the lock.
func (ws *watches) end(w *watch) {
	delete(ws.of, w.known.ticket())
	ws.unindex(w)
	close(w.done)
}

// look holds a watch to all that is known now. The caller holds the lock.
func (v *Verifier) look(w *watch, now instant) {
	verdict := v.set.Verdict(w.known.Subject())
	key := w.known.by.key
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
		!fresh && (policy == Deny || policy == Offline && w.known.isCookie()),
		w.unsure != 0 && now.unix-w.unsure >= int64(max(v.config.Staleness, askTimeout)):
		v.lapse(w)
	case !w.known.isCookie() && now.seconds() >= w.known.Expires():
		v.watches.end(w)
	case now.unix >= w.due, !fresh && policy == Ask && now.unix >= w.confirmed+int64(v.config.Staleness):
		v.confirm(w, now)
	}
}

// lapse ends a watch though its session may go on. Its callers are forgotten, so
// that whoever comes with the same credential later gets one whose Done is open.
func (v *Verifier) lapse(w *watch) {
	v.watches.end(w)
	if w.known.isCookie() {
		v.sessions.Forget(w.known.credential())
	} else {
		v.tokens.Forget(w.known.credential())
	}
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
	k, cookie := w.known, w.cookie
	w.asking = v.start(func() {
		var o outcome
		var err error
		if k.isCookie() {
			o, err = v.questionSocket(k, cookie)
		} else {
			o, err = v.questionToken(v.life, k.credential(), k)
		}
		v.settle(w, o, err)
	})
}

// questionSocket asks about a cookie of which somebody wants to know the end. It
// was last used when a request last bore it: a socket that is merely open does not
// keep its session from becoming idle.
func (v *Verifier) questionSocket(k *known, old *knownCookie) (outcome, error) {
	cookie, used := k.credential(), k.issued
	if latest := v.sessions.Peek(cookie); latest != nil {
		old = latest
	}
	if old != nil {
		used = old.used.Load()
	}
	return v.questionCookie(v.life, cookie, old, used)
}

// settle ends a watch or lets it go on, by what asking came to.
func (v *Verifier) settle(w *watch, o outcome, err error) {
	now := v.clock.read()
	v.watches.mu.Lock()
	defer v.watches.mu.Unlock()
	if v.watches.of[w.known.ticket()] != w {
		return // it has ended meanwhile
	}
	w.asking = false
	switch {
	case err != nil:
		w.due = now.add(time.Second)
	case o.reason != nil, !samePerson(o.known, w.known):
		v.watches.end(w)
	default:
		v.watches.unindex(w)
		w.known, w.cookie, w.confirmed, w.unsure = o.known, o.cookie, now.unix, 0
		v.watches.index(w)
		w.due = max(w.known.nextAsk(), now.add(time.Second))
	}
}

func samePerson(a, b *known) bool {
	one, other := a.Subject(), b.Subject()
	return one.User == other.User && one.Session == other.Session
}
