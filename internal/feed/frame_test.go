package feed

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFrameAndReader(t *testing.T) {
	entry := Entry{Seq: 123, Kind: User, ID: "usr_1", Before: 5, Reason: "disabled\n\nevent: heartbeat", At: 4, Until: 9}
	snapshot := Snapshot{Epoch: "e1", Seq: 122, Entries: []Entry{entry}, More: true}
	var stream bytes.Buffer
	for _, f := range []struct {
		event, id string
		payload   any
	}{{EventSnapshot, "", snapshot}, {EventRevocation, "e1:123:c09e", entry}, {EventHeartbeat, "", Heartbeat{Epoch: "e1", Seq: 123, At: 4, AgeMS: 12}}} {
		b, err := Frame(f.event, f.id, f.payload)
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(b)
	}
	r := NewReader(iotest.OneByteReader(&stream))
	var gotSnapshot Snapshot
	e, err := r.Next()
	if err != nil || e.Name != EventSnapshot || e.ID != "" || e.Decode(&gotSnapshot) != nil || !reflect.DeepEqual(gotSnapshot, snapshot) {
		t.Errorf("first event %+v, %v: want the snapshot", e, err)
	}
	var gotEntry Entry
	e, err = r.Next()
	if err != nil || e.Name != EventRevocation || e.ID != "e1:123:c09e" || e.Decode(&gotEntry) != nil || gotEntry != entry {
		t.Errorf("second event %+v, %v: want the entry", e, err)
	}
	if e, err = r.Next(); err != nil || e.Name != EventHeartbeat || e.ID != "" {
		t.Errorf("third event %+v, %v: want the heartbeat, without the id of the event before", e, err)
	}
	if _, err = r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestReaderFollowsTheGrammar(t *testing.T) {
	tests := []struct{ name, stream, want string }{
		{"line ends of both kinds", "event: a\r\ndata: 1\r\n\r\ndata: 2\n\n", "a||1 ||2"},
		{"comments and unknown fields", ": hello\nretry: 5\nevent: a\ndata: 1\n\n", "a||1"},
		{"no space after the colon", "event:a\nid:x\ndata:1\n\n", "a|x|1"},
		{"one space is taken, not two", "data:  1\n\n", "|| 1"},
		{"data in several lines", "data: 1\ndata: 2\n\n", "||1\n2"},
		{"an event without data is none", "event: a\nid: 7\n\ndata: 1\n\n", "||1"},
		{"an id with a zero byte is none", "id: a\x00b\ndata: 1\n\n", "||1"},
		{"a field without a colon", "data\n\ndata: 1\n\n", "|| ||1"},
		{"an event that breaks off is none", "data: 1\n\ndata: 2\n", "||1"},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(test.stream))
			var got []string
			for {
				e, err := r.Next()
				if err != nil {
					break
				}
				got = append(got, e.Name+"|"+e.ID+"|"+string(e.Data))
			}
			if joined := strings.Join(got, " "); joined != test.want {
				t.Errorf("events %q, want %q", joined, test.want)
			}
		})
	}
}

func TestReaderTakesLongLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	e, err := NewReader(strings.NewReader("data: " + long + "\n\n")).Next()
	if err != nil || len(e.Data) != len(long) {
		t.Errorf("%d bytes, %v: want a line of 3 MiB whole", len(e.Data), err)
	}
}

func TestReaderIsBounded(t *testing.T) { // I-9
	endless := io.MultiReader(strings.NewReader("data: "), endlessReader{})
	if _, err := NewReader(endless).Next(); !errors.Is(err, ErrEventTooLarge) {
		t.Errorf("an endless line: %v, want ErrEventTooLarge", err)
	}
	lines := strings.NewReader(strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 9))
	if _, err := NewReader(lines).Next(); !errors.Is(err, ErrEventTooLarge) {
		t.Errorf("many lines: %v, want ErrEventTooLarge", err)
	}
}

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		data string
		good bool
	}{
		{`{"seq":1,"kind":"session","id":"a","at":1,"until":2,"later":"member"}`, true},
		{`{"seq":1} {"seq":2}`, false},
		{`{"seq":-1}`, false},
		{`{"seq":"1"}`, false},
		{`{"seq":1`, false},
		{``, false},
	} {
		var e Entry
		if err := (Event{Name: EventRevocation, Data: []byte(test.data)}).Decode(&e); (err == nil) != test.good {
			t.Errorf("Decode of %s: %v", test.data, err)
		}
	}
	if err := (Event{Name: "evil\x1b[2J" + strings.Repeat("x", 100)}).Decode(&struct{}{}); len(err.Error()) > 100 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("an event's own name stands raw in the error: %q", err)
	}
}
