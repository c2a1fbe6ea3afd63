package drill

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/load"
)

// With this set, the test binary is a process full of subscribers.
const asSubscribers = "COATCHECK_DRILL_SUBSCRIBERS"

func init() {
	if os.Getenv(asSubscribers) == "" {
		return
	}
	if err := load.ServeSubscribers(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// perProcess is how many streams one process of subscribers reads.
const perProcess = 5000

// startFleet opens streams in processes of their own, and waits until all are whole.
func startFleet(t *testing.T, n *node, o load.Options) *load.Processes {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.URL, o.APIKey = n.URL, n.APIKey
	fleet, err := load.Spread(t.Context(), (o.N+perProcess-1)/perProcess, o, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), asSubscribers+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fleet.Close() }) // a second time where the drill has closed it
	if err := fleet.Ready(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	return fleet
}

// counts are those of a fleet, which never meets a gap. I-6
func counts(t *testing.T, fleet *load.Processes) load.Counts {
	t.Helper()
	c, err := fleet.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if c.Gaps != 0 {
		t.Errorf("I-6 streams went on with a gap: %+v", c)
	}
	return c
}

// allHeard waits until every stream has read so many entries, and no more.
func allHeard(t *testing.T, fleet *load.Processes, streams, entries int) {
	t.Helper()
	if err := fleet.Read(entries, time.Minute); err != nil {
		t.Fatalf("I-6 of %d entries: %v", entries, err)
	}
	if c := counts(t, fleet); c.Entries != streams*entries || c.Whole != streams {
		t.Errorf("I-6 %d streams have read %d entries, want %d each: %+v", streams, c.Entries, entries, c)
	}
}

// gauge reads one figure of the node's metrics.
func (w *watchedNode) gauge(t *testing.T, name string) float64 {
	t.Helper()
	response, err := http.Get("http://" + w.gauges + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("the metrics have no %s", name)
	return 0
}

// An unlucky user's sessions are ended again and again: each time is one entry, also
// when there is none.
type unlucky struct {
	n  *node
	id string
}

func newUnlucky(t *testing.T, n *node) unlucky {
	return unlucky{n, n.mustSignUp(t, "token").UserID}
}

func (u unlucky) end(ctx context.Context) answer {
	return u.n.call(ctx, http.MethodDelete, "/v1/admin/users/"+u.id+"/sessions", nil, bearer(u.n.APIKey))
}

// endMany ends so often, from a few callers at a time.
func (u unlucky) endMany(t *testing.T, times int) {
	t.Helper()
	var left atomic.Int64
	left.Store(int64(times))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if a := u.end(t.Context()); !a.OK() {
					t.Errorf("end: %v", a)
					return
				}
			}
		})
	}
	all.Wait()
}

// endAtPace ends so often a second, whether or not the ones before are answered.
func (u unlucky) endAtPace(t *testing.T, perSecond, times int) {
	t.Helper()
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	for range times {
		<-tick.C
		all.Go(func() {
			if a := u.end(t.Context()); !a.OK() {
				t.Errorf("end: %v", a)
			}
		})
	}
	all.Wait()
}

// D-10: a reader of a byte a second and readers that are stopped hold up nobody
// (I-1), are dropped and cost no more (I-9), and have everything once they return
// (I-6).
func TestSlowAndStoppedReaders(t *testing.T) {
	t.Parallel()
	w := startWatched(t, "", nodeOptions{})
	u := newUnlucky(t, w.node)
	good, stopped := size(50, 1000), size(5, 50)
	goods := startFleet(t, w.node, load.Options{N: good})
	stops := startFleet(t, w.node, load.Options{N: stopped})
	startTrickle(t, w.node)
	until(t, 30*time.Second, "all streams are open", func() bool {
		return w.gauge(t, "coatcheck_feed_subscribers") == float64(good+stopped+1)
	})
	for _, pid := range stops.PIDs() {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, pid := range stops.PIDs() {
			_ = syscall.Kill(pid, syscall.SIGCONT) // so that it can end
		}
	})
	const burst = 4000 // more than the buffers of a socket hold
	u.endMany(t, burst)
	allHeard(t, goods, good, burst)

	until(t, time.Minute, "those that do not read are dropped", func() bool {
		return w.gauge(t, "coatcheck_feed_dropped_total") == float64(stopped+1)
	})
	if left := w.gauge(t, "coatcheck_feed_subscribers"); left != float64(good) {
		t.Errorf("D-10 %g streams are left, want the %d good ones", left, good)
	}
	u.endMany(t, 10)
	allHeard(t, goods, good, burst+10)
	if c := counts(t, goods); c.Ends != 0 {
		t.Errorf("D-10 %d good streams were cut", c.Ends)
	}

	for _, pid := range stops.PIDs() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	allHeard(t, stops, stopped, burst+10)
}

