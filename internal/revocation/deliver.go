package revocation

import (
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// shards is how many goroutines write to the connections that were handed over.
	shards = 4
	// sendBuffer bounds what the system keeps for one reader that does not read.
	sendBuffer = 128 << 10
	// farewellTimeout is how long a write may take once the server stops.
	farewellTimeout = time.Second
)

// A handed connection is written by its shard, without waiting; and while its reader
// does not take what is written, by a goroutine of its own.
type handed struct {
	*Subscription
	conn net.Conn
	raw  syscall.RawConn // nil: it cannot be written without waiting
	rest []byte          // of the frames that were written in part
	last bool            // the farewell was begun
	seen uint64          // the heartbeat after which it was looked whether the reader is there
}

// HandOver gives the connection of a reader to the hub, which writes the stream and
// closes it in the end. It returns at once.
func (s *Subscription) HandOver(conn net.Conn) {
	c := &handed{Subscription: s, conn: conn}
	if socket, ok := conn.(syscall.Conn); ok {
		c.raw = rawOf(socket)
	}
	h := s.hub
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		c.refuse()
		return
	}
	h.held[c] = struct{}{}
	h.active.Add(1)
	n := len(h.held) % shards
	h.mu.Unlock()
	h.shards[n].take(c)
}

// refuse says farewell to who comes while the server stops.
func (c *handed) refuse() {
	if err := c.conn.SetWriteDeadline(time.Now().Add(farewellTimeout)); err == nil {
		_, _ = c.conn.Write(farewell("stopping")) // who does not read it finds the connection closed
	}
	c.Close()
	_ = c.conn.Close()
}

// close closes the connection and ends the subscription.
func (c *handed) close() {
	c.Close()
	h := c.hub
	h.mu.Lock()
	delete(h.held, c)
	h.mu.Unlock()
	_ = c.conn.Close() // the reader has what it gets
	h.active.Done()
}

// close ends all streams and takes no more. It does not wait.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for c := range h.held {
		_ = c.conn.SetWriteDeadline(time.Now().Add(farewellTimeout)) // a connection that has gone needs none
	}
	h.mu.Unlock()
	h.removeAll("stopping", everyone)
}

// lift takes the limit away again, so that a shard is not held to it later.
func (h *hub) lift(c *handed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	return c.conn.SetWriteDeadline(time.Time{})
}

// hurry sets how long the next write to a connection may take. A deadline is one of
// the socket, hence by the wall.
func (h *hub) hurry(c *handed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	timeout := h.limit
	if h.closed {
		timeout = farewellTimeout
	}
	return c.conn.SetWriteDeadline(time.Now().Add(timeout))
}

// A shard writes to some of the connections, one after the other, as long as there
// are any: whoever waits in front of a full one holds up all behind it, so nobody
// does.
type shard struct {
	hub  *hub
	wake chan struct{}

	mu      sync.Mutex
	arrived []*handed
	running bool
}

// take gives the shard a connection, new or back from its own goroutine.
func (sh *shard) take(c *handed) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.arrived = append(sh.arrived, c)
	if !sh.running {
		sh.running = true
		go sh.run()
		return
	}
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// admit returns the connections with those that have arrived. With none at all the
// shard has ended.
func (sh *shard) admit(conns []*handed) []*handed {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	conns = append(conns, sh.arrived...)
	sh.arrived = nil
	sh.running = len(conns) > 0
	return conns
}

func (sh *shard) run() {
	var w rawWriter
	w.init()
	var conns []*handed
	for {
		changed := sh.hub.state.Load().changed // before writing, so that no change is missed
		if conns = sh.admit(conns); len(conns) == 0 {
			return
		}
		kept := conns[:0]
		for _, c := range conns {
			switch c.advance(&w) {
			case waiting:
				kept = append(kept, c)
			case blocked:
				go c.catchUp(sh)
			case finished:
				c.close()
			}
		}
		clear(conns[len(kept):])
		conns = kept
		select {
		case <-changed:
		case <-sh.wake:
		}
	}
}

// What has become of a connection.
type outcome int

const (
	waiting  outcome = iota // it has all there is
	blocked                 // its reader does not take more now
	finished                // it is over, or the reader has gone
)

// advance writes what is due, without waiting.
func (c *handed) advance(w *rawWriter) outcome {
	if c.raw == nil {
		return blocked
	}
	for {
		if len(c.rest) == 0 {
			if c.last {
				return finished
			}
			if c.rest, c.last = c.next(); c.rest == nil {
				return c.look(w)
			}
		}
		n, err := w.write(c.raw, c.rest)
		if err != nil {
			return finished
		}
		if c.rest = c.rest[n:]; len(c.rest) > 0 {
			return blocked
		}
	}
}

// look finds out, once per heartbeat, whether the reader is still there. Who has
// gone would else be noticed by the second write that it does not answer.
func (c *handed) look(w *rawWriter) outcome {
	c.rest = nil
	if c.seen != c.beats {
		c.seen = c.beats
		if w.gone(c.raw) {
			return finished
		}
	}
	return waiting
}

// catchUp writes what is due and waits for the reader, which has [WriteTimeout] for
// each write, until it has all there is. Then its shard goes on.
func (c *handed) catchUp(sh *shard) {
	for {
		changed := c.hub.state.Load().changed // before next, so that no change is missed
		if len(c.rest) == 0 && !c.last {
			c.rest, c.last = c.next()
		}
		switch {
		case len(c.rest) > 0:
			err := c.hub.hurry(c)
			if err == nil {
				_, err = c.conn.Write(c.rest)
			}
			if err != nil {
				c.failed(err)
				if c.raw != nil {
					abandon(c.raw)
				}
				c.close()
				return
			}
			c.rest = nil
		case c.last:
			c.close()
			return
		case c.raw == nil:
			<-changed
		default:
			if err := c.hub.lift(c); err != nil {
				c.close()
				return
			}
			sh.take(c)
			return
		}
	}
}
