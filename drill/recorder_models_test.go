package drill

import (
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A model is what one subject may do, one operation at a time.
type model struct {
	name  string
	kinds []kind
	init  any
	// step returns the states that may follow; none, where the answer is wrong.
	step func(state any, o *operation, grace time.Duration) []any
}

var models = []model{
	{"the session", []kind{begin, use, revoke}, absent, stepSession},
	{"the refresh chain", []kind{begin, spend, revoke}, chain{}, stepChain},
	{"the account", []kind{enrol, admit, newSecret}, person{}, stepAccount},
}

func (m model) machine(grace time.Duration) porcupine.Model {
	n := porcupine.NondeterministicModel{
		Init: func() []any { return []any{m.init} },
		Step: func(state, input, _ any) []any { return m.step(state, input.(*operation), grace) },
	}
	return n.ToModel()
}

// A register is a session: it begins once, is ended once, and does not come back.
type register int

const (
	absent register = iota
	live
	over
)

func stepSession(state any, o *operation, _ time.Duration) []any {
	s := state.(register)
	switch {
	case o.kind == begin:
		return when(s == absent, live)
	case o.kind == revoke && o.outcome == ok:
		return when(s != absent, over)
	case o.kind == revoke && s == live: // nobody knows
		return []any{live, over}
	case o.kind == use && o.outcome == ok:
		return when(s == live, s)
	case o.kind == use && o.outcome == refused:
		return when(s == over, s)
	}
	return []any{s}
}

// A chain is what one grant's refresh tokens are worth: the current one, the one
// before with the key that spent it, and no other. Of a successor that nobody was
// given only the predecessor is known.
type chain struct {
	current, previous string
	key               string
	spent             int64 // no rotation before this spent previous
	over              bool
}

// ungiven marks a successor that nobody has seen yet.
const ungiven = "?"

func stepChain(state any, o *operation, grace time.Duration) []any {
	c := state.(chain)
	ended := c
	ended.over = true
	switch o.kind {
	case begin:
		return when(c == chain{}, chain{current: o.given})
	case revoke:
		if o.outcome == unknown && !c.over {
			return []any{c, ended}
		}
		return []any{ended}
	}
	switch o.outcome {
	case ok:
		return c.exchange(o)
	case refused:
		return c.refuse(o, ended, grace)
	}
	switch {
	case c.over || o.presented == c.previous && o.key != "" && o.key == c.key:
		return []any{c}
	case o.presented == c.current:
		return []any{c, c.rotated(o, ungiven+o.presented)}
	}
	return []any{c, ended} // it may have been taken for a theft
}

func (c chain) rotated(o *operation, next string) chain {
	return chain{current: next, previous: o.presented, key: o.key, spent: o.call}
}

// exchange is a successor that was given out: a new one for the current token, the
// same again for the one before.
func (c chain) exchange(o *operation) []any {
	switch {
	case c.over:
		return nil
	case o.presented == c.current:
		return []any{c.rotated(o, o.given)}
	case o.presented == c.previous && strings.HasPrefix(c.current, ungiven):
		c.current = o.given
		return []any{c}
	}
	return when(o.presented == c.previous && o.given == c.current, c)
}

// refuse is right for what is over, for a token that is neither of the two, and for
// the one before it that comes late and without its key. Then it is a theft.
func (c chain) refuse(o *operation, ended chain, grace time.Duration) []any {
	switch {
	case c.over:
		return []any{c}
	case o.presented == c.current:
		return nil
	case o.presented == c.previous && (o.key != "" && o.key == c.key || o.ret-c.spent <= int64(grace)):
		return nil
	case o.stolen:
		return []any{ended}
	}
	return []any{c}
}

// A person has one password at a time.
type person struct{ password string }

func stepAccount(state any, o *operation, _ time.Duration) []any {
	a := state.(person)
	switch o.kind {
	case enrol:
		switch o.outcome {
		case ok:
			return when(a == person{}, person{o.given})
		case refused: // the email is taken
			return when(a != person{}, a)
		}
		if a == (person{}) {
			return []any{a, person{o.given}}
		}
	case admit:
		switch o.outcome {
		case ok:
			return when(a.password == o.presented, a)
		case refused:
			return when(a.password != o.presented, a)
		}
	case newSecret:
		switch o.outcome {
		case ok:
			return when(a.password == o.presented, person{o.given})
		case refused:
			return when(a.password != o.presented, a)
		}
		if a.password == o.presented {
			return []any{a, person{o.given}}
		}
	}
	return []any{a}
}

func when(right bool, next any) []any {
	if right {
		return []any{next}
	}
	return nil
}
