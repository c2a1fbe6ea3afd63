package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// amount writes a value with three digits, or all that stand before the point.
func amount(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 1000:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case math.Abs(v) >= 10:
		return trimmed(strconv.FormatFloat(v, 'f', 1, 64))
	}
	if math.Abs(v) < 0.1 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return trimmed(strconv.FormatFloat(v, 'f', 2, 64))
}

// multiple writes a ratio: 0.97x, or 1/960 when it is small.
func multiple(ratio float64) string {
	if ratio > 0 && ratio < 0.1 {
		return "1/" + amount(math.Round(1/ratio))
	}
	if ratio < 2 { // where bars are narrow
		return trimmed(strconv.FormatFloat(ratio, 'f', 3, 64)) + "x"
	}
	return amount(ratio) + "x"
}

// grouped puts commas between thousands.
func grouped(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// trimmed is a decimal without zeros at its end.
func trimmed(number string) string { return strings.TrimSuffix(strings.TrimRight(number, "0"), ".") }

// inUnit is a value with its unit: 84 ns, 74,700/s.
func inUnit(v float64, unit string) string {
	if strings.HasPrefix(unit, "/") {
		return amount(v) + unit
	}
	return amount(v) + " " + unit
}

// span is the median and, if there were several rounds that differ, their range.
func span(values []float64, unit string) string {
	text := inUnit(median(values), unit)
	least, most := amount(slices.Min(values)), amount(slices.Max(values))
	if least == most {
		return text
	}
	return fmt.Sprintf("%s (%s to %s)", text, least, most)
}

// times is the ratio to the reference; "" without one.
func (f *figure) times() string {
	if len(f.Reference) == 0 {
		return ""
	}
	ratios := f.ratios()
	text := multiple(median(ratios))
	if least, most := multiple(slices.Min(ratios)), multiple(slices.Max(ratios)); least != most {
		text += fmt.Sprintf(" (%s to %s)", least, most)
	}
	return text
}

// against is the reference with what it is; "" without one.
func (f *figure) against() string {
	if len(f.Reference) == 0 {
		return ""
	}
	return f.Against + ": " + inUnit(median(f.Reference), f.Unit)
}

// bound is the bar in words; "" without one.
func (f *figure) bound() string {
	if !f.Bar.set() {
		return ""
	}
	sign := "≤ "
	if f.Bar.AtLeast {
		sign = "≥ "
	}
	if f.Bar.Ratio {
		return sign + multiple(f.Bar.Limit)
	}
	return sign + inUnit(f.Bar.Limit, f.Unit)
}

// verdict says whether the bar is kept; "" without one.
func (f *figure) verdict() string {
	switch {
	case !f.Bar.set():
		return ""
	case f.kept():
		return "kept"
	}
	return "missed"
}

// printTable prints what was measured now beside what is stored.
func printTable(out io.Writer, stored, now record) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range now {
		_, _ = fmt.Fprintf(w, "\n%s\tbar\tstored\tnow\treference\tratio\t\n", m.Experiment) // its errors come with Flush
		for i := range m.Figures {
			f := &m.Figures[i]
			before := "-"
			if old := stored.figure(f.Name); old != nil && old.Unit == f.Unit {
				before = span(old.Ours, old.Unit)
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, f.bound(), before, span(f.Ours, f.Unit), f.against(), f.times(), f.verdict())
		}
	}
	_ = w.Flush() // a terminal that is gone needs no table
	if n := now.missed(); n > 0 {
		_, _ = fmt.Fprintf(out, "\n%d missed.\n", n)
	}
}

// pageTable is a record as the page shows it.
func pageTable(r record) string {
	if len(r) == 0 {
		return "Nothing is stored: `make bench` measures.\n"
	}
	var b strings.Builder
	b.WriteString("| | figure | bar | measured | reference | ratio | |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, m := range r {
		for i := range m.Figures {
			f := &m.Figures[i]
			first := ""
			if i == 0 {
				first = "**" + m.Experiment + "**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", first, f.Name, f.bound(), span(f.Ours, f.Unit), f.against(), f.times(), f.verdict())
		}
	}
	b.WriteString("\n" + conditions(r))
	return b.String()
}

// conditions says where, when and how the record was measured.
func conditions(r record) string {
	var order []string
	named := map[string][]string{}
	for _, m := range r {
		how := fmt.Sprintf("%s, %d rounds, %s", m.Machine, m.Rounds, m.Date)
		if m.Quick {
			how += ", small sizes (`-quick`)"
		}
		if named[how] == nil {
			order = append(order, how)
		}
		named[how] = append(named[how], m.Experiment)
	}
	var b strings.Builder
	for _, how := range order {
		what := "Measured"
		if len(order) > 1 {
			what = strings.Join(named[how], ", ") + ": measured"
		}
		b.WriteString(what + " on " + how + ".\n")
	}
	return b.String()
}
