package catalogue

import (
	"bytes"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// linesOf returns the line of each key, tables and names joined by dots.
func linesOf(source []byte) (map[string]int, error) {
	lines, table := map[string]int{}, ""
	var p unstable.Parser
	p.Reset(source)
	for p.NextExpression() {
		e := p.Expression()
		name, line := "", 0
		for part := e.Key(); part.Next(); {
			node := part.Node()
			name += "." + string(node.Data)
			if line == 0 {
				line = 1 + bytes.Count(source[:node.Raw.Offset], []byte("\n"))
			}
		}
		switch e.Kind {
		case unstable.Table:
			table = name
		case unstable.KeyValue:
			lines[strings.TrimPrefix(table+name, ".")] = line
		}
	}
	return lines, p.Error()
}
