package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// An act is an operation that writes, in a round of its own. Its key and its new
// password are the same in a retry.
type act struct {
	name string
	// before makes ready for it; nil is nothing. No harm is done then.
	before func(s *scene, t testing.TB, r *round)
	do     func(ctx context.Context, r *round) answer
	// after looks at what only this act is about, on a server that has recovered.
	after func(t testing.TB, r *round, a answer)
}

const (
	freshPassword = "another tin roof in the rain"
	oneKey        = "an-idempotency-key-of-enough-length"
	newcomer      = "newcomer@example.com"
)

var acts = []act{
	{"sign-up", nil, func(ctx context.Context, r *round) answer {
		_, a := r.signUp(ctx, newcomer, "token")
		return a
	}, func(t testing.TB, r *round, _ answer) {
		if _, a := r.signIn(t.Context(), newcomer, password, "token"); a.Code == "invalid_credentials" {
			if _, a := r.signUp(t.Context(), newcomer, "token"); !a.OK() {
				t.Errorf("I-5 an account that does not exist cannot be made: %v", a)
			}
		}
	}},
	{"sign-in", nil, func(ctx context.Context, r *round) answer {
		h, a := r.signIn(ctx, r.ada.Email, password, "token")
		if h != nil {
			r.begun = append(r.begun, h)
		}
		return a
	}, func(t testing.TB, r *round, _ answer) {
		for _, h := range r.begun {
			r.check(t.Context(), h)
			r.renew(t.Context(), h)
		}
	}},
	{"refresh", nil, func(ctx context.Context, r *round) answer {
		_, a := r.spend(ctx, &r.ada, r.ada.Refresh, oneKey)
		return a
	}, func(t testing.TB, r *round, first answer) {
		// Whatever became of it, the retry gives the successor, and that one is good.
		next, a := r.spend(t.Context(), &r.ada, r.ada.Refresh, oneKey)
		if !a.OK() {
			t.Errorf("I-5 the retry with its key: %v", a)
			return
		}
		if _, a := r.spend(t.Context(), &r.ada, next.Refresh, newKey()); !a.OK() {
			t.Errorf("I-3 the successor: %v", a)
		}
	}},
	{"sign-out", nil, func(ctx context.Context, r *round) answer {
		return r.signOut(ctx, &r.tablet)
	}, func(t testing.TB, r *round, _ answer) {
		r.signOut(t.Context(), &r.tablet)
	}},
	{"end by an administrator", nil, func(ctx context.Context, r *round) answer {
		return r.end(ctx, &r.ada)
	}, func(t testing.TB, r *round, _ answer) {
		r.spend(t.Context(), &r.ada, r.ada.Refresh, newKey())
		r.end(t.Context(), &r.ada)
	}},
	{"theft", nil, func(ctx context.Context, r *round) answer {
		// A token that was spent before, without the key that spent it. The drill runs
		// with the shortest grace, which is over by now.
		_, a := r.spend(ctx, &r.ada, r.spent, newKey())
		return a
	}, func(t testing.TB, r *round, _ answer) {
		r.spend(t.Context(), &r.ada, r.ada.Refresh, newKey())
	}},
	{"change of password", nil, func(ctx context.Context, r *round) answer {
		return r.changePassword(ctx, &r.tablet, freshPassword)
	}, func(t testing.TB, r *round, _ answer) {
		_, before := r.signIn(t.Context(), r.tablet.Email, password, "cookie")
		_, now := r.signIn(t.Context(), r.tablet.Email, freshPassword, "cookie")
		if before.OK() == now.OK() {
			t.Errorf("I-5 after a change of password: the old one %v, the new one %v", before, now)
		}
		if a := r.check(t.Context(), &r.tablet); !a.OK() {
			t.Errorf("I-8 the session that changed the password is over: %v", a)
		}
	}},
	{"key rotation", nil, func(ctx context.Context, r *round) answer { return r.rotateKeys(ctx) }, keysAfter},
	{"distrust of keys", nil, func(ctx context.Context, r *round) answer {
		return r.call(ctx, http.MethodPost, "/v1/admin/keys/rotate", map[string]any{"now": true}, bearer(r.APIKey))
	}, func(t testing.TB, r *round, a answer) {
		if now := r.session(t.Context(), bearer(r.ada.Access)); a.OK() && now.Code != "token_expired" {
			t.Errorf("I-4 keys are distrusted, and what one of them signed answers %v", now)
		}
		keysAfter(t, r, a)
	}},
}

