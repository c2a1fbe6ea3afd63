package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// called is what people read: printable, on one line.
func called(p *string) value {
	return single("text", func(text string) error {
		if len([]rune(text)) > 60 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(text) != text {
			return fmt.Errorf("%s is no name: at most 60 characters that can be printed, without space around them", quote(text))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

var colorForm = regexp.MustCompile(`^#[0-9a-f]{6}$`)

func color(p *string) value {
	return single("#rrggbb", func(text string) error {
		if text != "" && !colorForm.MatchString(strings.ToLower(text)) {
			return fmt.Errorf(`%s is no colour: write its red, green and blue as "#1f5c4d"`, quote(text))
		}
		*p = strings.ToLower(text)
		return nil
	}, func() string { return *p })
}

// link is an address that a page links to. Only these schemes: another one could be
// a script.
func link(p *string, schemes ...string) value {
	return single("address", func(text string) error {
		if text == "" {
			*p = ""
			return nil
		}
		u, err := url.Parse(text)
		known := false
		for _, scheme := range schemes {
			known = known || (err == nil && u.Scheme == scheme)
		}
		if !known || (u.Scheme == "mailto" && u.Opaque == "") || (u.Scheme != "mailto" && u.Host == "") || u.User != nil {
			return fmt.Errorf("%s is no address to link to: it begins with %s", quote(text), choices(withColon(schemes)))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

func withColon(schemes []string) []string {
	out := make([]string, len(schemes))
	for i, scheme := range schemes {
		out[i] = scheme + ":"
	}
	return out
}
