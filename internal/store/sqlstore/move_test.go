package sqlstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/store/storetest"
)

// A source is a filled SQLite database that is held alone.
func source(t *testing.T, n int) (*DB, *Lock) {
	t.Helper()
	url := sqliteURL(t)
	db := open(t, Options{URL: url, Now: time.Now})
	fill(t, db, n)
	must(t, db.Close())
	alone, err := LockAlone(url)
	must(t, err)
	t.Cleanup(func() { _ = alone.Unlock() })
	return open(t, Options{URL: url, Now: time.Now, Alone: alone}), alone
}

var moved = audit.Entry{Event: audit.DatabaseMoved, Outcome: audit.OK}

// withoutMove leaves out of sums what the move itself writes at its end.
func withoutMove(held []TableSum) []TableSum {
	var rest []TableSum
	for _, sum := range held {
		if sum.Table != "audit" && sum.Table != "audit_head" && sum.Table != "revocation_head" {
			rest = append(rest, sum)
		}
	}
	return rest
}

// Everything is on the other side, to the last odd character, and read back; there and
// only there it may be served. I-4, I-11
func TestMoveCarriesEverything(t *testing.T) {
	from, _ := source(t, 130)
	before := contents(t, from)
	target := storetest.Postgres(t)
	done, err := from.moveTo(t.Context(), target, 50, moved, quiet)
	must(t, err)
	if diff := cmp.Diff(before, done.Tables); diff != "" || done.Resumed || done.Anew || done.Before {
		t.Errorf("the report is %+v (-before +told):\n%s", done, diff)
	}
	if strings.Contains(done.Peer, "@") {
		t.Errorf("the target is told with its user: %s", done.Peer)
	}
	to := open(t, Options{URL: target})
	if diff := cmp.Diff(withoutMove(before), withoutMove(contents(t, to))); diff != "" {
		t.Errorf("the target holds something else (-source +target):\n%s", diff)
	}
	for name, db := range map[string]*DB{"source": from, "target": to} {
		entries, err := db.Entries(t.Context(), audit.Filter{Event: audit.DatabaseMoved}, 0, 10)
		must(t, err)
		if len(entries) != 1 || entries[0].Seq != 131 {
			t.Errorf("the audit of the %s says of the move %+v", name, entries)
		}
	}
	page, err := to.Since(t.Context(), 0, 1000)
	must(t, err)
	if here, err := from.Since(t.Context(), 0, 1000); err != nil || here.Head != page.Head || len(page.Rows) != 130 {
		t.Errorf("the log ends at %v with %d entries, and at %v in the source (%v)", page.Head, len(page.Rows), here.Head, err)
	}
	// Once more, it has nothing to do; and nothing else can be moved there, nor this elsewhere.
	if again, err := from.moveTo(t.Context(), target, 50, moved, quiet); err != nil || !again.Before {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if _, err := from.moveTo(t.Context(), storetest.Postgres(t), 50, moved, quiet); !errors.Is(err, ErrCarried) {
		t.Errorf("to another target: %v", err)
	}
	// A kill between the two marks: once more sets the second, beside nodes that serve.
	for _, undo := range []string{`DELETE FROM transfer`, `DELETE FROM audit WHERE seq = 131`, `UPDATE audit_head SET seq = 130`} {
		_, err := from.change(t.Context(), "test", undo)
		must(t, err)
	}
	if again, err := from.moveTo(t.Context(), target, 50, moved, quiet); err != nil || !again.Before {
		t.Errorf("after a kill before the source was marked: %+v, %v", again, err)
	}
	if left, marked, err := findTransfer(t.Context(), from.engine.read()); err != nil || !marked || left.role != "source" {
		t.Errorf("the source is marked %+v, %v", left, err)
	}
	must(t, to.Close())
	other, _ := source(t, 1)
	if _, err := other.moveTo(t.Context(), target, 50, moved, quiet); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("another source: %v", err)
	}
}

// The source is not served any more after the move, until it is restored.
func TestTheSourceIsNotServed(t *testing.T) {
	from, alone := source(t, 3)
	url := "sqlite:" + alone.Path()
	_, err := from.MoveTo(t.Context(), storetest.Postgres(t), moved, quiet)
	must(t, err)
	must(t, errors.Join(from.Close(), alone.Unlock()))
	if _, err := Open(t.Context(), Options{URL: url, Now: time.Now}); !errors.Is(err, ErrCarried) || !strings.Contains(err.Error(), "it was moved to postgres://") {
		t.Errorf("the source was opened: %v", err)
	}
	backup := alone.Path() + ".backup"
	_, err = Backup(t.Context(), url, backup, quiet)
	must(t, err)
	put(t, url, backup, "")
	must(t, open(t, Options{URL: url, Now: time.Now}).Close())
}

