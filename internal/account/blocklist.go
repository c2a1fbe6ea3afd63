package account

import (
	_ "embed"
	"slices"
	"strings"
)

// blocklist holds common passwords, folded, one per line, in the order of their
// bytes. It is searched where it lies.
//
//go:embed blocklist.txt
var blocklist string

// isListed reports whether a folded password is on the list.
func isListed(password string) bool {
	if password == "" || strings.Contains(password, "\n") {
		return false
	}
	low, high := 0, len(blocklist) // both at the start of a line
	for low < high {
		start := 1 + strings.LastIndexByte(blocklist[:low+(high-low)/2], '\n')
		line, _, _ := strings.Cut(blocklist[start:], "\n")
		switch {
		case line == password:
			return true
		case line < password:
			low = start + len(line) + 1
		default:
			high = start
		}
	}
	return false
}

// isCommon reports whether a folded password is among those that a guesser tries
// first, where least is how many characters a password must have.
func isCommon(password []rune, least int) bool {
	if unit := password[:period(password)]; 2*len(unit) <= len(password) {
		return len(unit) < least || isCommon(unit, least)
	}
	ends := runEnds(password)
	if isWeakPart(password, ends, 0) {
		return true
	}
	for cut := 3; cut <= len(password)-3; cut++ {
		if isWeakPart(password[:cut], ends, 0) && isWeakPart(password[cut:], ends, cut) {
			return true
		}
	}
	return false
}

// isWeakPart reports whether the part of a password that begins at the given
// place is on the list or made of runs.
func isWeakPart(part []rune, ends []int, at int) bool {
	return isListed(string(part)) || madeOfRuns(ends, at, at+len(part))
}

// period returns the length of the shortest unit that, repeated and cut off, is
// the password (Knuth, Morris and Pratt's failure function).
func period(password []rune) int {
	border := make([]int, len(password)+1)
	border[0] = -1
	for i, k := 0, -1; i < len(password); {
		for k >= 0 && password[i] != password[k] {
			k = border[k]
		}
		i, k = i+1, k+1
		border[i] = k
	}
	return len(password) - max(0, border[len(password)])
}

// shortestRun is how many characters in a row are seen as one step of the hand.
const shortestRun = 3

// rows are the rows, and the slanted columns, of common keyboards: at most 20,
// see ways.
var rows = []string{
	"1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",
	"qwertzuiopü", "asdfghjklöä", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
	"йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю",
	"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm",
}

// follows maps a pair of characters to the rows in which the second comes right
// after the first, a bit each.
var follows = func() map[[2]rune]uint32 {
	pairs := map[[2]rune]uint32{}
	for n, row := range rows {
		keys := []rune(row)
		for i := range len(keys) - 1 {
			pairs[[2]rune{keys[i], keys[i+1]}] |= 1 << n
		}
	}
	return pairs
}()

// ways returns in which ways b comes after a, a bit each: along a row forwards or
// backwards, up or down the alphabet, or standing still. A run keeps to one way.
func ways(a, b rune) (set uint64) {
	set = uint64(follows[[2]rune{a, b}]) | uint64(follows[[2]rune{b, a}])<<20
	switch b - a {
	case 0:
		set |= 1 << 40
	case 1:
		set |= 1 << 41
	case -1:
		set |= 1 << 42
	}
	return set
}

// runEnds returns, for each character, where the longest run that begins there
// ends.
func runEnds(password []rune) []int {
	ends := make([]int, len(password))
	for i := range password {
		end := i + 1
		for set := ^uint64(0); end < len(password); end++ {
			if set &= ways(password[end-1], password[end]); set == 0 {
				break
			}
		}
		ends[i] = end
	}
	return ends
}

// madeOfRuns reports whether the characters from one place to another are nothing
// but runs.
func madeOfRuns(ends []int, from, to int) bool {
	reached := make([]bool, to-from+1)
	reached[0] = true
	for i := range to - from {
		if reached[i] {
			for end := i + shortestRun; end <= min(ends[from+i], to)-from; end++ {
				reached[end] = true
			}
		}
	}
	return slices.Contains(reached[to-from:], true)
}
