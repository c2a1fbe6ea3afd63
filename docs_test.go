package coatcheck_test

import (
	"os"
	"strings"
	"testing"
)

// Every piece of Go in the manual page stands in example_test.go, which compiles
// and runs; indentation apart.
func TestDocsCompile(t *testing.T) {
	page, err := os.ReadFile("docs/verifying.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	code := unindented(string(examples))
	pieces := strings.Split(string(page), "```go\n")[1:]
	if len(pieces) < 8 {
		t.Fatalf("%d pieces of Go in the page, want at least 8", len(pieces))
	}
	for _, piece := range pieces {
		piece, _, _ = strings.Cut(piece, "```")
		if !strings.Contains(code, unindented(piece)) {
			t.Errorf("not in example_test.go:\n%s", piece)
		}
	}
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

// The page names every refusal with its status and code.
func TestDocsNameEveryRefusal(t *testing.T) {
	page, err := os.ReadFile("docs/verifying.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for line := range strings.Lines(string(source)) {
		name, rest, found := strings.Cut(strings.TrimSpace(line), " error = ")
		if !found {
			continue
		}
		names++
		code := strings.Split(rest, `"`)[1]
		if !strings.Contains(string(page), "`"+name+"`") || !strings.Contains(string(page), "`"+code+"`") {
			t.Errorf("the page does not name %s with its code %s", name, code)
		}
	}
	if names != 8 {
		t.Errorf("%d refusals found in errors.go, want 8", names)
	}
}
