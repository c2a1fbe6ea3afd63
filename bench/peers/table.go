package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A row is what one candidate came to.
type row struct {
	Name    string    `json:"name"`
	Label   string    `json:"label"`
	Runtime string    `json:"runtime"`
	Rate    []float64 `json:"requests_per_second"` // one for each round
	Ratio   []float64 `json:"of_bare"`             // to the bare handler of its runtime, round by round
	Ended   string    `json:"ended"`
}

// A result is what one run came to.
type result struct {
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Users   int    `json:"users"`
	Rows    []row  `json:"rows"`
}

func newResult(users int) *result {
	return &result{
		Date: time.Now().UTC().Format(time.DateOnly), Users: users,
		Machine: fmt.Sprintf("%s, %d cores, %s, Node %s", processor(), runtime.NumCPU(), runtime.Version(), nodeVersion()),
	}
}

// compare fills in the ratios.
func (res *result) compare() {
	bareRates := map[string][]float64{}
	for _, c := range candidates {
		for _, r := range res.Rows {
			if c.bare && c.name == r.Name {
				bareRates[r.Runtime] = r.Rate
			}
		}
	}
	for k := range res.Rows {
		r := &res.Rows[k]
		for round, rate := range r.Rate {
			if bareRate := bareRates[r.Runtime]; bareRate != nil {
				r.Ratio = append(r.Ratio, math.Round(1000*rate/bareRate[round])/1000)
			}
		}
	}
}

// markdown writes the table as the README shows it.
func (res *result) markdown() string {
	var b strings.Builder
	b.WriteString("| in front of the same answer | on | requests/s | of the bare handler | a session that was ended is refused |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range res.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s (%s to %s) | %s | %s |\n", r.Label, r.Runtime,
			thousands(median(r.Rate)), thousands(slices.Min(r.Rate)), thousands(slices.Max(r.Rate)), share(r.Ratio), r.Ended)
	}
	fmt.Fprintf(&b, "\nOne core for the server, %s people in turn, median and range of %d interleaved rounds; %s; %s.\n",
		thousands(float64(res.Users)), len(res.Rows[0].Rate), res.Machine, res.Date)
	return b.String()
}

func share(ratios []float64) string {
	if len(ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(ratios))
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

func thousands(f float64) string {
	digits := fmt.Sprintf("%.0f", f)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// Where the README holds the table.
const (
	begin = "<!-- bench/peers writes what follows -->\n"
	end   = "<!-- bench/peers wrote what precedes -->\n"
)

// replaceTable returns the text with another table between its marks.
func replaceTable(text, table string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", errors.New("README.md has no place for the table")
	}
	return before + begin + table + end + after, nil
}

// save puts the result into the README and beside this program.
func (res *result) save(source string) error {
	path := filepath.Join(source, "README.md")
	text, err := os.ReadFile(path) // #nosec G304 -- our own README
	if err != nil {
		return err
	}
	replaced, err := replaceTable(string(text), res.markdown())
	if err != nil {
		return err
	}
	figures, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(path, []byte(replaced), 0o644),                                                         // #nosec G306 G703 -- everybody reads it
		os.WriteFile(filepath.Join(source, "bench", "peers", "results.json"), append(figures, '\n'), 0o644), // #nosec G306 -- everybody reads it
	)
}

// versionOf returns the version of a Go module or npm package that is measured.
func versionOf(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	var manifest struct{ Dependencies map[string]string }
	text, err := files.ReadFile("node/package.json")
	if err != nil || json.Unmarshal(text, &manifest) != nil || manifest.Dependencies[module] == "" {
		return ""
	}
	return "v" + manifest.Dependencies[module]
}

// processor returns what Linux calls the processor.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // an unknown one is named so
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}