// keysAfter holds that there is a key that signs, that what it signs is accepted,
// and that an acknowledged rotation stands.
func keysAfter(t testing.TB, r *round, a answer) {
	var before struct {
		ActiveAt time.Time `json:"active_at"`
	}
	var keys struct {
		Items []struct {
			State    string
			ActiveAt time.Time `json:"active_at"`
		}
	}
	listed := r.call(t.Context(), http.MethodGet, "/v1/admin/keys", nil, bearer(r.APIKey))
	if err := json.Unmarshal(listed.Body, &keys); err != nil || !listed.OK() {
		t.Errorf("list keys: %v, %v", listed, err)
		return
	}
	states := map[string]int{}
	found := false
	if a.OK() {
		if err := json.Unmarshal(a.Body, &before); err != nil {
			t.Error(err)
		}
	}
	for _, k := range keys.Items {
		states[k.State]++
		found = found || k.ActiveAt.Sub(before.ActiveAt).Abs() < 2*time.Second
	}
	if states["active"] != 1 || states["next"] == 0 || a.OK() && !found {
		t.Errorf("I-4, I-5 after %v the keys are %s", a, listed.Body)
	}
	next, renewed := r.spend(t.Context(), &r.ada, r.ada.Refresh, newKey())
	if !renewed.OK() {
		t.Errorf("refresh after a change of keys: %v", renewed)
		return
	}
	if a := r.session(t.Context(), bearer(next.Access)); !a.OK() {
		t.Errorf("I-8 a fresh token after a change of keys: %v", a)
	}
}

// D-01: the server is killed at every write and every fsync of everything that
// writes. Nothing acknowledged is lost, nothing is half done, single use stays
// single, and what was not acknowledged can be tried again. I-1, I-3, I-4, I-5
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	for i, a := range acts {
		t.Run(a.name, func(t *testing.T) {
			counts := s.rehearse(t, a)
			for j, call := range writes {
				for _, k := range points(counts[call], i+j) {
					s.crashAt(t, a, call, k)
				}
			}
		})
	}
}

// checkpoint renews often enough that the log is copied back into the database in
// between: see fillLog.
var checkpoint = act{"checkpoint", (*scene).fillLog, func(ctx context.Context, r *round) (a answer) {
	for r.step = range 12 {
		var next tokens
		if next, a = r.spend(ctx, &r.ada, r.ada.Refresh, fmt.Sprint(oneKey, r.step)); !a.OK() {
			return a
		}
		r.ada.Access, r.ada.Refresh = next.Access, next.Refresh
	}
	return a
}, func(t testing.TB, r *round, a answer) {
	if !a.OK() {
		next, again := r.spend(t.Context(), &r.ada, r.ada.Refresh, fmt.Sprint(oneKey, r.step))
		if !again.OK() {
			t.Errorf("I-5 the retry with its key: %v", again)
			return
		}
		r.ada.Access, r.ada.Refresh = next.Access, next.Refresh
	}
	if a := r.renew(t.Context(), &r.ada); !a.OK() {
		t.Errorf("I-3 the successor: %v", a)
	}
}}

// D-01: the server is killed at the writes and fsyncs by which the log beside the
// database is copied back into it. I-3, I-4, I-5
func TestKilledInACheckpoint(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	s.rehearse(t, checkpoint)
	for _, call := range writes {
		// Those on the database itself, which has another handle than its log.
		ks := s.calls.rarer(call)
		if call == "pwrite64" && len(ks) == 0 {
			t.Fatal("no checkpoint was rehearsed")
		}
		for i, k := range ks {
			if *long || i == len(ks)/2 || i == len(ks)-1 {
				s.crashAt(t, checkpoint, call, k)
			}
		}
	}
}

// fillLog writes until a few commits more will have the log copied back, which is at
// a thousand pages.
func (s *scene) fillLog(t testing.TB, r *round) {
	t.Helper()
	const page = 4096 + 24
	for logSize(t, s.Dir) < 990*page {
		if a := r.renew(t.Context(), &r.bob); !a.OK() {
			t.Fatalf("refresh: %v", a)
		}
	}
}

// points are which of n calls a drill is killed at: all with -long, else two of many
// or one of a few, different ones for each seed.
func points(n, seed int) []int {
	var all []int
	for k := range n {
		all = append(all, k+1)
	}
	if *long || n <= 1 {
		return all
	}
	if n < 8 {
		return []int{1 + seed%n}
	}
	few := []int{1 + (seed*7)%n, n - (seed*3)%min(n, 4)}
	return slices.Compact(few)
}

