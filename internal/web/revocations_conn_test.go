package web

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// A feedServer serves the stream alone on a socket, as the whole server would.
func feedServer(t *testing.T, s *Server, adjust func(*httptest.Server)) *httptest.Server {
	t.Helper()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{ResponseWriter: w, Request: r, route: &route{path: "/v1/revocations"}, key: account.APIKey{ID: "api_1"}}
		if err := s.getRevocations(x); err != nil {
			t.Error(err)
		}
	}))
	if adjust != nil {
		adjust(web)
	}
	if web.TLS == nil {
		web.Start()
	} else {
		web.StartTLS()
	}
	t.Cleanup(web.Close)
	return web
}

// waitFor polls for what another process or goroutine does to a socket.
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

// What real clients read over each kind of connection is one and the same, and its
// end is told: over a plain one, whose socket is handed over; through TLS; through
// HTTP/2; and by a client of HTTP/1.0, as nginx is one.
func TestStreamOverEveryConnection(t *testing.T) {
	for name, c := range map[string]struct {
		adjust func(*httptest.Server)
		proto  string
	}{
		"plain": {nil, "HTTP/1.1"},
		"TLS": {func(w *httptest.Server) {
			w.TLS = &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
		}, "HTTP/1.1"},
		"HTTP/2": {func(w *httptest.Server) { w.TLS, w.EnableHTTP2 = &tls.Config{MinVersion: tls.VersionTLS12}, true }, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s, store := newStreamServer(t)
			web := feedServer(t, s, c.adjust)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := web.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.Proto != c.proto || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("%s %d %v", answer.Proto, answer.StatusCode, answer.Header)
			}
			if answer.ProtoMajor == 1 && (len(answer.TransferEncoding) > 0 || !answer.Close) {
				t.Errorf("framed by %v, close %v: want the end of the connection to be the end of the stream", answer.TransferEncoding, answer.Close)
			}
			in := feed.NewReader(answer.Body)
			holdsEvents(t, in, "snapshot", "heartbeat")
			store.append(t, s.Log, 2)
			holdsEvents(t, in, "revocation", "revocation")
			s.Stop()
			holdsEvents(t, in, "resync")
			if _, err := in.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("after the farewell: %v, want the end", err)
			}
			waitFor(t, "the stream is gone", func() bool { return s.Log.Subscribers() == 0 })
		})
	}
}

func holdsEvents(t *testing.T, in *feed.Reader, names ...string) {
	t.Helper()
	for _, want := range names {
		if e, err := in.Next(); err != nil || e.Name != want {
			t.Fatalf("read %s %v, want %s", e.Name, err, want)
		}
	}
}

// A proxy that speaks HTTP/1.0 gets the stream as it is.
func TestStreamOverHTTP10(t *testing.T) {
	s, store := newStreamServer(t)
	web := feedServer(t, s, nil)
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if len(answer.TransferEncoding) > 0 || answer.ContentLength > 0 {
		t.Errorf("framed by %v %d", answer.TransferEncoding, answer.ContentLength)
	}
	events := feed.NewReader(answer.Body)
	holdsEvents(t, events, "snapshot", "heartbeat")
	store.append(t, s.Log, 1)
	holdsEvents(t, events, "revocation")
}

// D-10: a socket whose reader stops is no one's burden: others hear at once, and it
// goes on from where it was once it reads again.
func TestStoppedSocketHoldsUpNobody(t *testing.T) {
	s, store := newStreamServer(t)
	web := feedServer(t, s, nil)
	open := func() *feed.Reader {
		answer, err := web.Client().Get(web.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return feed.NewReader(answer.Body)
	}
	stopped, quick := open(), open()
	holdsEvents(t, quick, "snapshot", "heartbeat")
	const all = 15_000 // more than the sockets hold, and less than the ring
	for n := 0; n < all; n += 500 {
		store.append(t, s.Log, 500)
		for range 500 {
			holdsEvents(t, quick, "revocation")
		}
	}
	holdsEvents(t, stopped, "snapshot", "heartbeat")
	for range all {
		holdsEvents(t, stopped, "revocation")
	}
	if s.Log.Subscribers() != 2 || s.Log.Dropped() != 0 {
		t.Errorf("%d subscribers, %d dropped", s.Log.Subscribers(), s.Log.Dropped())
	}
}

// A reader that has gone is noticed, and its connection closed.
func TestReaderThatHasGoneIsNoticed(t *testing.T) {
	s, store := newStreamServer(t)
	web := feedServer(t, s, nil)
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stream is open", func() bool { return s.Log.Subscribers() == 1 })
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stream is gone", func() bool {
		store.append(t, s.Log, 1) // the second write at the latest meets the closed socket
		return s.Log.Subscribers() == 0
	})
}

// An API key's streams are cut where they were handed over, too.
func TestRemovedKeyCutsHandedStream(t *testing.T) {
	s, store := newStreamServer(t)
	web := feedServer(t, s, nil)
	answer, err := web.Client().Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := feed.NewReader(answer.Body)
	holdsEvents(t, in, "snapshot", "heartbeat")
	store.mu.Lock()
	seq := uint64(len(store.rows) + 1)
	store.rows = append(store.rows, logged(feed.Entry{Seq: seq, Kind: feed.APIKey, ID: "api_1", Until: 1 << 40}))
	store.mu.Unlock()
	store.append(t, s.Log, 0)
	holdsEvents(t, in, "revocation")
	e, err := in.Next()
	if err != nil || e.Name != feed.EventResync || !strings.Contains(string(e.Data), "apikey_removed") {
		t.Errorf("the stream of a removed key goes on with %s %s %v", e.Name, e.Data, err)
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("then: %v, want the end", err)
	}
}
