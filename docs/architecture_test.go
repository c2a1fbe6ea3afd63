package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// section returns the part of a page below a heading.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readPage(t, page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

var (
	quoted    = regexp.MustCompile("`([^`]+)`")
	guard     = regexp.MustCompile("`(Test\\w+)` in `([^`]+_test\\.go)`")
	stepOf    = regexp.MustCompile(`(?m)^\d+\. `)
	declared  = regexp.MustCompile(`^[A-Za-z]+(\.[A-Za-z]+)?$`)
	plainName = regexp.MustCompile(`^[A-Za-z]`)
)

// Every invariant names the test that guards it, and there is such a test in that
// file.
func TestInvariantsAreGuarded(t *testing.T) {
	rows := 0
	for line := range strings.Lines(section(t, "ARCHITECTURE.md", "What always holds, and the test that says so")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| invariant") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		guards := guard.FindAllStringSubmatch(line, -1)
		if len(guards) == 0 {
			t.Errorf("nothing guards: %s", line)
		}
		for _, g := range guards {
			if !slices.Contains(functionsOf(t, g[2]), g[1]) {
				t.Errorf("%s has no %s", g[2], g[1])
			}
		}
	}
	if rows < 12 {
		t.Errorf("%d invariants, want at least 12", rows)
	}
}

// functionsOf returns the names of a file's functions and of its methods, the latter
// also with their type before them.
func functionsOf(t *testing.T, file string) []string {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range syntax.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		names = append(names, f.Name.Name)
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if name, ok := of.(*ast.Ident); ok {
				names = append(names, name.Name+"."+f.Name.Name)
			}
		}
	}
	return names
}

// The life of one sign-in has ten steps. The files that it names are there, and each
// function it names stands in a file that the same step names.
func TestLifeOfASignIn(t *testing.T) {
	text := section(t, "ARCHITECTURE.md", "The life of one sign-in")
	steps := stepOf.Split(text, -1)[1:]
	if len(steps) != 10 {
		t.Fatalf("%d steps, want 10", len(steps))
	}
	for i, step := range steps {
		var known []string
		var wanted []string
		for _, m := range quoted.FindAllStringSubmatch(step, -1) {
			name := m[1]
			switch {
			case strings.HasSuffix(name, ".go"):
				known = append(known, functionsOf(t, name)...)
			case declared.MatchString(name) && name != "Proof" && name != "Caller.Done":
				wanted = append(wanted, name)
			}
		}
		for _, name := range wanted {
			if !slices.Contains(known, name) {
				t.Errorf("step %d: no file that it names has a function %s", i+1, name)
			}
		}
	}
}

// Every folder and file that the page names is there, and every package has a place
// in the tree.
func TestTreeIsTheTree(t *testing.T) {
	page := readPage(t, "ARCHITECTURE.md")
	for _, m := range quoted.FindAllStringSubmatch(page, -1) {
		name := m[1]
		if !strings.Contains(name, "/") || !plainName.MatchString(name) || strings.ContainsAny(name, " *{") {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", name)
		}
	}
	tree := section(t, "ARCHITECTURE.md", "The tree")
	for _, pattern := range []string{"../internal/*", "../internal/store/*", "../server", "../testauth", "../cmd/*"} {
		folders, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			name := filepath.ToSlash(strings.TrimPrefix(folder, "../"))
			if name != "internal/store" && !strings.Contains(tree, "`"+name+"`") {
				t.Errorf("%s has no place in the tree of ARCHITECTURE.md", name)
			}
		}
	}
}

// Every decision stands in the index.
func TestDecisionsAreListed(t *testing.T) {
	pages, err := filepath.Glob("decisions/0*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(err, len(pages))
	}
	for _, page := range pages {
		title, _, _ := strings.Cut(readPage(t, "docs/"+filepath.ToSlash(page)), "\n")
		entry := "- [" + strings.TrimPrefix(title, "# ") + "](" + filepath.Base(page) + ")\n"
		if !strings.Contains(readPage(t, "docs/decisions/README.md"), entry) {
			t.Errorf("docs/decisions/README.md lacks the line %s", entry)
		}
	}
}
