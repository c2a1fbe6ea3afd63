package main

import (
	"strings"
	"testing"
)

// The ratio is taken round by round, with the bare handler of the same runtime, and
// the table tells medians: one disturbed round changes neither.
func TestRatiosAreOfTheSameRoundAndRuntime(t *testing.T) {
	res := &result{Users: 10_000, Machine: "a machine", Date: "2026-01-02", Rows: []row{
		{Name: "bare", Label: "bare", Runtime: onGo, Rate: []float64{1000, 100, 2000}},
		{Name: "floor", Label: "floor", Runtime: onGo, Rate: []float64{900, 90, 1800}},
		{Name: "express", Label: "Express", Runtime: onNode, Rate: []float64{10, 10, 10}},
		{Name: "express-session", Label: "sessions", Runtime: onNode, Rate: []float64{5, 4, 10}, Ended: "soon"},
	}}
	res.compare()
	table := res.markdown()
	for _, line := range []string{
		"| floor | Go | 900 (90 to 1,800) | 0.90 |  |\n",
		"| sessions | Node | 5 (4 to 10) | 0.50 | soon |\n",
		"10,000 people",
	} {
		if !strings.Contains(table, line) {
			t.Errorf("the table has no line %q:\n%s", line, table)
		}
	}
}

func TestReplaceTableChangesNothingElse(t *testing.T) {
	text := "before\n" + begin + "old\n" + end + "after\n"
	got, err := replaceTable(text, "new\n")
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || got != want {
		t.Errorf("replaceTable = %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", begin, end, "before\n"} {
		if _, err := replaceTable(text, "new"); err == nil {
			t.Errorf("replaceTable(%q): no error, and no place for the table", text)
		}
	}
}

// The README's place is there.
func TestREADMEHasAPlace(t *testing.T) {
	s := shelf("../..")
	text, err := s.read("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceTable(text, ""); err != nil {
		t.Error(err)
	}
}

func TestChangedIsAnotherCredential(t *testing.T) {
	for _, header := range []string{"Authorization: Bearer AAAAAAAAAAAAAAAA", "Cookie: a=0123456789abcdef"} {
		other := changed(header)
		if other == header || len(other) != len(header) || other[:15] != header[:15] {
			t.Errorf("changed(%q) = %q", header, other)
		}
	}
}

// Whoever picks candidates by name gets them in that order, and a wrong name is told.
func TestChoose(t *testing.T) {
	got, err := choose("scs-redis,bare")
	if err != nil || len(got) != 2 || got[0].name != "scs-redis" || got[1].name != "bare" {
		t.Errorf("choose = %v, %v", got, err)
	}
	if _, err := choose("nobody"); err == nil {
		t.Error("choose(nobody): no error")
	}
}
