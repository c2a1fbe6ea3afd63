package drill

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// D-25: a node that is told to stop while it has requests in flight and streams
// turns unready first, tells the streams to move, answers every request that it
// took, ends within ten seconds, and has kept what it acknowledged (I-5, I-8).
func TestGracefulStopUnderLoad(t *testing.T) {
	// Where only this machine reaches the node there is no load balancer to wait for.
	t.Run("tls, behind a load balancer", func(t *testing.T) { stopUnderLoad(t, "auth.drill.example", 16) })
	t.Run("http, on this machine", func(t *testing.T) { stopUnderLoad(t, "", 0) })
}

func stopUnderLoad(t *testing.T, host string, load int) {
	stopWatched(t, startWatched(t, host, nodeOptions{}), load)
}

// stopWatched stops a node that is ready, and starts it again.
func stopWatched(t *testing.T, w *watchedNode, load int) {
	ctx := t.Context()
	h := w.mustSignUp(t, "token")
	s := &stopping{w: w, t: t, unready: make(chan struct{}), closed: make(chan struct{})}
	streams, inFlight := size(150, 1000), size(100, 500)
	var all sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(streams + inFlight)
	for range streams {
		all.Go(func() { s.stream(ctx, ready.Done) })
	}
	for i := range inFlight {
		all.Go(func() { s.inFlight(ctx, fmt.Sprintf("flight%d@example.com", i), ready.Done) })
	}
	ready.Wait()
	for range load {
		all.Go(func() { s.load(ctx, h) })
	}
	all.Go(func() { s.watch(ctx) })
	until(t, 30*time.Second, "there is load", func() bool { return s.answered.Load() >= int64(10*load) })

	began := time.Now()
	if err := w.current().cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-w.Exited()
	took := time.Since(began)
	all.Wait()
	if err := w.current().err; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took > 10*time.Second {
		t.Errorf("D-25 it took %v", took)
	}
	if s.told.Load() != int64(streams) {
		t.Errorf("%d of %d streams were told to move", s.told.Load(), streams)
	}
	t.Logf("%d streams told, %d requests in flight answered, %d of the load, stopped in %v",
		s.told.Load(), len(s.made), s.answered.Load(), took.Round(time.Millisecond))

	w.forget()
	w.Restart(t)
	for email, id := range s.made {
		var found struct{ Items []struct{ ID string } }
		a := w.call(ctx, http.MethodGet, "/v1/admin/users?email="+email, nil, bearer(w.APIKey))
		if err := json.Unmarshal(a.Body, &found); err != nil || len(found.Items) != 1 || found.Items[0].ID != id {
			t.Errorf("I-4 %s was acknowledged: %v %s", email, a, a.Body)
		}
	}
	if len(s.made) != inFlight {
		t.Errorf("%d of %d in flight were acknowledged", len(s.made), inFlight)
	}
}

// stopping is what clients see of a node that stops.
type stopping struct {
	w       *watchedNode
	t       *testing.T
	unready chan struct{} // closed once readiness has turned false
	closed  chan struct{} // closed once no connection is taken any more

	told, answered atomic.Int64

	mu   sync.Mutex
	made map[string]string // ids by email
}

func (s *stopping) dial(ctx context.Context) (net.Conn, *bufio.Reader, error) {
	var d interface {
		DialContext(context.Context, string, string) (net.Conn, error)
	} = &net.Dialer{}
	if s.w.roots != nil {
		d = &tls.Dialer{Config: s.w.tls("http/1.1")}
	}
	conn, err := d.DialContext(ctx, "tcp", s.w.Address)
	if err != nil {
		return nil, nil, err
	}
	return conn, bufio.NewReader(conn), conn.SetDeadline(time.Now().Add(60 * time.Second))
}

