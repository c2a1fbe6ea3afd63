package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A block is a fenced piece of a page, or a directive to the test in a comment.
type block struct {
	page string // its path from the root of the repository
	line int    // of its fence
	tag  string // what stands behind the fence; "stage" for <!-- stage: … -->
	text string
}

// ours are the pages that this package runs. Others have tests of their own.
var ours = []string{
	"README.md", "docs/README.md", "docs/choosing.md", "docs/signing-in.md", "docs/sessions.md", "docs/tokens.md", "docs/oauth.md", "docs/clients.md", "docs/accounts.md", "docs/single-sign-out.md", "docs/revocation.md",
	"docs/passwords.md", "docs/mail.md", "docs/api-keys.md", "docs/many-nodes.md", "docs/moving.md", "docs/deploying.md", "docs/gateways.md", "docs/scaling.md", "docs/testing.md", "docs/embedding.md", "docs/performance.md", "docs/pages.md",
}

// readPage returns a page of the repository.
func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocksOf returns the blocks of a page in their order.
func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	var blocks []block
	var open *block
	number := 0
	for line := range strings.Lines(readPage(t, page)) {
		number++
		trimmed := strings.TrimSpace(line)
		switch {
		case open != nil && trimmed == "```":
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(trimmed, "```"):
			open = &block{page: page, line: number, tag: strings.TrimPrefix(trimmed, "```")}
		case strings.HasPrefix(trimmed, "<!-- stage: "):
			text := strings.TrimSuffix(strings.TrimPrefix(trimmed, "<!-- stage: "), " -->")
			blocks = append(blocks, block{page: page, line: number, tag: "stage", text: text})
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: a fence is never closed", page, open.line)
	}
	return blocks
}

// Every block of our pages is of a kind that some test here runs, compiles or
// compares; nothing stands in the docs that nobody has tried.
func TestEveryBlockIsTried(t *testing.T) {
	for _, page := range ours {
		for _, b := range blocksOf(t, page) {
			switch {
			case slices.Contains([]string{"go", "http", "console", "toml", "stage"}, b.tag):
			case strings.HasPrefix(b.tag, "mail/"): // see TestMailTemplates
			case strings.HasPrefix(b.tag, "pages/"): // see TestPagesFolder
			case b.tag == "sh" && page == "README.md": // the tour
			case b.tag == "text" && page == "README.md": // what the tour shows, and the picture
			default:
				t.Errorf("%s:%d: a block tagged %q is tried by no test", page, b.line, b.tag)
			}
		}
	}
}

// Every piece of Go stands in a file that compiles; indentation apart.
func TestGoCompiles(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../example_test.go", "../examples/*/*.go", "../testauth/*_test.go", "../server/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.WriteString(unindented(string(text)))
		}
	}
	for _, page := range ours {
		for _, b := range blocksOf(t, page) {
			if b.tag == "go" && !strings.Contains(code.String(), unindented(b.text)) {
				t.Errorf("%s:%d: in no example:\n%s", page, b.line, b.text)
			}
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

// Every link within the repository leads to a file, and to a heading of it if it
// names one.
func TestLinksLeadSomewhere(t *testing.T) {
	pages := append([]string{"ARCHITECTURE.md", "CHANGELOG.md", "docs/decisions/README.md", "examples/elsewhere/README.md", "examples/three-services/README.md"}, ours...)
	for _, page := range pages {
		for _, piece := range strings.Split(readPage(t, page), "](")[1:] {
			target, _, _ := strings.Cut(piece, ")")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := page
			if file != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(page), file))
			}
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, target)
				continue
			}
			if anchor != "" && !slices.Contains(anchorsOf(readPage(t, path)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, target)
			}
		}
	}
}

// anchorsOf returns the names of a page's headings as the usual viewers make them.
func anchorsOf(text string) []string {
	var anchors []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, title))
	}
	return anchors
}
