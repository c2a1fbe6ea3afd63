package web_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/web"
)

var update = flag.Bool("update", false, "write what is generated from the code anew")

const faultsPath = "../../docs/faults.md"

const faultsHead = `# Faults

Every error is ` + "`application/problem+json`" + ` (RFC 9457). Act on ` + "`code`" + `: codes are stable, sentences are for people.
` + "`type`" + ` is ` + "`urn:coatcheck:fault:<code>`" + `. An ` + "`invalid_request`" + ` also says in ` + "`errors`" + ` which members are wrong, never their values.

- Renew on ` + "`token_expired`" + `, and on nothing else.
- Forget who was signed in on ` + "`session_ended`" + ` and ` + "`refresh_reused`" + `, and on nothing else.
- Clients of the endpoints below ` + "`/oauth2/`" + ` are told as RFC 6749 §5.2 has it: ` + "`application/json`" + ` with ` + "`error`" + ` and
  ` + "`error_description`" + `, by the codes of that standard (` + "`invalid_grant`" + ` and the like). See [oauth.md](oauth.md).
- Everything else is "try again": after ` + "`Retry-After`" + ` where there is one. An error answer may or may not have
  happened; a retry is safe.

This page is generated from the code: ` + "`go test ./internal/web -run TestFaultsPage -update`" + `.

| code | status | sentence |
| --- | --- | --- |
`

// docs/faults.md is what the code says.
func TestFaultsPage(t *testing.T) {
	var page bytes.Buffer
	page.WriteString(faultsHead)
	faults := web.Faults()
	slices.SortFunc(faults, func(a, b web.Failure) int { return strings.Compare(a.Code, b.Code) })
	for _, f := range faults {
		fmt.Fprintf(&page, "| `%s` | %d | %s |\n", f.Code, f.Status, f.Sentence)
	}
	if *update {
		if err := os.WriteFile(faultsPath, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(faultsPath)
	if err != nil || !bytes.Equal(written, page.Bytes()) {
		t.Errorf("docs/faults.md is not what the code says (%v): go test ./internal/web -run TestFaultsPage -update", err)
	}
}

// Every fault that is declared anywhere can leave the server only if it is in the
// table, and is documented only then.
func TestEveryFaultIsListed(t *testing.T) {
	listed := map[string]bool{}
	for _, code := range web.Codes() {
		listed[code] = true
	}
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source was found: %v", err)
	}
	declared := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, code := range declaredIn(t, file) {
			declared++
			if !listed[code] {
				t.Errorf("%s declares %s, which failures does not list", file, code)
			}
		}
	}
	if declared < len(listed) {
		t.Errorf("found %d declarations of %d codes: this test no longer sees them", declared, len(listed))
	}
}

// declaredIn returns the codes of the faults that a file declares.
func declaredIn(t *testing.T, file string) []string {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 3 || !makesFault(syntax.Name.Name, call.Fun) {
			return true
		}
		if literal, ok := call.Args[1].(*ast.BasicLit); ok {
			code, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	return codes
}

// makesFault reports whether a function is fault.New.
func makesFault(pkg string, function ast.Expr) bool {
	switch f := function.(type) {
	case *ast.Ident:
		return pkg == "fault" && f.Name == "New"
	case *ast.SelectorExpr:
		from, ok := f.X.(*ast.Ident)
		return ok && from.Name == "fault" && f.Sel.Name == "New"
	}
	return false
}
