package advice

import (
	"fmt"
	"slices"
	"strings"
)

// The three things that a client can hold.
const (
	Session = "session" // the cookie alone
	Token   = "token"   // an access token and a refresh token
	Hybrid  = "hybrid"  // the cookie, and access tokens that are drawn with it
)

// A Holding is what one kind of client is to hold, and what that costs.
type Holding struct {
	Client string // "browser" or "phone"
	Kind   string // Session, Token or Hybrid
	How    string // what the client holds and sends
	Why    string // why this and nothing else
	Costs  string // measured
}

// A holding applies where services and domains are as it says; empty is any.
type rule struct {
	services, domains string
	Holding
}

// A Figure is a measured one, by its row of docs/performance.md.
type Figure struct{ Row, Value string }

// The figures that the advice cites. A test compares them with the page.
var (
	cookieSeen = Figure{"known session cookie, in Require beyond a bare handler", "1,144 ns"}
	tokenSeen  = Figure{"access token seen before", "295 ns"}
	tokenNew   = Figure{"new ES256 access token", "52,090 ns"}
	minting    = Figure{"minting an ES256 access token", "23,870 ns"}
	renewals   = Figure{"refresh over HTTP, 64 connections, server and load a core each", "5,920/s"}
	refusal    = Figure{"end to refusal p99, 100 verifiers, 10 ends a second", "1.67 ms"}
	reader     = Figure{"server memory per verifier, 1000 verifiers", "6,799 B"}
)

// Figures returns every figure that the advice cites.
func Figures() []Figure {
	return []Figure{cookieSeen, tokenSeen, tokenNew, minting, renewals, refusal, reader}
}

// FiguresPage is where the figures are explained.
const FiguresPage = "docs/performance.md"

var (
	costOfSession = fmt.Sprintf("A service asks Coatcheck about each cookie once in ten minutes. Every other request costs it %s.", cookieSeen.Value)
	costOfToken   = fmt.Sprintf("A service never asks. A token costs it %s at first sight and %s after that. Each client renews once in ten minutes; Coatcheck has done %s renewals a second on one core.", tokenNew.Value, tokenSeen.Value, strings.TrimSuffix(renewals.Value, "/s"))
	costOfHybrid  = fmt.Sprintf("A service never asks. A token costs it %s at first sight and %s after that. The page draws one for each service once in ten minutes, which costs Coatcheck %s for the signature.", tokenNew.Value, tokenSeen.Value, minting.Value)
)

// rules is what to hold, by what was answered. The first that fits counts.
var rules = []rule{
	{One, One, Holding{
		"browser", Session, "One HttpOnly cookie, sent by the browser itself.",
		"No script can read it, no page has to renew it, and the application is reached by it.", costOfSession,
	}},
	{Several, One, Holding{
		"browser", Hybrid, "The cookie, for Coatcheck's own host alone. With it the page draws a token of ten minutes for each service (POST /v1/session/token) and sends that. Pages on other hosts of the domain stand in cors.origins.",
		"The cookie stays where no other host can read or set it, no page holds a refresh token, and a token for one service is refused by the others.", costOfHybrid,
	}},
	{"", Several, Holding{
		"browser", Token, "An access token of ten minutes and a refresh token, kept in the memory of the page. Its origin stands in cors.origins.",
		"No cookie crosses from one domain to another. Whatever script runs in the page can read them, so keep them out of local storage; where all can be brought under one domain, do that instead.", costOfToken,
	}},
	{"", "", Holding{
		"phone", Token, "An access token of ten minutes and a refresh token, kept in the keychain.",
		"An app has no cookies to rely on and a safe place of its own. A refresh token is used once, a retry is safe, and a stolen copy ends the session.", costOfToken,
	}},
}

// Holdings returns what each kind of client in the answers is to hold.
func Holdings(a Answers) []Holding {
	var all []Holding
	for client, used := range map[string]bool{"browser": a.browsers(), "phone": a.phones()} {
		at := slices.IndexFunc(rules, func(r rule) bool {
			return r.Client == client && (r.services == "" || r.services == a[Services]) && (r.domains == "" || r.domains == a[Domains])
		})
		if used && at >= 0 {
			all = append(all, rules[at].Holding)
		}
	}
	slices.SortFunc(all, func(a, b Holding) int { return strings.Compare(a.Client, b.Client) })
	return all
}

// holds reports whether some client of the answers holds tokens.
func (a Answers) holds(kinds ...string) bool {
	return slices.ContainsFunc(Holdings(a), func(h Holding) bool { return slices.Contains(kinds, h.Kind) })
}

// Ends says what an end costs and when it is felt, under the answers.
func Ends(a Answers) string {
	if a[Instant] == Yes {
		return instantly
	}
	return eventually
}

var (
	felt       = fmt.Sprintf("While the network works, an ended session is refused %s after the answer (99 of 100, 100 services listening); a service that listens costs Coatcheck %s of memory.", refusal.Value, reader.Value)
	instantly  = felt + " A service that has heard nothing for 5 seconds refuses everybody with 503 until it hears again; give the verifier Staleness: 5 * time.Second."
	eventually = felt + " A service that has heard nothing goes on for a minute and then refuses everybody with 503; give the verifier Staleness: time.Minute."
)

// Place says what the answer about machines asks for, under the answers.
func Place(a Answers) string {
	if a[Machines] == One {
		return alone
	}
	return apart
}

const (
	alone = "SQLite in a file beside the program, with its secret in another. Back up both, apart from each other."
	apart = "PostgreSQL, and a secret that is given to Coatcheck from outside; the file begins with SQLite, so that it can be tried first. As many nodes as you like then share one database: docs/many-nodes.md says how."
)

// Page returns what docs/choosing.md takes from here: the questions, the table, and
// what the last two answers decide, in Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString("## The five questions\n\n")
	for i, q := range questions {
		fmt.Fprintf(&b, "%d. **%s** %s\n", i+1, q.Text, q.Why)
		for _, o := range q.Options {
			fmt.Fprintf(&b, "   - `%s`: %s\n", o.Name, o.Means)
		}
	}
	b.WriteString("\n## What each client holds\n\n| client | application | domains | holds | that is | because | costs |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "| %s | %s | %s | **%s** | %s | %s | %s |\n", r.Client, orAny(r.services), orAny(r.domains), r.Kind, r.How, r.Why, r.Costs)
	}
	b.WriteString("\n## How soon an end is felt\n\n")
	fmt.Fprintf(&b, "- Instant, `%s`: %s\n- Instant, `%s`: %s\n", Yes, instantly, No, eventually)
	b.WriteString("\n## Where it runs\n\n")
	fmt.Fprintf(&b, "- Machines, `%s`: %s\n- Machines, `%s`: %s\n", One, alone, Many, apart)
	return b.String()
}

func orAny(answer string) string {
	if answer == "" {
		return "any"
	}
	return answer
}
