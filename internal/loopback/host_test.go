package loopback

import "testing"

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "LOCALHOST.example.com": false, "localhost.": false, "127.1": false, "0.0.0.0": false, "10.0.0.1": false,
		"[::1]": false, "127.0.0.1:80": false, "auth.example.com": false,
	} {
		if Is(host) != want {
			t.Errorf("%q is this machine: %v, want %v", host, !want, want)
		}
	}
}
