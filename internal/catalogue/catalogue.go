// Package catalogue holds every word that people read on our pages and in our mails,
// one file for each language, and picks the language that somebody reads.
//
// A text is named by a key such as "sign_in.title" and may have places, "{name}", that
// values are put into. It knows nothing of HTML: what it returns is text, and who
// writes it into a page escapes it.
package catalogue

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"
)

//go:embed en.toml de.toml
var own embed.FS

// English is complete: it stands in for whatever another language lacks.
const English = "en"

// A Catalogue is all languages. It does not change, and is safe for concurrent use.
type Catalogue struct {
	languages []*Language // English first
	matcher   language.Matcher
}

// Load reads our own languages and then the files LANG.toml in the root of extra, an
// operator's folder; nil is none. Such a file changes single texts of ours, or adds a
// language, in which English stands in for what is missing. Every mistake in it is
// named with its file and line: a key that we do not have, a place that its text is
// given no value for.
func Load(extra fs.FS) (*Catalogue, error) {
	c := &Catalogue{}
	for _, tag := range []string{English, "de"} {
		texts, err := read(own, tag+".toml")
		if err != nil {
			return nil, err
		}
		c.add(language.MustParse(tag), texts)
	}
	if extra != nil {
		if err := c.extend(extra); err != nil {
			return nil, err
		}
	}
	tags := make([]language.Tag, len(c.languages))
	for i, l := range c.languages {
		tags[i] = l.tag
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

func (c *Catalogue) add(tag language.Tag, texts map[string]entry) *Language {
	l := &Language{tag: tag, texts: texts}
	if len(c.languages) > 0 {
		l.english = c.languages[0]
	}
	c.languages = append(c.languages, l)
	return l
}

// extend takes an operator's files over ours.
func (c *Catalogue) extend(extra fs.FS) error {
	files, err := fs.Glob(extra, "*.toml")
	if err != nil {
		return fmt.Errorf("look for languages: %w", err)
	}
	var wrong []error
	for _, name := range files {
		tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".toml"))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: the name of the file is not a language such as fr or pt-BR", name))
			continue
		}
		texts, err := read(extra, name)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		wrong = append(wrong, c.check(name, texts)...)
		i := slices.IndexFunc(c.languages, func(l *Language) bool { return l.tag == tag })
		if i < 0 {
			c.add(tag, texts)
			continue
		}
		for key, text := range texts {
			c.languages[i].texts[key] = text
		}
	}
	return errors.Join(wrong...)
}

// check holds an operator's texts against the English ones.
func (c *Catalogue) check(name string, texts map[string]entry) []error {
	var wrong []error
	for _, key := range sortedKeys(texts) {
		text := texts[key]
		if translates(key) {
			continue
		}
		english, known := c.languages[0].texts[key]
		if !known && isPlural(key) {
			english, known = c.languages[0].texts[key[:strings.LastIndexByte(key, '.')]+".other"]
		}
		if !known {
			wrong = append(wrong, fmt.Errorf("%s:%d: there is no text %s", name, text.line, key))
			continue
		}
		for _, place := range places(text.text) {
			if !slices.Contains(places(english.text), place) {
				wrong = append(wrong, fmt.Errorf("%s:%d: %s has no place {%s}", name, text.line, key, place))
			}
		}
	}
	return wrong
}

// translates reports whether the key is of a table that translates English sentences
// of the code, which our English file therefore lacks, or that says what an operator's own
// scopes are for.
func translates(key string) bool {
	return strings.HasPrefix(key, "fault.") || strings.HasPrefix(key, "sentences.") || strings.HasPrefix(key, "scope.")
}

func isPlural(key string) bool {
	return slices.Contains([]string{"zero", "one", "two", "few", "many", "other"}, key[strings.LastIndexByte(key, '.')+1:])
}

// Language returns the best of our languages for an Accept-Language header (RFC 9110
// §12.5.4); English where the header says nothing that can be used.
func (c *Catalogue) Language(acceptLanguage string) *Language {
	if acceptLanguage == "" || len(acceptLanguage) > maxAccept {
		return c.languages[0]
	}
	wanted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil || len(wanted) == 0 {
		return c.languages[0]
	}
	_, i, _ := c.matcher.Match(wanted...)
	return c.languages[i]
}

// maxAccept bounds the header that is looked at: nobody reads that many languages.
const maxAccept = 512

// Languages returns all languages, English first.
func (c *Catalogue) Languages() []*Language { return slices.Clone(c.languages) }

// Keys returns the key of every text of one of our own languages, sorted.
func Keys(tag string) ([]string, error) {
	texts, err := read(own, tag+".toml")
	return sortedKeys(texts), err
}

// An entry is one text and where it is written.
type entry struct {
	text string
	line int
}

// read returns the texts of a file by their keys, tables and names joined by dots.
func read(from fs.FS, name string) (map[string]entry, error) {
	source, err := fs.ReadFile(from, name)
	if err != nil {
		return nil, fmt.Errorf("read a language: %w", err)
	}
	var tables map[string]any
	if err := toml.Unmarshal(source, &tables); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ := at.Position()
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	texts := map[string]entry{}
	lines, err := linesOf(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return texts, flatten(texts, lines, name, "", tables)
}

func flatten(into map[string]entry, lines map[string]int, name, prefix string, table map[string]any) error {
	for key, value := range table {
		full := prefix + key
		switch value := value.(type) {
		case string:
			into[full] = entry{value, lines[full]}
		case map[string]any:
			if err := flatten(into, lines, name, full+".", value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s:%d: %s is not a text", name, lines[full], full)
		}
	}
	return nil
}

var place = regexp.MustCompile(`\{([a-z_]+)\}`)

// places returns the names of the places of a text, sorted, each once.
func places(text string) []string {
	var out []string
	for _, match := range place.FindAllStringSubmatch(text, -1) {
		out = append(out, match[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func sortedKeys(texts map[string]entry) []string {
	keys := make([]string, 0, len(texts))
	for key := range texts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
