package drill

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// D-26: the server has 128 MiB and 64 file handles, and far more people come than
// that serves. They wait or are refused; nobody gets a wrong answer, memory stays
// within its limit, and when they have gone all is well. With 28 handles not even
// the database can open all that it would. I-7, I-8, I-9
func TestLittleMemoryAndFewHandles(t *testing.T) {
	for _, handles := range []int{64, 28} {
		t.Run(fmt.Sprint(handles), func(t *testing.T) {
			t.Parallel()
			littleOf(t, handles)
		})
	}
}

func littleOf(t *testing.T, handles int) {
	n := startNode(t, nodeOptions{
		Env: []string{"GOMEMLIMIT=128MiB"}, Wrap: []string{"prlimit", fmt.Sprintf("--nofile=%d", handles)},
		Settings: map[string]string{"hash.slots": "2"},
	})
	w, ctx := witness{n.client, newRecorder()}, t.Context()
	people := w.crowd(t, 16)

	idle := crowdIn(n.Address, 200)
	var wrong sync.Map
	var waited atomic.Int64
	var all sync.WaitGroup
	for i, h := range people {
		all.Go(func() {
			key := newKey()
			for round := range size(8, 400) {
				// The answer may never come: then nobody knows, and the same again is safe.
				call, cancel := context.WithTimeout(ctx, 2*time.Second)
				next, a := w.spend(call, h, h.Refresh, key)
				cancel()
				if a.OK() {
					h.Access, h.Refresh, key = next.Access, next.Refresh, newKey()
				}
				call, cancel = context.WithTimeout(ctx, 2*time.Second)
				b := w.check(call, h)
				cancel()
				for _, a := range []answer{a, b} {
					switch {
					case a.OK():
					case a.Err != nil || a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests:
						waited.Add(1)
					default:
						wrong.Store([2]int{i, round}, a.String())
					}
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d of %d calls were refused or waited in vain; %d handles are open", waited.Load(), 2*len(people)*size(8, 400), openHandles(t, n))
	wrong.Range(func(who, what any) bool {
		t.Errorf("I-7 caller %v with few handles: %v", who, what)
		return true
	})
	w.Bound("the memory of a server with GOMEMLIMIT 128 MiB, in MiB", peakMemory(t, n), 160)
	idle()
	n.client.forget()
	until(t, 30*time.Second, "D-26 the node serves again once the crowd has gone", func() bool {
		return n.Ready() && w.check(ctx, people[0]).OK()
	})
	for _, h := range people {
		if a := w.renew(ctx, h); !a.OK() {
			t.Errorf("I-8 afterwards: %v", a)
		}
		w.check(ctx, h)
		w.signOut(ctx, h)
		w.check(ctx, h)
	}
	w.verify(t)
	n.Kill(t)
	checkWhole(t, n.Dir)
}

// crowdIn opens connections and leaves them idle after half a request; those that
// are not taken wait in the listener's queue. It returns what closes them.
func crowdIn(address string, count int) (leave func()) {
	var conns []net.Conn
	for range count {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			break // the queue is full, too
		}
		_, _ = conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: ")) // it may be refused already
		conns = append(conns, conn)
	}
	return func() {
		for _, conn := range conns {
			_ = conn.Close() // the server may have been faster
		}
	}
}

// openHandles returns how many file handles the process has open.
func openHandles(t testing.TB, n *node) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// peakMemory returns the most memory that the process held so far, in MiB.
func peakMemory(t testing.TB, n *node) float64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("the process has no status")
	return 0
}
