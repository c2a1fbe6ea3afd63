package drill

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/coatcheck/coatcheck/internal/feed"
)

// A recorder is told of everything that clients did and saw in a drill, and says at
// the end whether any order of events explains it that keeps what was promised:
//
//	I-1   what was ended stays ended: at the server from the answer on, at verifiers within a bound
//	I-2   a verifier's bound may be as long as its staleness while it is cut off
//	I-3   a refresh token has one successor, an email one account
//	I-4   what was acknowledged is there afterwards
//	I-5   what was not acknowledged happened wholly or not at all, and a retry is safe
//	I-6   a stream's numbers rise by one, and a number means one thing
//	I-7   nothing is accepted that was over
//	I-8   nobody is signed out whose session was not ended
//	I-9   figures stay below the bounds that the drill names
//	I-10  what has expired is recorded as ended, and stays so whatever the clock does
//
// It is safe for concurrent use. Times are the test's own monotonic clock.
type recorder struct {
	// Grace is refresh.grace of the server, or less.
	Grace time.Duration
	// Late is for how long a node may go on with what it remembers when another one has
	// ended something: 2 s, or 0 where there is one node.
	Late time.Duration

	start time.Time

	mu         sync.Mutex
	operations []*operation
	owners     map[string]string // the email of each session
	spent      map[string]int64  // when each refresh token was first exchanged
	streams    map[string]*streamRecord
	entries    map[string]feed.Entry // by epoch and number
	wrong      []string
}

func newRecorder() *recorder {
	return &recorder{
		Grace: 10 * time.Second, start: time.Now(), owners: map[string]string{}, spent: map[string]int64{},
		streams: map[string]*streamRecord{}, entries: map[string]feed.Entry{},
	}
}

// kind says what an operation does.
type kind string

const (
	begin  kind = "begin"  // a session begins
	use    kind = "use"    // a credential of it is presented
	revoke kind = "revoke" // it is ended
	spend  kind = "spend"  // a refresh token is exchanged

	enrol     kind = "enrol"     // an account is made
	admit     kind = "admit"     // somebody signs in
	newSecret kind = "newSecret" // a password is changed
)

// outcome is what the caller learned.
type outcome string

const (
	ok      outcome = "ok"
	refused outcome = "refused"
	unknown outcome = "unknown"
)

// An operation is one thing that a client did. Its subject is a session's id, or for
// the last three kinds an email.
type operation struct {
	kind    kind
	subject string
	outcome outcome
	call    int64 // nanoseconds since the recorder began
	ret     int64 // never where nobody knows, and the server lives on

	presented, given string // tokens or passwords
	key              string // the Idempotency-Key
	stolen           bool   // refused as theft
}

const never = math.MaxInt64

func (o *operation) String() string {
	end := "never"
	if o.ret != never {
		end = time.Duration(o.ret).String()
	}
	text := fmt.Sprintf("%v..%s %s %s", time.Duration(o.call), end, o.kind, o.outcome)
	for name, value := range map[string]string{"presented": o.presented, "given": o.given, "key": o.key} {
		if value != "" {
			text += " " + name + " …" + value[max(0, len(value)-6):]
		}
	}
	if o.stolen {
		text += " (theft)"
	}
	return text
}

// now is the recorder's time.
func (r *recorder) now() int64 { return int64(time.Since(r.start)) }

// add takes an operation that ended just now; call is when it began. What nobody
// knows stays open.
func (r *recorder) add(o operation, call int64) {
	o.call, o.ret = call, r.now()
	if o.outcome == unknown {
		o.ret = never
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, &o)
	if _, known := r.spent[o.presented]; o.kind == spend && o.outcome == ok && !known {
		r.spent[o.presented] = call
	}
}

// settle says that every server process that an operation so far was sent to is
// dead: what nobody knows has happened by now, or never will.
func (r *recorder) settle() { r.settleBefore(never) }

// settleBefore says so of the operations that were called before a time.
func (r *recorder) settleBefore(called int64) {
	at := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.operations {
		if o.ret == never && o.call < called {
			o.ret = at
		}
	}
}

// own notes whose a session is.
func (r *recorder) own(session, email string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners[session] = email
}

