package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// recordFile holds the stored record, beside this program.
const recordFile = "figures.json"

// A record is what was measured, in the order of the experiments.
type record []measured

// measured is one run of an experiment.
type measured struct {
	Experiment string   `json:"experiment"`
	Machine    string   `json:"machine"`
	Date       string   `json:"date"` // 2026-11-21
	Rounds     int      `json:"rounds"`
	Quick      bool     `json:"quick,omitempty"`
	Figures    []figure `json:"figures"`
}

// readRecord reads a record. A file that is not there is an empty one.
func readRecord(file string) (record, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all record
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return all, nil
}

// with returns the record with newer experiments in the place of older ones.
func (r record) with(newer record) record {
	var all record
	for _, e := range experiments {
		for _, from := range []record{newer, r} {
			if i := slices.IndexFunc(from, func(m measured) bool { return m.Experiment == e.name }); i >= 0 {
				all = append(all, from[i])
				break
			}
		}
	}
	return all
}

// figure finds a figure by its name; nil if there is none.
func (r record) figure(name string) *figure {
	for _, m := range r {
		for i := range m.Figures {
			if m.Figures[i].Name == name {
				return &m.Figures[i]
			}
		}
	}
	return nil
}

// missed counts the figures that miss their bar.
func (r record) missed() int {
	n := 0
	for _, m := range r {
		for i := range m.Figures {
			if !m.Figures[i].kept() {
				n++
			}
		}
	}
	return n
}

// text is the record as JSON, a line for each figure, so that changes can be read.
// Values have four digits: more than they are good for.
func (r record) text() ([]byte, error) {
	var b bytes.Buffer
	for i, m := range r {
		figures := m.Figures
		m.Figures = nil
		head, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		b.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		b.Write(bytes.TrimSuffix(head, []byte(`null}`)))
		b.WriteByte('[')
		for j, f := range figures {
			f.Ours, f.Reference = rounded(f.Ours), rounded(f.Reference)
			var line bytes.Buffer
			e := json.NewEncoder(&line)
			e.SetEscapeHTML(false)
			if err := e.Encode(f); err != nil {
				return nil, err
			}
			b.WriteString(map[bool]string{true: "\n\t", false: ",\n\t"}[j == 0])
			b.Write(bytes.TrimSpace(line.Bytes()))
		}
		b.WriteString("\n]}")
	}
	if len(r) == 0 {
		b.WriteString("[")
	}
	b.WriteString("\n]\n")
	return b.Bytes(), nil
}

func rounded(values []float64) []float64 {
	out := slices.Clone(values)
	for i, v := range values {
		out[i], _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64) // what was formatted can be read
	}
	return out
}

// The table in the page stands between these.
const (
	page       = "docs/performance.md"
	tableBegin = "<!-- table: make bench, with -save -->\n"
	tableEnd   = "<!-- end of the table -->\n"
)

// save writes the record, the page's table and the charts below root.
func (r record) save(root string) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	// The page shows what the file holds, to the digit.
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	old, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return err
	}
	fresh, err := replaced(string(old), pageTable(r))
	if err != nil {
		return err
	}
	files := map[string]string{"bench/" + recordFile: string(text), page: fresh}
	for _, c := range charts {
		files["docs/performance/"+c.name+".svg"] = c.draw(r)
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaced puts a table between the markers of a page.
func replaced(text, table string) (string, error) {
	before, rest, found := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return "", fmt.Errorf("%s has no place for the table", page)
	}
	return before + tableBegin + "\n" + table + "\n" + tableEnd + after, nil
}

// machine describes where this runs.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	system := runtime.GOOS
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		version, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-")
		system = "Linux " + version
	}
	return fmt.Sprintf("%s, %d cores, %s, %s", model, runtime.NumCPU(), system, strings.Replace(runtime.Version(), "go", "Go ", 1))
}
