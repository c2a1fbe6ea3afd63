package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var where = regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`")

// ASVS-6.1.3: the page lists every way to sign in. Those are the routes from whose
// handlers the start or the renewal of a session can be reached.
func TestEveryLoginPathwayIsListed(t *testing.T) {
	calls, routes := readWeb(t)
	var found []string
	for route, handler := range routes {
		if reaches(calls, handler, map[string]bool{}) {
			found = append(found, route)
		}
	}
	var listed []string
	for _, m := range where.FindAllStringSubmatch(section(t, "docs/signing-in.md", "Ways to sign in, and how strong each is"), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(found)
	slices.Sort(listed)
	if len(found) < 4 || !slices.Equal(found, listed) {
		t.Errorf("ASVS-6.1.3: sessions begin at\n%s\nand the page lists\n%s", strings.Join(found, "\n"), strings.Join(listed, "\n"))
	}
}

// reaches reports whether a function of the package comes to begin or renew a session.
func reaches(calls map[string]map[string]bool, function string, seen map[string]bool) bool {
	if seen[function] {
		return false
	}
	seen[function] = true
	for called := range calls[function] {
		if called == "Sessions.Begin" || called == "Sessions.Reauthenticate" || reaches(calls, called, seen) {
			return true
		}
	}
	return false
}

// readWeb returns which functions of internal/web use which, and the handler of each
// route, "POST /v1/sign-in".
func readWeb(t *testing.T) (calls map[string]map[string]bool, routes map[string]string) {
	t.Helper()
	files, err := filepath.Glob("../internal/web/*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls, routes = map[string]map[string]bool{}, map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				calls[f.Name.Name] = used(f.Body)
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if row, ok := n.(*ast.CompositeLit); ok {
					maps.Copy(routes, routeOf(row))
				}
				return true
			})
		}
	}
	return calls, routes
}

// used returns the names of what a body uses; of a field of a value, both names.
func used(body ast.Node) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			if id, ok := n.(*ast.Ident); ok {
				names[id.Name] = true
			}
			return true
		}
		names[s.Sel.Name] = true
		if of, ok := s.X.(*ast.SelectorExpr); ok {
			names[of.Sel.Name+"."+s.Sel.Name] = true
		}
		return true
	})
	return names
}

// routeOf returns the route that a literal of the table is, if it is one.
func routeOf(row *ast.CompositeLit) map[string]string {
	text := map[string]string{}
	for _, e := range row.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, ok := pair.Key.(*ast.Ident)
		if !ok {
			continue
		}
		switch value := pair.Value.(type) {
		case *ast.BasicLit:
			text[key.Name], _ = strconv.Unquote(value.Value) // of Go's own parser
		case *ast.SelectorExpr:
			text[key.Name] = value.Sel.Name
		}
	}
	if text["method"] == "" || text["path"] == "" || text["handle"] == "" {
		return nil
	}
	return map[string]string{text["method"] + " " + text["path"]: text["handle"]}
}
