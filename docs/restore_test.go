package docs_test

import (
	"strings"
	"testing"
)

// What docs/operations.md says of backups is done while a server runs, and what it says
// of a restore after it has stopped; both say what the page says they do.
func TestBackupAndRestore(t *testing.T) {
	const page = "docs/operations.md"
	text := readPage(t, page)
	parts := map[string][]block{}
	for _, b := range blocksOf(t, page) {
		lines := strings.SplitAfterN(text, "\n", b.line+1)
		before := strings.Join(lines[:b.line], "")
		heading := before[strings.LastIndex(before, "\n## ")+len("\n## "):]
		heading, _, _ = strings.Cut(heading, "\n")
		parts[heading] = append(parts[heading], b)
	}
	if len(parts["Backups"]) != 1 || len(parts["Restore"]) != 2 {
		t.Fatalf("the page has other commands: %v", parts)
	}
	s := newShell(t)
	t.Run("while a server runs", func(t *testing.T) {
		s.serve(t)
		s.play(t, parts["Backups"][0])
	})
	for _, b := range parts["Restore"] {
		s.play(t, b)
	}
}
