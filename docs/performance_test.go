package docs_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A measured figure, as make bench stores it.
type benchFigure struct {
	Name, Unit      string
	Ours, Reference []float64
	Bar             struct {
		Ratio   bool
		AtLeast bool `json:"at_least"`
		Limit   float64
		Nothing bool
	}
}

// kept reports whether the figure keeps its bar, worked out anew.
func (f *benchFigure) kept() bool {
	values := slices.Clone(f.Ours)
	if f.Bar.Ratio {
		for i := range values {
			values[i] /= f.Reference[i]
		}
	}
	m := middle(values)
	return f.Bar.AtLeast && m >= f.Bar.Limit || !f.Bar.AtLeast && m <= f.Bar.Limit
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// The table of figures is that of bench/figures.json: a row for each, with its median
// and the truth about its bar, and no row for anything else. Each experiment is
// explained, with the command that runs it alone.
func TestPerformanceFigures(t *testing.T) {
	const page = "docs/performance.md"
	text, err := os.ReadFile("../bench/figures.json")
	if err != nil {
		t.Fatal(err)
	}
	var record []struct {
		Experiment string
		Figures    []benchFigure
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(readPage(t, page), "<!-- table: make bench, with -save -->\n")
	table, _, ended := strings.Cut(rest, "<!-- end of the table -->\n")
	if !ended {
		t.Fatalf("%s has no table", page)
	}
	var rows [][]string
	for line := range strings.Lines(table) {
		if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 7 && strings.HasPrefix(line, "| ") {
			rows = append(rows, cells)
		}
	}
	rows = rows[min(len(rows), 2):] // its head
	for _, e := range record {
		says(t, page, "\n### "+e.Experiment+"\n")
		says(t, page, "`make bench ARGS=\"-only "+e.Experiment+"\"`")
		for _, f := range e.Figures {
			if len(rows) == 0 {
				t.Fatalf("%s ends before %q", page, f.Name)
			}
			checkRow(t, &f, rows[0])
			rows = rows[1:]
		}
	}
	if len(rows) > 0 {
		t.Errorf("%s has rows of what was not measured: %v", page, rows)
	}
}

var leading = regexp.MustCompile(`^[-0-9.]+(e[-+][0-9]+)?`)

func checkRow(t *testing.T, f *benchFigure, row []string) {
	t.Helper()
	verdict := "kept"
	switch {
	case f.Bar.Limit == 0 && !f.Bar.Nothing:
		verdict = ""
	case !f.kept():
		verdict = "missed"
	}
	shown, err := strconv.ParseFloat(leading.FindString(strings.ReplaceAll(row[3], ",", "")), 64)
	m := middle(f.Ours)
	if err != nil || shown < m*0.99-0.005 || shown > m*1.01+0.005 {
		t.Errorf("%s: %q is shown for %v", f.Name, row[3], m)
	}
	if row[1] != f.Name || strings.Trim(row[6], "| ") != verdict {
		t.Errorf("the row %v is not that of %q, which is %q", row, f.Name, verdict)
	}
}
