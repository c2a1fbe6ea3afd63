package drill

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/revocation"
)

// A clockRoom has the clocks of a cluster's nodes in files.
type clockRoom struct{ dir string }

func (r clockRoom) file(node int) string { return filepath.Join(r.dir, strconv.Itoa(node)) }

// set moves the wall clock of a node to so far ahead of the true time.
func (r clockRoom) set(t *testing.T, node int, ahead time.Duration) {
	t.Helper()
	// At once, so that the node never reads half of it.
	half := r.file(node) + ".new"
	if err := os.WriteFile(half, []byte(ahead.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(half, r.file(node)); err != nil {
		t.Fatal(err)
	}
}

// D-20: nodes whose clocks are up to two seconds from the database's serve together and
// break no promise; one that is further off says that it is not ready, accepts nothing
// that was over, and serves again when its clock is right. I-1, I-2, I-7, I-8, I-10
func TestClocksApart(t *testing.T) {
	room := clockRoom{t.TempDir()}
	const most = revocation.MaxDrift - 200*time.Millisecond // the rest is for reading it
	for i, ahead := range []time.Duration{0, most, -most} {
		room.set(t, i, ahead)
	}
	c := startCluster(t, clusterOptions{
		Settings: map[string]string{"token.access": "1m"},
		Env:      func(node int) []string { return []string{"DRILL_CLOCK=" + room.file(node)} },
	})
	t.Run("two seconds", func(t *testing.T) { c.serveApart(t) })
	t.Run("an hour ahead", func(t *testing.T) { c.wrongBy(t, room, time.Hour) })
	t.Run("an hour behind", func(t *testing.T) { c.wrongBy(t, room, -time.Hour) })
	c.allServed(t)
}

func (c *cluster) serveApart(t *testing.T) {
	crowd := startClusterCrowd(t, c, size(8, 32))
	elapse(t.Context(), time.Duration(size(3, 40))*time.Second) // within the life of a token
	crowd.leave(t)
	t.Log(crowd)
}

// wrongBy starts node 1 with a clock that is far off, beside two that are right.
func (c *cluster) wrongBy(t *testing.T, room clockRoom, ahead time.Duration) {
	ctx := t.Context()
	right, wrong := c.Nodes[0], c.Nodes[1]
	over, lives := right.mustSignUp(t, "token"), right.mustSignUp(t, "cookie")
	late := right.mustSignUp(t, "token") // expires while the drill lasts, at full size
	began := time.Now()
	if a := right.end(ctx, over.SessionID); !a.OK() {
		t.Fatal(a)
	}
	wrong.Kill(t)
	room.set(t, 1, ahead)
	wrong.Launch(t)
	until(t, 30*time.Second, "the node listens", func() bool { return wrong.call(ctx, http.MethodGet, "/healthz", nil).OK() })
	look := func() {
		if wrong.Ready() {
			t.Errorf("a node whose clock is off by %v says that it is ready", ahead)
		}
		for i, n := range c.Nodes {
			if a := n.session(ctx, over.as()); a.OK() {
				t.Errorf("I-10 node %d accepts a session that was ended: %v", i, a)
			}
			if a := n.session(ctx, late.as()); a.OK() && time.Since(began) > 65*time.Second { // a minute, and what is allowed for clocks
				t.Errorf("I-10 node %d accepts an access token that has expired: %v", i, a)
			}
		}
		if a := right.session(ctx, lives.as()); !a.OK() {
			t.Errorf("I-8 a healthy session at a node that is right: %v", a)
		}
		if a := wrong.session(ctx, lives.as()); !a.OK() && a.Code == "session_ended" {
			t.Errorf("I-8 a healthy session at a node that is wrong: %v", a)
		}
	}
	for time.Since(began) < time.Duration(size(2, 75))*time.Second {
		look()
		elapse(ctx, 100*time.Millisecond)
	}
	wrong.Kill(t)
	room.set(t, 1, 0)
	wrong.Restart(t)
	for _, h := range []*holder{lives} {
		if a := wrong.session(ctx, h.as()); !a.OK() {
			t.Errorf("I-8 afterwards, a healthy session: %v", a)
		}
	}
	if a := c.end(ctx, lives.SessionID); !a.OK() {
		t.Errorf("afterwards, an end: %v", a)
	}
}
