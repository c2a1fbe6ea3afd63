package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// DefaultPath is the file that is read if it is there and no other is named.
const DefaultPath = "coatcheck.toml"

// Options say where to read a configuration from.
type Options struct {
	Path    string            // of the file; "": what COATCHECK_CONFIG says, else coatcheck.toml if there is one; os.DevNull: none
	Environ []string          // as os.Environ returns it
	Flags   map[string]string // the flags that were given, by the names of their keys
}

// Loaded is a configuration with where each of its values came from.
type Loaded struct {
	Config
	sources map[string]source
}

// A source is where a value came from.
type source struct {
	layer int    // its place in the order of precedence; 0 is the default
	order int    // as in Mistake
	where string // for people
}

// A Setting is one value in force.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // as one would write it; a secret reads "hidden", nothing ""
	Source string `json:"source"` // "default", "coatcheck.toml:7", "COATCHECK_SESSION_IDLE" or "--session-idle"
}

// Table returns every value in force, in the order of [Keys], secrets hidden.
func (l *Loaded) Table() []Setting {
	all := make([]Setting, len(keys))
	for i, k := range keys {
		all[i] = Setting{Name: k.Name, Value: k.field(&l.Config).show(), Source: l.Source(k.Name)}
	}
	return all
}

// Source returns where the named value came from, as in [Setting].
func (l *Loaded) Source(name string) string {
	if s := l.sources[name]; s.where != "" {
		return s.where
	}
	return "default"
}

// Given reports whether someone has decided on the named value, so that it is
// not the default.
func (l *Loaded) Given(name string) bool { return l.sources[name].layer > 0 }

// Load reads and checks a configuration. Its error is [Mistakes] if the operator
// can mend it, with all mistakes of all sources, also in values that a source of
// higher precedence overrides.
func Load(opts Options) (*Loaded, error) {
	layers, err := opts.layers()
	if err != nil {
		return nil, err
	}
	r := reading{Loaded: Loaded{sources: map[string]source{}}, bad: map[string]bool{}}
	merged := koanf.New(dot)
	for i, l := range layers {
		for _, m := range l.mistakes {
			m.order += i * perLayer
			r.mistakes = append(r.mistakes, m)
		}
		r.examine(i, l)
		if err := merged.Merge(l.values); err != nil {
			return nil, fmt.Errorf("merge configuration: %w", err)
		}
	}
	r.fill(merged)
	r.readFiles()
	r.check()
	if len(r.mistakes) > 0 {
		slices.SortStableFunc(r.mistakes, func(a, b Mistake) int {
			return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Name, b.Name))
		})
		return nil, r.mistakes
	}
	return &r.Loaded, nil
}

// perLayer is more than a file has lines.
const perLayer = 1 << 24

func (o Options) layers() ([]*layer, error) {
	path := o.Path
	for _, variable := range o.Environ {
		if named, found := strings.CutPrefix(variable, envPrefix+"CONFIG="); found && o.Path == "" {
			path = named
		}
	}
	builtin, err := defaultLayer()
	if err != nil {
		return nil, err
	}
	file := fileLayer(cmp.Or(path, DefaultPath), path != "")
	environment, err := envLayer(o.Environ)
	if err != nil {
		return nil, err
	}
	flags, err := flagLayer(o.Flags)
	if err != nil {
		return nil, err
	}
	return []*layer{builtin, file, environment, flags}, nil
}

// A reading is a configuration on its way, with the mistakes met so far.
type reading struct {
	Loaded
	mistakes Mistakes
	bad      map[string]bool // names with a mistake of their own, which need no further one
}

func (r *reading) mistake(name, text string) {
	s := r.sources[name]
	r.bad[name] = true
	if s.layer == 0 {
		s.where = ""
	}
	r.mistakes = append(r.mistakes, Mistake{Where: s.where, Name: name, Text: text, order: s.layer*perLayer + s.order})
}

// examine reads each value of one layer on its own, and notes its source.
func (r *reading) examine(i int, l *layer) {
	for _, k := range keys {
		if !l.values.Exists(k.Name) {
			continue
		}
		r.sources[k.Name] = source{layer: i, order: l.line(k.Name), where: l.where(k.Name)}
		var apart Config
		if err := k.put(&apart, l.values.Get(k.Name)); err != nil {
			r.mistake(k.Name, err.Error())
		}
	}
}

// put reads raw into the key's field.
func (k Key) put(c *Config, raw any) error {
	all, err := texts(k, raw)
	if err != nil {
		return err
	}
	return k.field(c).set(all)
}

// fill reads the values in force; examine has told their mistakes.
func (r *reading) fill(merged *koanf.Koanf) {
	for _, k := range keys {
		if !r.bad[k.Name] && merged.Exists(k.Name) {
			_ = k.put(&r.Config, merged.Get(k.Name))
		}
	}
}

// readFiles takes the values that stand in files of their own. Of a value and
// its file the one from the source of higher precedence counts.
func (r *reading) readFiles() {
	for name, pointer := range files {
		value, file := r.sources[name], r.sources[pointer]
		k, _ := keyNamed(pointer)
		path := k.field(&r.Config).show()
		if path == "" || r.bad[pointer] || value.layer > file.layer {
			continue
		}
		if value.layer == file.layer {
			r.mistake(pointer, fmt.Sprintf("%s is given as well: which of the two is meant?", name))
			continue
		}
		text, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
		if err != nil {
			r.mistake(pointer, fmt.Sprintf("%s cannot be read: %s", quote(path), reason(err)))
			continue
		}
		k, _ = keyNamed(name)
		if err := k.put(&r.Config, strings.TrimRight(string(text), "\r\n")); err != nil {
			r.mistake(pointer, fmt.Sprintf("in %s: %v", quote(path), err))
			continue
		}
		r.sources[name] = source{layer: file.layer, order: file.order, where: file.where}
	}
}
