package jwt

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// claimNames are the names of the registered claims that are written, in order.
var claimNames = [...]string{
	claimIssuer: "iss", claimSubject: "sub", claimAudience: "aud", claimExpiresAt: "exp",
	claimIssuedAt: "iat", claimID: "jti", claimClientID: "client_id",
	claimNotBefore: "nbf", claimAuthTime: "auth_time", claimGrantID: "gid",
	claimSessionID: "sid", claimScope: "scope", claimACR: "acr", claimAMR: "amr", unregistered: "",
}

var (
	errAbsent     = errors.New("it must not be empty")
	errReserved   = errors.New("the name is reserved")
	errUnwritable = errors.New("its type is not one of JSON")
)

// An encoder writes claims as JSON.
type encoder struct {
	out     []byte
	members int
	nesting int
	starts  []start // where each claim begins, if measure is set
	measure bool
}

type start struct {
	name string
	at   int
}

// Largest returns the names of the n claims that take the most room in a token,
// the largest first.
func (c Claims) Largest(n int) []string {
	e := encoder{measure: true}
	_ = e.claims(&c) // what cannot be written takes no room
	sizes := make(map[string]int, len(e.starts))
	for i, s := range e.starts {
		end := len(e.out)
		if i+1 < len(e.starts) {
			end = e.starts[i+1].at
		}
		sizes[s.name] = end - s.at
	}
	slices.SortStableFunc(e.starts, func(a, b start) int { return cmp.Compare(sizes[b.name], sizes[a.name]) })
	names := make([]string, 0, max(n, 0))
	for _, s := range e.starts[:min(max(n, 0), len(e.starts))] {
		names = append(names, s.name)
	}
	return names
}

// claims writes the registered claims in their order and then the extra ones by
// name. It leaves out what cannot be written and returns the first reason.
func (e *encoder) claims(c *Claims) error {
	e.out = append(e.out, '{')
	e.nesting++
	var first error
	try := func(name string, write func() error) {
		from := len(e.out)
		if err := write(); err != nil {
			e.out, e.nesting = e.out[:from], 1
			first = cmp.Or(first, fmt.Errorf("claim %q: %w", name, err))
		} else if e.measure && len(e.out) > from {
			e.starts = append(e.starts, start{name, from})
		}
	}
	for which := range unregistered {
		if name := claimNames[which]; name != "" {
			try(name, func() error { return e.registered(c, which, name) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		try(name, func() error {
			if reserved(name) {
				return errReserved
			}
			return e.member(name, c.Extra[name])
		})
	}
	e.out = append(e.out, '}')
	return first
}

// registered writes a registered claim, if it is there.
func (e *encoder) registered(c *Claims, which claim, name string) error {
	absent := false
	var write func() error
	if at := c.string(which); at != nil {
		absent, write = *at == "", func() error { return e.string(*at) }
	} else if at := c.seconds(which); at != nil {
		absent, write = *at == 0, func() error { return e.seconds(*at) }
	} else if which == claimAudience {
		absent, write = len(c.Audience) == 0, func() error { return e.audience(c.Audience) }
	} else {
		absent, write = len(c.AMR) == 0, func() error { return e.value(c.AMR) }
	}
	switch {
	case absent && which < required:
		return errAbsent
	case absent:
		return nil
	}
	if err := e.name(name); err != nil {
		return err
	}
	return write()
}

// name begins a member.
func (e *encoder) name(name string) error {
	if e.members++; e.members > maxMembers {
		return errMembers
	}
	if e.out[len(e.out)-1] != '{' {
		e.out = append(e.out, ',')
	}
	if err := e.string(name); err != nil {
		return err
	}
	e.out = append(e.out, ':')
	return nil
}

func (e *encoder) member(name string, v any) error {
	if err := e.name(name); err != nil {
		return err
	}
	return e.value(v)
}

func (e *encoder) audience(names []string) error {
	if slices.Contains(names, "") {
		return errAbsent
	}
	if len(names) == 1 {
		return e.string(names[0])
	}
	return e.value(names)
}

func (e *encoder) seconds(n int64) error {
	if n < 0 || n > maxSeconds {
		return errSeconds
	}
	e.out = strconv.AppendInt(e.out, n, 10)
	return nil
}

// string writes a string with no more escapes than JSON demands.
func (e *encoder) string(text string) error {
	if !utf8.ValidString(text) {
		return errUTF8
	}
	e.out = append(e.out, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.out = append(e.out, text[from:i]...)
		if c < ' ' {
			const hex = "0123456789abcdef"
			e.out = append(e.out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			e.out = append(e.out, '\\', c)
		}
		from = i + 1
	}
	e.out = append(append(e.out, text[from:]...), '"')
	return nil
}

// value writes a value of an extra claim.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.out = append(e.out, "null"...)
	case bool:
		e.out = strconv.AppendBool(e.out, v)
	case string:
		return e.string(v)
	case int:
		e.out = strconv.AppendInt(e.out, int64(v), 10)
	case int64:
		e.out = strconv.AppendInt(e.out, v, 10)
	case float64:
		return e.number(v)
	case []string:
		return list(e, v, e.string)
	case []any:
		return list(e, v, e.value)
	case map[string]any:
		return e.object(v)
	default:
		return errUnwritable
	}
	return nil
}

func (e *encoder) number(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errNumber
	}
	format := byte('f')
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	e.out = strconv.AppendFloat(e.out, f, format, -1, 64)
	return nil
}

func list[T any](e *encoder, all []T, write func(T) error) error {
	if e.nesting++; e.nesting > maxNesting {
		return errNesting
	}
	e.out = append(e.out, '[')
	for i, one := range all {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if err := write(one); err != nil {
			return err
		}
	}
	e.out = append(e.out, ']')
	e.nesting--
	return nil
}

func (e *encoder) object(all map[string]any) error {
	if e.nesting++; e.nesting > maxNesting {
		return errNesting
	}
	e.out = append(e.out, '{')
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := e.member(name, all[name]); err != nil {
			return err
		}
	}
	e.out = append(e.out, '}')
	e.nesting--
	return nil
}
