package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	tomlparser "github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A layer is one source of values, and the mistakes in its form. Layers further
// on take precedence.
type layer struct {
	values   *koanf.Koanf
	where    func(name string) string // of a value, for people
	line     func(name string) int    // of a value, to put mistakes in order
	mistakes Mistakes
}

// The delimiter within names.
const dot = "."

func plainLayer(where func(name string) string) *layer {
	return &layer{values: koanf.New(dot), where: where, line: func(string) int { return 0 }}
}

func (l *layer) set(name string, raw any) error {
	if err := l.values.Set(name, raw); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

func defaultLayer() (*layer, error) {
	l := plainLayer(func(string) string { return "default" })
	for _, k := range keys {
		if k.Default == "" {
			continue
		}
		if err := l.set(k.Name, k.Default); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// flagLayer reads flags by the names of their keys.
func flagLayer(flags map[string]string) (*layer, error) {
	l := plainLayer(func(name string) string {
		k, _ := keyNamed(name)
		return "--" + k.Flag()
	})
	for name, text := range flags {
		k, known := keyNamed(name)
		switch {
		case !known:
			l.mistakes = append(l.mistakes, Mistake{Where: "--" + name, Text: "there is no such flag"})
		case k.Secret:
			l.mistakes = append(l.mistakes, Mistake{Name: name, Text: "a secret is never a flag, since every user of the machine sees those: use " + k.Env() + " or " + files[name]})
		case name == "database" && holdsPassword(text):
			l.mistakes = append(l.mistakes, Mistake{Where: "--database", Name: name, Text: "a password is never part of a flag, since every user of the machine sees those: use " + k.Env() + " or " + files[name]})
		default:
			if err := l.set(name, text); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// Variables with our prefix that are not the server's settings: the path of the
// configuration itself, and what services use that verify our tokens.
var otherVariables = []string{envPrefix + "CONFIG", envPrefix + "API_KEY"}

// serviceLink matches the variables with which Kubernetes tells each container
// of a service named coatcheck, or coatcheck-something.
var serviceLink = regexp.MustCompile(`^COATCHECK_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

func envLayer(environ []string) (*layer, error) {
	names := map[string]string{}
	var variables []string
	for _, k := range keys {
		names[k.Env()] = k.Name
		variables = append(variables, k.Env())
	}
	l := plainLayer(func(name string) string {
		k, _ := keyNamed(name)
		return k.Env()
	})
	transform := func(variable, text string) (string, any) {
		name, known := names[variable]
		if !known && !slices.Contains(otherVariables, variable) && !serviceLink.MatchString(variable) {
			l.mistakes = append(l.mistakes, Mistake{Where: variable, Text: "there is no such setting" + didYouMean(variable, variables)})
		}
		return name, text
	}
	provider := env.Provider(dot, env.Opt{Prefix: envPrefix, TransformFunc: transform, EnvironFunc: func() []string { return environ }})
	if err := l.values.Load(provider, nil); err != nil {
		return nil, fmt.Errorf("read environment: %w", err)
	}
	return l, nil
}

// document is the text of coatcheck.toml, read once so that values and lines are
// of the same text.
type document []byte

// ReadBytes returns the text, as koanf asks for it.
func (d document) ReadBytes() ([]byte, error) { return d, nil }

// Read is for parsed sources, which a document is not.
func (d document) Read() (map[string]any, error) {
	return nil, errors.New("a document has to be parsed")
}

// fileLayer reads the file at path. A file that is not there is a mistake only
// if it was asked for.
func fileLayer(path string, asked bool) *layer {
	l := plainLayer(nil)
	l.where = func(string) string { return path }
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return l
	case err != nil:
		l.mistakes = Mistakes{{Where: path, Text: "cannot be read: " + reason(err)}}
		return l
	}
	if err := l.values.Load(document(text), tomlparser.Parser()); err != nil {
		line, why := 1, err.Error()
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ = syntax.Position()
		}
		l.mistakes = Mistakes{{Where: position(path, line), Text: "this is not TOML: " + strings.TrimPrefix(why, "toml: "), order: line}}
		return l
	}
	lines := map[string]int{}
	var known []string
	for _, k := range keys {
		known = append(known, k.Name)
	}
	for _, e := range entries(text) {
		if lines[e.name] == 0 {
			lines[e.name] = e.line
		}
		text := ""
		switch {
		case slices.Contains(known, e.name) || e.followed || (e.table && isTable(e.name)):
			continue
		case isTable(e.name):
			text = "this is a table of settings: write [" + e.name + "]"
		default:
			text = "there is no such setting" + didYouMean(e.name, known)
		}
		l.mistakes = append(l.mistakes, Mistake{Where: position(path, e.line), Name: e.name, Text: text, order: e.line})
	}
	l.line = func(name string) int { return lines[name] }
	l.where = func(name string) string { return position(path, lines[name]) }
	return l
}

// reason returns why a file could not be read, without its name.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func position(path string, line int) string { return path + ":" + strconv.Itoa(line) }

func isTable(name string) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.Name, name+dot) {
			return true
		}
	}
	return false
}

// An entry is a name in a TOML text and its line, which starts at 1.
type entry struct {
	name     string
	line     int
	table    bool // the head of a table
	followed bool // by something in that table
}

// entries returns the names of a text that is known to be TOML.
func entries(text []byte) []entry {
	var p unstable.Parser
	p.Reset(text)
	var all []entry
	var prefix string
	for p.NextExpression() {
		node := p.Expression()
		if node.Kind == unstable.KeyValue {
			if n := len(all); n > 0 && all[n-1].table && all[n-1].name+dot == prefix {
				all[n-1].followed = true
			}
			all = append(all, keyValue(&p, prefix, node)...)
			continue
		}
		e := named(&p, "", node.Key())
		e.table = node.Kind == unstable.Table
		all, prefix = append(all, e), e.name+dot
	}
	return all
}

func keyValue(p *unstable.Parser, prefix string, node *unstable.Node) []entry {
	e := named(p, prefix, node.Key())
	inline := node.Value()
	if inline.Kind != unstable.InlineTable {
		return []entry{e}
	}
	var all []entry
	for children := inline.Children(); children.Next(); {
		all = append(all, keyValue(p, e.name+dot, children.Node())...)
	}
	if len(all) == 0 {
		e.table = true
		all = []entry{e}
	}
	return all
}

func named(p *unstable.Parser, prefix string, parts unstable.Iterator) entry {
	e := entry{name: prefix}
	for first := true; parts.Next(); first = false {
		if first {
			e.line = p.Shape(parts.Node().Raw).Start.Line
			e.name += string(parts.Node().Data)
		} else {
			e.name += dot + string(parts.Node().Data)
		}
	}
	return e
}

// texts turns a value as TOML knows it, or as text, into what a field reads.
func texts(k Key, raw any) ([]string, error) {
	switch raw := raw.(type) {
	case []any:
		if !k.List() {
			return nil, errors.New("this takes one value, not a list")
		}
		var all []string
		for _, item := range raw {
			text, ok := item.(string)
			if !ok {
				return nil, errors.New("this takes a list of texts in quotation marks")
			}
			all = append(all, text)
		}
		return all, nil
	case string:
		if !k.List() {
			return []string{raw}, nil
		}
		return splitList(raw), nil
	case int64:
		return []string{strconv.FormatInt(raw, 10)}, nil
	case bool, float64, time.Time, toml.LocalDate, toml.LocalDateTime, toml.LocalTime:
		return nil, errors.New("this takes a text in quotation marks: " + k.Form())
	}
	return nil, errors.New("this is no table: " + k.Form())
}

func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	all := strings.Split(text, ",")
	for i, item := range all {
		all[i] = strings.TrimSpace(item)
	}
	return all
}
