package account

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/coatcheck/coatcheck/internal/fault"
)

// maxPassword is the most that a password may hold, in bytes. It is looked at
// before anything else is done with the text.
const maxPassword = 512

// A PasswordPolicy decides which passwords may be chosen: long enough, and not
// among those that a guesser tries first. There are no rules about which
// characters a password is made of (SP 800-63B-4 §3.1.1.2).
type PasswordPolicy struct {
	MinLength int      // in characters (code points); 0 means 8
	Context   []string // the operator's words: the company, the product, the place
}

// Check decides about a password that is being chosen. member is the JSON Pointer
// that an error is about, such as "/password" or "/new_password"; own is what
// others know of the person, the email and the name. It returns the password as
// it is to be hashed. An error is a [fault.Members].
//
// Refused as too common, regardless of case and width, is a password
//   - on the list of common ones;
//   - that repeats a unit, where the unit alone would be too short or too common;
//   - made of runs of three characters or more along the alphabet, the digits or a
//     row of a keyboard, forwards, backwards or standing still;
//   - made of two parts, each of which is on the list or made of runs.
//
// Refused as too close to what others know is a password that is one of the words
// of product, operator or person, or of whose letters such words of at least four
// letters cover more than half.
func (p PasswordPolicy) Check(member, password string, own ...string) (normalised string, err error) {
	if password == "" {
		return "", fault.Bad(member, "required", "A password is needed.")
	}
	if len(password) > maxPassword {
		return "", fault.Bad(member, "too_long", "A password has at most 512 bytes.")
	}
	if !utf8.ValidString(password) {
		return "", fault.Bad(member, "format", "A password is text in UTF-8.")
	}
	normalised = normalisePassword(password)
	least := p.MinLength
	if least <= 0 {
		least = 8
	}
	folded := []rune(fold(normalised))
	switch {
	case normalised == "":
		return "", fault.Bad(member, "too_long", "A password has at most 512 bytes.")
	case utf8.RuneCountInString(normalised) < least:
		return "", fault.Bad(member, "format", "This password is too short. Choose a longer one.")
	case isCommon(folded, least):
		return "", fault.Bad(member, "format", "This password is too common. Choose another.")
	case isKnown(string(folded), append([]string{"coatcheck"}, p.Context...), own):
		return "", fault.Bad(member, "format", "This password is too close to a name or address that others know. Choose another.")
	}
	return normalised, nil
}

// normalisePassword returns the one form of a password that is hashed, NFC, so
// that it is the same from every keyboard; nothing else about it is changed. It
// returns "", which matches no hash, for what cannot be a password: too long, or
// not UTF-8.
func normalisePassword(password string) string {
	if len(password) > maxPassword || !utf8.ValidString(password) {
		return ""
	}
	password = norm.NFC.String(password)
	if len(password) > maxPassword {
		return ""
	}
	return password
}

// isKnown reports whether a folded password is too close to the given texts.
func isKnown(password string, context, own []string) bool {
	letters := lettersOf(password)
	covered := make([]bool, len(letters))
	for _, word := range knownWords(context, own) {
		if word == password || (len(word) >= 3 && word == letters) {
			return true
		}
		if utf8.RuneCountInString(word) < 4 {
			continue
		}
		for from := 0; ; {
			at := strings.Index(letters[from:], word)
			if at < 0 {
				break
			}
			for i := range len(word) {
				covered[from+at+i] = true
			}
			from += at + 1
		}
	}
	count := 0
	for i := range letters {
		if covered[i] {
			count++
		}
	}
	return 2*count > utf8.RuneCountInString(letters)
}

// knownWords returns, folded, each text whole and as its letters alone, the parts
// of an email and of its domain without the last label, and each word of all.
func knownWords(context, own []string) (words []string) {
	for _, text := range slices.Concat(context, own) {
		text = fold(strings.TrimSpace(text))
		parts := []string{text}
		if local, domain, isEmail := strings.Cut(text, "@"); isEmail {
			name := domain
			if dot := strings.LastIndexByte(domain, '.'); dot >= 0 {
				name = domain[:dot]
			}
			parts = []string{local, name}
			words = append(words, text, domain)
		}
		for _, part := range parts {
			words = append(words, part, lettersOf(part))
			words = append(words, strings.FieldsFunc(part, func(r rune) bool { return !isLetter(r) })...)
		}
	}
	return words
}

// lettersOf returns the letters of s, with the marks on them.
func lettersOf(s string) string {
	return strings.Map(func(r rune) rune {
		if isLetter(r) {
			return r
		}
		return -1
	}, s)
}

func isLetter(r rune) bool { return unicode.In(r, unicode.L, unicode.M) }
