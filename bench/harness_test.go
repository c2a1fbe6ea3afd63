package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
		}
	}
}

// Machines drift while a figure is measured: what counts is the ratio of each round,
// not that of the medians.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	f := figure{Name: "drifting", Unit: "/s", Ours: []float64{45, 90, 170}, Against: "floor", Reference: []float64{50, 200, 180}, Bar: bar{Ratio: true, AtLeast: true, Limit: 0.9}}
	if got := f.times(); got != "0.9x (0.45x to 0.944x)" {
		t.Error(got)
	}
	if !f.kept() {
		t.Error("missed, at 0.9x in the middle")
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		bar   bar
		ours  []float64
		bound string
		kept  bool
	}{
		{bar{}, []float64{5}, "", true},
		{bar{Limit: 250}, []float64{250, 900, 100}, "≤ 250 ns", true},
		{bar{Limit: 250}, []float64{251}, "≤ 250 ns", false},
		{bar{Limit: 250, AtLeast: true}, []float64{249}, "≥ 250 ns", false},
		{bar{Nothing: true}, []float64{0}, "≤ 0 ns", true},
		{bar{Nothing: true}, []float64{1}, "≤ 0 ns", false},
		{bar{Ratio: true, Limit: 1.05}, []float64{21}, "≤ 1.05x", true},
		{bar{Ratio: true, Limit: 1.05}, []float64{22}, "≤ 1.05x", false},
		{bar{Ratio: true, Limit: 1.0 / 300}, []float64{1}, "≤ 1/300", false},
		{bar{Ratio: true, AtLeast: true, Limit: 300}, []float64{20 * 299}, "≥ 300x", false},
	} {
		f := figure{Name: "a", Unit: "ns", Ours: c.ours, Bar: c.bar}
		if c.bar.Ratio {
			f.Against, f.Reference = "raw", []float64{20}
		}
		if err := f.check(); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
		if f.bound() != c.bound || f.kept() != c.kept {
			t.Errorf("%v of %v: %q, kept %v", c.bar, c.ours, f.bound(), f.kept())
		}
	}
}

