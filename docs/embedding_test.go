package docs_test

import (
	"slices"
	"strings"
	"testing"
)

// A program that mounts the server is told every path that it takes, and none that it
// does not.
func TestEveryPathIsListed(t *testing.T) {
	var listed []string
	for _, m := range quoted.FindAllStringSubmatch(section(t, "docs/embedding.md", "Under your own mux"), -1) {
		if strings.HasPrefix(m[1], "/") && m[1] != "/" {
			listed = append(listed, m[1])
		}
	}
	used := map[string]bool{}
	_, routes := readWeb(t)
	for route := range routes {
		_, path, _ := strings.Cut(route, " ")
		at := slices.IndexFunc(listed, func(place string) bool {
			return path == place || strings.HasPrefix(path, strings.TrimSuffix(place, "/")+"/")
		})
		switch {
		case at >= 0:
			used[listed[at]] = true
		case path != "/{$}": // the front page is the program's own
			t.Errorf("docs/embedding.md does not say that %s is taken", path)
		}
	}
	for _, place := range listed {
		if !used[place] {
			t.Errorf("docs/embedding.md says that %s is taken, and nothing is there", place)
		}
	}
}
