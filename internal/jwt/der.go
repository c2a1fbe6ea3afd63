package jwt

// ECDSA signatures are two numbers. A token carries them as 2 times 32 bytes
// (RFC 7518 §3.4); the standard library is quickest with their DER (RFC 3279
// §2.2.3). All lengths here are under 128, so each takes one byte.
const (
	scalarSize = 32
	maxDER     = 2 + 2*(2+1+scalarSize)

	tagInteger  = 0x02
	tagSequence = 0x30
)

// appendDER appends the DER of a signature as a token carries it. It refuses
// another length, and a zero; numbers that are too large are left to the check.
func appendDER(b, signature []byte) ([]byte, bool) {
	if len(signature) != 2*scalarSize {
		return nil, false
	}
	start := len(b)
	b = append(b, tagSequence, 0)
	for _, n := range [2][]byte{signature[:scalarSize], signature[scalarSize:]} {
		for len(n) > 0 && n[0] == 0 {
			n = n[1:]
		}
		switch {
		case len(n) == 0:
			return nil, false
		case n[0] < 0x80:
			b = append(b, tagInteger, byte(len(n)))
		default:
			b = append(b, tagInteger, byte(len(n)+1), 0)
		}
		b = append(b, n...)
	}
	b[start+1] = byte(len(b) - start - 2)
	return b, true
}

// appendScalars appends a signature as a token carries it, from its DER, of which it
// takes the one form that appendDER writes.
func appendScalars(b, der []byte) ([]byte, bool) {
	if len(der) < 2 || der[0] != tagSequence || int(der[1]) != len(der)-2 {
		return nil, false
	}
	der = der[2:]
	for range 2 {
		if len(der) < 3 || der[0] != tagInteger || int(der[1]) > len(der)-2 {
			return nil, false
		}
		n := der[2 : 2+int(der[1])]
		der = der[2+len(n):]
		switch {
		case len(n) == 0:
			return nil, false
		case n[0] == 0 && len(n) > 1 && n[1] >= 0x80:
			n = n[1:]
		case n[0] == 0 || n[0] >= 0x80: // zero, a zero too many, or a number below zero
			return nil, false
		}
		if len(n) > scalarSize {
			return nil, false
		}
		var zeros [scalarSize]byte
		b = append(b, zeros[len(n):]...)
		b = append(b, n...)
	}
	return b, len(der) == 0
}
