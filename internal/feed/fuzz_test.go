package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// FuzzReader: the reader gives what a slow reading of the whole stream gives, in
// however small pieces it arrives.
func FuzzReader(f *testing.F) { // V-13
	for _, seed := range []string{
		"event: snapshot\nid: e:1:ab\ndata: {\"epoch\":\"e\",\"seq\":1,\"entries\":[],\"more\":false}\n\n",
		"event: revocation\r\ndata: {\"seq\":2}\r\n\r\n",
		"event: heartbeat\ndata: {\"epoch\":\"e\",\"seq\":1,\"at\":1,\"age_ms\":12}\n\n: c\n\n",
		"event: resync\ndata: {\"reason\":\"compacted\"}\n\n", "data\n\n", "data:\ndata:\n\n", "data: a\ndata: b\nid: 1\nid: 2\n\n",
		"\n\n\n", "id: \x00\n", "event", "data: x\n", "id: 7\n\ndata: x\n\n", ":\n", "data:  x\r\r\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		want := slowly(string(stream))
		for name, in := range map[string]io.Reader{"at once": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
			r, got := NewReader(in), []Event(nil)
			for {
				e, err := r.Next()
				if err != nil {
					break
				}
				e.Data = bytes.Clone(e.Data)
				got = append(got, e)
				var entry Entry
				_ = e.Decode(&entry) // it must not panic
			}
			if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("%q %s is read as %+v, want %+v", stream, name, got, want)
			}
		}
	})
}

// slowly reads a stream by the words of the standard (WHATWG HTML §9.2.6), with two
// differences that the reader documents: a CR alone ends no line, and an event has
// its own id only.
func slowly(stream string) (events []Event) {
	lines := strings.Split(stream, "\n")
	var e Event
	var data []string
	for _, line := range lines[:len(lines)-1] { // what has no end has not arrived
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			if data != nil {
				e.Data = []byte(strings.Join(data, "\n"))
				events = append(events, e)
			}
			e, data = Event{}, nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			e.Name = value
		case field == "data":
			data = append(data, value)
		case field == "id" && !strings.Contains(value, "\x00"):
			e.ID = value
		}
	}
	return events
}

// FuzzFrame: every entry that is written into a frame is read from it again, and
// nothing in its texts can end the frame early or begin another.
func FuzzFrame(f *testing.F) { // V-13
	f.Add("01k9:123:c09e", uint64(123), "session", "ses_01k9", "signed_out", int64(1763000000), int64(1763000670))
	f.Add("", uint64(0), "", "", "", int64(0), int64(0))
	f.Add(" e", uint64(1<<63), "all", "\n\nevent: heartbeat\ndata: {}\n\n", "\u2028\r\n", int64(-1), int64(1)<<62)
	f.Fuzz(func(t *testing.T, id string, seq uint64, kind, subject, reason string, before, until int64) {
		if strings.ContainsAny(id, "\r\n\x00") || !utf8.ValidString(kind+"\x00"+subject+"\x00"+reason) {
			return // no id of ours, and no text that JSON has
		}
		entry := Entry{Seq: seq, Kind: Kind(kind), ID: subject, Before: before, Reason: reason, At: until, Until: until}
		frame, err := Frame(EventRevocation, id, entry)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(twice(frame)))
		for range 2 {
			e, err := r.Next()
			var got Entry
			if err != nil || e.Name != EventRevocation || e.ID != id || e.Decode(&got) != nil || got != entry {
				t.Fatalf("%q is read as %+v, %v", frame, e, err)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("something follows %q: %v", frame, err)
		}
	})
}

func twice(b []byte) []byte { return append(bytes.Clone(b), b...) }

// FuzzDecode: what an event's data is read as, it is written as and read as again.
func FuzzDecode(f *testing.F) { // V-13
	for _, seed := range []string{
		`{"epoch":"01k9","seq":122,"entries":[{"seq":118,"kind":"session","id":"ses_1","at":1763000000,"until":1763000670}],"more":false}`,
		`{"epoch":"01k9","seq":0,"entries":null,"more":true,"later":[1]}`, `{"entries":[{}]}`, `{"seq":-1}`, `{"seq":1e3}`, `[]`, `null`, `{"seq":1} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, again Snapshot
		if err := (Event{Name: EventSnapshot, Data: data}).Decode(&s); err != nil {
			return
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Event{Name: EventSnapshot, Data: written}).Decode(&again); err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%s is read as %+v, and that as %+v, %v", data, s, again, err)
		}
	})
}
