package web_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A step is one thing that a flow does, with what is expected of it. The format
// is described in testdata/flows/README.md.
type step struct {
	line    int
	words   []string
	expects []expectation
}

// An expectation is a status with what is asserted about an answer that has it.
type expectation struct {
	line   int
	status string // empty for events
	may    bool   // it need not come
	checks []check
}

// A check is one assertion: its words after the status.
type check struct {
	line  int
	words []string
}

var statusForm = regexp.MustCompile(`^[1-5][0-9][0-9]\??$`)

// parseFlow reads a flow. Variables are left as they are.
func parseFlow(path string) ([]step, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var steps []step
	for i, line := range strings.Split(string(text), "\n") {
		words, err := cutWords(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if err := addLine(&steps, i+1, line[0] == ' ' || line[0] == '\t', words); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return steps, nil
}

func addLine(steps *[]step, line int, indented bool, words []string) error {
	continues := indented || statusForm.MatchString(words[0])
	if !continues {
		*steps = append(*steps, step{line: line, words: words})
		return nil
	}
	if len(*steps) == 0 {
		return fmt.Errorf("an expectation of nothing")
	}
	last := &(*steps)[len(*steps)-1]
	if !indented {
		status, may := strings.CutSuffix(words[0], "?")
		last.expects = append(last.expects, expectation{line: line, status: status, may: may})
		words = words[1:]
	}
	if len(last.expects) == 0 {
		last.expects = append(last.expects, expectation{line: line})
	}
	if len(words) > 0 {
		expect := &last.expects[len(last.expects)-1]
		expect.checks = append(expect.checks, check{line: line, words: words})
	}
	return nil
}

// cutWords cuts a line at spaces. Quotes at the beginning of a word, or behind its
// first = or :, keep spaces together and know Go's escapes; all others are part of
// JSON. A word that begins with # begins a comment.
func cutWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		var word strings.Builder
		opens := true
		for line != "" && !strings.ContainsRune(" \t\r", rune(line[0])) {
			if line[0] != '"' || !opens {
				opens = isSeparator(line[0]) && word.Len() > 0 && !strings.ContainsAny(word.String(), "=:{[")
				word.WriteByte(line[0])
				line = line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("a quote is not closed, or holds a wrong escape")
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			word.WriteString(text)
			line = line[len(quoted):]
		}
		words = append(words, word.String())
	}
}

func isSeparator(c byte) bool { return c == '=' || c == ':' }

var variableForm = regexp.MustCompile(`\$[a-z][a-z0-9_]*`)

// variables are what a flow has captured, by name with the dollar.
type variables map[string]string

// expand puts values in the place of names.
func (v variables) expand(text string) (string, error) {
	var unknown string
	out := variableForm.ReplaceAllStringFunc(text, func(name string) string {
		value, known := v[name]
		if !known {
			unknown = name
		}
		return value
	})
	if unknown != "" {
		return "", fmt.Errorf("%s was never captured", unknown)
	}
	return out, nil
}