// A move that is interrupted at any of its steps goes on where it was; until it has
// finished nobody serves the target. D-19
func TestMoveGoesOn(t *testing.T) {
	from, _ := source(t, 45)
	want := contents(t, from)
	target := storetest.Postgres(t)
	for stop := 1; ; stop += 3 {
		ctx, cancel := context.WithCancel(t.Context())
		told := 0
		done, err := from.moveTo(ctx, target, 10, moved, func(Progress) {
			if told++; told == stop {
				cancel()
			}
		})
		cancel()
		if err == nil {
			if stop > 1 && !done.Resumed {
				t.Errorf("the last of several: %+v", done)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{URL: target}); !errors.Is(err, ErrCarried) || !strings.Contains(err.Error(), "Run coatcheck move once more") {
			t.Fatalf("half of a database was opened: %v", err)
		}
		if stop > 100 {
			t.Fatal("it never comes to an end")
		}
	}
	if diff := cmp.Diff(withoutMove(want), withoutMove(contents(t, open(t, Options{URL: target})))); diff != "" {
		t.Errorf("the target holds something else (-source +target):\n%s", diff)
	}
}

// interrupted begins a move and stops it after its first batch.
func interrupted(t *testing.T, from *DB, target string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := from.moveTo(ctx, target, 10, moved, func(Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("it was to be interrupted: %v", err)
	}
}

// Where the source has changed since an interrupted move, all is carried anew.
func TestMoveBeginsAnew(t *testing.T) {
	from, _ := source(t, 30)
	target := storetest.Postgres(t)
	interrupted(t, from, target)
	addNames(t, from, "zoe") // as by a server that was started once more
	_, err := from.change(t.Context(), "test", `DELETE FROM api_key WHERE id = 'api_000001'`)
	must(t, err)
	want := contents(t, from)
	done, err := from.moveTo(t.Context(), target, 10, moved, quiet)
	must(t, err)
	if !done.Anew || done.Resumed {
		t.Errorf("the report is %+v", done)
	}
	if diff := cmp.Diff(withoutMove(want), withoutMove(contents(t, open(t, Options{URL: target})))); diff != "" {
		t.Errorf("the target holds something else (-source +target):\n%s", diff)
	}
}

// What somebody changes in the target meanwhile is found, and the move is not done.
func TestMoveFindsADifference(t *testing.T) {
	from, _ := source(t, 30)
	target := storetest.Postgres(t)
	interrupted(t, from, target)
	to, err := openAnyway(t.Context(), Options{URL: asMover(target)})
	must(t, err)
	changed, err := to.change(t.Context(), "test", `UPDATE account SET name = 'Mallory' WHERE id = 'usr_000001'`)
	must(t, errors.Join(err, to.Close()))
	if changed != 1 {
		t.Fatal("nothing was carried before the interruption")
	}
	if _, err := from.moveTo(t.Context(), target, 10, moved, quiet); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "account has 30 rows") {
		t.Errorf("a changed row: %v", err)
	}
	if _, err := Open(t.Context(), Options{URL: target}); !errors.Is(err, ErrCarried) {
		t.Errorf("a target that differs was opened: %v", err)
	}
}

// Targets that a move must not touch.
func TestMoveRefusesTargets(t *testing.T) {
	from, _ := source(t, 2)
	used := storetest.Postgres(t)
	to := open(t, Options{URL: used})
	if _, err := from.MoveTo(t.Context(), used, moved, quiet); !errors.Is(err, ErrTargetUse) {
		t.Errorf("a target that a node has open: %v", err)
	}
	must(t, to.Hold(t.Context(), time.Minute))
	must(t, to.Close())
	if _, err := from.MoveTo(t.Context(), used, moved, quiet); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "access_lifetime has rows") {
		t.Errorf("a target that a node has used: %v", err)
	}
	target := storetest.Postgres(t)
	for name, change := range map[string][2]string{
		"whose secret is known":   {`UPDATE issuer SET seal = decode(repeat('00', 32), 'hex')`, `UPDATE issuer SET seal = NULL`},
		"that has an audit":       {`UPDATE audit_head SET seq = 1`, `UPDATE audit_head SET seq = 0`},
		"whose keys have changed": {`UPDATE keyring SET version = 1`, `UPDATE keyring SET version = 0`},
		"that has a log":          {`UPDATE revocation_head SET seq = 1`, `UPDATE revocation_head SET seq = 0`},
	} {
		to, err := openAnyway(t.Context(), Options{URL: asMover(target)})
		must(t, err)
		_, err = to.change(t.Context(), "test", change[0])
		must(t, err)
		if _, err := from.MoveTo(t.Context(), target, moved, quiet); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("a target %s: %v", name, err)
		}
		_, err = to.change(t.Context(), "test", change[1])
		must(t, errors.Join(err, to.Close()))
	}
	if _, err := from.MoveTo(t.Context(), sqliteURL(t), moved, quiet); err == nil {
		t.Error("a move to SQLite")
	}
	if _, err := open(t, Options{URL: target}).MoveTo(t.Context(), target, moved, quiet); !errors.Is(err, ErrNotSQLite) {
		t.Errorf("a move from PostgreSQL: %v", err)
	}
	// Nothing of all that has marked the source.
	if _, marked, err := findTransfer(t.Context(), from.engine.read()); marked || err != nil {
		t.Errorf("the source is marked: %v", err)
	}
}

// A clock that is behind what was recorded would leave the nodes not ready.
func TestMoveRefusesAClockThatIsBehind(t *testing.T) {
	from, _ := source(t, 1)
	_, err := from.change(t.Context(), "test", `UPDATE revocation_head SET mark = $1`, time.Now().Add(time.Hour).UnixMilli())
	must(t, err)
	if _, err := from.MoveTo(t.Context(), storetest.Postgres(t), moved, quiet); err == nil || !strings.Contains(err.Error(), "behind the highest time") {
		t.Errorf("a mark of the future: %v", err)
	}
}

// A row that PostgreSQL cannot hold is named, with its column.
func TestMoveNamesABadRow(t *testing.T) {
	from, _ := source(t, 2)
	_, err := from.change(t.Context(), "test", `UPDATE account SET name = CAST(x'610062' AS TEXT) WHERE id = 'usr_000001'`)
	must(t, err)
	if _, err := from.MoveTo(t.Context(), storetest.Postgres(t), moved, quiet); err == nil || !strings.Contains(err.Error(), "the row usr_000001 has bytes in its column name") {
		t.Errorf("a zero byte: %v", err)
	}
}
