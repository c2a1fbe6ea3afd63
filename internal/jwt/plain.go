package jwt

import "unicode/utf8"

// plain reports whether all of text can stand in a string as it is, quotes apart. It
// looks at eight bytes at a time.
func plain(text string) bool {
	const (
		ones = 0x01_01_01_01_01_01_01_01
		high = 0x80 * ones
	)
	for ; len(text) >= 8; text = text[8:] {
		eight := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		control := eight - ' '*ones // borrows from a byte below the space
		escape := (eight ^ '\\'*ones) - ones
		if (eight|control|escape)&high != 0 {
			return false
		}
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '\\' {
			return false
		}
	}
	return true
}
