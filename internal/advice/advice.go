// Package advice turns five answers about an application into a choice between
// session, token and hybrid for each of its clients, and into the settings that go
// with it, each with the reason why.
//
// It is the one source of what coatcheck init asks, writes and prints, and of the
// table in docs/choosing.md. It reads and writes nothing itself.
package advice

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The answers there are.
const (
	One      = "one"
	Several  = "several"
	Browsers = "browsers"
	Phones   = "phones"
	Both     = "both"
	Yes      = "yes"
	No       = "no"
	Many     = "many"
)

// The names of the questions.
const (
	Services = "services"
	Domains  = "domains"
	Clients  = "clients"
	Instant  = "instant"
	Machines = "machines"
)

// A Question is one thing that the advice hangs on.
type Question struct {
	Name    string // one word, also the name of the flag
	Text    string // the question
	Why     string // one sentence: why it is asked
	Options []Option
}

// An Option is one answer to a question. The first one is the default.
type Option struct {
	Name  string // one word
	Means string // what it says, in the words of whoever answers
}

var questions = []Question{
	{
		Services, "Is it one application, or several services?",
		"One application can take the cookie of the person; several services each check for themselves, and each gets tokens that no other takes.",
		[]Option{{One, "one application, whatever it is made of"}, {Several, "several services that are called apart from each other"}},
	},
	{
		Domains, "Is all of it on one domain, or on several?",
		"A browser sends a cookie within one domain alone, so what is on another one cannot be reached by it.",
		[]Option{{One, "one, such as auth.example.com and app.example.com"}, {Several, "several, such as example.com and shop.example.org"}},
	},
	{
		Clients, "Do people use it with browsers, with phones, or with both?",
		"A browser keeps a cookie out of the reach of scripts; an app on a phone keeps tokens in the keychain and sends them itself.",
		[]Option{{Browsers, "pages in a browser"}, {Phones, "apps on phones, desktops or command lines"}, {Both, "pages and apps"}},
	},
	{
		Instant, "Must a sign-out be instant everywhere, even when the network fails?",
		"While the network works it always is, within milliseconds; this decides how long a service that hears nothing goes on believing what it knew.",
		[]Option{{Yes, "rather refuse everybody than let in somebody who has signed out"}, {No, "rather go on for a minute than refuse everybody"}},
	},
	{
		Machines, "Will it run on one machine, or on many?",
		"On one machine the database is a file beside the program; where machines come and go it has to be PostgreSQL, and the secret has to be given.",
		[]Option{{One, "one machine for all of it"}, {Many, "many machines, or containers without a disk of their own"}},
	},
}

// Questions returns the five questions in their order. The result is the caller's.
func Questions() []Question { return slices.Clone(questions) }

// Default returns the answer that counts when nothing is said.
func (q Question) Default() string { return q.Options[0].Name }

// Answer returns the option that text means: its name or the beginning of it that no
// other option shares, in any case. Empty text is the default.
func (q Question) Answer(text string) (string, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return q.Default(), true
	}
	var found []string
	for _, o := range q.Options {
		if strings.HasPrefix(o.Name, text) {
			found = append(found, o.Name)
		}
	}
	if len(found) != 1 {
		return "", false
	}
	return found[0], true
}

// Choices returns the names of the options for a sentence: "browsers, phones or both".
func (q Question) Choices() string {
	var all []string
	for _, o := range q.Options {
		all = append(all, o.Name)
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// Answers are one option to each question, by the question's name.
type Answers map[string]string

// All returns every combination of answers.
func All() []Answers {
	all := []Answers{{}}
	for _, q := range questions {
		var next []Answers
		for _, a := range all {
			for _, o := range q.Options {
				longer := maps.Clone(a)
				longer[q.Name] = o.Name
				next = append(next, longer)
			}
		}
		all = next
	}
	return all
}

// String returns the answers as flags: "--services one --domains several …".
func (a Answers) String() string {
	var flags []string
	for _, q := range questions {
		flags = append(flags, fmt.Sprintf("--%s %s", q.Name, a[q.Name]))
	}
	return strings.Join(flags, " ")
}

func (a Answers) browsers() bool { return a[Clients] != Phones }
func (a Answers) phones() bool   { return a[Clients] != Browsers }
