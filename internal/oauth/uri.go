package oauth

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// maxURI bounds every address of a client, in bytes.
const maxURI = 1000

// What is wrong with an address, and what would be right.
const (
	uriEmpty      = "An address is needed here, such as https://shop.example/callback."
	uriLong       = "An address may have 1000 characters."
	uriCharacters = "Only the characters of a written address: no spaces, control characters, backslashes or letters beyond ASCII. Write those as %-escapes, and a name in its xn-- form."
	uriRelative   = "The whole address is needed, with its scheme: https://shop.example/callback."
	uriScheme     = "A scheme that a browser would run or read from disk is never right here: use https."
	uriHTTPS      = "Use https. Plain http is for this machine alone: http://localhost, http://127.0.0.1 or http://[::1]."
	uriNative     = "For a native application: https, http://127.0.0.1 or http://[::1] (the port is free), or a scheme of your own that is a name turned round, such as com.example.app:/callback."
	uriLocalhost  = "For a native application write http://127.0.0.1 or http://[::1]: what localhost leads to is for others to say (RFC 8252 section 8.3)."
	uriAuthority  = "The host is written in lower case, as a name or an address, with at most a port: no user, no empty part, no other spelling of a number."
	uriFragment   = "Leave out the # and what follows: answers are never sent there."
	uriWildcard   = "No * here: every address is compared character for character, so register each one."
	uriDots       = "Write the path without . and .. segments, doubled slashes, and escaped dots, slashes and control characters."
	uriAnswers    = "The query must not hold a parameter of the answer: code, state, iss, error, error_description, session_state, id_token or response."
)

// uriOf are the characters of RFC 3986.
const uriOf = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&'()+,;=%*"

// checkRedirect returns what is wrong with a redirect address of a client of the type
// (RFC 9700 §2.1, §4.1), or "". It accepts what a browser, this server and the
// application can read in one way only.
func checkRedirect(kind Type, uri string) string {
	if wrong := checkForm(uri); wrong != "" {
		return wrong
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	authority := ""
	if after, has := strings.CutPrefix(rest, "//"); has {
		end := strings.IndexAny(after, "/?")
		if end < 0 {
			end = len(after)
		}
		authority, rest = after[:end], after[end:]
		if !isAuthority(authority) {
			return uriAuthority
		}
	} else if !isOwnScheme(scheme) || !strings.HasPrefix(rest, "/") {
		return uriRelative
	}
	if wrong := checkPath(rest); wrong != "" {
		return wrong
	}
	return checkScheme(kind, scheme, authority)
}

// checkForm is what every address has to be, whatever it is for.
func checkForm(uri string) string {
	switch {
	case uri == "":
		return uriEmpty
	case len(uri) > maxURI:
		return uriLong
	case strings.ContainsFunc(uri, func(r rune) bool { return !strings.ContainsRune(uriOf, r) }):
		return uriCharacters
	case strings.Contains(uri, "*"):
		return uriWildcard
	case strings.Contains(uri, "#"):
		return uriFragment
	}
	scheme, _, found := strings.Cut(uri, ":")
	switch {
	case !found || !isScheme(scheme):
		return uriRelative
	case slices.Contains(activeSchemes, strings.ToLower(scheme)):
		return uriScheme
	case scheme != strings.ToLower(scheme):
		return uriAuthority
	}
	return ""
}

// activeSchemes are those by which a browser runs or reads something of its own (V-61).
var activeSchemes = []string{"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "jar", "mailto", "tel", "ftp", "ws", "wss"}

func isScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '+' && c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// isOwnScheme reports whether a scheme is a name turned round, which its owner alone
// would use (RFC 8252 §7.1).
func isOwnScheme(scheme string) bool {
	first, rest, dotted := strings.Cut(scheme, ".")
	return dotted && first != "" && rest != "" && isName(scheme)
}

func checkScheme(kind Type, scheme, authority string) string {
	host, _ := splitPort(authority)
	here := authority != "" && loopback.Is(strings.Trim(host, "[]"))
	switch {
	case scheme == "https" && authority != "":
		return ""
	case kind == Native && scheme == "http" && host == "localhost":
		return uriLocalhost
	case kind == Native && scheme == "http":
		if host == "127.0.0.1" || host == "[::1]" {
			return ""
		}
		return uriNative
	case kind == Native && isOwnScheme(scheme):
		return ""
	case kind == Native:
		return uriNative
	case scheme == "http" && here:
		return ""
	}
	return uriHTTPS
}

// checkPath returns what is wrong with a path and its query.
func checkPath(text string) string {
	path, query, _ := strings.Cut(text, "?")
	if strings.ContainsAny(text, "[]") || strings.Contains(path, "//") {
		return uriDots
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";") // "..;" climbs, too, for some servers
		if name == "." || name == ".." {
			return uriDots
		}
	}
	for rest := text; ; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			break
		}
		if len(rest) < at+3 {
			return uriCharacters
		}
		plain, err := url.PathUnescape(rest[at : at+3])
		if err != nil {
			return uriCharacters
		}
		if strings.ContainsAny(plain, "./\\%") || plain[0] < 0x20 || plain[0] == 0x7f {
			return uriDots
		}
		rest = rest[at+3:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return uriCharacters
	}
	for _, name := range []string{"code", "state", "iss", "error", "error_description", "error_uri", "session_state", "id_token", "access_token", "response"} {
		if values.Has(name) {
			return uriAnswers
		}
	}
	return ""
}

// isAuthority reports whether s is a host and perhaps a port, in their only spelling.
func isAuthority(s string) bool {
	host, port := splitPort(s)
	if port != "" && !isPort(port[1:]) {
		return false
	}
	return isHost(host)
}

// splitPort cuts s before the colon of its port.
func splitPort(s string) (host, port string) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 || strings.HasSuffix(s, "]") {
		return s, ""
	}
	return s[:at], s[at:]
}

// isHost reports whether s is an address or a name, in its only spelling. What only looks
// like a number (127.1, 0x7f.1) is neither: browsers make an address of it.
func isHost(s string) bool {
	if inner, bracket := strings.CutPrefix(s, "["); bracket {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return closed && err == nil && addr.Is6() && !addr.Is4In6() && addr.Zone() == "" && addr.String() == inner
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Is4() && addr.String() == s
	}
	return len(s) <= 253 && isName(s) && !strings.ContainsAny(s[strings.LastIndexByte(s, '.')+1:][:1], "0123456789")
}

// isName reports whether s is labels of lower-case letters, digits and hyphens with dots
// between.
func isName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// hostOf returns the host of a checked address, without its port; "" if it has none.
func hostOf(uri string) string {
	_, rest, found := strings.Cut(uri, "://")
	if !found {
		return ""
	}
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	host, _ := splitPort(rest)
	return host
}
