package place

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var quiet = slog.New(slog.DiscardHandler)

var (
	germany = names("en", "Germany", "de", "Deutschland", "pt-BR", "Alemanha")
	cities  = []entry{
		{"192.0.2.0/25", map[string]any{"city": names("en", "Berlin", "de", "Berlin"), "country": germany}},
		{"192.0.2.128/25", map[string]any{"city": names("en", "Munich", "de", "München"), "country": germany}},
		{"198.51.100.0/24", map[string]any{"country": germany}},
		{"203.0.113.0/24", map[string]any{"city": names("en", "Singapore"), "country": names("en", "Singapore")}},
		{"203.0.112.0/24", map[string]any{"city": names("de", "Nirgends")}},
		{"2001:db8::/32", map[string]any{"city": names("en", "Vienna", "de", "Wien"), "country": names("en", "Austria", "de", "Österreich")}},
	}
)

func open(t *testing.T, kind string, entries ...entry) (*Database, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "places.mmdb")
	write(t, path, kind, entries...)
	d, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func TestName(t *testing.T) {
	d, _ := open(t, "GeoLite2-City", cities...)
	for _, c := range []struct{ ip, language, want string }{
		{"192.0.2.7", "", "Berlin, Germany"},
		{"192.0.2.7", "en", "Berlin, Germany"},
		{"192.0.2.130", "en-GB,en;q=0.9,de;q=0.8", "Munich, Germany"},
		{"192.0.2.130", "de", "München, Deutschland"},
		{"192.0.2.130", "DE-ch ; q=0.7, fr", "München, Deutschland"},
		{"192.0.2.130", "pt-br", "Munich, Alemanha"},
		{"192.0.2.130", "fr", "Munich, Germany"},
		{"192.0.2.130", "*", "Munich, Germany"},
		{"192.0.2.130", "\x00,,;;--", "Munich, Germany"},
		{"::ffff:192.0.2.130", "", "Munich, Germany"},
		{"198.51.100.9", "", "Germany"},
		{"203.0.113.9", "", "Singapore"},
		{"203.0.112.9", "de", "Nirgends"},
		{"203.0.112.9", "en", ""},
		{"2001:db8::1", "de", "Wien, Österreich"},
		{"fe80::1%eth0", "", ""},
		{"127.0.0.1", "", ""},
		{"10.0.0.1", "", ""},
		{"", "", ""},
		{"nowhere", "", ""},
		{"192.0.2.7, 192.0.2.130", "", ""},
	} {
		if got := d.Name(c.ip, c.language); got != c.want {
			t.Errorf("%q in %q is %q, want %q", c.ip, c.language, got, c.want)
		}
	}
}

// A Country database is as good, for what it knows.
func TestNameByCountry(t *testing.T) {
	d, _ := open(t, "DBIP-Country-Lite", entry{"192.0.2.0/24", map[string]any{"country": germany}})
	if got := d.Name("192.0.2.7", "de"); got != "Deutschland" {
		t.Errorf("the place is %q", got)
	}
}

// Lookups go on while the file changes, and know the new one when it is read.
func TestReload(t *testing.T) {
	d, path := open(t, "GeoLite2-City", cities...)
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				if got := d.Name("192.0.2.7", ""); got != "Berlin, Germany" && got != "Elsewhere" {
					t.Errorf("in between, the place is %q", got)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	if err := d.Reload(); err != nil {
		t.Errorf("a file that has not changed: %v", err)
	}
	write(t, path, "GeoLite2-City", entry{"192.0.2.0/24", map[string]any{"city": names("en", "Elsewhere")}})
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
	close(done)
	all.Wait()
	if got := d.Name("192.0.2.7", ""); got != "Elsewhere" {
		t.Errorf("the place is %q", got)
	}
}

// What cannot be used is refused at the start, and later leaves the one before.
func TestUnusableFiles(t *testing.T) {
	d, path := open(t, "GeoLite2-City", cities...)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil := map[string]func(){
		"missing":                      func() { remove(t, path) },
		"empty":                        func() { replace(t, path, nil) },
		"something else":               func() { replace(t, path, []byte(strings.Repeat("<html>", 1000))) },
		"half":                         func() { replace(t, path, good[:len(good)/2]) },
		"a database of something else": func() { write(t, path, "GeoLite2-ASN", cities...) },
	}
	for name, spoiled := range spoil {
		t.Run(name, func(t *testing.T) {
			spoiled()
			if _, err := Open(path, quiet); err == nil || !strings.Contains(err.Error(), "database of places") {
				t.Errorf("opened: %v", err)
			}
			if err := d.Reload(); err == nil {
				t.Error("no error")
			}
			if got := d.Name("192.0.2.7", ""); got != "Berlin, Germany" {
				t.Errorf("the place is %q", got)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
