package loopback

import "net"

// Is reports whether host, without port and brackets, is this machine: by the name
// localhost or by an address of the loopback interface. No name is looked up.
func Is(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
