package app

import (
	"cmp"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// handlesKept are the file handles that connections leave to the rest: the
	// database with all its readers, the listeners, the metrics' connections, what
	// the process starts with. A 64th of all is kept beside them for connections
	// that are closed and not yet gone.
	handlesKept = 40
	// memoryOfOne is what an idle connection with TLS and HTTP/2 takes, about, and
	// half of the memory limit, where one is set, is the most that all may take.
	memoryOfOne = 40 << 10
	leastRoom   = 8
	mostRoom    = 1 << 17
	metricsRoom = 8
	// stuckAfter is how long a write takes before its client is one that does not read.
	stuckAfter = time.Second
	// beforeTheDoor is how long a stranger waits for room, who finds everybody busy.
	beforeTheDoor = time.Second
	lookAgain     = 10 * time.Millisecond
	// fullLogInterval spaces out what would be logged at every connection.
	fullLogInterval = 10 * time.Second
)

// room returns how many connections the public listener may hold: what the file
// handles of this process and its memory limit leave.
func room() int {
	n := mostRoom
	var handles syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &handles); err == nil {
		n = roomWithin(handles.Cur)
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		n = min(n, int(limit/2/memoryOfOne))
	}
	return max(leastRoom, n)
}

func roomWithin(handles uint64) int {
	left := min(handles, 2*mostRoom)
	return min(mostRoom, int(left)-handlesKept-int(left/64))
}

// A bounded listener holds a fixed number of connections. When a stranger comes
// and there is no room, those are closed that have kept the server waiting for
// longest: that have not sent the whole of a request, or do not read an answer.
// So nobody keeps others out by holding connections open, however many: an honest
// client needs a moment, and whoever is slower than it goes first. A connection
// with a request in hand, or the hello of TLS that we have to answer, is never
// closed: else a crowd that we cannot cope with would leave nothing finished. When
// all are, strangers wait a little before the door, and are then sent away.
type boundedListener struct {
	net.Listener
	room   int
	logger *slog.Logger
	began  time.Time
	pause  func(time.Duration) // a test's, or time.Sleep

	mu     sync.Mutex
	open   map[*connection]struct{}
	closed int // since it was logged last
	logged time.Time
	left   chan struct{} // holds one when a connection has left
}

func bounded(l net.Listener, room int, logger *slog.Logger) *boundedListener {
	return &boundedListener{
		Listener: l, room: room, logger: logger, began: time.Now(), pause: time.Sleep,
		open: map[*connection]struct{}{}, left: make(chan struct{}, 1),
	}
}

// Accept returns the next connection there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err // net/http looks at its type
		}
		c := &connection{Conn: conn, listener: l}
		c.paid.Store(l.elapsed())
		if l.admitWithin(c, beforeTheDoor) {
			return c, nil
		}
		_ = conn.Close() // nothing was said on it
	}
}

// admitWithin takes a connection in as soon as there is room, and reports whether
// there was.
func (l *boundedListener) admitWithin(c *connection, patience time.Duration) bool {
	for end := time.Now().Add(patience); ; {
		c.since.Store(l.elapsed())
		if l.admit(c) {
			return true
		}
		if !time.Now().Before(end) {
			l.mu.Lock()
			l.noteFull(1)
			l.mu.Unlock()
			return false
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-l.left:
		case <-again.C:
		}
		again.Stop()
	}
}

// elapsed is how long the listener has been there, at least 1. Like all limits of
// sockets it goes by the monotonic clock of the machine.
func (l *boundedListener) elapsed() int64 { return int64(time.Since(l.began)) + 1 }

// admit takes a connection in, and closes others if there is no room. It reports
// whether there is.
func (l *boundedListener) admit(c *connection) bool {
	l.mu.Lock()
	var out []*connection
	if len(l.open) >= l.room {
		out = l.longestWaiting(1 + l.room/64)
		l.noteFull(len(out))
	}
	for _, o := range out {
		delete(l.open, o)
	}
	admitted := len(l.open) < l.room
	if admitted {
		l.open[c] = struct{}{}
	}
	l.mu.Unlock()
	for _, o := range out {
		_ = o.Conn.Close() // whoever serves it sees that, and closes it too
	}
	return admitted
}

// longestWaiting returns up to n connections that wait, the longest first. Looking
// through all costs little for each, because many are closed at once. The caller
// holds the lock.
func (l *boundedListener) longestWaiting(n int) []*connection {
	type waiting struct {
		c     *connection
		since int64
	}
	var all []waiting
	now := l.elapsed()
	for c := range l.open {
		if since := c.waitingSince(now); since != 0 {
			all = append(all, waiting{c, since})
		}
	}
	slices.SortFunc(all, func(a, b waiting) int { return cmp.Compare(a.since, b.since) })
	out := make([]*connection, min(n, len(all)))
	for i := range out {
		out[i] = all[i].c
	}
	return out
}

// noteFull tells the operator, now and then. The caller holds the lock.
func (l *boundedListener) noteFull(closed int) {
	l.closed += closed
	if l.closed == 0 {
		return
	}
	if now := time.Now(); now.Sub(l.logged) >= fullLogInterval {
		l.logger.Warn("no room for more connections: those that wait longest are closed; more file handles make more room",
			"room", l.room, "closed", l.closed)
		l.logged, l.closed = now, 0
	}
}

func (l *boundedListener) remove(c *connection) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	select {
	case l.left <- struct{}{}:
	default: // one is enough
	}
}
