// Package cookie reads the Cookie header of a request, for the server and for
// verifiers: if they read it differently, one of them could be made to refuse, or to
// take, what the other does not see.
//
// It knows no names and judges no values.
package cookie

import "strings"

// Cut cuts the first cookie off a line of a Cookie header; rest is what stands behind
// it. Only the space and tab between cookies are trimmed, so that nothing which a
// browser took for another name can pass for one of ours. Text without an equals sign
// is the value of a cookie that has no name, which any host of the domain can set.
func Cut(line string) (name, value, rest string) {
	pair, rest, _ := strings.Cut(line, ";")
	name, value, named := strings.Cut(trim(pair), "=")
	if !named {
		return "", name, rest
	}
	return name, value, rest
}

// trim returns text without the spaces and tabs around it. Most has none.
func trim(text string) string {
	if text != "" && text[0] > ' ' && text[len(text)-1] > ' ' {
		return text
	}
	return strings.Trim(text, " \t")
}
