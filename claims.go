package coatcheck

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// Claims of a cookie are kept packed: a map of two takes 400 bytes, its text 40.
// Each value is a letter for its kind and what that needs; a length or a count is
// a varint.
const (
	packedNull   = 'n'
	packedFalse  = 'f'
	packedTrue   = 't'
	packedNumber = 'd' // eight bytes
	packedText   = 's' // a length, the text
	packedList   = 'a' // a count, values
	packedObject = 'o' // a count, of each a text and a value
)

// packClaims packs claims whose values are as encoding/json decodes them; nil for
// none.
func packClaims(claims map[string]any) []byte {
	if len(claims) == 0 {
		return nil
	}
	return packValue(nil, claims)
}

func packValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, packedTrue)
		}
		return append(b, packedFalse)
	case float64:
		return binary.LittleEndian.AppendUint64(append(b, packedNumber), math.Float64bits(v))
	case string:
		return packText(append(b, packedText), v)
	case []any:
		b = binary.AppendUvarint(append(b, packedList), uint64(len(v)))
		for _, one := range v {
			b = packValue(b, one)
		}
		return b
	case map[string]any:
		b = binary.AppendUvarint(append(b, packedObject), uint64(len(v)))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			b = packValue(packText(b, name), v[name])
		}
		return b
	}
	return append(b, packedNull)
}

func packText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// unpackClaims returns packed claims; their texts are parts of packed.
func unpackClaims(packed string) map[string]any {
	p := parcel(packed)
	claims, _ := p.value().(map[string]any)
	return claims
}

// A parcel is what is still to be unpacked. It was packed here, so that nothing in
// it can be wrong; the empty parcel holds nil.
type parcel string

func (p *parcel) take(n int) string {
	n = min(n, len(*p))
	taken := string(*p)[:n]
	*p = (*p)[n:]
	return taken
}

func (p *parcel) count() int {
	if *p != "" && (*p)[0] < 0x80 {
		return int(p.take(1)[0])
	}
	n, shift := 0, 0
	for *p != "" {
		b := p.take(1)[0]
		n |= int(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
	}
	return n
}

func (p *parcel) value() any {
	if *p == "" {
		return nil
	}
	switch p.take(1)[0] {
	case packedFalse:
		return false
	case packedTrue:
		return true
	case packedNumber:
		var bits [8]byte
		copy(bits[:], p.take(len(bits)))
		return math.Float64frombits(binary.LittleEndian.Uint64(bits[:]))
	case packedText:
		return p.take(p.count())
	case packedList:
		all := make([]any, min(p.count(), len(*p)))
		for i := range all {
			all[i] = p.value()
		}
		return all
	case packedObject:
		n := min(p.count(), len(*p))
		all := make(map[string]any, n)
		for range n {
			name := p.take(p.count())
			all[name] = p.value()
		}
		return all
	}
	return nil
}

// cloneClaims returns claims that keep nothing of what they were read from; nil
// for none.
func cloneClaims(claims map[string]any) map[string]any {
	if len(claims) == 0 {
		return nil
	}
	return unpackClaims(string(packClaims(claims)))
}
