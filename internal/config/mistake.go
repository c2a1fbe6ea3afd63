package config

import (
	"slices"
	"strings"
)

// A Mistake is one thing that is wrong with a configuration.
type Mistake struct {
	Where string // "coatcheck.toml:7", "COATCHECK_SESSION_IDLE", "--session-idle"; "" where something is missing
	Name  string // of the key
	Text  string // what is wrong and what to write instead, without any secret

	order int // of Where: the file by lines, then the environment, then the flags
}

// Error returns the mistake as one line: "coatcheck.toml:7: session.idle: …".
func (m Mistake) Error() string {
	parts := []string{m.Where, m.Name, m.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Mistakes is the error of a configuration with at least one mistake: all of
// them, one to a line.
type Mistakes []Mistake

// Error returns one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, mistake := range m {
		lines[i] = mistake.Error()
	}
	return strings.Join(lines, "\n")
}

// didYouMean returns a sentence that names the candidate most like text, or "".
// A candidate that only lacks its table ("idle" for "session.idle") counts.
func didYouMean(text string, candidates []string) string {
	best, least := "", 2+len(text)/8
	for _, candidate := range candidates {
		if d := distance(text, candidate); d <= least {
			best, least = candidate, d-1
		}
	}
	if best == "" {
		for _, candidate := range candidates {
			if strings.HasSuffix(candidate, "."+text) {
				best = candidate
			}
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance counts the letters to add, drop or change to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, change)
		}
		row = next
	}
	return row[len(b)]
}
