package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The events of a revocation stream.
const (
	EventSnapshot   = "snapshot"
	EventRevocation = "revocation"
	EventHeartbeat  = "heartbeat"
	EventResync     = "resync"
)

// A Snapshot carries all live entries, in one event or several. Only the last
// of them has More false and bears an event id.
type Snapshot struct {
	Epoch   string  `json:"epoch"`
	Seq     uint64  `json:"seq"`
	Entries []Entry `json:"entries"`
	More    bool    `json:"more"`
}

// A Heartbeat vouches for what the node knew when it was made.
type Heartbeat struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	At    int64  `json:"at"`     // Unix seconds, the node's clock
	AgeMS int64  `json:"age_ms"` // since the start of the node's last good read of the log
}

// A Resync says that what follows does not continue what came before.
type Resync struct {
	Reason string `json:"reason"`
}

// Frame encodes one event of a text/event-stream (WHATWG HTML §9.2). An empty
// id leaves the line out.
func Frame(event, id string, payload any) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", event, err)
	}
	var b bytes.Buffer
	b.Grow(len(body) + len(event) + len(id) + 24)
	b.WriteString("event: ")
	b.WriteString(event)
	if id != "" {
		b.WriteString("\nid: ")
		b.WriteString(id)
	}
	b.WriteString("\ndata: ")
	b.Write(body)
	b.WriteString("\n\n")
	return b.Bytes(), nil
}

// An Event is one event as it was read.
type Event struct {
	Name string
	ID   string // this event's own id, empty if it bore none
	Data []byte // valid until the next call of Next
}

// MaxEvent is the most bytes that one event may hold. It bounds a reader's
// memory and is far above what a server sends in one event.
const MaxEvent = 8 << 20

// ErrEventTooLarge is returned for an event above [MaxEvent].
var ErrEventTooLarge = errors.New("event is too large")

// A Reader reads the events of a stream. It is not safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	data bytes.Buffer
	line []byte
}

// NewReader returns a reader of the stream r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 32<<10)}
}

// Next returns the next event that has data. Comments and unknown fields are
// passed over, and an event that the stream breaks off in is never returned.
func (r *Reader) Next() (Event, error) {
	var e Event
	r.data.Reset()
	size := 0
	for {
		line, err := r.readLine(MaxEvent - size)
		if err != nil {
			return Event{}, err
		}
		size += len(line)
		if len(line) == 0 {
			if r.data.Len() > 0 {
				e.Data = bytes.TrimSuffix(r.data.Bytes(), []byte("\n"))
				return e, nil
			}
			e = Event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.Name = string(value)
		case "data":
			r.data.Write(value)
			r.data.WriteByte('\n')
		case "id":
			if !bytes.ContainsRune(value, 0) {
				e.ID = string(value)
			}
		}
	}
}

// readLine returns the next line without its end, which is LF or CRLF.
func (r *Reader) readLine(room int) ([]byte, error) {
	r.line = r.line[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if len(r.line)+len(part) > room {
			return nil, ErrEventTooLarge
		}
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(bytes.TrimSuffix(r.line, []byte("\n")), []byte("\r")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// Decode reads an event's data into one of the payload types. Members it does
// not know are passed over, so that a newer server can add some.
func (e Event) Decode(payload any) error {
	d := json.NewDecoder(bytes.NewReader(e.Data))
	if err := d.Decode(payload); err != nil {
		return fmt.Errorf("decode %s: %w", safeName(e.Name), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("decode %s: more than one value", safeName(e.Name))
	}
	return nil
}

func safeName(name string) string {
	switch name {
	case EventSnapshot, EventRevocation, EventHeartbeat, EventResync:
		return name
	}
	return "event " + strings.ToValidUTF8(fmt.Sprintf("%.20q", name), "?")
}