// rehearse does an act without harm, and returns how many calls of each kind it
// makes.
func (s *scene) rehearse(t *testing.T, a act) map[string]int {
	t.Helper()
	r := s.reset(t)
	s.begin(t, a, r)
	tr := s.trace(t, "")
	first := a.do(t.Context(), r)
	tr.stop()
	if !first.OK() && !first.Refused() {
		t.Fatalf("without harm: %v", first)
	}
	s.calls = tr.calls()
	counts := s.calls.most()
	if counts["pwrite64"] == 0 || counts["fsync"]+counts["fdatasync"] == 0 {
		t.Fatalf("it writes nothing: %v", counts)
	}
	a.after(t, r, first)
	s.conclude(t, r)
	return counts
}

// begin starts the node and makes ready for an act.
func (s *scene) begin(t testing.TB, a act, r *round) {
	t.Helper()
	s.Restart(t)
	if a.before != nil {
		a.before(s, t, r)
	}
}

// crashAt does an act while the server is killed as it is about to make the k-th
// call of that name.
func (s *scene) crashAt(t *testing.T, a act, call string, k int) {
	t.Helper()
	t.Run(fmt.Sprintf("%s %d", call, k), func(t *testing.T) {
		r := s.reset(t)
		s.begin(t, a, r)
		tr := s.trace(t, fmt.Sprintf("%s:signal=KILL:when=%d", call, k))
		first := a.do(t.Context(), r)
		if first.Err != nil {
			<-s.Exited()
		}
		s.kill()
		<-tr.exited
		s.Restart(t)
		r.settle()
		a.after(t, r, first)
		s.conclude(t, r)
	})
}

// D-01: the server is killed at the writes of a start after a crash, where it copies
// the log back that it finds. The next start finds all that was acknowledged. I-4
func TestKilledWhileItRecovers(t *testing.T) {
	t.Parallel()
	s := prepare(t)
	file := filepath.Join(t.TempDir(), "calls")
	s.reset(t)
	s.options.Wrap = traceArgs(file, "")
	s.Restart(t)
	s.kill()
	for call, count := range readCalls(t, file).most() {
		for k := 1; k <= count; k += size(max(1, count/2), 1) {
			t.Run(fmt.Sprintf("%s %d", call, k), func(t *testing.T) {
				r := s.reset(t)
				s.options.Wrap = traceArgs(file, fmt.Sprintf("%s:signal=KILL:when=%d", call, k))
				s.Launch(t)
				s.killedOrReady(t)
				s.options.Wrap = nil
				s.Restart(t)
				s.conclude(t, r)
			})
		}
	}
}

// killedOrReady waits until the node was killed, or is done with starting; it is
// dead then.
func (n *node) killedOrReady(t testing.TB) {
	t.Helper()
	until(t, 30*time.Second, "the node is killed, or was done with writing", func() bool {
		select {
		case <-n.Exited():
			return true
		default:
			return n.Ready()
		}
	})
	n.kill()
}

// D-01: the server is killed at the writes of its start: making the database, the
// schema, the keys. It starts the next time, and serves.
func TestKilledWhileItStarts(t *testing.T) {
	t.Parallel()
	n := newNode(t, nodeOptions{Dir: t.TempDir()})
	calls := filepath.Join(t.TempDir(), "calls")
	first := func(t *testing.T, inject string) {
		t.Helper()
		emptyFolder(t, n.Dir)
		n.options.Wrap = traceArgs(calls, inject)
		n.Launch(t)
	}
	first(t, "")
	n.WaitReady(t, 30*time.Second)
	n.kill()
	for call, count := range readCalls(t, calls).most() {
		step := size(max(1, count/2), 1)
		for k := 1; k <= count; k += step {
			t.Run(fmt.Sprintf("%s %d", call, k), func(t *testing.T) {
				first(t, fmt.Sprintf("%s:signal=KILL:when=%d", call, k))
				n.killedOrReady(t)
				n.options.Wrap = nil
				n.Restart(t)
				h := n.mustSignUp(t, "token")
				if a := n.session(t.Context(), h.as()); !a.OK() {
					t.Errorf("session: %v", a)
				}
				n.Kill(t)
				checkWhole(t, n.Dir)
			})
		}
	}
}
