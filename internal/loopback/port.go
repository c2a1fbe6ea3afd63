// Package loopback knows this machine as a host: what names it, and where a server that
// a test or a benchmark starts can listen.
package loopback

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports come from below those that the system gives to connections. From there
// somebody could be connected before the server listens, and a client that dials a
// server which is down could be connected to itself.
const (
	firstPort = 10_000
	ports     = 20_000
)

// begin is where this program looks first: apart from others that look at the same
// time, whose process ids are near to ours.
var (
	begin = os.Getpid() * 97
	tried atomic.Int64
)

func port(n int64) int { return firstPort + (begin+int(n))%ports }

// FreePort returns a port of 127.0.0.1 at which nobody listens, and which is not
// returned again soon: for a server that has to be told its address before it listens.
// It is safe for concurrent use.
func FreePort() (int, error) {
	for range ports {
		free := port(tried.Add(1))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(free)))
		if err != nil {
			continue
		}
		return free, l.Close()
	}
	return 0, errors.New("no port is free")
}