func TestFiguresThatSayNothingAreRefused(t *testing.T) {
	good := figure{Name: "a", Unit: "ns", Ours: []float64{1, 2}, Against: "b", Reference: []float64{1, 2}}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*figure){
		"no name":                  func(f *figure) { f.Name = "" },
		"no unit":                  func(f *figure) { f.Unit = "" },
		"no rounds":                func(f *figure) { f.Ours, f.Reference = nil, nil },
		"rounds without reference": func(f *figure) { f.Reference = f.Reference[:1] },
		"a reference that is not":  func(f *figure) { f.Against = "" },
		"a ratio to nothing":       func(f *figure) { f.Bar.Ratio, f.Reference = true, nil },
		"a ratio to what is zero":  func(f *figure) { f.Reference = []float64{1, 0} },
	} {
		f := good
		spoil(&f)
		if f.check() == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

func TestAmounts(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.9: "0.9", 1.046: "1.05", 19: "19", 83.46: "83.5", 249.6: "250", 74_712: "74,712", 1_000_000: "1,000,000"} {
		if got := amount(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
	if got := inUnit(74_712, "/s") + " " + inUnit(84, "ns"); got != "74,712/s 84 ns" {
		t.Error(got)
	}
}

// some is a record with everything in it that a table or a chart may show.
func some() record {
	at := func(n float64, line string, ours, reference float64) figure {
		return figure{
			Name: line + " at " + amount(n), Unit: "/s", Ours: []float64{ours, ours + 5000}, Against: "floor <handler> & co",
			Reference: []float64{reference, reference}, Bar: bar{Ratio: true, AtLeast: true, Limit: 0.9}, Point: &point{Chart: "sessions", Line: line + " <&>", At: n},
		}
	}
	return record{
		{Experiment: "verifier", Machine: "a machine", Date: "2026-11-21", Rounds: 2, Figures: []figure{
			{Name: "access token seen before", Unit: "ns", Ours: []float64{84, 90}, Against: "golang-jwt", Reference: []float64{81_500, 82_000}, Bar: bar{Limit: 250}},
			{Name: "allocations", Unit: "allocs", Ours: []float64{1, 1}, Bar: bar{Nothing: true}},
		}},
		{Experiment: "check", Machine: "a machine", Date: "2026-11-21", Rounds: 2, Figures: []figure{
			at(10_000, "/v1/session", 60_000, 70_000), at(1_000_000, "/v1/session", 50_000, 69_000),
		}},
		{Experiment: "ends", Machine: "a machine", Date: "2026-11-22", Rounds: 2, Figures: []figure{
			{Name: "p99 at 100", Unit: "ms", Ours: []float64{3, 4}, Point: &point{Chart: "verifiers", Line: "p99", At: 100}},
			{Name: "p99 at 10,000", Unit: "ms", Ours: []float64{90, 94}, Point: &point{Chart: "verifiers", Line: "p99", At: 10_000}},
		}},
	}
}

func TestTables(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, some()[:1], some())
	for _, want := range []string{"87 ns (84 to 90)", "golang-jwt: 81,750 ns", "missed", "1/940 (1/970 to 1/911)", "3 missed.", "≥ 0.9x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, &out)
		}
	}
	text := pageTable(some())
	for _, want := range []string{
		"| **verifier** | access token seen before | ≤ 250 ns | 87 ns (84 to 90) | golang-jwt: 81,750 ns | 1/940 (1/970 to 1/911) | kept |",
		"|  | allocations | ≤ 0 allocs | 1 allocs |  |  | missed |\n",
		"verifier, check: measured on a machine, 2 rounds, 2026-11-21.\n", "ends: measured on a machine, 2 rounds, 2026-11-22.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
}

// What is stored is read back as it was, but for digits that mean nothing.
func TestRecordIsReadBack(t *testing.T) {
	for _, r := range []record{nil, some()} {
		text, err := r.text()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "figures.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readRecord(file)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(got) != len(r) || len(r) > 0 && !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v\nwant %+v\nfrom\n%s", got, r, text)
		}
	}
	if got := rounded([]float64{123_456, 0.123456}); !reflect.DeepEqual(got, []float64{123_500, 0.1235}) {
		t.Error(got)
	}
}

