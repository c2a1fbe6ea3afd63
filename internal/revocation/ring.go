package revocation

import (
	"slices"
	"sort"
)

const (
	// ringBytes is how many bytes of frames are kept for readers that are behind,
	// about: whoever is further behind is dropped. It is shared by all of them.
	ringBytes = 4 << 20
	// segmentBytes is how long a segment becomes, about, and so the most that one
	// write carries.
	segmentBytes = 64 << 10
)

// A ring holds the frames of the latest entries, encoded once, one behind the other.
// Every reader gets the same bytes in the same order, so all that is kept of one is
// its place: an offset, counted from the first byte there ever was, that always
// stands between two frames.
//
// A ring is a value. What is appended to it is not seen in copies made before, and
// what a copy holds never changes: readers need no lock.
type ring struct {
	segments []segment // in order, without a gap
	end      uint64    // the offset behind the newest byte
}

// A segment is a run of whole frames.
type segment struct {
	start uint64
	data  []byte
	marks []mark
}

// A mark is where the frame of an entry ends.
type mark struct {
	seq  uint64
	bits uint16
	end  uint64
}

// first returns the offset of the oldest byte that is held.
func (r *ring) first() uint64 {
	if len(r.segments) == 0 {
		return r.end
	}
	return r.segments[0].start
}

// add returns the ring with the frames of entries behind the others, and without the
// oldest ones if it would hold more than bound bytes.
func (r ring) add(rows []Logged, frames [][]byte, bound uint64) ring {
	r.segments = slices.Clone(r.segments)
	for i, frame := range frames {
		last := len(r.segments) - 1
		if last < 0 || len(r.segments[last].data)+len(frame) > cap(r.segments[last].data) {
			r.segments = append(r.segments, segment{start: r.end, data: make([]byte, 0, max(segmentBytes, len(frame)))})
			last++
		}
		r.end += uint64(len(frame))
		s := &r.segments[last]
		s.data = append(s.data, frame...) // in room that no copy looks at
		s.marks = append(s.marks, mark{rows[i].Seq, rows[i].Bits, r.end})
	}
	gone := 0
	for gone < len(r.segments)-1 && r.end-r.segments[gone+1].start >= bound {
		gone++
	}
	r.segments = slices.Delete(r.segments, 0, gone)
	return r
}

// clear returns the ring without its frames. Offsets go on from where they were.
func (r ring) clear() ring { return ring{end: r.end} }

// from returns frames from an offset up to a limit, as many as lie together; nil if
// there are none. The offset must be held.
func (r *ring) from(at, limit uint64) []byte {
	if at >= limit {
		return nil
	}
	for i := len(r.segments) - 1; i >= 0; i-- { // most readers are in the last one
		if s := &r.segments[i]; s.start <= at {
			return s.data[at-s.start : min(limit-s.start, uint64(len(s.data)))]
		}
	}
	return nil
}

// behind returns the offset behind the frame of an entry, if the ring holds it.
func (r *ring) behind(seq uint64, bits uint16) (at uint64, found bool) {
	for i := len(r.segments) - 1; i >= 0; i-- {
		marks := r.segments[i].marks
		if len(marks) == 0 || marks[0].seq > seq {
			continue
		}
		n := sort.Search(len(marks), func(n int) bool { return marks[n].seq >= seq })
		if n < len(marks) && marks[n].seq == seq && marks[n].bits == bits {
			return marks[n].end, true
		}
		return 0, false
	}
	return 0, false
}
