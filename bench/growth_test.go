package main

import (
	"strings"
	"testing"
)

// Every request has a session that no other has used, far from the one before.
func TestEveryRequestHasItsOwnSession(t *testing.T) {
	c := &multitude{n: 10_000}
	seen := map[int]bool{0: true} // the one that stays remembered
	last := 0
	for range c.n - 1 {
		n, err := c.next()
		if err != nil || n < 0 || n >= c.n || seen[n] {
			t.Fatalf("session %d comes again, or is none: %v", n, err)
		}
		if d := n - last; d > -50 && d < 50 {
			t.Fatalf("session %d is beside %d", n, last)
		}
		seen[n], last = true, n
	}
	if _, err := c.next(); err == nil {
		t.Error("there are more than all")
	}
}

// What is held to its bar is the largest size, beside the smallest.
func TestTheLargestIsHeldToTheSmallest(t *testing.T) {
	figures := atSizes("refresh, %s sessions", "µs", []int{10_000, 100_000, 1_000_000}, [][]float64{{100}, {900}, {151}})
	for i, want := range []struct {
		name    string
		barred  bool
		compare bool
	}{{"refresh, 10,000 sessions", false, false}, {"refresh, 100,000 sessions", false, true}, {"refresh, 1,000,000 sessions", true, true}} {
		f := figures[i]
		if f.Name != want.name || f.Bar.set() != want.barred || (len(f.Reference) > 0) != want.compare || f.check() != nil {
			t.Errorf("%+v, %v", f, f.check())
		}
	}
	if figures[2].kept() {
		t.Error("1.51 times as much is kept")
	}
}

// The people of a crowd are told from each other by the same ids in Go and in SQL, which
// are as long as real ones.
func TestCrowdOrdinals(t *testing.T) {
	if got := crowdOrdinal(9_999_999); len(got) != 26 {
		t.Errorf("the id is %q", got)
	}
	for _, table := range crowdCopies {
		for column, expr := range forSQLite(table.changed) {
			if strings.Contains(expr, "ordinal") || strings.Contains(expr, "sha256") {
				t.Errorf("%s.%s is %s, which SQLite does not know", table.table, column, expr)
			}
		}
	}
	keys, err := newCrowdKeys()
	if token := keys.refreshToken(7); err != nil || len(token) != 4+26+8+4+43+22 || !strings.HasPrefix(token, "ckr_"+crowdOrdinal(7)) {
		t.Errorf("the refresh token is %q, %v", token, err)
	}
}
