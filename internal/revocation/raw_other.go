//go:build !unix

package revocation

import (
	"errors"
	"syscall"
)

// rawOf returns nil: here nothing can be written without waiting, and each
// connection has a goroutine.
func rawOf(syscall.Conn) syscall.RawConn { return nil }

func abandon(syscall.RawConn) {}

type rawWriter struct{}

func (*rawWriter) init() {}

func (*rawWriter) write(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

func (*rawWriter) gone(syscall.RawConn) bool { return false }
