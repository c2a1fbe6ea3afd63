package web

import (
	"net/http"
	"net/netip"
	"testing"
)

// V-100, ASVS-4.1.3: who is at the other end. Nobody gets another address than their
// own by saying so.
func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ff::/48")}
	cases := []struct {
		name    string
		peer    string
		headers [][2]string
		want    string
	}{
		{"nobody in between", "203.0.113.5:40000", nil, "203.0.113.5"},
		{"a stranger says it is another", "203.0.113.5:40000", [][2]string{{"X-Forwarded-For", "198.51.100.1"}}, "203.0.113.5"},
		{"a stranger says it in every way", "203.0.113.5:40000", [][2]string{
			{"X-Forwarded-For", "198.51.100.1"},
			{"X-Real-Ip", "198.51.100.1"},
			{"Forwarded", "for=198.51.100.1"},
			{"True-Client-Ip", "198.51.100.1"},
			{"Cf-Connecting-Ip", "198.51.100.1"},
			{"X-Client-Ip", "198.51.100.1"},
			{"X_forwarded_for", "198.51.100.1"},
			{"X-Originating-Ip", "198.51.100.1"},
		}, "203.0.113.5"},
		{"a proxy says who it is", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "203.0.113.5"}}, "203.0.113.5"},
		{"a proxy says it by another header", "10.0.0.1:40000", [][2]string{{"X-Real-Ip", "203.0.113.5"}, {"Forwarded", "for=203.0.113.5"}, {"X_forwarded_for", "203.0.113.5"}}, "10.0.0.1"},
		{"a proxy passes on what a stranger made up", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "198.51.100.1, 203.0.113.5"}}, "203.0.113.5"},
		{"in two headers", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "198.51.100.1"}, {"X-Forwarded-For", "203.0.113.5"}}, "203.0.113.5"},
		{"two proxies", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "198.51.100.1, 203.0.113.5, 10.9.9.9"}}, "203.0.113.5"},
		{"a stranger calls itself a proxy", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "198.51.100.1, 10.1.1.1, 203.0.113.5"}}, "203.0.113.5"},
		{"proxies all the way", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}}, "10.0.0.3"},
		{"nonsense is the end of it", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "203.0.113.5, unknown"}}, "10.0.0.1"},
		{"nonsense before a proxy", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "203.0.113.5, <script>, 10.0.0.2"}}, "10.0.0.2"},
		{"an empty header", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", ""}}, "10.0.0.1"},
		{"a port", "10.0.0.1:40000", [][2]string{{"X-Forwarded-For", "203.0.113.5:80"}}, "10.0.0.1"},
		{"IPv4 in IPv6 from the peer", "[::ffff:203.0.113.5]:40000", nil, "203.0.113.5"},
		{"a proxy as IPv4 in IPv6", "[::ffff:10.0.0.1]:40000", [][2]string{{"X-Forwarded-For", "::ffff:203.0.113.5"}}, "203.0.113.5"},
		{"IPv6", "[2001:db8::1]:40000", nil, "2001:db8::1"},
		{"a proxy by IPv6", "[2001:db8:ff::1]:40000", [][2]string{{"X-Forwarded-For", "2001:DB8:0::1"}}, "2001:db8::1"},
		{"a zone", "[fe80::1%eth0]:40000", nil, "fe80::1"},
		{"no peer", "@", [][2]string{{"X-Forwarded-For", "203.0.113.5"}}, "unknown"},
	}
	for _, c := range cases {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		for _, h := range c.headers {
			r.Header[h[0]] = append(r.Header[h[0]], h[1])
		}
		if got := clientAddress(r, proxies); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	r := &http.Request{RemoteAddr: "203.0.113.5:1", Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}}
	if got := clientAddress(r, nil); got != "203.0.113.5" {
		t.Errorf("without proxies: %s", got)
	}
}

// CK-3: names are compared as bytes, so that nothing which a browser or proxy takes for
// another name is ours. V-35: no other spelling is adopted.
func TestCookieNames(t *testing.T) {
	cases := []struct {
		header []string
		want   int
	}{
		{[]string{"__Host-coatcheck=a"}, 1},
		{[]string{"x=1; __Host-coatcheck=a; y=2"}, 1},
		{[]string{"__Host-coatcheck=a; __Host-coatcheck=b"}, 2},
		{[]string{"__Host-coatcheck=a", "__Host-coatcheck=b"}, 2},
		{[]string{"__Host-coatcheck="}, 1},
		{[]string{"__Host-coatcheck"}, 0},
		{[]string{"__host-coatcheck=a; __HOST-coatcheck=a; __Host-Coatcheck=a"}, 0},
		{[]string{"coatcheck=a; __Secure-coatcheck=a; x__Host-coatcheck=a; __Host-coatcheck_at=a"}, 0},
		{[]string{"\u00a0__Host-coatcheck=a"}, 0},
		{[]string{"\u2000__Host-coatcheck=a"}, 0},
		{[]string{"\u0085__Host-coatcheck=a; \ufeff__Host-coatcheck=b"}, 0},
		{[]string{"__Host-coatcheck\u00a0=a"}, 0},
		{[]string{"__Host-coatcheck =a"}, 0},
		{[]string{"\x00__Host-coatcheck=a"}, 0},
		{[]string{"\"__Host-coatcheck\"=a"}, 0},
		{[]string{"__Host-coatchec\u212a=a"}, 0},
		{[]string{"=__Host-coatcheck=a"}, 0},
		{[]string{"$Version=1, __Host-coatcheck=a"}, 0},
	}
	for _, c := range cases {
		r := &http.Request{Header: http.Header{"Cookie": c.header}}
		if _, got := named(r, "__Host-coatcheck"); got != c.want {
			t.Errorf("%q holds %d cookies of ours, want %d", c.header, got, c.want)
		}
	}
}
