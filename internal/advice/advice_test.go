package advice

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What each client holds, by what was answered.
func TestHoldings(t *testing.T) {
	for name, c := range map[string]struct {
		services, domains, clients string
		want                       map[string]string
	}{
		"one application on one domain":    {One, One, Browsers, map[string]string{"browser": Session}},
		"services on one domain":           {Several, One, Browsers, map[string]string{"browser": Hybrid}},
		"no cookie crosses domains":        {One, Several, Browsers, map[string]string{"browser": Token}},
		"services on several domains":      {Several, Several, Browsers, map[string]string{"browser": Token}},
		"phones hold tokens":               {One, One, Phones, map[string]string{"phone": Token}},
		"phones do so whatever the domain": {Several, Several, Phones, map[string]string{"phone": Token}},
		"each client its own":              {One, One, Both, map[string]string{"browser": Session, "phone": Token}},
		"hybrid beside phones":             {Several, One, Both, map[string]string{"browser": Hybrid, "phone": Token}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, instant := range []string{Yes, No} {
				got := map[string]string{}
				for _, h := range Holdings(Answers{Services: c.services, Domains: c.domains, Clients: c.clients, Instant: instant, Machines: One}) {
					got[h.Client] = h.Kind
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Under every combination of answers each client holds something, each line of the
// file stands below a reason, and sign-in may hand out what the clients hold.
func TestEveryAnswerIsServed(t *testing.T) {
	all := All()
	if len(all) != 48 {
		t.Fatalf("%d combinations of answers, want 48", len(all))
	}
	for _, a := range all {
		held := Holdings(a)
		if want := len(strings.Split(strings.ReplaceAll(a[Clients], Both, "a b"), " ")); len(held) != want {
			t.Errorf("%s: %d holdings, want %d", a, len(held), want)
		}
		lines := settingsByName(Settings(a, nil))
		for _, h := range held {
			if h.How == "" || h.Why == "" || h.Costs == "" {
				t.Errorf("%s: the %s is told too little: %+v", a, h.Client, h)
			}
			if h.Kind != Session && !strings.Contains(strings.Join(lines["transports"].Values, " "), "token") {
				t.Errorf("%s: no token is handed out to the %s", a, h.Client)
			}
		}
		// Without it the account and the first administrator's page refuse everybody.
		if !strings.Contains(strings.Join(lines["transports"].Values, " "), "cookie") {
			t.Errorf("%s: the pages work by cookie, which is not handed out", a)
		}
		checkReasons(t, a, File(a, Settings(a, nil)))
	}
}

func settingsByName(all []Setting) map[string]Setting {
	byName := map[string]Setting{}
	for _, s := range all {
		byName[s.Name] = s
	}
	return byName
}

// checkReasons demands that every line of the file that sets something, on or off,
// stands right below a sentence that says why.
func checkReasons(t *testing.T, a Answers, file string) {
	t.Helper()
	before := ""
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\n")
		if len([]rune(line)) > width && !strings.HasPrefix(line, "#   ") { // but for the command line
			t.Errorf("%s: longer than %d: %s", a, width, line)
		}
		sets := line != "" && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "## ") && line != "#"
		if sets && !strings.HasPrefix(before, "# ") {
			t.Errorf("%s: no reason stands above %s", a, line)
		}
		if sets && !strings.Contains(line, " = ") {
			t.Errorf("%s: neither a setting nor a reason: %s", a, line)
		}
		before = line
	}
}

func TestAnswer(t *testing.T) {
	clients := questions[2]
	for text, want := range map[string]string{
		"": Browsers, " browsers ": Browsers, "BR": Browsers, "p": Phones, "bo": Both, "both": Both,
		"b": "", "phoness": "", "tablets": "", "\x1b[A": "",
	} {
		got, ok := clients.Answer(text)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

// What is given takes the place of the advice, and the rest follows from it.
func TestGiven(t *testing.T) {
	a := Answers{Services: Several, Domains: One, Clients: Browsers, Instant: Yes, Machines: One}
	lines := settingsByName(Settings(a, map[string]string{
		"public_url": "https://auth.shop.example.co.uk", "token.audiences": "stock, orders", "cors.origins": "https://a.example",
	}))
	for name, want := range map[string]Setting{
		"public_url":      {Values: []string{"https://auth.shop.example.co.uk"}},
		"cookie.domain":   {Values: []string{"example.co.uk"}, Off: true},
		"token.audiences": {Values: []string{"stock", "orders"}, List: true},
		"cors.origins":    {Values: []string{"https://a.example"}, List: true},
		"proxies":         {Values: []string{"127.0.0.1/32", "::1/128"}, List: true},
		"verify_email":    {Values: []string{"optional"}},
	} {
		got := lines[name]
		if diff := cmp.Diff(want, Setting{Values: got.Values, Off: got.Off, List: got.List}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	local := settingsByName(Settings(a, map[string]string{"listen": "127.0.0.1:9000"}))
	if got := local["public_url"].Values[0]; got != "http://127.0.0.1:9000" {
		t.Errorf("public_url is %s where it listens on 127.0.0.1:9000", got)
	}
	local = settingsByName(Settings(a, map[string]string{"public_url": "http://localhost:9000"}))
	if got := local["listen"].Values[0]; got != "localhost:9000" {
		t.Errorf("listens on %s where public_url is http://localhost:9000", got)
	}
	implicit := settingsByName(Settings(a, map[string]string{"mail.host": "smtp.example.com", "mail.tls": "implicit"}))
	if got := implicit["mail.port"].Values[0]; got != "465" {
		t.Errorf("mail.port is %s with implicit TLS", got)
	}
	if mailed := settingsByName(Settings(a, map[string]string{"public_url": "https://auth.example.com", "mail.host": "smtp.example.com"})); mailed["verify_email"].Name != "" {
		t.Errorf("verify_email is %v although there is mail, with which it is required by itself", mailed["verify_email"].Values)
	}
}

// What only the operator can know is asked for until it is given.
func TestUndecided(t *testing.T) {
	a := Answers{Services: Several, Domains: One, Clients: Both, Instant: Yes, Machines: Many}
	if diff := cmp.Diff([]string{"public_url", "token.audiences", "cors.origins", "database", "mail.host"}, Undecided(a, Settings(a, nil), nil)); diff != "" {
		t.Error(diff)
	}
	given := map[string]string{"public_url": "https://auth.example.com", "database": "postgres://db/auth", "mail.host": "smtp.example.com"}
	if diff := cmp.Diff([]string{"token.audiences", "cors.origins"}, Undecided(a, Settings(a, given), given)); diff != "" {
		t.Error(diff)
	}
}

// Whatever is given stands in the file as TOML can be read: in one string.
func TestValuesAreQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`a"b`: `"a\"b"`, "a\nb": `"a\nb"`, "10": "10", "010": `"010"`, "7d": `"7d"`, "<a>&": `"<a>&"`, "": `""`,
	} {
		if got := (Setting{Values: []string{text}}).value(); got != want {
			t.Errorf("%q is written %s, want %s", text, got, want)
		}
	}
}

var update = flag.Bool("update", false, "take the figures from docs/performance.md")

// The figures are those of docs/performance.md. After measuring anew: go test
// ./internal/advice -update, and go test ./cmd/coatcheck -update for the page.
func TestFiguresAreMeasured(t *testing.T) {
	page, err := os.ReadFile("../../" + FiguresPage)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("holding.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Figures() {
		measured := measuredIn(string(page), f.Row)
		if measured == "" {
			t.Errorf("the page has no row %q", f.Row)
			continue
		}
		if measured != f.Value && !*update {
			t.Errorf("%s: the page says %s, the advice %s: run go test ./internal/advice -update", f.Row, measured, f.Value)
		}
		source = []byte(strings.Replace(string(source), fmt.Sprintf("{%q, %q}", f.Row, f.Value), fmt.Sprintf("{%q, %q}", f.Row, measured), 1))
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("holding.go", source, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// measuredIn returns the median of a row of the table of figures; "" if there is none.
func measuredIn(page, row string) string {
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.TrimSpace(cells[2]) == row {
			measured, _, _ := strings.Cut(strings.TrimSpace(cells[4]), " (")
			return measured
		}
	}
	return ""
}
