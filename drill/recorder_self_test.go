package drill

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// at returns an operation with an interval in milliseconds.
func at(call, ret int64, o operation) *operation {
	o.call, o.ret = call*int64(time.Millisecond), ret*int64(time.Millisecond)
	if ret < 0 {
		o.ret = never
	}
	if o.subject == "" {
		o.subject = "ses_a"
	}
	return &o
}

// A history that breaks a promise is found, and its neighbour that keeps it is not.
func TestRecorderFindsWhatIsWrong(t *testing.T) {
	begun := at(0, 1, operation{kind: begin, outcome: ok, given: "r1"})
	enrolled := at(0, 1, operation{kind: enrol, outcome: ok, subject: "ada", given: "old"})
	rotated := at(2, 3, operation{kind: spend, outcome: ok, presented: "r1", given: "r2", key: "k"})
	tests := map[string]struct{ wrong, right []*operation }{
		"I-1 accepted after the end": {
			[]*operation{begun, at(2, 3, operation{kind: revoke, outcome: ok}), at(4, 5, operation{kind: use, outcome: ok})},
			[]*operation{begun, at(2, 4, operation{kind: revoke, outcome: ok}), at(3, 5, operation{kind: use, outcome: ok})},
		},
		"I-5 an end that happened and then did not": {
			[]*operation{begun, at(2, -1, operation{kind: revoke, outcome: unknown}), at(3, 4, operation{kind: use, outcome: refused}), at(5, 6, operation{kind: use, outcome: ok})},
			[]*operation{begun, at(2, -1, operation{kind: revoke, outcome: unknown}), at(3, 4, operation{kind: use, outcome: ok}), at(5, 6, operation{kind: use, outcome: refused})},
		},
		"I-5 an end that comes true after the crash that cut it": {
			[]*operation{begun, at(2, 4, operation{kind: revoke, outcome: unknown}), at(5, 6, operation{kind: use, outcome: ok}), at(7, 8, operation{kind: use, outcome: refused})},
			[]*operation{begun, at(2, 4, operation{kind: revoke, outcome: unknown}), at(5, 6, operation{kind: use, outcome: refused}), at(7, 8, operation{kind: use, outcome: refused})},
		},
		"I-4, I-8 a session that is lost": {
			[]*operation{begun, at(2, 3, operation{kind: use, outcome: refused})},
			[]*operation{begun, at(2, 3, operation{kind: use, outcome: ok})},
		},
		"I-3 two successors": {
			[]*operation{begun, rotated, at(2, 4, operation{kind: spend, outcome: ok, presented: "r1", given: "r3"})},
			[]*operation{begun, rotated, at(2, 4, operation{kind: spend, outcome: ok, presented: "r1", given: "r2"})},
		},
		"I-3 a token from before the one before": {
			[]*operation{begun, rotated, at(4, 5, operation{kind: spend, outcome: ok, presented: "r2", given: "r3"}), at(6, 7, operation{kind: spend, outcome: ok, presented: "r1", given: "r3"})},
			[]*operation{begun, rotated, at(4, 5, operation{kind: spend, outcome: ok, presented: "r2", given: "r3"}), at(6, 7, operation{kind: spend, outcome: refused, presented: "r1"})},
		},
		"I-4 an exchange that is lost": {
			[]*operation{begun, rotated, at(20_000, 20_001, operation{kind: spend, outcome: refused, presented: "r2"})},
			[]*operation{begun, rotated, at(20_000, 20_001, operation{kind: spend, outcome: refused, presented: "r1", stolen: true})},
		},
		"I-5 a retry with its key is refused": {
			[]*operation{begun, at(2, 4, operation{kind: spend, outcome: unknown, presented: "r1", key: "k"}), at(20_000, 20_001, operation{kind: spend, outcome: refused, presented: "r1", key: "k"})},
			[]*operation{begun, at(2, 4, operation{kind: spend, outcome: unknown, presented: "r1", key: "k"}), at(20_000, 20_001, operation{kind: spend, outcome: ok, presented: "r1", given: "r2", key: "k"}), at(20_002, 20_003, operation{kind: spend, outcome: ok, presented: "r2", given: "r3"})},
		},
		"I-8 a second tab within the grace is a thief": {
			[]*operation{begun, rotated, at(4, 5, operation{kind: spend, outcome: refused, presented: "r1", stolen: true})},
			[]*operation{begun, rotated, at(4, 20_000, operation{kind: spend, outcome: refused, presented: "r1", stolen: true})},
		},
		"I-7 an exchange after the end": {
			[]*operation{begun, at(2, 3, operation{kind: revoke, outcome: ok}), at(4, 5, operation{kind: spend, outcome: ok, presented: "r1", given: "r2"})},
			[]*operation{begun, at(2, 3, operation{kind: revoke, outcome: ok}), at(4, 5, operation{kind: spend, outcome: refused, presented: "r1"})},
		},
		"I-4 an account that is lost": {
			[]*operation{enrolled, at(2, 3, operation{kind: admit, outcome: refused, subject: "ada", presented: "old"})},
			[]*operation{enrolled, at(2, 3, operation{kind: admit, outcome: ok, subject: "ada", presented: "old"})},
		},
		"I-3 one email, two accounts": {
			[]*operation{enrolled, at(0, 3, operation{kind: enrol, outcome: ok, subject: "ada", given: "new"})},
			[]*operation{enrolled, at(0, 3, operation{kind: enrol, outcome: refused, subject: "ada", given: "new"})},
		},
		"I-5 both passwords after a change": {
			[]*operation{
				enrolled, at(2, 3, operation{kind: newSecret, outcome: unknown, subject: "ada", presented: "old", given: "new"}),
				at(4, 5, operation{kind: admit, outcome: ok, subject: "ada", presented: "new"}), at(6, 7, operation{kind: admit, outcome: ok, subject: "ada", presented: "old"}),
			},
			[]*operation{
				enrolled, at(2, 3, operation{kind: newSecret, outcome: unknown, subject: "ada", presented: "old", given: "new"}),
				at(4, 5, operation{kind: admit, outcome: ok, subject: "ada", presented: "new"}), at(6, 7, operation{kind: admit, outcome: refused, subject: "ada", presented: "old"}),
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRecorder()
			r.operations = test.wrong
			if r.violations() == nil {
				t.Error("what is wrong is not found")
			}
			r.operations = test.right
			for _, v := range r.violations() {
				t.Errorf("what is right is called wrong: %s", v)
			}
		})
	}
}

