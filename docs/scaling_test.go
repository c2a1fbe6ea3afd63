package docs_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what docs/scaling.md takes from bench/figures.json")

const scalingPage = "docs/scaling.md"

// What docs/scaling.md shows of bench/figures.json, and what it works out from that and
// from the assumptions that stand in the page itself, is what this test works out. After
// new measurements: go test ./docs -run TestScaling -update
func TestScaling(t *testing.T) {
	const begin, end = "<!-- generated: go test ./docs -run TestScaling -update -->\n", "<!-- end of what is generated -->\n"
	text := readPage(t, scalingPage)
	before, rest, found := strings.Cut(text, begin)
	old, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for what is generated", scalingPage)
	}
	s := &sizing{t: t, figures: medians(t), assumed: assumptions(t, before)}
	fresh := "\n" + s.costs() + "\n" + s.example(10_000_000) + "\n" + s.table() + "\n"
	if *update {
		if err := os.WriteFile("../"+scalingPage, []byte(before+begin+fresh+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != fresh {
		t.Errorf("%s is not what follows from bench/figures.json and its assumptions: go test ./docs -run TestScaling -update writes\n%s", scalingPage, fresh)
	}
	// What a person wrote around it cites no measurement of its own.
	for _, part := range []string{before, after} {
		if m := regexp.MustCompile(`\d[\d,.]* ?(ms|µs|ns|/s|MiB|GiB|KiB|B)\b`).FindString(part); m != "" {
			t.Errorf("%s cites %q outside of what is generated", scalingPage, m)
		}
	}
}

// medians returns the middle of each stored figure, by its name.
func medians(t *testing.T) map[string]benchFigure {
	t.Helper()
	text, err := os.ReadFile("../bench/figures.json")
	if err != nil {
		t.Fatal(err)
	}
	var record []struct{ Figures []benchFigure }
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	all := map[string]benchFigure{}
	for _, e := range record {
		for _, f := range e.Figures {
			all[f.Name] = f
		}
	}
	return all
}

// assumptions reads the reader's own numbers: rows of "| name | number | … |".
func assumptions(t *testing.T, text string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^\| \*([^*]+)\* \| ([\d.,]+)( %)? \|`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(m[2], ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		if m[3] != "" {
			n /= 100
		}
		all[m[1]] = n
	}
	return all
}

// A sizing works out what a number of people needs.
type sizing struct {
	t       *testing.T
	figures map[string]benchFigure
	assumed map[string]float64
}

func (s *sizing) of(name string) float64 {
	s.t.Helper()
	n, found := s.assumed[name]
	if !found || n == 0 {
		s.t.Fatalf("%s assumes nothing about %q", scalingPage, name)
	}
	return n
}

// measured returns a stored figure that the sizing cannot do without.
func (s *sizing) measured(name string) float64 {
	s.t.Helper()
	f, found := s.figures[name]
	if !found {
		s.t.Fatalf("bench/figures.json has no %q", name)
	}
	return middle(f.Ours)
}

// The figures that decide.
const (
	signIns   = "sign-in, every hashing slot busy"
	checks    = "/v1/forward-auth, 1,000,000 sessions"
	refreshes = "refresh over HTTP, 64 connections, server and load a core each"
	remember  = "memory of a remembered session, of 1,000,000"
	follower  = "server memory per verifier, 1000 verifiers"
	seenToken = "access token seen before"
	onDisk    = "size of a session with its grant in PostgreSQL, 10,000,000 sessions"
	logEntry  = "size of an entry of the log in PostgreSQL"
	atNodes   = "refresh over HTTP at three nodes, 32 clients" // whose reference are PostgreSQL's own commits
	crossing  = "end at one node to refusal at another's verifiers, "
)

// costs is the table of what one of each costs, and the figure that says so.
func (s *sizing) costs() string {
	var b strings.Builder
	b.WriteString("| what | costs | by the figure of bench/figures.json |\n| --- | --- | --- |\n")
	row := func(what, costs, by string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, costs, by) }
	perSecond := func(what, name string) {
		n := s.measured(name)
		row(what, fmt.Sprintf("1,000 ÷ %s/s = %s s of a core", number(n), number(1000/n)), name)
	}
	perSecond("a thousand sign-ins by password", signIns)
	perSecond("a thousand checks that a gateway asks for", checks)
	perSecond("a thousand refreshes, on SQLite", refreshes)
	seen := s.measured(seenToken)
	row("a thousand checks in a service of yours, of tokens it knows", fmt.Sprintf("1,000 × %s ns = %s ms of a core there, none of Coatcheck's", number(seen), number(seen/1000)), seenToken)
	row("a session that a node remembers", number(s.measured(remember))+" B of its memory", remember)
	row("a service that follows the log", number(s.measured(follower))+" B of a node's memory", follower)
	for _, o := range []struct{ what, name string }{
		{"refreshes of three nodes, where they, their database and their clients share the two cores of one machine", atNodes},
		{"an end on one node, to its refusal at services of another, without Redis: half of them within", crossing + "without Redis, p50"},
		{"99 of 100 within", crossing + "without Redis, p99"},
		{"with Redis: half of them within", crossing + "with Redis, p50"},
		{"99 of 100 within", crossing + "with Redis, p99"},
		{"what an idle node costs the database, of a core", "database processor for a node when nothing happens"},
		{"the first check, with ten million sessions in PostgreSQL", "first check of a session, 10,000,000 sessions in PostgreSQL"},
		{"a refresh there", "refresh, 10,000,000 sessions in PostgreSQL"},
		{"a session with its grant in PostgreSQL, indexes included", onDisk},
		{"an entry of the log in PostgreSQL", logEntry},
		{"`coatcheck move` of a million sessions and 200,000 people", "move of 1,000,000 sessions and 200,000 users"},
	} {
		f, found := s.figures[o.name]
		if !found {
			row(o.what, "not measured yet", o.name)
			continue
		}
		unit := " " + f.Unit
		if f.Unit == "/s" {
			unit = "/s"
		}
		costs := number(middle(f.Ours)) + unit
		if o.name == atNodes {
			costs += ", beside " + number(middle(f.Reference)) + "/s of PostgreSQL's own commits"
		}
		row(o.what, costs, o.name)
	}
	return b.String()
}

// A need is what a number of people needs in the busiest second.
type need struct {
	active, signIns, refreshes, checks float64 // of people; in a second
	cores, commits, sessions, memory   float64 // memory and disk in bytes
	disk                               float64 // 0: not measured
}

const day = 24 * 60 * 60

func (s *sizing) need(people float64) need {
	n := need{active: people * s.of("active")}
	at := func(each string) float64 { return n.active * s.of(each) / day * s.of("peak") }
	n.signIns, n.refreshes, n.checks = at("sign-ins"), at("refreshes"), at("checks")
	n.cores = (n.signIns/s.measured(signIns) + n.refreshes/s.measured(refreshes) + n.checks/s.measured(checks)) / s.of("load")
	n.commits = n.signIns + n.refreshes
	n.sessions = people * s.of("sessions")
	n.memory = n.active * s.measured(remember)
	if f, found := s.figures[onDisk]; found {
		n.disk = n.sessions * middle(f.Ours)
	}
	return n
}

// example is the arithmetic of one size, in full.
func (s *sizing) example(people float64) string {
	n := s.need(people)
	var b strings.Builder
	fmt.Fprintf(&b, "For %s people, then, in the busiest second:\n\n", number(people))
	fmt.Fprintf(&b, "- active in a day: %s × %s %% = %s\n", number(people), number(100*s.of("active")), number(n.active))
	for _, o := range []struct {
		what, each string
		result     float64
	}{{"sign-ins", "sign-ins", n.signIns}, {"refreshes", "refreshes", n.refreshes}, {"checks at a gateway", "checks", n.checks}} {
		fmt.Fprintf(&b, "- %s: %s × %s ÷ 86,400 s × %s = %s/s\n", o.what, number(n.active), number(s.of(o.each)), number(s.of("peak")), number(o.result))
	}
	fmt.Fprintf(&b, "- cores of all nodes: (%s ÷ %s + %s ÷ %s + %s ÷ %s) ÷ %s %% = %s\n", number(n.signIns), number(s.measured(signIns)),
		number(n.refreshes), number(s.measured(refreshes)), number(n.checks), number(s.measured(checks)), number(100*s.of("load")), number(n.cores))
	beside := ""
	if f, found := s.figures[atNodes]; found {
		beside = fmt.Sprintf("; PostgreSQL has made %s/s here", number(middle(f.Reference)))
	}
	fmt.Fprintf(&b, "- commits of the database: %s + %s = %s/s%s\n", number(n.signIns), number(n.refreshes), number(n.commits), beside)
	fmt.Fprintf(&b, "- live sessions: %s × %s = %s\n", number(people), number(s.of("sessions")), number(n.sessions))
	fmt.Fprintf(&b, "- memory, where one node remembers a session of each who is active: %s × %s B = %s\n", number(n.active), number(s.measured(remember)), bytesText(n.memory))
	if n.disk > 0 {
		fmt.Fprintf(&b, "- their room in PostgreSQL: %s × %s B = %s\n", number(n.sessions), number(n.disk/n.sessions), bytesText(n.disk))
	}
	return b.String()
}

func (s *sizing) table() string {
	var b strings.Builder
	b.WriteString("| people | sign-ins/s | refreshes/s | checks/s | cores of all nodes | commits/s | live sessions | memory for sessions | in PostgreSQL |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, people := range []float64{10_000, 100_000, 1_000_000, 10_000_000, 100_000_000} {
		n := s.need(people)
		disk := "not measured yet"
		if n.disk > 0 {
			disk = bytesText(n.disk)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", number(people), number(n.signIns), number(n.refreshes), number(n.checks),
			number(n.cores), number(n.commits), number(n.sessions), bytesText(n.memory), disk)
	}
	return b.String()
}

// number writes a number with three digits that count, and commas.
func number(n float64) string {
	if n == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(n)))))
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(n)))-2)
	text := strconv.FormatFloat(math.Round(n/unit)*unit, 'f', digits, 64)
	if n >= 1000 && n < 10_000_000 && n == math.Trunc(n) { // whole as it is: it can be compared with its source
		text = strconv.FormatFloat(n, 'f', 0, 64)
	}
	whole, fraction, broken := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction = strings.TrimRight(fraction, "0"); broken && fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

func bytesText(n float64) string {
	for _, unit := range []string{"KiB", "MiB"} {
		if n /= 1024; n < 1024 {
			return number(n) + " " + unit
		}
	}
	return number(n/1024) + " GiB"
}
