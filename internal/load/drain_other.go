//go:build !unix

package load

import "net"

// drain reads a socket until it ends.
func (r *reader) drain(conn *net.TCPConn) error { return r.copy(conn, conn) }
