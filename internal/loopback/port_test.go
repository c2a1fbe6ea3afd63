package loopback

import (
	"net"
	"strconv"
	"testing"
)

// A port can be listened at, is given out once, and is none that connections have.
func TestFreePort(t *testing.T) {
	given := map[int]bool{}
	for range 100 {
		free, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if given[free] || free < firstPort || free >= firstPort+ports {
			t.Fatalf("port %d is given out", free)
		}
		given[free] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(free)))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A port at which somebody listens is passed over.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port(tried.Load()+1))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	free, err := FreePort()
	if err != nil || free == l.Addr().(*net.TCPAddr).Port {
		t.Errorf("the taken port %d is given out, %v", free, err)
	}
}
