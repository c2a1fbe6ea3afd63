package throttle

// hash stands for a key.
type hash [2]uint64

// A table keeps, for each key, the time at which its allowance is full again,
// and keeps the keys in a heap, nearest to full first. A key that is not in the
// table is full.
type table struct {
	size  int          // at most so many keys
	place map[hash]int // where in the heap
	heap  []entry
}

type entry struct {
	key  hash
	full int64
}

func newTable(size int) table {
	return table{size: size, place: make(map[hash]int)}
}

// full returns when the key's allowance is full; now if it already is.
func (t *table) full(key hash, now int64) int64 {
	if i, ok := t.place[key]; ok {
		return t.heap[i].full
	}
	return now
}

// put remembers when the key's allowance is full, making room if there is none.
func (t *table) put(key hash, full, now int64) {
	i, known := t.place[key]
	switch {
	case known && full <= now:
		t.remove(i)
	case known:
		t.heap[i].full = full
		t.settle(i)
	case full > now:
		if len(t.heap) >= t.size {
			t.remove(0)
		}
		t.heap = append(t.heap, entry{key, full})
		t.place[key] = len(t.heap) - 1
		t.settle(len(t.heap) - 1)
	}
}

// sweep drops up to limit keys that are full, and returns how many. With a few at each
// call memory falls again after a burst, without ever costing one call much.
func (t *table) sweep(now int64, limit int) int {
	dropped := 0
	for dropped < limit && len(t.heap) > 0 && t.heap[0].full <= now {
		t.remove(0)
		dropped++
	}
	return dropped
}

func (t *table) remove(i int) {
	last := len(t.heap) - 1
	t.swap(i, last)
	delete(t.place, t.heap[last].key)
	t.heap = t.heap[:last]
	if i < last {
		t.settle(i)
	}
}

// settle moves the entry at i up or down to where it belongs.
func (t *table) settle(i int) {
	for i > 0 && t.heap[i].full < t.heap[(i-1)/2].full {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.heap[child].full < t.heap[least].full {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *table) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.place[t.heap[i].key], t.place[t.heap[j].key] = i, j
}
