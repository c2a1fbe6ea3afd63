package catalogue

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func load(t *testing.T, files map[string]string) *Catalogue {
	t.Helper()
	extra := fstest.MapFS{}
	for name, text := range files {
		extra[name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, err := Load(extra)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every language of ours has every text with every place, and no other.
func TestGermanEqualsEnglishKeyByKey(t *testing.T) {
	c := load(t, nil)
	english, german := c.languages[0].texts, c.languages[1].texts
	for _, key := range sortedKeys(english) {
		text, found := german[key]
		if !found {
			t.Errorf("German lacks %s", key)
		} else if want, got := places(english[key].text), places(text.text); !slices.Equal(want, got) {
			t.Errorf("%s has the places %v in English and %v in German", key, want, got)
		}
	}
	for _, key := range sortedKeys(german) {
		if _, found := english[key]; !found && !translates(key) {
			t.Errorf("English lacks %s", key)
		}
	}
	for _, texts := range []map[string]entry{english, german} {
		for key, text := range texts {
			if strings.TrimSpace(text.text) == "" || text.line == 0 {
				t.Errorf("%s is %q in line %d", key, text.text, text.line)
			}
		}
	}
}

func TestLanguageIsChosen(t *testing.T) {
	c := load(t, map[string]string{"fr.toml": "[time]\nnow = \"à l'instant\"\n", "ar.toml": ""})
	for accept, want := range map[string]string{
		"": "en", "en": "en", "en-GB,en;q=0.9": "en", "de": "de", "de-CH, fr;q=0.5": "de", "DE-at": "de",
		"ja, de;q=0.1": "de", "ja": "en", "*": "en", "fr-CA": "fr", "en;q=0.2, de;q=0.9": "de", "ar-EG": "ar",
		"not a header; at=all,,,": "en", strings.Repeat("de-", 400): "en", "x": "en", "de;q=0": "en", "\x00": "en",
	} {
		if got := c.Language(accept).Tag(); got != want {
			t.Errorf("Accept-Language %.40q gets %s, want %s", accept, got, want)
		}
	}
	if got := c.Language("ar").Dir() + " " + c.Language("de").Dir(); got != "rtl ltr" {
		t.Errorf("Arabic and German are written %s", got)
	}
}

// What an operator's language lacks is English, and what it changes is changed.
func TestOperatorsFiles(t *testing.T) {
	c := load(t, map[string]string{
		"fr.toml": "[time]\nnow = \"à l'instant\"\n",
		"de.toml": "[time]\nnow = \"eben\"\n[fault]\nnot_found = \"Weg.\"\n[sentences]\n\"It is so.\" = \"So ist es.\"\n",
	})
	for _, check := range []struct{ got, want string }{
		{c.Language("fr").Text("time.now"), "à l'instant"},
		{c.Language("fr").Text("time.month_3"), "March"},
		{c.Language("de").Text("time.now"), "eben"},
		{c.Language("de").Text("time.month_3"), "März"},
		{c.Language("de").Sentence("not_found", "There is none."), "Weg."},
		{c.Language("de").Sentence("", "It is so."), "So ist es."},
		{c.Language("en").Sentence("not_found", "There is none."), "There is none."},
		{c.Language("en").Text("no.such.key"), "no.such.key"},
	} {
		if check.got != check.want {
			t.Errorf("%q, want %q", check.got, check.want)
		}
	}
}

func TestMistakesAreNamedWithFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"de.toml", "\n[time]\nnwo = \"x\"\n", "de.toml:3: there is no text time.nwo"},
		{"fr.toml", "[time]\ndate = \"{day} {moon}\"\n", "fr.toml:2: time.date has no place {moon}"},
		{"fr.toml", "[time]\nnow = 3\n", "fr.toml:2: time.now is not a text"},
		{"fr.toml", "[time]\n\nnow = \n", "fr.toml:3: "},
		{"hello world.toml", "", "hello world.toml: the name of the file is not a language"},
	} {
		_, err := Load(fstest.MapFS{c.name: {Data: []byte(c.text)}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// A value is text, whatever it looks like.
func TestValuesAreNotLookedThrough(t *testing.T) {
	l := load(t, map[string]string{"en.toml": "[time]\ndate = \"{day}-{month}-{year}\"\n"}).Language("")
	if got := l.Text("time.date", "day", "{month}", "month", "{year}", "year", "{day}"); got != "{month}-{year}-{day}" {
		t.Errorf("filled in: %s", got)
	}
}

func TestTimesInWords(t *testing.T) {
	c := load(t, nil)
	now := time.Date(2026, 3, 12, 14, 5, 0, 0, time.UTC)
	for ago, want := range map[time.Duration][2]string{
		-time.Minute: {"just now", "gerade eben"}, 59 * time.Second: {"just now", "gerade eben"},
		time.Minute: {"1 minute ago", "vor 1 Minute"}, 59 * time.Minute: {"59 minutes ago", "vor 59 Minuten"},
		time.Hour: {"1 hour ago", "vor 1 Stunde"}, 47 * time.Hour: {"yesterday", "gestern"},
		72 * time.Hour: {"3 days ago", "vor 3 Tagen"}, 40 * 24 * time.Hour: {"on 31 January 2026", "am 31. Januar 2026"},
	} {
		for i, tag := range []string{"en", "de"} {
			if got := c.Language(tag).Ago(now.Add(-ago), now); got != want[i] {
				t.Errorf("%v ago is %q, want %q", ago, got, want[i])
			}
		}
	}
	for until, want := range map[time.Duration]string{
		-time.Hour: "in 1 minute", 90 * time.Second: "in 2 minutes", time.Hour: "in 60 minutes", 61 * time.Minute: "in 2 hours", 72 * time.Hour: "in 3 days",
	} {
		if got := c.Language("en").In(now.Add(until), now); got != want {
			t.Errorf("in %v is %q, want %q", until, got, want)
		}
	}
	if got := c.Language("de").Moment(now); got != "12. März 2026, 14:05 UTC" {
		t.Errorf("the moment is %q", got)
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	f.Add("de-CH, fr;q=0.5")
	c, err := Load(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if tag := c.Language(header).Tag(); tag != "en" && tag != "de" {
			t.Errorf("%q gets %q", header, tag)
		}
	})
}
