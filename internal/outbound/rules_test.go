package outbound

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// What is called, and what is not, by the letters of an address alone (V-102).
func TestV102Accepts(t *testing.T) {
	public := Config{}
	development := Config{Loopback: true}
	inside := Config{Allow: prefixes("10.1.0.0/16", "169.254.169.0/24", "fd00::/8", "224.0.0.0/4", "0.0.0.0/0"), Ports: []uint16{8443}}
	named := Config{Allow: prefixes("169.254.169.254/32")}
	rows := []struct {
		config  Config
		address string
		why     string // part of the refusal; "": it is called
	}{
		{public, "https://shop.example/logout", ""},
		{public, "https://shop.example:443/logout?tenant=1&x=%2F", ""},
		{public, "https://shop.example./logout", ""},
		{public, "HTTPS://SHOP.example/", ""},
		{public, "https://93.184.216.34/", ""},
		{public, "https://[2606:2800:220:1:248:1893:25c8:1946]/", ""},
		{public, "https://xn--bcher-kva.example/", ""},
		// Scheme.
		{public, "http://shop.example/logout", "not https"},
		{public, "http://localhost/logout", "not https"},
		{public, "ftp://shop.example/", "not https"},
		{public, "file:///etc/passwd", "no address of a web server"},
		{public, "gopher://shop.example/_x", "not https"},
		{public, "unix:///run/docker.sock", "no address of a web server"},
		{public, "javascript:alert(1)", "no address of a web server"},
		{public, "data:text/plain,x", "no address of a web server"},
		{public, "//shop.example/logout", "not https"},
		{public, "/logout", "no address of a web server"},
		{public, "", "no address of a web server"},
		{public, "https:", "no address of a web server"},
		{public, "https://", "no address of a web server"},
		{public, "https:shop.example", "no address of a web server"},
		{public, "https:///shop.example/", "no address of a web server"},
		// Form.
		{public, "https://ada:secret@shop.example/", "name or a password"},
		{public, "https://ada@shop.example/", "name or a password"},
		{public, "https://shop.example@127.0.0.1/", "name or a password"},
		{public, "https://shop.example/#top", "fragment"},
		{public, "https://shop.example/#", "fragment"},
		{public, "https://shop.example/a b", "no place"},
		{public, "https://shop.example/\r\nHost: 127.0.0.1", "no place"},
		{public, "https://shop.example/\x00", "no place"},
		{public, "https://shop.example\\@127.0.0.1/", "no place"},
		{public, "https://bücher.example/", "no place"},
		{public, "https://shop。example/", "no place"},
		{public, "https://shop.example/" + strings.Repeat("a", mostAddress), "too long"},
		{public, "https://shop%2eexample/", "no address of a web server"},
		{public, "https://shop..example/", "no name"},
		{public, "https://.shop.example/", "no name"},
		{public, "https://shop!example/", "no name"},
		{public, "https://" + strings.Repeat("a", 64) + ".example/", "no name"},
		{public, "https://2130706433/", "no name"},
		{public, "https://0x7f000001/", "no name"},
		{public, "https://127.1/", "no name"},
		{public, "https://0177.0.0.1/", "no name"},
		{public, "https://127.0.0.1./", "no name"},
		// Port.
		{public, "https://shop.example:8443/", "Port 8443"},
		{public, "https://shop.example:22/", "Port 22"},
		{public, "https://shop.example:80/", "Port 80"},
		{public, "https://shop.example:0/", "valid port"},
		{public, "https://shop.example:/", "valid port"},
		{public, "https://shop.example:65536/", "valid port"},
		{public, "https://shop.example:x/", "no address of a web server"},
		{inside, "https://shop.example:8443/", ""},
		{inside, "https://shop.example:6379/", "Port 6379"},
		// Address class.
		{public, "https://127.0.0.1/", "not public"},
		{public, "https://127.8.9.10/", "not public"},
		{public, "https://[::1]/", "not public"},
		{public, "https://[::ffff:127.0.0.1]/", "not public"},
		{public, "https://[::ffff:7f00:1]/", "not public"},
		{public, "https://[::127.0.0.1]/", "not public"},
		{public, "https://[64:ff9b::127.0.0.1]/", "not public"},
		{public, "https://[64:ff9b::10.0.0.1]/", "not public"},
		{public, "https://[64:ff9b::93.184.216.34]/", ""},
		{public, "https://[64:ff9b:1::1]/", "not public"},
		{public, "https://[2002:7f00:1::]/", "not public"},
		{public, "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "not public"},
		{public, "https://[2001:db8::1]/", "not public"},
		{public, "https://[fe80::1]/", "not public"},
		{public, "https://[fe80::1%25eth0]/", "zone"},
		{public, "https://[fec0::1]/", "not public"},
		{public, "https://[fc00::1]/", "not public"},
		{public, "https://[fd00:ec2::254]/", "not public"},
		{public, "https://[ff02::1]/", "not public"},
		{public, "https://[::]/", "not public"},
		{public, "https://0.0.0.0/", "not public"},
		{public, "https://10.0.0.1/", "not public"},
		{public, "https://100.64.0.1/", "not public"},
		{public, "https://100.100.100.200/", "not public"},
		{public, "https://168.63.129.16/", "not public"},
		{public, "https://169.254.169.254/latest/meta-data/", "not public"},
		{public, "https://172.16.0.1/", "not public"},
		{public, "https://172.31.255.255/", "not public"},
		{public, "https://172.32.0.1/", ""},
		{public, "https://192.0.0.192/", "not public"},
		{public, "https://192.168.1.1/", "not public"},
		{public, "https://198.18.0.1/", "not public"},
		{public, "https://203.0.113.7/", "not public"},
		{public, "https://224.0.0.1/", "not public"},
		{public, "https://255.255.255.255/", "not public"},
		// What the operator has allowed.
		{inside, "https://10.1.2.3/", ""},
		{inside, "https://[fd12:3456::1]/", ""},
		{inside, "http://10.1.2.3/", "not https"},
		{inside, "https://169.254.169.254/", "not public"},
		{inside, "https://[fd00:ec2::254]/", "not public"},
		{inside, "https://224.0.0.1/", "not public"},
		{inside, "https://255.255.255.255/", "not public"},
		{inside, "https://0.0.0.0/", "not public"},
		{named, "https://169.254.169.254/", ""},
		// Where somebody develops.
		{development, "http://localhost:3000/logout", ""},
		{development, "http://127.0.0.1:3000/logout", ""},
		{development, "http://[::1]:3000/logout", ""},
		{development, "https://localhost:8443/logout", ""},
		{development, "http://10.0.0.1:3000/", "not https"},
		{development, "https://10.0.0.1/", "not public"},
		{development, "http://shop.example/", "not https"},
		{development, "http://0.0.0.0:3000/", "not https"},
		{development, "http://localhost.shop.example/", "not https"},
		{development, "https://shop.example:3000/", "Port 3000"},
	}
	for _, row := range rows {
		err := New(row.config).Accepts(row.address)
		var refused *Refused
		switch {
		case row.why == "" && err != nil:
			t.Errorf("%q is refused: %v", row.address, err)
		case row.why != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Why, row.why)):
			t.Errorf("%q: %v, want a refusal with %q", row.address, err, row.why)
		}
	}
}

// A name is judged by every address that it stands for, whenever it is called (V-102).
func TestV102NamesAreJudgedByAllTheirAddresses(t *testing.T) {
	rows := []struct {
		name      string
		addresses []string
		refused   bool
	}{
		{"one inside", []string{"10.0.0.1"}, true},
		{"public, and one inside", []string{"93.184.216.34", "127.0.0.1"}, true},
		{"mapped", []string{"::ffff:169.254.169.254"}, true},
		{"with a zone", []string{"fe80::1%eth0"}, true},
		{"none", nil, false},
	}
	for _, row := range rows {
		client := New(Config{Resolve: func(context.Context, string) ([]netip.Addr, error) {
			var all []netip.Addr
			for _, text := range row.addresses {
				all = append(all, netip.MustParseAddr(text))
			}
			return all, nil
		}})
		_, err := client.Do(t.Context(), Call{Method: "GET", URL: "https://shop.example/"})
		var refused *Refused
		if err == nil || errors.As(err, &refused) != row.refused {
			t.Errorf("%s: %v", row.name, err)
		}
		if row.refused && client.Figures().Refused != 1 {
			t.Errorf("%s: %+v", row.name, client.Figures())
		}
	}
}
