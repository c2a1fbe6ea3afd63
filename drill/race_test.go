package drill

import (
	"context"
	"sync"
	"testing"
)

// Sixty-four callers exchange one refresh token at the same time. All that are
// answered hold the same successor, and nobody is signed out. I-3, I-8
func TestParallelRefreshes(t *testing.T) {
	n := startNode(t, nodeOptions{})
	w := witness{n.client, newRecorder()}
	email := newEmail()
	w.addUser(t.Context(), email)
	for range size(10, 500) {
		h, a := w.signIn(t.Context(), email, password, "token")
		if !a.OK() {
			t.Fatal(a)
		}
		answers := w.together(t.Context(), h, nil)
		for _, a := range answers {
			if !a.OK() {
				t.Errorf("one of the callers: %v", a)
			}
		}
		w.afterwards(t, h)
	}
	w.verify(t)
}

// The server is killed in the middle of it, at another moment in each round. After
// its restart the token has one successor, whoever was told of it. I-3, I-4, I-5
func TestParallelRefreshesWithAKill(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodeOptions{})
	w := witness{n.client, newRecorder()}
	email := newEmail()
	w.addUser(t.Context(), email)
	rounds := size(12, 200)
	for round := range rounds {
		h, a := w.signIn(t.Context(), email, password, "token")
		if !a.OK() {
			t.Fatal(a)
		}
		// Killed once so many have their answer: from none to all.
		w.together(t.Context(), h, &killing{n, round * callers / rounds})
		n.Restart(t)
		w.settle()
		w.afterwards(t, h)
	}
	w.verify(t)
	n.Kill(t)
	checkWhole(t, n.Dir)
}

const callers = 64

// A killing ends the node once so many callers were answered.
type killing struct {
	node  *node
	after int
}

// together has all callers exchange the holder's token at once, each with a key of
// its own.
func (w witness) together(ctx context.Context, h *holder, k *killing) []answer {
	answers := make([]answer, callers)
	start := make(chan struct{})
	answered := make(chan struct{}, callers)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-start
			_, answers[i] = w.spend(ctx, h, h.Refresh, newKey())
			answered <- struct{}{}
		})
	}
	close(start)
	if k != nil {
		for range k.after {
			<-answered
		}
		k.node.kill()
	}
	all.Wait()
	return answers
}

// afterwards exchanges the token once more: within the grace it gives the one
// successor, which is good.
func (w witness) afterwards(t testing.TB, h *holder) {
	t.Helper()
	next, a := w.spend(t.Context(), h, h.Refresh, newKey())
	if !a.OK() {
		t.Errorf("I-8 the token within its grace: %v", a)
		return
	}
	h.Access, h.Refresh = next.Access, next.Refresh
	if a := w.check(t.Context(), h); !a.OK() {
		t.Errorf("I-8 signed out: %v", a)
	}
	if a := w.renew(t.Context(), h); !a.OK() {
		t.Errorf("I-3 the successor: %v", a)
	}
}