// Used records that a credential of the session was presented at the server or a
// verifier, between call and now. A verifier may be behind by late: what it accepts
// was live at some time since then. Refusals count as they are.
func (r *recorder) Used(session string, accepted bool, call int64, late time.Duration) {
	o := operation{kind: use, subject: session, outcome: refused}
	if accepted {
		o.outcome = ok
		call = max(0, call-int64(late))
	}
	r.add(o, call)
}

// Ended records that a session was ended between call and now, by an end of any
// kind or by its time; certain unless the caller got no answer.
func (r *recorder) Ended(session string, certain bool, call int64) {
	o := operation{kind: revoke, subject: session, outcome: unknown}
	if certain {
		o.outcome = ok
	}
	r.add(o, call)
}

// Wrong records what needs no history to be wrong.
func (r *recorder) Wrong(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// Bound records a figure that must not be above its limit. I-9
func (r *recorder) Bound(what string, got, limit float64) {
	if got > limit {
		r.Wrong("I-9 %s is %g, above %g", what, got, limit)
	}
}

// verify fails the test for every promise that the history breaks. Call it once,
// when everything has come to rest.
func (r *recorder) verify(t testing.TB) {
	t.Helper()
	for _, wrong := range r.violations() {
		t.Error(wrong)
	}
}

// violations returns what the history breaks, in words.
func (r *recorder) violations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := slices.Clone(r.wrong)
	found = append(found, r.forked()...)
	for _, m := range models {
		found = append(found, r.check(m)...)
	}
	return found
}

// check holds the history of each subject to a model.
func (r *recorder) check(m model) []string {
	bySubject := map[string][]*operation{}
	for _, o := range r.operations {
		if slices.Contains(m.kinds, o.kind) {
			bySubject[o.subject] = append(bySubject[o.subject], o)
		}
	}
	var found []string
	checked := m.machine(r.Grace)
	for _, subject := range slices.Sorted(keysOf(bySubject)) {
		var history []porcupine.Operation
		for _, o := range bySubject[subject] {
			history = append(history, porcupine.Operation{Input: o, Output: o, Call: o.call, Return: o.ret})
		}
		// A history that cannot be explained may take exponential time to refute.
		switch porcupine.CheckOperationsTimeout(checked, history, 30*time.Second) {
		case porcupine.Illegal:
			found = append(found, fmt.Sprintf("%s of %s: no order explains\n%s", m.name, subject, m.shrink(checked, bySubject[subject])))
		case porcupine.Unknown:
			found = append(found, fmt.Sprintf("%s of %s: the history of %d operations is too tangled to be checked", m.name, subject, len(history)))
		}
	}
	return found
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// shrink shows the part of a wrong history up to the first answer that nothing
// explains.
func (m model) shrink(checked porcupine.Model, wrong []*operation) string {
	byEnd := slices.Clone(wrong)
	slices.SortStableFunc(byEnd, func(a, b *operation) int { return cmp.Compare(a.ret, b.ret) })
	for n := 1; n <= len(byEnd); n++ {
		// Of the others that had begun by then nobody knows more than that.
		var history []porcupine.Operation
		for i, o := range byEnd {
			seen := *o
			if i >= n {
				if o.call > byEnd[n-1].ret || o.kind == use {
					continue
				}
				seen.outcome, seen.ret = unknown, never
			}
			history = append(history, porcupine.Operation{Input: &seen, Output: &seen, Call: seen.call, Return: seen.ret})
		}
		if porcupine.CheckOperationsTimeout(checked, history, 5*time.Second) == porcupine.Illegal {
			byEnd = byEnd[:n]
			break
		}
	}
	var b strings.Builder
	for _, o := range byEnd[max(0, len(byEnd)-30):] {
		fmt.Fprintf(&b, "\t%v\n", o)
	}
	return b.String()
}

// forked finds refresh tokens that were exchanged for two successors. I-3
func (r *recorder) forked() []string {
	successors := map[string]string{}
	var found []string
	for _, o := range r.operations {
		if o.kind != spend || o.outcome != ok {
			continue
		}
		if other, known := successors[o.presented]; known && other != o.given {
			found = append(found, fmt.Sprintf("I-3 a refresh token of %s was exchanged for two successors:\n\t%v", o.subject, o))
		}
		successors[o.presented] = o.given
	}
	return found
}
