package revocation

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// socket returns the two ends of a connection.
func socket(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return server, client
}

// burst adds more entries than two sockets hold.
func burst(t *testing.T, s *tape, l *Log) int {
	t.Helper()
	const n = 16_000 // of 200 bytes and more: below what the ring holds
	for i := range n {
		s.end(feed.Session, fmt.Sprintf("ses_%026d", i))
	}
	poll(t, l)
	return n
}

// expect reads events, and fails unless they bear the name.
func expect(t *testing.T, in *feed.Reader, name string, times int) {
	t.Helper()
	for range times {
		if e, err := in.Next(); err != nil || e.Name != name {
			t.Fatalf("read %s %v, want %s", e.Name, err, name)
		}
	}
}

// waitFor polls for what a goroutine does with a socket.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Fatalf("not in time: %s", what)
}

// idle reports whether nothing is left of connections: no goroutine, no handle.
func (h *hub) idle() bool {
	h.mu.Lock()
	held := len(h.held)
	h.mu.Unlock()
	for i := range h.shards {
		h.shards[i].mu.Lock()
		if h.shards[i].running {
			held++
		}
		h.shards[i].mu.Unlock()
	}
	return held == 0
}

// D-10, R-11, I-9: who does not take what is written is cut when its time is over,
// and nothing is left of it.
func TestStalledReaderIsCut(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	l.hub.limit = 50 * time.Millisecond
	server, client := socket(t)
	subscribe(t, l, "api_1").HandOver(server)
	burst(t, s, l)
	waitFor(t, "the stalled reader is cut", func() bool { return l.Subscribers() == 0 && l.Dropped() == 1 })
	poll(t, l)
	s.end(feed.Session, "ses_more")
	poll(t, l) // shards end when they are woken and have nobody left
	waitFor(t, "nothing is left of it", l.hub.idle)
	if _, err := io.Copy(io.Discard, client); err == nil {
		t.Error("what was not read is still offered")
	}
}

// A reader that was slow once, and has caught up, has all the time there is until
// the next entry.
func TestReaderThatCaughtUpIsLeftInPeace(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	l.hub.limit = 2 * time.Second
	server, client := socket(t)
	subscribe(t, l, "api_1").HandOver(server)
	n := burst(t, s, l)
	in := feed.NewReader(client)
	expect(t, in, feed.EventSnapshot, 1)
	expect(t, in, feed.EventHeartbeat, 1)
	expect(t, in, feed.EventRevocation, n)
	for range 2 {
		<-time.After(l.hub.limit * 3 / 5)
		s.end(feed.Session, "ses_late")
		poll(t, l)
		expect(t, in, feed.EventRevocation, 1)
	}
	if l.Dropped() != 0 {
		t.Error("it was dropped")
	}
}

// D-25: a stop tells every connection to move and closes it, and waits for no reader
// longer than a moment.
func TestStopClosesWhatWasHandedOver(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	l.hub.limit = time.Hour
	quickEnd, quick := socket(t)
	stalledEnd, _ := socket(t)
	subscribe(t, l, "api_1").HandOver(quickEnd)
	in := feed.NewReader(quick)
	expect(t, in, feed.EventSnapshot, 1)
	expect(t, in, feed.EventHeartbeat, 1)
	subscribe(t, l, "api_1").HandOver(stalledEnd)
	late := subscribe(t, l, "api_1")
	n := burst(t, s, l)
	l.Stop()
	l.Stop() // a second time does no harm
	expect(t, in, feed.EventRevocation, n)
	expect(t, in, feed.EventResync, 1)
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v, want the end", err)
	}
	lateEnd, tardy := socket(t)
	late.HandOver(lateEnd) // its request was under way
	expect(t, feed.NewReader(tardy), feed.EventResync, 1)
	waitFor(t, "all are closed, the stalled one too", l.hub.idle)
	l.hub.active.Wait()
	if l.Subscribers() != 0 {
		t.Errorf("%d streams are left", l.Subscribers())
	}
	if _, err := l.Subscribe("", "api_1"); !errors.Is(err, ErrStopping) {
		t.Errorf("a stream while stopping: %v", err)
	}
}

// What has no socket that could be written without waiting is served all the same.
func TestHandedOverWithoutASocket(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	server, client := net.Pipe()
	subscribe(t, l, "api_1").HandOver(server)
	in := feed.NewReader(client)
	expect(t, in, feed.EventSnapshot, 1)
	expect(t, in, feed.EventHeartbeat, 1)
	s.end(feed.Session, "ses_1")
	poll(t, l)
	expect(t, in, feed.EventRevocation, 1)
	l.Stop()
	expect(t, in, feed.EventResync, 1)
	waitFor(t, "nothing is left of it", l.hub.idle)
}

// A reader that has gone is noticed at the next heartbeat, before anything is lost on
// it, and one that talks is not taken for gone.
func TestGoneReaderIsNoticedAtTheHeartbeat(t *testing.T) {
	s := newTape()
	l := newLog(t, s)
	server, client := socket(t)
	subscribe(t, l, "api_1").HandOver(server)
	in := feed.NewReader(client)
	expect(t, in, feed.EventSnapshot, 1)
	expect(t, in, feed.EventHeartbeat, 1)
	if _, err := io.WriteString(client, "hello?"); err != nil {
		t.Fatal(err)
	}
	l.hub.beat()
	expect(t, in, feed.EventHeartbeat, 1)
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is noticed", func() bool {
		l.hub.beat() // the system may take its time to tell
		return l.Subscribers() == 0
	})
	waitFor(t, "nothing is left of it", l.hub.idle)
	if _, err := io.Copy(io.Discard, client); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its connection stays open: %v", err)
	}
}
