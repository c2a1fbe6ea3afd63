package catalogue

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// A Language is the texts of one language. It is safe for concurrent use.
type Language struct {
	tag     language.Tag
	texts   map[string]entry
	english *Language // nil for English itself
}

// Tag returns the language's name (BCP 47), as the attribute lang and Content-Language
// have it.
func (l *Language) Tag() string { return l.tag.String() }

// Dir returns the direction in which the language is written: "ltr" or "rtl".
func (l *Language) Dir() string {
	script, _ := l.tag.Script()
	switch script.String() {
	case "Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm", "Rohg", "Mand", "Samr":
		return "rtl"
	}
	return "ltr"
}

// Has reports whether there is a text under the key, be it an English one.
func (l *Language) Has(key string) bool {
	_, found := l.find(key)
	return found
}

func (l *Language) find(key string) (string, bool) {
	if e, found := l.texts[key]; found {
		return e.text, true
	}
	if l.english != nil {
		return l.english.find(key)
	}
	return "", false
}

// Text returns the text under the key with its places filled in: values are names and
// values in turn. A value is never looked through for places. A key that is not there
// stands for itself, which tests keep from happening.
func (l *Language) Text(key string, values ...string) string {
	text, found := l.find(key)
	if !found {
		return key
	}
	return fill(text, values)
}

func fill(text string, values []string) string {
	if len(values) < 2 {
		return text
	}
	pairs := make([]string, 0, len(values))
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, "{"+values[i]+"}", values[i+1])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Count returns the text for so many: of KEY.one, KEY.other and what else the
// language tells apart (CLDR plural rules), the one that fits, with n at {count}.
func (l *Language) Count(key string, n int, values ...string) string {
	form := forms[plural.Cardinal.MatchPlural(l.tag, n, 0, 0, 0, 0)]
	if _, found := l.texts[key+"."+form]; !found {
		form = "other"
	}
	return l.Text(key+"."+form, append(values, "count", strconv.Itoa(n))...)
}

var forms = map[plural.Form]string{
	plural.Other: "other", plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many",
}

// Sentence returns a sentence of the code in this language: by its fault's code, else
// by the English sentence itself, else that.
func (l *Language) Sentence(code, english string) string {
	for _, key := range []string{"fault." + code, "sentences." + english} {
		if e, found := l.texts[key]; found {
			return e.text
		}
	}
	return english
}

// Device returns what we call a device ("Firefox on Linux") in this language, as it
// begins a line.
func (l *Language) Device(name string) string {
	program, system, found := name, "", false
	if i := strings.LastIndex(name, " on "); i >= 0 {
		program, system, found = name[:i], name[i+len(" on "):], true
	}
	program = l.Sentence("", program)
	if first, size := utf8.DecodeRuneInString(program); size > 0 {
		program = string(unicode.ToUpper(first)) + program[size:]
	}
	if !found {
		return program
	}
	return l.Text("account.device", "program", program, "system", system)
}

// Date returns the day of t in words, in UTC.
func (l *Language) Date(t time.Time) string {
	t = t.UTC()
	return l.Text("time.date", "day", strconv.Itoa(t.Day()), "month", l.Text("time.month_"+strconv.Itoa(int(t.Month()))), "year", strconv.Itoa(t.Year()))
}

// Moment returns day and time of t in words. We do not know where people are, so it
// says which clock it means.
func (l *Language) Moment(t time.Time) string {
	return l.Text("time.moment", "date", l.Date(t), "clock", t.UTC().Format("15:04"))
}

// Ago returns how long before now t was, in words: coarse, and from a month on the day.
func (l *Language) Ago(t, now time.Time) string {
	const day = 24 * time.Hour
	since := now.Sub(t)
	switch {
	case since < time.Minute: // or ahead of our clock, by a little
		return l.Text("time.now")
	case since < time.Hour:
		return l.Count("time.minutes_ago", int(since/time.Minute))
	case since < day:
		return l.Count("time.hours_ago", int(since/time.Hour))
	case since < 30*day:
		return l.Count("time.days_ago", int(since/day))
	}
	return l.Text("time.on", "date", l.Date(t))
}

// In returns how long after now t will be, rounded up, in words: "in 1 hour".
func (l *Language) In(t, now time.Time) string {
	const day = 24 * time.Hour
	until := max(t.Sub(now), 0)
	switch {
	case until <= time.Hour:
		return l.Count("time.in_minutes", max(1, ceil(until, time.Minute)))
	case until <= 2*day:
		return l.Count("time.in_hours", ceil(until, time.Hour))
	}
	return l.Count("time.in_days", ceil(until, day))
}

func ceil(d, unit time.Duration) int { return int((d + unit - 1) / unit) }
