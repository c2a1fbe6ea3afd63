package jwt

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of one JSON text, beside its length.
const (
	maxNesting = 16  // objects and arrays inside one another, the outermost included
	maxMembers = 100 // of all objects of a token's header or claims together
)

// maxSeconds is the largest time there is: the largest whole number that every
// JSON reader can hold.
const maxSeconds = 1<<53 - 1

const (
	errJSON      formError = "it is not JSON"
	errUTF8      formError = "it is not UTF-8"
	errTrailing  formError = "something follows the JSON"
	errNoObject  formError = "it is no JSON object"
	errNesting   formError = "it is nested too deeply"
	errMembers   formError = "it has too many members"
	errDuplicate formError = "a member is there twice"
	errSurrogate formError = "a string has half a character"
	errNumber    formError = "a number cannot be held"
	errString    formError = "not a string"
	errSeconds   formError = "not a whole number of seconds from 0 to 2^53-1"
	errStrings   formError = "not a list of strings"
)

// A scanner reads one JSON text (RFC 8259) and takes no liberties: no
// duplicate members, also if one is written with escapes, no lone surrogates, no
// numbers that a float64 cannot hold. Strings without escapes are parts of text.
type scanner struct {
	text    string
	at      int
	plain   bool // text is ASCII without escapes and control characters
	nesting int
	members int // that may still come
}

// document reads a text that is one object. It calls member at each value, and
// member must read it. Duplicates are left to member to find.
func (s *scanner) document(member func(name string) error) error {
	if s.plain = plain(s.text); !s.plain && !utf8.ValidString(s.text) {
		return errUTF8
	}
	if s.peek() != '{' {
		return errNoObject
	}
	if err := s.object(member); err != nil {
		return err
	}
	if s.peek(); s.at != len(s.text) {
		return errTrailing
	}
	return nil
}

// peek passes over white space and returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take passes over the byte c, if it is the next one after white space.
func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	if s.peek() != c || s.at == len(s.text) {
		return false
	}
	s.at++
	return true
}

func (s *scanner) enter(open byte) error {
	if !s.take(open) {
		return errJSON
	}
	if s.nesting++; s.nesting > maxNesting {
		return errNesting
	}
	return nil
}

func (s *scanner) object(member func(name string) error) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	for more := !s.take('}'); more; {
		if s.members--; s.members < 0 {
			return errMembers
		}
		name, err := s.string()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return errJSON
		}
		if err := member(name); err != nil {
			return err
		}
		if more = s.take(','); !more && !s.take('}') {
			return errJSON
		}
	}
	s.nesting--
	return nil
}

func (s *scanner) array(element func() error) error {
	if err := s.enter('['); err != nil {
		return err
	}
	for more := !s.take(']'); more; {
		if err := element(); err != nil {
			return err
		}
		if more = s.take(','); !more && !s.take(']') {
			return errJSON
		}
	}
	s.nesting--
	return nil
}

// string reads a string. Bytes are known to be UTF-8.
func (s *scanner) string() (string, error) {
	if !s.take('"') {
		return "", errJSON
	}
	start := s.at
	if s.plain {
		end := strings.IndexByte(s.text[start:], '"')
		if end < 0 {
			return "", errJSON
		}
		s.at = start + end + 1
		return s.text[start : start+end], nil
	}
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return "", errJSON
		}
	}
	return "", errJSON
}

// escaped reads the rest of a string that begins at start, from its first
// escape on.
func (s *scanner) escaped(start int) (string, error) {
	b := append(make([]byte, 0, s.at-start+32), s.text[start:s.at]...)
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return string(b), nil
		case c < ' ':
			return "", errJSON
		case c != '\\':
			b = append(b, c)
			continue
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		b = utf8.AppendRune(b, r)
	}
	return "", errJSON
}

// escape reads what follows a backslash.
func (s *scanner) escape() (rune, error) {
	if s.at == len(s.text) {
		return 0, errJSON
	}
	c := s.text[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.codePoint()
	}
	return 0, errJSON
}

// codePoint reads four hexadecimal digits, and the second half of a pair.
func (s *scanner) codePoint() (rune, error) {
	r, ok := s.hex()
	if !ok {
		return 0, errJSON
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if !strings.HasPrefix(s.text[s.at:], `\u`) {
		return 0, errSurrogate
	}
	s.at += 2
	low, ok := s.hex()
	if !ok {
		return 0, errJSON
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errSurrogate
	}
	return r, nil
}

func (s *scanner) hex() (rune, bool) {
	if len(s.text)-s.at < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s.text[s.at : s.at+4]) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	s.at += 4
	return r, true
}

// number passes over a number and returns it as it is written.
func (s *scanner) number() (string, error) {
	s.peek()
	start := s.at
	s.one('-')
	if !s.one('0') && !s.digits() {
		return "", errJSON
	}
	if s.one('.') && !s.digits() {
		return "", errJSON
	}
	if s.one('e') || s.one('E') {
		if !s.one('+') {
			s.one('-')
		}
		if !s.digits() {
			return "", errJSON
		}
	}
	return s.text[start:s.at], nil
}

func (s *scanner) one(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

// seconds reads a time: digits alone, so no sign, fraction or exponent.
func (s *scanner) seconds() (int64, error) {
	if c := s.peek(); c < '0' || c > '9' {
		return 0, errSeconds
	}
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, errSeconds
	}
	return int64(n), nil
}

// stringValue reads a value that must be a string.
func (s *scanner) stringValue() (string, error) {
	if s.peek() != '"' {
		return "", errString
	}
	return s.string()
}

// strings reads a list of strings.
func (s *scanner) strings() ([]string, error) {
	if s.peek() != '[' {
		return nil, errStrings
	}
	var list []string
	err := s.array(func() error {
		if s.peek() != '"' {
			return errStrings
		}
		one, err := s.string()
		list = append(list, one)
		return err
	})
	return list, err
}

// value reads any value: a string, bool, float64, nil, []any or map[string]any.
func (s *scanner) value() (any, error) {
	switch s.peek() {
	case '"':
		return s.string()
	case '{':
		all := map[string]any{}
		err := s.object(func(name string) error { return s.into(all, name) })
		return all, err
	case '[':
		all := []any{}
		err := s.array(func() error {
			one, err := s.value()
			all = append(all, one)
			return err
		})
		return all, err
	case 't':
		return true, s.word("true")
	case 'f':
		return false, s.word("false")
	case 'n':
		return nil, s.word("null")
	}
	text, err := s.number()
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errNumber
	}
	return n, nil
}

// into reads the value of a member that all must not have yet.
func (s *scanner) into(all map[string]any, name string) error {
	if _, found := all[name]; found {
		return errDuplicate
	}
	one, err := s.value()
	all[name] = one
	return err
}

func (s *scanner) word(w string) error {
	if !strings.HasPrefix(s.text[s.at:], w) {
		return errJSON
	}
	s.at += len(w)
	return nil
}
