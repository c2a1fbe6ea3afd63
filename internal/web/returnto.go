package web

import (
	"strings"
)

// home is where people go who came from nowhere.
const home = "/account"

// maxReturn bounds a return_to.
const maxReturn = 2048

// returnTo returns where to send someone who asked to be sent to address: there, if
// it is on our own origin or on one of return_to.origins and is written so plainly
// that every browser and proxy reads it in one way; else home.
func (s *Server) returnTo(address string) string {
	if s.mayReturn(address) {
		return address
	}
	return home
}

// mayReturn compares origins as they are written and never takes an address apart to
// put it together again, because what tells the parts apart is what attackers play on.
func (s *Server) mayReturn(address string) bool {
	if _, ours := sealedIn(address); ours {
		return true
	}
	if len(address) > maxReturn {
		return false
	}
	if isPlainPath(address) {
		return true
	}
	for _, origin := range append([]string{s.origin}, s.config.ReturnTo...) {
		if rest, found := strings.CutPrefix(address, origin); found && (rest == "" || isPlainPath(rest)) {
			return true
		}
	}
	return false
}

// isPlainPath reports whether text is an absolute path, perhaps with a query and a
// fragment, that means the same to everyone: visible ASCII, no empty segments, no dot
// segments, no backslash, and of what may be escaped none that would make another
// path once somebody unescapes it.
func isPlainPath(text string) bool {
	if text == "" || text[0] != '/' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}", c) >= 0 {
			return false
		}
	}
	path, rest := text, ""
	if end := strings.IndexAny(text, "?#"); end >= 0 {
		path, rest = text[:end], text[end:]
	}
	if !escapes(path, true) || !escapes(rest, false) || strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(strings.ToLower(path), "/") {
		switch strings.ReplaceAll(segment, "%2e", ".") {
		case ".", "..":
			return false
		}
	}
	return true
}

// escapes reports whether every percent sign of text begins an escape, and in a path
// none of these stands for a control character, a slash, a backslash or a percent sign.
func escapes(text string, path bool) bool {
	for {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			return true
		}
		if len(text) < i+3 {
			return false
		}
		high, low := unhex(text[i+1]), unhex(text[i+2])
		if high < 0 || low < 0 {
			return false
		}
		if c := high<<4 | low; path && (c < ' ' || c == 0x7f || c == '/' || c == '\\' || c == '%') {
			return false
		}
		text = text[i+3:]
	}
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
