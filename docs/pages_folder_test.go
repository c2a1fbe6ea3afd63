package docs_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/config"
)

// The files that docs/pages.md shows stand in for ours, and do what the page says.
func TestPagesFolder(t *testing.T) {
	folder := fstest.MapFS{}
	for _, b := range blocksOf(t, "docs/pages.md") {
		if name, found := strings.CutPrefix(b.tag, "pages/"); found {
			folder[name] = &fstest.MapFile{Data: []byte(b.text)}
		}
	}
	loaded, err := config.Load(config.Options{Path: os.DevNull, Environ: []string{"COATCHECK_DATABASE=sqlite:" + filepath.Join(t.TempDir(), "coatcheck.db")}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Options{Config: loaded.Config, Pages: folder, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	for _, c := range []struct{ path, language, want string }{
		{"/sign-in", "en", "<h1>Welcome back</h1>"},
		{"/sign-in", "en", "Sign in to localhost:8080"},
		{"/sign-in", "fr-CA", "<h1>Connexion</h1>"},
		{"/sign-in", "fr-CA", "Stay signed in on this device"},
		{"/sign-in", "de", "<h1>Anmelden</h1>"},
		{"/signed-out", "en", `href="https://example.com/">localhost:8080</a>`},
		{"/static/style.css", "", "--font: Georgia, serif"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost:8080"+c.path, nil)
		r.Header.Set("Accept-Language", c.language)
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s in %q (%d) has no %s:\n%s", c.path, c.language, w.Code, c.want, w.Body)
		}
	}
}

// The properties that the page lists are those of the stylesheet.
func TestPagesListTheProperties(t *testing.T) {
	style := readPage(t, "internal/web/static/style.css")
	own := matchesOf(regexp.MustCompile(`(?m)^  (--[a-z-]+):`), style)
	var listed []string
	for row := range strings.Lines(section(t, "docs/pages.md", "Your own folder")) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		listed = append(listed, matchesOf(regexp.MustCompile("`(--[a-z-]+)`"), cell)...)
	}
	slices.Sort(listed)
	if !slices.Equal(own, listed) {
		t.Errorf("the stylesheet has\n%v\nand the page lists\n%v", own, listed)
	}
}

// matchesOf returns what a pattern finds in a text, sorted, each once.
func matchesOf(pattern *regexp.Regexp, text string) []string {
	var out []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		out = append(out, match[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
