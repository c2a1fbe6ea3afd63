package outbound

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// rules say what may be called.
type rules struct {
	allow    []netip.Prefix
	ports    []uint16
	loopback bool
}

// target reads an address and judges all that can be told from its letters.
func (r *rules) target(address string) (*url.URL, error) {
	if len(address) > mostAddress {
		return nil, &Refused{"The address is too long."}
	}
	if strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }) {
		return nil, &Refused{"The address holds a character that has no place in one."}
	}
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return nil, &Refused{"This is no address of a web server."}
	}
	switch {
	case u.User != nil:
		return nil, &Refused{"The address holds a name or a password."}
	case u.Fragment != "" || strings.Contains(address, "#"):
		return nil, &Refused{"The address has a fragment, which no server is told."}
	}
	host := u.Hostname()
	here := r.loopback && loopback.Is(host)
	if u.Scheme != "https" && !(here && u.Scheme == "http") {
		return nil, &Refused{"The address is not https."}
	}
	if err := r.port(u, here); err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return u, r.admit(ip)
	}
	return u, named(host)
}

func (r *rules) port(u *url.URL, here bool) error {
	port := uint16(443)
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return &Refused{"The address has no valid port."}
		}
		port = uint16(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return &Refused{"The address has no valid port."}
	}
	if !here && !slices.Contains(r.ports, port) {
		return &Refused{"Port " + strconv.Itoa(int(port)) + " is not called: outbound.ports says which are."}
	}
	return nil
}

// named refuses what is neither a name nor a plain address: some resolvers take 127.1 and
// 0x7f000001 for addresses.
func named(host string) error {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		odd := func(c rune) bool {
			return c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, odd) {
			return &Refused{"The host of the address is no name."}
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return &Refused{"The host of the address is no name."}
	}
	return nil
}

// admit refuses an address that may not be called.
func (r *rules) admit(ip netip.Addr) error {
	if ip.Zone() != "" {
		return &Refused{"The address has a zone."}
	}
	ip = ip.Unmap()
	if r.loopback && ip.IsLoopback() || r.allowed(ip) {
		return nil
	}
	if public(ip) {
		return nil
	}
	return &Refused{"The address " + ip.String() + " is not public, and outbound.allow does not name it."}
}

// allowed reports whether the operator lets the address be called though it is not
// public. Nobody is called by an address that stands for many.
func (r *rules) allowed(ip netip.Addr) bool {
	if ip.IsMulticast() || ip.IsUnspecified() || ip == broadcast {
		return false
	}
	return slices.ContainsFunc(r.allow, func(network netip.Prefix) bool {
		return network.Contains(ip) && (network.IsSingleIP() || !slices.Contains(metadata, ip))
	})
}

// public reports whether an address is one of the public Internet. Behind one of NAT64
// stands one of IPv4, which is judged in its place.
func public(ip netip.Addr) bool {
	if nat64.Contains(ip) {
		embedded := ip.As16()
		ip = netip.AddrFrom4([4]byte(embedded[12:]))
	}
	if ip.Is6() && !unicast.Contains(ip) || slices.Contains(metadata, ip) {
		return false
	}
	return !slices.ContainsFunc(special, func(network netip.Prefix) bool { return network.Contains(ip) })
}

var (
	broadcast = netip.MustParseAddr("255.255.255.255")
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	unicast   = netip.MustParsePrefix("2000::/3")     // what of IPv6 is given out
)

// metadata are the addresses at which clouds tell machines their secrets.
var metadata = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
}

// special are the networks that IANA keeps for other purposes than the public Internet,
// by its registries of special-purpose addresses (RFC 6890).
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}
