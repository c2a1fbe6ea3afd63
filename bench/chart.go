package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A chart shows how a figure goes with a number: both axes are marked in words, and
// everything that the picture shows stands in its description, too.
type chart struct {
	name, title string
	across      string // what the horizontal axis counts, which is logarithmic
	up          string // what the vertical axis measures
	unit        string // of the vertical axis: µs or ms
}

// charts are all there are.
var charts = []chart{
	{name: "sessions", title: "What a check costs, by the number of live sessions", across: "live sessions", up: "µs of one core", unit: "µs"},
	{name: "verifiers", title: "From the answer of an end to refusal, by the number of verifiers", across: "verifiers", up: "ms", unit: "ms"},
}

// A line is a series of a chart, from left to right.
type line struct {
	name   string
	points [][2]float64
}

// lines collects the chart's series from a record, in the order of their first
// point, each with its reference.
func (c *chart) lines(r record) []line {
	var all []line
	add := func(name string, x, y float64) {
		i := slices.IndexFunc(all, func(l line) bool { return l.name == name })
		if i < 0 {
			i, all = len(all), append(all, line{name: name})
		}
		if !slices.ContainsFunc(all[i].points, func(p [2]float64) bool { return p[0] == x }) {
			all[i].points = append(all[i].points, [2]float64{x, y})
		}
	}
	for _, m := range r {
		for _, f := range m.Figures {
			if f.Point == nil || f.Point.Chart != c.name {
				continue
			}
			add(f.Point.Line, f.Point.At, c.height(f.Ours, f.Unit))
			if len(f.Reference) > 0 {
				add(f.Point.Line+", reference", f.Point.At, c.height(f.Reference, f.Unit))
			}
		}
	}
	for i := range all {
		slices.SortFunc(all[i].points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
	}
	return all
}

// height is a figure's median on the vertical axis. So many in a second are the time
// that each takes.
func (c *chart) height(values []float64, unit string) float64 {
	nanoseconds := map[string]float64{"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
	v := median(values)
	switch {
	case unit == "/s" && v > 0:
		return 1e9 / v / nanoseconds[c.unit]
	case nanoseconds[unit] > 0:
		return v * nanoseconds[unit] / nanoseconds[c.unit]
	}
	return v
}

// The picture's measures, in its own units.
const (
	width, height          = 760.0, 420.0
	left, right, top, foot = 64.0, 230.0, 66.0, 56.0
)

// A scale places values on an axis, from one end to the other.
type scale struct {
	low, high, from, to float64
	log                 bool
	ticks               []float64
}

func (s *scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(v)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// powers is a logarithmic scale between whole powers of ten around the values.
func powers(values []float64, from, to float64) scale {
	low, high := math.Floor(math.Log10(slices.Min(values))+1e-9), math.Ceil(math.Log10(slices.Max(values))-1e-9)
	if low == high {
		high++
	}
	s := scale{low: math.Pow(10, low), high: math.Pow(10, high), from: from, to: to, log: true}
	for e := low; e <= high; e++ {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

// steps is a linear scale from 0, in three to ten round steps.
func steps(values []float64, from, to float64) scale {
	most := slices.Max(values)
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{1, 2, 5} {
		if most/(step/part) >= 3 {
			step /= part
			break
		}
	}
	s := scale{high: step * math.Ceil(most/step), from: from, to: to}
	for i := 0.0; i*step <= s.high*(1+1e-9); i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

// draw returns the chart of a record as SVG, readable on light and dark grounds.
func (c *chart) draw(r record) string {
	lines := c.lines(r)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %v %v" role="img" aria-labelledby="title about">
<title id="title">%s</title>
<desc id="about">%s</desc>
<style>
svg { color: #1f2328; --ground: #ffffff; --a: #0550ae; --b: #a04000; --c: #116329; --d: #6639ba; --e: #57606a }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; --ground: #0d1117; --a: #79c0ff; --b: #ffa657; --c: #7ee787; --d: #d2a8ff; --e: #9198a1 } }
text { font: 13px system-ui, sans-serif; fill: currentColor }
.title { font-size: 16px; font-weight: 600 }
.grid { stroke: currentColor; stroke-opacity: 0.15 }
.line { fill: none; stroke-width: 2 }
</style>
<rect width="%v" height="%v" rx="6" fill="var(--ground)"/>
<text class="title" x="16" y="28">%s</text>
`, width, height, escaped(c.title), escaped(c.words(lines)), width, height, escaped(c.title))
	if len(lines) > 0 {
		c.plot(&b, lines)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// words says what the picture shows.
func (c *chart) words(lines []line) string {
	if len(lines) == 0 {
		return "Nothing was measured."
	}
	var parts []string
	for _, l := range lines {
		var points []string
		for _, p := range l.points {
			points = append(points, fmt.Sprintf("%s at %s", amount(p[1]), amount(p[0])))
		}
		parts = append(parts, l.name+": "+strings.Join(points, ", "))
	}
	return fmt.Sprintf("In %s, by %s. %s.", c.up, c.across, strings.Join(parts, "; "))
}

// plot draws axes and lines.
func (c *chart) plot(b *strings.Builder, lines []line) {
	var xs, ys []float64
	for _, l := range lines {
		for _, p := range l.points {
			xs, ys = append(xs, p[0]), append(ys, p[1])
		}
	}
	x := powers(xs, left, width-right)
	y := steps(ys, height-foot, top)
	if least := slices.Min(ys); least > 0 && slices.Max(ys)/least > 20 {
		y = powers(ys, height-foot, top)
	}
	for _, v := range y.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%v %.1fH%v"/><text x="%v" y="%.1f" text-anchor="end">%s</text>`+"\n", left, y.at(v), width-right, left-8, y.at(v)+4, amount(v))
	}
	for _, v := range x.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %vV%v"/><text x="%.1f" y="%v" text-anchor="middle">%s</text>`+"\n", x.at(v), top, height-foot, x.at(v), height-foot+20, amount(v))
	}
	fmt.Fprintf(b, `<text x="%v" y="%v" text-anchor="middle">%s</text><text x="16" y="%v">%s</text>`+"\n",
		(left+width-right)/2, height-14, escaped(c.across), top-14, escaped(c.up))
	labels := places(lines, &y)
	for i, l := range lines {
		color := fmt.Sprintf("var(--%c)", "abcde"[i%5])
		var path strings.Builder
		for j, p := range l.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x.at(p[0]), y.at(p[1]))
		}
		fmt.Fprintf(b, `<path class="line" stroke="%s" stroke-dasharray="%s" d="%s"/>`+"\n", color, []string{"none", "7 4", "2 4", "10 3 2 3"}[i%4], &path)
		for _, p := range l.points {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x.at(p[0]), y.at(p[1]), color)
		}
		end := l.points[len(l.points)-1]
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fL%v %.1f"/><circle cx="%v" cy="%.1f" r="3.5" fill="%s"/><text x="%v" y="%.1f">%s</text>`+"\n",
			x.at(end[0]), y.at(end[1]), width-right+14, labels[i], width-right+14, labels[i], color, width-right+22, labels[i]+4, escaped(l.name))
	}
}

// places returns the height of each line's label: at its last point, and clear of
// the others.
func places(lines []line, y *scale) []float64 {
	const apart = 17.0
	order := make([]int, len(lines))
	at := make([]float64, len(lines))
	for i, l := range lines {
		order[i], at[i] = i, y.at(l.points[len(l.points)-1][1])
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(at[a], at[b]) })
	for n := 1; n < len(order); n++ {
		at[order[n]] = max(at[order[n]], at[order[n-1]]+apart)
	}
	// What was pushed out at the foot pushes the others up.
	for n, floor := len(order)-1, height-foot; n >= 0; n, floor = n-1, floor-apart {
		at[order[n]] = min(at[order[n]], floor)
	}
	return at
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