// startTrickle reads a stream a byte a second, until the test ends or it is cut.
func startTrickle(t *testing.T, n *node) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, socket syscall.RawConn) error {
		return socket.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2304) // the least; a larger one takes longer
		})
	}}
	conn, err := d.DialContext(t.Context(), "tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/revocations HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", n.Address, n.APIKey); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		defer conn.Close()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
}

// D-13: thousands of subscribers from other processes hear a hundred ends a second
// and then a mass of them, all of them, in order and without a gap (I-6); and when
// they have gone nothing is left of them (I-9).
func TestManySubscribers(t *testing.T) {
	w := startWatched(t, "", nodeOptions{})
	u := newUnlucky(t, w.node)
	many, ends, mass := size(300, 10_000), size(200, 1000), size(20, 300)
	crowded := w.mustSignUp(t, "token")
	for range mass {
		if _, a := w.signIn(t.Context(), crowded.Email, password, "token"); !a.OK() {
			t.Fatalf("sign in: %v", a)
		}
	}
	base := w.mustFootprint(t)

	fleet := startFleet(t, w.node, load.Options{N: many, Ramp: time.Duration(many) * 200 * time.Microsecond})
	full := w.mustFootprint(t)
	u.endAtPace(t, 100, ends)
	allHeard(t, fleet, many, ends)
	if a := w.call(t.Context(), http.MethodDelete, "/v1/sessions?except=current", nil, bearer(crowded.Access)); !a.OK() {
		t.Fatalf("end all others: %v", a)
	}
	allHeard(t, fleet, many, ends+mass)
	w.Run(t, "session", "end", "--all", "--yes")
	allHeard(t, fleet, many, ends+mass+1) // everyone is one entry
	busy := w.mustFootprint(t)
	t.Logf("before: %v; %d subscribers: %v; after the ends: %v", base, many, full, busy)
	if grown := busy.memory - base.memory; grown > float64(60_000*many+64<<20) {
		t.Errorf("D-13 I-9 %d subscribers take %.0f MB", many, grown/1e6)
	}
	if dropped := w.gauge(t, "coatcheck_feed_dropped_total"); dropped != 0 {
		t.Errorf("%g streams were dropped", dropped)
	}

	if err := fleet.Close(); err != nil {
		t.Error(err)
	}
	w.forget() // our own connections are not of them
	until(t, time.Minute, "nothing is left of the subscribers", func() bool {
		now := w.mustFootprint(t)
		return w.gauge(t, "coatcheck_feed_subscribers") == 0 && now.goroutines <= base.goroutines+10 && now.handles <= base.handles+30
	})
}

// D-14: a server that was killed comes back, and all its subscribers with it. All
// have everything again (I-6), and people sign in all the while (I-8).
func TestAllComeBackAtOnce(t *testing.T) {
	w := startWatched(t, "", nodeOptions{})
	u := newUnlucky(t, w.node)
	h := w.mustSignUp(t, "token")
	many, before := size(300, 10_000), size(100, 1000)
	fleet := startFleet(t, w.node, load.Options{N: many, Ramp: time.Duration(many) * 200 * time.Microsecond})
	u.endMany(t, before)
	allHeard(t, fleet, many, before)

	w.Kill(t)
	until(t, 30*time.Second, "all streams have ended", func() bool { return counts(t, fleet).Ends == many })
	w.Launch(t)
	w.WaitReady(t, 30*time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var people sync.WaitGroup
	var signedIn atomic.Int64
	for range 2 {
		people.Go(func() {
			for ctx.Err() == nil {
				if _, a := w.signIn(ctx, h.Email, password, "token"); ctx.Err() == nil && !a.OK() {
					t.Errorf("I-8 sign in during the storm: %v", a)
					return
				}
				signedIn.Add(1)
			}
		})
	}
	began := time.Now()
	err := fleet.Ready(time.Minute)
	stop()
	people.Wait()
	if err != nil {
		t.Fatalf("D-14 not all are whole again: %v", err)
	}
	c := counts(t, fleet)
	t.Logf("%d whole again after %v, %d sign-ins meanwhile: %+v", many, time.Since(began).Round(time.Millisecond), signedIn.Load(), c)
	if c.Resyncs != 0 {
		t.Errorf("I-6 %d streams had to begin anew, although nothing was lost", c.Resyncs)
	}
	u.endMany(t, 10)
	allHeard(t, fleet, many, before+10)
	if a := w.session(t.Context(), h.as()); !a.OK() {
		t.Errorf("I-8 somebody was signed out: %v", a)
	}
}
