package session

import (
	"encoding/binary"

	"github.com/coatcheck/coatcheck/internal/credential"
)

// A table finds records by the number of their session. It is a hash table with open
// addressing, because it takes a quarter of a map's memory, and there may be as many
// records in it as are remembered. The zero table is ready and empty.
type table struct {
	slots []*record // a power of two of them; a record stands in the first free one from its home
	held  int
}

// home is where the search for a number begins. The last half of an id is random, and
// nobody but us makes ids; that all of its bits count is owed to the multiplication
// (Knuth, The Art of Computer Programming 3, 6.4).
func (t *table) home(id credential.Number) int {
	const golden = 0x9e3779b97f4a7c15
	return int(binary.BigEndian.Uint64(id[8:])*golden>>32) & (len(t.slots) - 1)
}

// place returns where the record of a session stands, or the free slot where it is to
// stand. There is one.
func (t *table) place(id credential.Number) int {
	at := t.home(id)
	for t.slots[at] != nil && t.slots[at].id != id {
		at = (at + 1) & (len(t.slots) - 1)
	}
	return at
}

// find returns the record of a session, or nil.
func (t *table) find(id credential.Number) *record {
	if t.held == 0 {
		return nil
	}
	return t.slots[t.place(id)]
}

// put takes a record in, in the place of another one of the same session.
func (t *table) put(r *record) {
	if 5*(t.held+1) > 4*len(t.slots) {
		t.resize(max(16, 2*len(t.slots)))
	}
	at := t.place(r.id)
	if t.slots[at] == nil {
		t.held++
	}
	t.slots[at] = r
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]*record, n)
	for _, r := range old {
		if r != nil {
			t.slots[t.place(r.id)] = r
		}
	}
}

// remove drops the record of a session, moves up what stands behind it because of it,
// and gives memory back when most of it is free.
func (t *table) remove(id credential.Number) {
	if t.find(id) == nil {
		return
	}
	mask, free := len(t.slots)-1, t.place(id)
	for next := (free + 1) & mask; t.slots[next] != nil; next = (next + 1) & mask {
		if home := t.home(t.slots[next].id); (next-home)&mask < (next-free)&mask {
			continue // it would stand before its home
		}
		t.slots[free], free = t.slots[next], next
	}
	t.slots[free] = nil
	if t.held--; len(t.slots) > 16 && 8*t.held < len(t.slots) {
		t.resize(len(t.slots) / 4)
	}
}
