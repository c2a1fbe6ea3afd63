package coatcheck_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coatcheck/coatcheck"

// layers is the rule of arrows: a package may import packages of the lines above
// its own, and none of its own line. "internal/x" is written "x", and the root
// package ".". What ends in "/" is every folder below.
var layers = [][]string{
	{"credential", "cookie", "jwt", "feed", "fault", "catalogue", "device", "place", "hashing", "loopback"},
	{".", "revocation", "audit", "throttle", "mail", "outbound", "load", "advice", "daemon", "wakeup"},
	{"keyring"},
	{"account"},
	{"session"},
	{"oauth"},
	{"web", "store/sqlstore", "store/storetest", "config"},
	{"app"},
	{"server"},
	{"testauth", "cmd/"},
	{"examples/", "drill", "browser"},
}

// alone are the packages that services link: they and their tests use the
// standard library and each other.
var alone = []string{".", "cookie", "jwt", "feed", "loopback"}

// exceptions narrow a line: these may be imported by the named packages only.
var exceptions = map[string][]string{
	"store/sqlstore":  {"app"},
	"store/storetest": {},
	"config":          {"app", "server", "cmd/"},
}

func TestRuleOfArrows(t *testing.T) {
	eachImport(t, func(file, from, to string) {
		ours := to == module || strings.HasPrefix(to, module+"/")
		if standard := !strings.Contains(strings.Split(to, "/")[0], "."); slices.Contains(alone, from) && !standard && !(ours && slices.Contains(alone, name(to))) {
			t.Errorf("%s imports %s: package %s and its tests use the standard library alone", file, to, from)
		}
		if !ours || strings.HasSuffix(file, "_test.go") {
			return
		}
		to = name(to)
		if layer(t, from) <= layer(t, to) {
			t.Errorf("%s imports %s: the arrow from %s to %s points up or sideways", file, to, from, to)
		}
		if only, narrow := exceptions[to]; narrow && !slices.Contains(only, place(from)) {
			t.Errorf("%s imports %s, which is for %v only", file, to, only)
		}
	})
}

// layer returns the line of a package.
func layer(t *testing.T, pkg string) int {
	t.Helper()
	i := slices.IndexFunc(layers, func(line []string) bool { return slices.Contains(line, place(pkg)) })
	if i < 0 {
		t.Fatalf("package %s has no line in the rule of arrows: give it one in arch_test.go and ARCHITECTURE.md", pkg)
	}
	return i
}

// place returns how a package is written in layers.
func place(pkg string) string {
	if first, _, below := strings.Cut(pkg, "/"); below && !strings.HasPrefix(pkg, "store/") {
		return first + "/"
	}
	return pkg
}

// name returns the short name of an import path or folder of ours.
func name(pkg string) string {
	pkg = strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
	return strings.TrimPrefix(path.Clean(pkg), "internal/")
}

// eachImport calls visit for every import in every Go file of the module.
func eachImport(t *testing.T, visit func(file, from, to string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, nested := os.Stat(filepath.Join(file, "go.mod"))
			hidden := strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "node_modules"
			if file != "." && (hidden || nested == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range syntax.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			visit(file, name(filepath.ToSlash(filepath.Dir(file))), to)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A program that imports the root package needs no other module, so its go.sum
// stays empty. An empty module cache and no proxy make sure of it.
func TestImporterNeedsNoSums(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":  "module importer\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n",
		"main.go": "package main\n\nimport \"" + module + "\"\n\nfunc main() { _, _ = coatcheck.NewVerifier(coatcheck.Config{}) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "GOMODCACHE="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	if sums, err := os.ReadFile(filepath.Join(dir, "go.sum")); err == nil {
		t.Errorf("an importer needs go.sum:\n%s", sums)
	}
}
