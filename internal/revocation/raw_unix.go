//go:build unix

package revocation

import (
	"errors"
	"io"
	"syscall"
)

// rawOf returns how to write to a socket without waiting; nil if that cannot be. It
// bounds what the system keeps for a reader that does not read.
func rawOf(socket syscall.Conn) syscall.RawConn {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	err = raw.Control(func(fd uintptr) {
		// Where it cannot be set, the system's own bound holds.
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
	})
	if err != nil {
		return nil
	}
	return raw
}

// abandon has the system forget what the reader of a socket did not take, once it
// is closed: else that stays, and is offered to it, for minutes.
func abandon(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) { // a socket that cannot be told keeps it
		_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	})
}

// A rawWriter writes to sockets without waiting. It is not safe for concurrent use;
// its functions are made once, because they are called for every reader and entry.
type rawWriter struct {
	frames []byte
	n      int
	err    error
	write1 func(fd uintptr) bool
	read1  func(fd uintptr) bool
	dust   [64]byte
}

func (w *rawWriter) init() {
	w.write1 = func(fd uintptr) bool {
		w.n, w.err = retry(func() (int, error) { return syscall.Write(int(fd), w.frames) })
		return true // and do not wait until it could be written
	}
	w.read1 = func(fd uintptr) bool {
		w.n, w.err = retry(func() (int, error) { return syscall.Read(int(fd), w.dust[:]) })
		return true
	}
}

// write writes as many bytes as the system takes now. An error means that nothing
// more will get through.
func (w *rawWriter) write(to syscall.RawConn, frames []byte) (int, error) {
	w.frames = frames
	err := to.Write(w.write1)
	w.frames = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(w.err, syscall.EAGAIN):
		return 0, nil
	case w.err == nil && w.n == 0:
		return 0, io.ErrShortWrite
	}
	return w.n, w.err
}

// gone reports whether the reader has closed its end. What it says is passed over,
// as long as it does not talk without end.
func (w *rawWriter) gone(from syscall.RawConn) bool {
	for range 16 {
		if err := from.Read(w.read1); err != nil {
			return true
		}
		switch {
		case w.err != nil:
			return !errors.Is(w.err, syscall.EAGAIN)
		case w.n == 0:
			return true
		}
	}
	return false
}

// retry calls a system call again that a signal has broken off.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