// I-1, I-2: a verifier may be behind by its bound, and by no more.
func TestRecorderAllowsVerifiersTheirBound(t *testing.T) {
	for late, wrong := range map[time.Duration]bool{time.Second: true, time.Hour: false} {
		r := newRecorder()
		r.start = r.start.Add(-time.Minute)
		r.operations = []*operation{
			at(0, 1, operation{kind: begin, outcome: ok}), at(2000, 3000, operation{kind: revoke, outcome: ok}),
		}
		r.Used("ses_a", true, int64(5*time.Second), late)
		if got := r.violations() != nil; got != wrong {
			t.Errorf("accepted 2 s after the end, within a bound of %v: found is %t", late, got)
		}
	}
}

// I-6
func TestRecorderFollowsStreams(t *testing.T) {
	entry := func(seq uint64, id string) feed.Event {
		return event(t, feed.EventRevocation, feed.Entry{Seq: seq, Kind: feed.Session, ID: id})
	}
	snapshot := func(seq uint64, more bool) feed.Event {
		return event(t, feed.EventSnapshot, feed.Snapshot{Epoch: "e", Seq: seq, More: more})
	}
	beat := func(seq uint64) feed.Event {
		return event(t, feed.EventHeartbeat, feed.Heartbeat{Epoch: "e", Seq: seq})
	}
	resync := event(t, feed.EventResync, feed.Resync{Reason: "compacted"})
	tests := []struct {
		name   string
		events []feed.Event
		wrong  string
	}{
		{"in order", []feed.Event{snapshot(4, true), snapshot(4, false), entry(5, "a"), entry(5, "a"), entry(6, "b"), beat(6)}, ""},
		{"resync", []feed.Event{snapshot(4, false), resync, snapshot(9, false), entry(10, "a")}, ""},
		{"a gap", []feed.Event{snapshot(4, false), entry(6, "b")}, "number 6 follows 4"},
		{"two meanings", []feed.Event{snapshot(4, false), entry(5, "a"), entry(5, "b")}, "is both"},
		{"no snapshot", []feed.Event{entry(5, "a")}, "before a whole snapshot"},
		{"half a snapshot", []feed.Event{snapshot(4, true), entry(5, "a")}, "before a whole snapshot"},
		{"no snapshot after a resync", []feed.Event{snapshot(4, false), resync, entry(5, "a")}, "before a whole snapshot"},
		{"a heartbeat that knows more", []feed.Event{snapshot(4, false), beat(5)}, "vouches for 5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRecorder()
			r.Connected("s", false)
			for _, e := range test.events {
				r.Heard("s", e)
			}
			got := strings.Join(r.violations(), "\n")
			if (got == "") != (test.wrong == "") || !strings.Contains(got, test.wrong) {
				t.Errorf("found %q, want %q", got, test.wrong)
			}
		})
	}
}

func event(t *testing.T, name string, payload any) feed.Event {
	t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return feed.Event{Name: name, Data: data}
}

// I-9
func TestRecorderHoldsBounds(t *testing.T) {
	r := newRecorder()
	r.Bound("the log in MiB", 63, 64)
	if len(r.violations()) != 0 {
		t.Error("a figure within its bound is called wrong")
	}
	r.Bound("the log in MiB", 65, 64)
	if len(r.violations()) != 1 {
		t.Error("a figure above its bound is not found")
	}
}