// stream follows the log until it is told to move, and then to its proper end.
func (s *stopping) stream(ctx context.Context, ready func()) {
	began := sync.OnceFunc(ready)
	defer began()
	conn, answer, err := s.dial(ctx)
	if err != nil {
		s.t.Errorf("open a stream: %v", err)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET /v1/revocations HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.host(), s.w.APIKey) // reading the answer tells
	response, err := http.ReadResponse(answer, nil)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Errorf("open a stream: %v", err)
		return
	}
	defer response.Body.Close()
	events := feed.NewReader(response.Body)
	var last feed.Event
	for {
		e, err := events.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) || last.Name != feed.EventResync {
				s.t.Errorf("a stream ends with %v after %q", err, last.Name)
			}
			return
		}
		began()
		last = e
		var why feed.Resync
		if e.Name == feed.EventResync && e.Decode(&why) == nil && why.Reason == "stopping" {
			if s.told.Add(1) == 1 && s.w.Ready() {
				s.t.Error("streams are told to move while the node says that it is ready")
			}
		}
	}
}

func (s *stopping) host() string {
	return strings.TrimPrefix(strings.TrimPrefix(s.w.URL, "https://"), "http://")
}

// inFlight adds a user, of which half is sent only when nobody else gets in any
// more.
func (s *stopping) inFlight(ctx context.Context, email string, ready func()) {
	began := sync.OnceFunc(ready)
	defer began()
	conn, answer, err := s.dial(ctx)
	if err != nil {
		s.t.Errorf("a request: %v", err)
		return
	}
	defer conn.Close()
	body := `{"email":"` + email + `"}`
	_, _ = fmt.Fprintf(conn, "POST /v1/admin/users HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		s.host(), s.w.APIKey, len(body)) // reading the answer tells
	line, err := answer.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		s.t.Errorf("a request is not taken: %q %v", line, err)
		return
	}
	if _, err := answer.ReadString('\n'); err != nil {
		s.t.Error(err)
		return
	}
	if _, err := io.WriteString(conn, body[:5]); err != nil {
		s.t.Error(err)
		return
	}
	began()
	<-s.closed
	if _, err := io.WriteString(conn, body[5:]); err != nil {
		s.t.Errorf("D-25 a request that was taken is cut: %v", err)
		return
	}
	response, err := http.ReadResponse(answer, nil)
	if err != nil {
		s.t.Errorf("D-25 a request that was taken is cut: %v", err)
		return
	}
	defer response.Body.Close()
	var user struct{ ID string }
	if err := json.NewDecoder(response.Body).Decode(&user); err != nil || response.StatusCode != http.StatusCreated {
		s.t.Errorf("D-25 a request that was taken: %d %v", response.StatusCode, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		s.made = map[string]string{}
	}
	s.made[email] = user.ID
}

// load is one client behind a load balancer: it keeps its connection for as long
// as the server does, and opens a new one only while the node is ready. None of
// its requests may fail.
func (s *stopping) load(ctx context.Context, h *holder) {
	for {
		select {
		case <-s.unready:
			return
		default:
		}
		conn, answer, err := s.dial(ctx)
		if err != nil {
			s.t.Errorf("D-25 the node is ready and takes no connection: %v", err)
			return
		}
		for last := false; !last; elapse(ctx, time.Millisecond) {
			_, _ = fmt.Fprintf(conn, "GET /v1/session HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", s.host(), h.Access) // reading the answer tells
			response, err := http.ReadResponse(answer, nil)
			if err != nil {
				s.t.Errorf("D-25 a request is cut: %v", err)
				break
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
				s.t.Errorf("D-25 a request is answered %d: %v", response.StatusCode, err)
			}
			s.answered.Add(1)
			last = response.Close
		}
		_ = conn.Close() // both sides are done
	}
}

// watch is the load balancer.
func (s *stopping) watch(ctx context.Context) {
	for s.w.Ready() {
		elapse(ctx, 20*time.Millisecond)
	}
	close(s.unready)
	for {
		conn, err := net.Dial("tcp", s.w.Address)
		if err != nil {
			break
		}
		_ = conn.Close() // nothing was said
		elapse(ctx, 20*time.Millisecond)
	}
	close(s.closed)
}
