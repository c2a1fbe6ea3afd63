package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// The longest address and the longest part before its "@", in bytes (RFC 5321
// §4.5.3.1), and the longest domain and label of one (RFC 1035 §2.3.4).
const (
	maxEmail  = 254
	maxLocal  = 64
	maxDomain = 253
	maxLabel  = 63
)

var (
	errEmailMissing = fault.Bad("/email", "required", "An email address is needed.")
	errEmailLong    = fault.Bad("/email", "too_long", "An email address has at most 254 bytes, and 64 before the \"@\".")
	errEmailForm    = fault.Bad("/email", "format", "This is not an email address that mail can be sent to.")
)

// CanonicalEmail reads an email address as a person types it.
//
// address is what is stored, shown and mailed to: as typed, without space around
// it, in the one Unicode form NFC, with a plain "@", and with a domain that mail
// can go to. key is the one canonical form, compared for uniqueness and used to
// find and to count: two addresses that differ in case, width, or letters that
// fold into one another (the Kelvin sign, the long s, the dotless i) have one
// key, and so does a domain in Unicode and in its ASCII form. Mail never goes to
// the key, so a person who can read mail for one spelling gets nothing that was
// meant for another.
//
// An error is a [fault.Members] about "/email".
func CanonicalEmail(s string) (address, key string, err error) {
	s = strings.Trim(s, " \t\r\n\f\v")
	switch {
	case s == "":
		return "", "", errEmailMissing
	case len(s) > maxEmail:
		return "", "", errEmailLong
	case !utf8.ValidString(s):
		return "", "", errEmailForm
	}
	s = plainAt.Replace(norm.NFC.String(s))
	local, domain, found := strings.Cut(s, "@")
	if !found || !isLocal(local) || !allVisible(domain) || strings.Count(norm.NFKC.String(s), "@") != 1 {
		return "", "", errEmailForm
	}
	localKey := fold(local)
	if !isLocal(localKey) {
		return "", "", errEmailForm
	}
	domain, domainKey, ok := canonicalDomain(domain)
	if !ok {
		return "", "", errEmailForm
	}
	address, key = local+"@"+domain, localKey+"@"+domainKey
	if max(len(local), len(localKey)) > maxLocal || max(len(address), len(key)) > maxEmail {
		return "", "", errEmailLong
	}
	return address, key, nil
}

// plainAt rewrites the two characters that are compatibility forms of "@".
var plainAt = strings.NewReplacer("\uff20", "@", "\ufe6b", "@")

// fold maps texts that people read as the same to one text: compatibility forms
// to plain ones, then upper case and from there lower case, which joins letters
// that share an upper-case form. It does so until nothing changes, since a mark
// on a letter may become part of it only then; in a local part, which has at most
// 64 bytes, that is sooner than the bound.
func fold(s string) string {
	for range maxLocal {
		upper := norm.NFKC.String(strings.ToUpper(norm.NFKC.String(s)))
		folded := norm.NFKC.String(strings.ToLower(upper))
		if folded == s {
			break
		}
		s = folded
	}
	return s
}

// isLocal reports whether s can stand before the "@": words of visible
// characters joined by single dots (the dot-atom of RFC 5322 §3.2.3, with the
// characters of RFC 6532). Quoted forms and comments are refused, so that an
// address has one spelling.
func isLocal(s string) bool {
	return s != "" && !strings.ContainsAny(s, `"(),:;<>@[\]`) && allVisible(s) &&
		s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// allVisible reports whether every character is assigned and leaves a mark of
// its own: no controls, formats, spaces, fillers or variation selectors.
func allVisible(s string) bool {
	for _, r := range s {
		if r == ' ' || !unicode.IsPrint(r) ||
			unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return false
		}
	}
	return true
}

// canonicalDomain returns the domain as it is shown and its canonical form in
// lower-case ASCII. An ASCII domain is shown as typed, any other in the form
// that IDNA maps it to. A domain whose mapped form does not lead back to it is
// refused. Letters that DNS tells apart stay apart.
func canonicalDomain(s string) (shown, ascii string, ok bool) {
	ascii, err := idna.Lookup.ToASCII(s)
	if err != nil || !isDomain(ascii) {
		return "", "", false
	}
	shown, err = idna.Lookup.ToUnicode(ascii)
	if err != nil {
		return "", "", false
	}
	if again, err := idna.Lookup.ToASCII(shown); err != nil || again != ascii {
		return "", "", false
	}
	if isASCII(s) {
		shown = s
	}
	return shown, ascii, true
}

// isDomain reports whether a domain, already in ASCII, is one that mail can go
// to: "localhost", or two labels or more of which the last is not a number, so
// that no IP address passes for a name.
func isDomain(s string) bool {
	if len(s) > maxDomain || (s != "localhost" && !strings.Contains(s, ".")) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
