package drill

import (
	"testing"
)

// What the other drills stand on: a node serves, survives being killed, stops when
// asked, and says the same afterwards.
func TestNode(t *testing.T) {
	n := startNode(t, nodeOptions{})
	ctx := t.Context()
	byToken, byCookie := n.mustSignUp(t, "token"), n.mustSignUp(t, "cookie")
	for _, h := range []*holder{byToken, byCookie} {
		if a := n.session(ctx, h.as()); !a.OK() {
			t.Errorf("session: %v", a)
		}
	}
	n.Kill(t)
	if a := n.session(ctx, byToken.as()); a.Err == nil {
		t.Errorf("a dead node answers %v", a)
	}
	n.Restart(t)
	fresh, a := n.refresh(ctx, byToken.Refresh, newKey())
	if !a.OK() {
		t.Fatalf("refresh: %v", a)
	}
	if err := n.Stop(t); err != nil {
		t.Errorf("stop: %v", err)
	}
	n.Restart(t)
	if a := n.session(ctx, bearer(fresh.Access)); !a.OK() {
		t.Errorf("session after the refresh: %v", a)
	}
	if a := n.changePassword(ctx, byCookie.as(), password, "another tin roof in the rain"); a.Status != 204 {
		t.Errorf("change of password: %v", a)
	}
	if a := n.signOut(ctx, bearer(fresh.Access)); a.Status != 204 {
		t.Errorf("sign-out: %v", a)
	}
	if a := n.session(ctx, bearer(fresh.Access)); !a.Refused() {
		t.Errorf("session after sign-out: %v", a)
	}
	if a := n.rotateKeys(ctx); !a.OK() {
		t.Errorf("rotate keys: %v", a)
	}
}
