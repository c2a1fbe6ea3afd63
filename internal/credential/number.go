package credential

import "encoding/binary"

// A Number is what an id says behind its prefix: 128 bits. Two ids with the same
// prefix are the same if their numbers are, and a number takes half the memory.
type Number [16]byte

// digits are the values of the characters of crockford; the others have a high bit.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = 0x80
	}
	for value, c := range []byte(crockford) {
		values[c] = byte(value)
	}
	return values
}()

// ParseID returns the number of an id with the given prefix: exact length, exact
// alphabet, and no more than the 128 bits that 26 characters must hold.
func ParseID(prefix, id string) (Number, bool) {
	if len(id) != len(prefix)+idDigits || id[:len(prefix)] != prefix {
		return Number{}, false
	}
	return ParseOrdinal(id[len(prefix):])
}

// ParseOrdinal is ParseID for the 26 characters behind the prefix.
func ParseOrdinal(s string) (n Number, ok bool) {
	if len(s) != idDigits {
		return Number{}, false
	}
	// The digits are 130 bits: 10, of which the first two must be zero, 60 and 60.
	var part [3]uint64
	var wrong byte
	at := 0
	for i, width := range [3]int{2, 12, 12} {
		for range width {
			digit := digits[s[at]]
			wrong |= digit
			part[i] = part[i]<<5 | uint64(digit)
			at++
		}
	}
	if wrong >= 0x80 || part[0] > 0xff {
		return Number{}, false
	}
	binary.BigEndian.PutUint64(n[:8], part[0]<<56|part[1]>>4)
	binary.BigEndian.PutUint64(n[8:], part[1]<<60|part[2])
	return n, true
}

// ID returns the id with this number and the given prefix.
func (n Number) ID(prefix string) string {
	var text [8 + idDigits]byte // no prefix is longer
	high, low := binary.BigEndian.Uint64(n[:8]), binary.BigEndian.Uint64(n[8:])
	for i := idDigits - 1; i >= 0; i-- {
		text[8+i] = crockford[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	copy(text[8-len(prefix):], prefix)
	return string(text[8-len(prefix):])
}
