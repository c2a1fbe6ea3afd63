package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server does not start with a geo.database that it cannot use, and says which; a
// command beside it does not ask for it.
func TestUnusableGeoDatabase(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "places.mmdb")
	if err := os.WriteFile(broken, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{broken, filepath.Join(dir, "missing.mmdb")} {
		c, err := Configure(map[string]string{"database": "sqlite:" + filepath.Join(dir, "test.db"), "geo.database": path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), Options{Config: c}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("the server starts with %s: %v", path, err)
		}
		found := Examine(t.Context(), c, nil, &http.Client{Timeout: time.Millisecond})
		examine(t, found, "geo", Serious, path)
		a, err := Open(t.Context(), Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.placeOf("192.0.2.7", "de"); got != "" {
			t.Errorf("a place that nobody knows: %q", got)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