// The stored table and charts are what the stored figures say, to the byte.
func TestStoredPageAndChartsAreThoseOfTheStoredFigures(t *testing.T) {
	stored, err := readRecord(recordFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	want, err := replaced(string(text), pageTable(stored))
	if err != nil {
		t.Fatal(err)
	}
	if want != string(text) {
		t.Errorf("the table of %s is not that of bench/%s: run make bench with -save", page, recordFile)
	}
	for _, c := range charts {
		drawn, err := os.ReadFile(filepath.Join("..", "docs", "performance", c.name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if string(drawn) != c.draw(stored) {
			t.Errorf("%s.svg is not that of bench/%s: run make bench with -save", c.name, recordFile)
		}
	}
}

func TestSave(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bench"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, page)
	if err := os.WriteFile(file, []byte("# Before\n\n"+tableBegin+"old\n"+tableEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := some().save(root); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# Before\n\n" + tableBegin + "\n" + pageTable(some()) + "\n" + tableEnd + "\nafter\n"; string(text) != want {
		t.Errorf("the page is\n%s\nwant\n%s", text, want)
	}
	if _, err := replaced("no markers", ""); err == nil {
		t.Error("a page without a place for the table is taken")
	}
}

// Experiments that were measured again take the place of their older selves, and
// leave the others alone.
func TestRecordKeepsWhatWasNotMeasured(t *testing.T) {
	kept := experiments
	t.Cleanup(func() { experiments = kept })
	experiments = []experiment{{name: "verifier"}, {name: "check"}, {name: "ends"}}
	newer := record{{Experiment: "check", Date: "2026-12-01"}}
	got := some().with(newer)
	if len(got) != 3 || got[0].Experiment != "verifier" || got[1].Date != "2026-12-01" || got[2].Experiment != "ends" {
		t.Errorf("%+v", got)
	}
}

func TestChartsAreWellFormedAndSayWhatTheyShow(t *testing.T) {
	for _, r := range []record{nil, some(), some()[2:]} {
		for _, c := range charts {
			text := c.draw(r)
			texts := map[string]string{}
			var inside string
			d := xml.NewDecoder(strings.NewReader(text))
			for {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v in\n%s", c.name, err, text)
				}
				switch token := token.(type) {
				case xml.StartElement:
					inside = token.Name.Local
				case xml.CharData:
					texts[inside] += string(token)
				case xml.EndElement:
					inside = ""
				}
			}
			if !strings.Contains(texts["title"], c.title) {
				t.Errorf("%s: its title is %q", c.name, texts["title"])
			}
			for _, l := range c.lines(r) {
				if !strings.Contains(texts["desc"], l.name) || !strings.Contains(texts["text"], l.name) {
					t.Errorf("%s: %s is not named: %q, %q", c.name, l.name, texts["desc"], texts["text"])
				}
			}
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("%s: a point is nowhere:\n%s", c.name, text)
			}
		}
	}
	if got := charts[0].words(charts[0].lines(some())); got != "In µs of one core, by live sessions. /v1/session <&>: 16 at 10,000, 19 at 1,000,000; /v1/session <&>, reference: 14.3 at 10,000, 14.5 at 1,000,000." {
		t.Error(got)
	}
}

func TestLabelsKeepClearOfEachOther(t *testing.T) {
	y := steps([]float64{0, 10}, height-foot, top)
	at := places([]line{
		{name: "a", points: [][2]float64{{1, 0}}}, {name: "b", points: [][2]float64{{1, 0.1}}}, {name: "c", points: [][2]float64{{1, 10}}}, {name: "d", points: [][2]float64{{1, 9.9}}},
	}, &y)
	for i := range at {
		for j := range i {
			if d := at[i] - at[j]; d < 17 && d > -17 {
				t.Errorf("labels %d and %d are %v apart", j, i, d)
			}
		}
		if at[i] > height-foot {
			t.Errorf("label %d stands below the chart", i)
		}
	}
}

func TestReportOfWrk(t *testing.T) {
	got, err := reported("Running 3s test\n\nloaded 30000 3000000 850 2500 9000 3 1\n")
	want := loaded{PerSecond: 10_000, P50: 850 * time.Microsecond, P99: 2500 * time.Microsecond, P999: 9 * time.Millisecond, Requests: 30_000, Refused: 3, Failed: 1}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := reported("\nloaded 30000 3000000 850 2500 9000 300 0\n"); !errors.Is(err, errRefused) {
		t.Errorf("a hundredth was refused: %v", err)
	}
	if _, err := reported("unable to connect"); err == nil || errors.Is(err, errRefused) {
		t.Errorf("no report: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args   string
		rounds int
		wrong  bool
	}{
		{"", 5, false},
		{"-quick", 2, false},
		{"-rounds 7 -quick", 7, false},
		{"-only nothing", 0, true},
		{"-rounds -1", 0, true},
		{"check", 0, true},
		{"-unknown", 0, true},
	} {
		w, err := parse(strings.Fields(c.args), io.Discard)
		if (err != nil) != c.wrong || !c.wrong && w.rounds != c.rounds {
			t.Errorf("%q: %+v, %v", c.args, w, err)
		}
	}
	for _, e := range experiments {
		if e.name == "" || e.about == "" {
			t.Errorf("the experiment %+v has no name or no line", e.name)
		}
	}
}
