package web_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// An answer is what a check looks at: of a request, or of one event of a stream.
type answer struct {
	header http.Header
	body   []byte
	id     string // of an event
}

// hold checks one assertion of an answer, and captures what it says to capture.
// captured are the names that answers to the same request have given already:
// these must agree.
func (a *answer) hold(words []string, vars variables, captured map[string]bool) error {
	subject, rest := words[0], words[1:]
	var value string
	var there bool
	var err error
	switch subject {
	case "body":
		value, there = string(a.body), len(a.body) > 0
	case "id":
		value, there = a.id, a.id != ""
	case "json", "header", "cookie", "location", "claim", "jose":
		if len(rest) == 0 {
			return fmt.Errorf("%s of what?", subject)
		}
		name := rest[0]
		rest = rest[1:]
		if value, there, err = a.find(subject, name); err != nil {
			return err
		}
		subject += " " + name
	default:
		return fmt.Errorf("nothing is known of %q", subject)
	}
	if len(rest) == 0 {
		return fmt.Errorf("%s: what is asserted of it?", subject)
	}
	operator, operand := rest[0], strings.Join(rest[1:], " ")
	if words[0] == "cookie" && operator != "~" && operator != "!~" {
		value, _, _ = strings.Cut(value, ";") // the attributes are for patterns alone
	}
	if operator == "->" && there {
		if captured[operand] && vars[operand] != value {
			return fmt.Errorf("%s: %q in one answer and %q in another", subject, vars[operand], value)
		}
		vars[operand], captured[operand] = value, true
		return nil
	}
	operand, err = vars.expand(operand)
	if err == nil {
		err = compare(value, there, operator, operand)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	return nil
}

func (a *answer) find(subject, name string) (value string, there bool, err error) {
	switch subject {
	case "header":
		values := a.header.Values(name)
		return strings.Join(values, ", "), len(values) > 0, nil
	case "cookie":
		for _, line := range a.header.Values("Set-Cookie") {
			if set, found := strings.CutPrefix(line, name+"="); found {
				return set, true, nil
			}
		}
		return "", false, nil
	case "location":
		return a.parameter(name)
	case "claim", "jose":
		return a.claim(subject, name)
	}
	return pick(a.body, name)
}

// parameter returns a parameter of the address that the answer leads to; "." is the
// address without its query.
func (a *answer) parameter(name string) (value string, there bool, err error) {
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return "", false, err
	}
	sent := to.Query()
	if name == "." {
		to.RawQuery = ""
		return to.String(), a.header.Get("Location") != "", nil
	}
	return strings.Join(sent[name], ", "), sent.Has(name), nil
}

// claim returns what stands at a path such as .id_token.aud in a token of the JSON body:
// in what it claims, or in its header.
func (a *answer) claim(subject, path string) (value string, there bool, err error) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "."), ".")
	token, there, err := pick(a.body, "."+first)
	if err != nil || !there {
		return "", there, err
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false, fmt.Errorf("%s is no token", first)
	}
	part := parts[1]
	if subject == "jose" {
		part = parts[0]
	}
	body, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return "", false, err
	}
	return pick(body, "."+rest)
}

// compare carries out one operator.
func compare(value string, there bool, operator, wanted string) error {
	if operator == "absent" {
		if there {
			return fmt.Errorf("it is there: %q", value)
		}
		return nil
	}
	if !there {
		return fmt.Errorf("it is not there")
	}
	holds := false
	switch operator {
	case "==":
		holds = value == wanted
	case "!=":
		holds = value != wanted
	case "~", "!~":
		form, err := regexp.Compile(wanted)
		if err != nil {
			return err
		}
		holds = form.MatchString(value) == (operator == "~")
	case "length":
		var items []json.RawMessage
		if err := json.Unmarshal([]byte(value), &items); err != nil {
			return err
		}
		value, holds = strconv.Itoa(len(items)), strconv.Itoa(len(items)) == wanted
	default:
		return fmt.Errorf("nothing is known of the operator %q", operator)
	}
	if !holds {
		return fmt.Errorf("it is %q, want %s %q", value, operator, wanted)
	}
	return nil
}

var pathForm = regexp.MustCompile(`\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\["([^"]+)"\]`)

// pick returns what stands at a path such as .items[0].id, strings without
// quotes and everything else as compact JSON.
func pick(body []byte, path string) (value string, there bool, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil {
		return "", false, fmt.Errorf("the body is not JSON: %.200q", body)
	}
	for _, part := range pathForm.FindAllStringSubmatch(path, -1) {
		switch {
		case part[2] != "":
			items, ok := at.([]any)
			i, err := strconv.Atoi(part[2])
			if err != nil || !ok || i >= len(items) {
				return "", false, err
			}
			at = items[i]
		default:
			object, ok := at.(map[string]any)
			if !ok {
				return "", false, nil
			}
			if at, ok = object[part[1]+part[3]]; !ok {
				return "", false, nil
			}
		}
	}
	if text, ok := at.(string); ok {
		return text, true, nil
	}
	out, err := json.Marshal(at)
	return string(out), true, err
}
