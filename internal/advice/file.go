package advice

import (
	"encoding/json"
	"fmt"
	"strings"
)

// width is how long a line of explanation gets.
const width = 100

// File returns the settings as the text of a coatcheck.toml. What is whole below each
// heading explains itself: the reason stands above the line, and a line that is off
// begins with # and no space.
func File(a Answers, all []Setting) string {
	var b strings.Builder
	b.WriteString("# Coatcheck's configuration, as written by\n#\n")
	fmt.Fprintf(&b, "#   coatcheck init %s\n#\n", a)
	comment(&b, "It works as it is: coatcheck serve. Above each line stands why it is there. A line like #name = \"value\" is off; take its # away when its time has come.")
	comment(&b, "A flag or a variable of the same name (--session-idle, COATCHECK_SESSION_IDLE) counts before this file. All settings: coatcheck config --help")
	section := ""
	for _, s := range all {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(&b, "\n## %s\n", section)
		}
		b.WriteByte('\n')
		comment(&b, s.Why)
		if s.Off {
			b.WriteByte('#')
		}
		fmt.Fprintf(&b, "%s = %s\n", s.Name, s.value())
	}
	return b.String()
}

// value returns what stands behind the equals sign.
func (s Setting) value() string {
	if !s.List {
		if isNumber(s.Values[0]) {
			return s.Values[0]
		}
		return quoted(s.Values[0])
	}
	all := make([]string, len(s.Values))
	for i, v := range s.Values {
		all[i] = quoted(v)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func isNumber(text string) bool {
	return text != "" && len(text) < 10 && strings.Trim(text, "0123456789") == "" && (text[0] != '0' || text == "0")
}

// quoted is a string of TOML, which writes them as JSON does.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return `""` // no text fails to be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// comment writes text as lines of comment.
func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len([]rune(line))+1+len([]rune(word)) > width && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
