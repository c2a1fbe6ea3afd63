//go:build unix

package load

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// buffers are shared: a reader holds one while it reads, not while it waits.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// drain reads a socket until it ends. While nothing comes it holds no buffer, so that
// a stream costs a goroutine and little else.
func (r *reader) drain(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	var ended error
	err = raw.Read(func(fd uintptr) bool {
		buffer := buffers.Get().(*[64 << 10]byte)
		defer buffers.Put(buffer)
		for {
			n, err := syscall.Read(int(fd), buffer[:])
			switch {
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				return false // come again when there is more
			case err != nil:
				ended = err
				return true
			case n == 0:
				ended = io.EOF
				return true
			default:
				if ended = r.take(buffer[:n]); ended != nil {
					return true
				}
			}
		}
	})
	if errors.Is(ended, io.EOF) {
		return nil
	}
	return errors.Join(err, ended)
}
