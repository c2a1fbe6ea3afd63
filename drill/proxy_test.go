package drill

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A proxy passes connections on, as well or as badly as a drill wants.
type proxy struct {
	listener net.Listener
	links    sync.WaitGroup

	mu     sync.Mutex
	to     []string // host:port or the path of a unix socket, in turn
	turn   int
	cut    bool
	delay  [2]time.Duration // on the way there, and on the way back
	gate   chan struct{}    // closed while anything passes
	meddle meddler
	open   map[*link]bool
	most   int // links that were open at once
}

// A meddler is shown what is about to be passed on, and may have the connection
// broken before or after that.
type meddler func(there bool, chunk []byte) fate

type fate int

const (
	passes fate = iota
	isLost      // it does not arrive, and the connection is reset
	isLast      // it arrives, and then the connection is reset
)

// startProxy listens on a port of this machine for as long as the test runs.
func startProxy(t testing.TB, to ...string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, gate: make(chan struct{}), open: map[*link]bool{}}
	close(p.gate)
	p.links.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.links.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		p.Cut()
		p.links.Wait()
	})
	return p
}

// Address is where it listens.
func (p *proxy) Address() string { return p.listener.Addr().String() }

// Route passes connections that come from now on to these addresses in turn, and
// closes those that are there.
func (p *proxy) Route(to ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	p.closeAll(false)
}

// Cut closes all connections as a proxy that stops does, and those that come.
func (p *proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.closeAll(false)
}

// Reset breaks all connections there are, and lets new ones through.
func (p *proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeAll(true)
}

// Delay holds back what passes from now on, by so much on the way there and on the
// way back.
func (p *proxy) Delay(there, back time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = [2]time.Duration{there, back}
}

// Stall passes nothing any more, and closes nothing: whoever asks waits.
func (p *proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		p.gate = make(chan struct{})
	default: // stalled already
	}
}

// Meddle has f decide about what passes from now on; nil lets all of it through.
func (p *proxy) Meddle(f meddler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meddle = f
}

// Mend passes everything on again, and what was held back.
func (p *proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.delay, p.meddle = false, [2]time.Duration{}, nil
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// Most returns how many connections were open at once since it was asked last.
func (p *proxy) Most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.most
	p.most = len(p.open)
	return most
}

func (p *proxy) closeAll(reset bool) {
	for l := range p.open {
		l.close(reset)
	}
}

// A link is one connection through the proxy.
type link struct {
	ends   [2]net.Conn // the client's, and the server's
	done   chan struct{}
	closed sync.Once
}

func (l *link) close(reset bool) {
	l.closed.Do(func() {
		for _, end := range l.ends {
			if tcp, is := end.(*net.TCPConn); is && reset {
				_ = tcp.SetLinger(0) // so that the peer is told of a reset
			}
			_ = end.Close() // what is under way is lost
		}
		close(l.done)
	})
}

func (p *proxy) pass(from net.Conn) {
	p.mu.Lock()
	to := p.to[p.turn%len(p.to)]
	p.turn++
	p.mu.Unlock()
	network := "tcp"
	if strings.HasPrefix(to, "/") {
		network = "unix"
	}
	server, err := net.Dial(network, to)
	if err != nil {
		_ = from.Close() // as refused
		return
	}
	l := &link{ends: [2]net.Conn{from, server}, done: make(chan struct{})}
	p.mu.Lock()
	if p.cut {
		l.close(false)
	}
	p.open[l] = true
	p.most = max(p.most, len(p.open))
	p.mu.Unlock()
	defer func() {
		l.close(false)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, l)
	}()
	var both sync.WaitGroup
	both.Go(func() { p.carry(l, true) })
	both.Go(func() { p.carry(l, false) })
	both.Wait()
}

// A parcel is what was read at once, and when.
type parcel struct {
	data []byte
	came time.Time
}

// carry passes on one way, in order, and closes the link at its end.
func (p *proxy) carry(l *link, there bool) {
	from, to := l.ends[0], l.ends[1]
	if !there {
		from, to = to, from
	}
	parcels := make(chan parcel, 1024)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(parcels)
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				select {
				case parcels <- parcel{bytes.Clone(buffer[:n]), time.Now()}:
				case <-l.done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for next := range parcels {
		if !p.deliver(l, there, to, next) {
			break
		}
	}
	l.close(false)
	reading.Wait()
}

// deliver reports whether the link goes on.
func (p *proxy) deliver(l *link, there bool, to net.Conn, next parcel) bool {
	p.mu.Lock()
	delay, gate, meddle := p.delay[1], p.gate, p.meddle
	if there {
		delay = p.delay[0]
	}
	p.mu.Unlock()
	if !l.wait(time.Until(next.came.Add(delay)), gate) {
		return false
	}
	what := passes
	if meddle != nil {
		what = meddle(there, next.data)
	}
	if what != isLost {
		if _, err := to.Write(next.data); err != nil {
			return false
		}
	}
	if what != passes {
		l.close(true)
	}
	return what == passes
}

// wait reports whether the link is still there when so much time has passed and the
// gate is open.
func (l *link) wait(d time.Duration, gate chan struct{}) bool {
	if d > 0 {
		held := time.NewTimer(d)
		defer held.Stop()
		select {
		case <-held.C:
		case <-l.done:
			return false
		}
	}
	select {
	case <-gate:
		return true
	case <-l.done:
		return false
	}
}
