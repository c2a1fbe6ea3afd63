package sqlstore

import (
	"errors"
	"strings"
)

// packed is an expression that puts a record into one text: its numbers and flags,
// then the length of each of its texts, all of them with a space behind, and then the
// texts, which are cut by these lengths and so may hold anything. A driver asks the
// database several times for each column, so a record of twenty columns costs less as
// one. No number may be null; a null text counts as an empty one.
func packed(numbers, texts []string) string {
	var list strings.Builder
	for _, number := range numbers {
		list.WriteString(", " + number)
	}
	for _, text := range texts {
		list.WriteString(", octet_length(" + text + ")")
	}
	return `concat(concat_ws(' '` + list.String() + `), ' ', ` + strings.Join(texts, ", ") + `) AS record`
}

var errDamaged = errors.New("a record is not what was asked for")

// An unpacker reads what packed wrote, in the same order. What does not fit makes it
// bad, and everything after that empty.
type unpacker struct {
	rest string
	bad  bool
}

// number reads a number.
func (u *unpacker) number() int64 {
	var n int64
	negative := strings.HasPrefix(u.rest, "-")
	if negative {
		u.rest = u.rest[1:]
	}
	for i := range len(u.rest) {
		c := u.rest[i]
		if c == ' ' && i > 0 {
			u.rest = u.rest[i+1:]
			if negative {
				return -n
			}
			return n
		}
		if c < '0' || c > '9' || i > 18 {
			break
		}
		n = 10*n + int64(c-'0')
	}
	u.rest, u.bad = "", true
	return 0
}

// flag reads a flag, which SQLite writes as 1 and PostgreSQL as t.
func (u *unpacker) flag() bool {
	if len(u.rest) > 1 && u.rest[1] == ' ' {
		value := u.rest[0]
		u.rest = u.rest[2:]
		switch value {
		case '1', 't':
			return true
		case '0', 'f':
			return false
		}
	}
	u.rest, u.bad = "", true
	return false
}

// texts reads all texts, which come last. They share the memory of the record.
func (u *unpacker) texts(into ...*string) error {
	var lengths [10]int
	for i := range into {
		lengths[i] = int(u.number())
	}
	for i, text := range into {
		if n := lengths[i]; n < 0 || n > len(u.rest) {
			u.bad = true
		} else {
			*text, u.rest = u.rest[:n], u.rest[n:]
		}
	}
	if u.bad || u.rest != "" {
		return errDamaged
	}
	return nil
}
