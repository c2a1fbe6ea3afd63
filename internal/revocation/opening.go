package revocation

import (
	"slices"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// snapshotPart is how many entries one snapshot event carries: each stays far below
// the length that a line may have.
const snapshotPart = 2000

// opening returns what a reader at the given event id has to be told first.
func (h *hub) opening(last string, now *state, position Position, entries []Logged) ([][]byte, error) {
	if last == "" {
		return h.latest.snapshot(position, entries)
	}
	at, ok := ParsePosition(last)
	reason := "invalid"
	if ok {
		var missed [][]byte
		var err error
		if missed, reason, err = since(at, now, position, entries); reason == "" {
			return missed, err
		}
	}
	marker, err := feed.Frame(feed.EventResync, "", feed.Resync{Reason: reason})
	if err != nil {
		return nil, err
	}
	parts, err := h.latest.snapshot(position, entries)
	return append([][]byte{marker}, parts...), err
}

// since returns the frames above a position, or why they cannot be told exactly.
// When a server comes back, all its verifiers resume at once: what the ring holds
// is not encoded again.
func since(at Position, now *state, end Position, entries []Logged) (missed [][]byte, reason string, err error) {
	switch {
	case at.Epoch != end.Epoch:
		return nil, "epoch", nil
	case at.Seq > end.Seq:
		return nil, "future", nil
	case at.Seq == end.Seq && at.Bits == end.Bits:
		return nil, "", nil
	case at.Seq == end.Seq:
		return nil, "diverged", nil
	}
	if place, held := now.behind(at.Seq, at.Bits); held {
		for place < now.end {
			part := now.from(place, now.end)
			missed = append(missed, part)
			place += uint64(len(part))
		}
		return missed, "", nil
	}
	i, found := slices.BinarySearchFunc(entries, at.Seq, func(e Logged, seq uint64) int {
		switch {
		case e.Seq < seq:
			return -1
		case e.Seq > seq:
			return 1
		}
		return 0
	})
	switch {
	case !found:
		return nil, "compacted", nil
	case entries[i].Bits != at.Bits:
		return nil, "diverged", nil
	}
	missed, err = frames(entries[i+1:], end.Epoch)
	return missed, "", err
}

// snapshot encodes all entries. Only the last part bears an event id, so that a
// stream that breaks off within cannot be resumed with a hole.
func snapshot(at Position, entries []Logged) ([][]byte, error) {
	var parts [][]byte
	for {
		n := min(len(entries), snapshotPart)
		part := feed.Snapshot{Epoch: at.Epoch, Seq: at.Seq, Entries: make([]feed.Entry, n), More: n < len(entries)}
		for i := range n {
			part.Entries[i] = entries[i].Entry
		}
		id := ""
		if !part.More {
			id = at.String()
		}
		frame, err := feed.Frame(feed.EventSnapshot, id, part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, frame)
		if entries = entries[n:]; len(entries) == 0 {
			return parts, nil
		}
	}
}

func frames(entries []Logged, epoch string) ([][]byte, error) {
	out := make([][]byte, len(entries))
	for i, e := range entries {
		frame, err := feed.Frame(feed.EventRevocation, Position{epoch, e.Seq, e.Bits}.String(), e.Entry)
		if err != nil {
			return nil, err
		}
		out[i] = frame
	}
	return out, nil
}

// heartbeat encodes that this node can vouch for what it told up to a position; nil
// if it cannot.
func (l *Log) heartbeat(position Position) []byte {
	if !l.fresh() {
		return nil
	}
	frame, err := feed.Frame(feed.EventHeartbeat, "", feed.Heartbeat{
		Epoch: position.Epoch, Seq: position.Seq, At: l.now().Unix(), AgeMS: l.Age().Milliseconds(),
	})
	if err != nil {
		return nil
	}
	return frame
}

// farewell tells the reader why its stream ends, and that it is to connect anew.
func farewell(reason string) []byte {
	frame, err := feed.Frame(feed.EventResync, "", feed.Resync{Reason: reason})
	if err != nil {
		return nil
	}
	return frame
}
