package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
)

var revocationPromises = []promise{
	{"revocation.Store", "Entries are added by the steps that end something, in the stores of those nouns; their numbers rise in the order of commits, without a gap, and an entry can be read as soon as the step that wrote it has returned.", []proof{
		{"I-6 eight enders at once, by a clock that jumps, and a tail that never meets a gap", numbersRise},
		{"an entry was heard before its step was answered", heardBeforeAnswer},
		{"an entry is committed when it is heard", committedWhenHeard},
		{"I-10 a clock set back stamps nothing below the mark", clockSetBack},
	}},
	{"revocation.Store.Since", "Since reads the entries numbered from and above, up to limit of them, with the log's end, in one indexed query.", []proof{
		{"from, limit and end", sinceFromLimit},
		{"the store's clock and its mark", sinceTimes},
	}},
	{"revocation.Store.Since", "A page of an empty log has no rows.", []proof{{"but an epoch", emptyLog}}},
	{"revocation.Store.Prune", "Prune removes the entries whose Until has passed by the store's clock, and returns how many.", []proof{
		{"those and no others", pruneByUntil},
	}},
	{"revocation.Store.Prune", "It never changes the log's end.", []proof{{"even of a log that is empty then", pruneKeepsEnd}}},
	{"revocation.Store.NewEpoch", "NewEpoch puts a fresh epoch in the place of old.", []proof{
		{"and leaves the entries alone", newEpoch},
	}},
	{"revocation.Store.NewEpoch", "When another node was faster it changes nothing and returns nil.", []proof{
		{"eight nodes begin one epoch", oneNewEpoch},
	}},
	{"revocation.Store.Hold", "Hold states that tokens that live this long may be minted from now on, for as long as they may live; entries stay at least as long as the longest lifetime held.", []proof{
		{"the longest of several", holdLongest},
		{"no longer than they may live", holdLapses},
	}},
	{"revocation.Store.Hold", "It also raises the mark to the store's clock.", []proof{{"and never lowers it", holdRaisesMark}}},
}

// numbersRise has eight goroutines end sessions while a tail follows the log.
// Were a number given out before its turn to commit, the tail would pass it by;
// were the mark written by whoever comes last, it would fall.
func numbersRise(t *testing.T, f *fixture) {
	const each = 5
	var ins [racers][each]signIn
	for i := range racers {
		u := f.user(t)
		for j := range each {
			ins[i][j] = f.signIn(t, u)
		}
	}
	done := make(chan struct{})
	type result struct {
		rows []revocation.Logged
		err  error
	}
	tail := make(chan result, 1)
	go func() {
		rows, err := follow(t.Context(), f.Revocation, done)
		tail <- result{rows, err}
	}()
	allWon(t, race(racers, func(i int) error {
		last := uint64(0)
		for j, in := range ins[i] {
			f.clock.Advance(time.Duration(1-2*((i+j)%2)) * 7 * time.Second)
			what := session.Ending{Kind: feed.Session, ID: in.ID, Reason: "ended"}
			if _, err := f.Sessions.End(t.Context(), what, noted(audit.SessionEnded)); err != nil {
				return err
			}
			page, err := f.Revocation.Since(t.Context(), last+1, racers*each)
			if err != nil {
				return err
			}
			if last, err = numberOf(page, in.ID); err != nil {
				return err
			}
		}
		return nil
	}))
	close(done)
	followed := <-tail
	must(t, followed.err)
	if len(followed.rows) != racers*each {
		t.Errorf("the tail met %d entries, want %d", len(followed.rows), racers*each)
	}
	equal(t, "the end of the log", f.page(t, 0, 1).Head.Seq, uint64(racers*each))
}

// numberOf returns the number of a session's one entry.
func numberOf(page revocation.Page, id string) (uint64, error) {
	for _, row := range page.Rows {
		if row.Kind == feed.Session && row.ID == id {
			return row.Seq, nil
		}
	}
	return 0, fmt.Errorf("no entry of %s above those of earlier steps, though its step has returned", id)
}

// follow reads the log as a node's tail does until done is closed, and then to its
// end. Every page has to continue the one before it and to agree with itself.
func follow(ctx context.Context, store revocation.Store, done <-chan struct{}) ([]revocation.Logged, error) {
	const limit = 7
	var all []revocation.Logged
	var mark time.Time
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		page, err := store.Since(ctx, uint64(len(all))+1, limit)
		if err != nil {
			return nil, err
		}
		if page.Mark.Before(mark) {
			return nil, fmt.Errorf("the mark fell from %s to %s", mark, page.Mark)
		}
		mark = page.Mark
		for _, row := range page.Rows {
			if row.Seq != uint64(len(all))+1 {
				return nil, fmt.Errorf("entry %d follows entry %d", row.Seq, len(all))
			}
			all = append(all, row)
		}
		if len(page.Rows) < limit && page.Head.Seq != uint64(len(all)) {
			return nil, fmt.Errorf("a page ends with entry %d and says that the log ends with %d", len(all), page.Head.Seq)
		}
		if last && len(page.Rows) < limit {
			return all, nil
		}
	}
}

// page reads a page of the log.
func (f *fixture) page(t *testing.T, from uint64, limit int) revocation.Page {
	t.Helper()
	page, err := f.Revocation.Since(t.Context(), from, limit)
	must(t, err)
	return page
}

// endings appends n entries to the log.
func (f *fixture) endings(t *testing.T, n int) {
	t.Helper()
	u := f.user(t)
	for range n {
		f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID, Reason: "ended"})
	}
}

func heardBeforeAnswer(t *testing.T, f *fixture) {
	ctx := t.Context()
	u := f.user(t)
	in := f.signIn(t, u)
	steps := []struct {
		kind feed.Kind
		id   string
		do   func() error
	}{
		{feed.Changed, in.ID, func() error {
			r := session.Renewal{SessionID: in.ID, Presented: in.SecretHash, Next: hashOf("next")}
			return f.Sessions.Renew(ctx, r, noted(audit.Reauthenticated))
		}},
		{feed.Session, in.ID, func() error {
			_, err := f.Sessions.End(ctx, session.Ending{Kind: feed.Session, ID: in.ID}, noted(audit.SessionEnded))
			return err
		}},
		{feed.User, u.ID, func() error {
			disabled := true
			_, err := f.Users.ChangeUser(ctx, u.ID, account.UserChange{Disabled: &disabled}, noted(audit.UserDisabled))
			return err
		}},
		{feed.All, "", func() error {
			_, err := f.Sessions.End(ctx, session.Ending{Kind: feed.All}, noted(audit.SessionsEnded))
			return err
		}},
	}
	for _, step := range steps {
		must(t, step.do())
		if !f.ear.heard(step.kind, step.id) {
			t.Errorf("the step was answered before its %s entry was heard", step.kind)
		}
	}
	equal(t, "what was heard", f.ear.entries, f.log(t))
}

func committedWhenHeard(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	var found error
	f.ear.during = func(entries []feed.Entry) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		page, err := f.Revocation.Since(ctx, entries[0].Seq, 10)
		if err == nil {
			_, err = numberOf(page, in.ID)
		}
		found = errors.Join(found, err)
	}
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	must(t, found)
}

func clockSetBack(t *testing.T, f *fixture) {
	u := f.user(t)
	f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID})
	first := f.entry(feed.User, u.ID, "")
	f.clock.Advance(-time.Hour)
	f.end(t, 1, session.Ending{Kind: feed.User, ID: u.ID})
	f.wantLog(t, 0, first, first)
	u, _, err := f.Users.FindUser(t.Context(), u.ID)
	must(t, err)
	equal(t, "OverBefore", u.OverBefore, f.reach(t, feed.User))
}

func sinceFromLimit(t *testing.T, f *fixture) {
	f.endings(t, 5)
	whole := f.page(t, 0, 100)
	if len(whole.Rows) != 5 {
		t.Fatalf("the whole log has %d rows, want 5", len(whole.Rows))
	}
	end := whole.Rows[4]
	equal(t, "the log's end", whole.Head, revocation.Position{Epoch: whole.Head.Epoch, Seq: 5, Bits: end.Bits})
	cases := []struct {
		from        uint64
		limit       int
		first, last int // of the whole, as a slice
	}{
		{0, 100, 0, 5}, {1, 5, 0, 5}, {3, 100, 2, 5}, {2, 2, 1, 3}, {5, 1, 4, 5}, {6, 100, 0, 0}, {1 << 40, 100, 0, 0},
	}
	for _, c := range cases {
		page := f.page(t, c.from, c.limit)
		equal(t, fmt.Sprintf("Since(%d, %d)", c.from, c.limit), page.Rows, whole.Rows[c.first:c.last])
		equal(t, "the log's end", page.Head, whole.Head)
	}
}

func sinceTimes(t *testing.T, f *fixture) {
	f.clock.Advance(time.Minute)
	f.endings(t, 1)
	high := f.clock.Now()
	f.clock.Advance(-20 * time.Second)
	page := f.page(t, 0, 1)
	equal(t, "Now", page.Now, f.clock.Now())
	equal(t, "Mark", page.Mark, high)
}

func emptyLog(t *testing.T, f *fixture) {
	page := f.page(t, 0, 100)
	if len(page.Rows) != 0 || page.Head.Seq != 0 {
		t.Errorf("an empty log has %d rows and ends at %d", len(page.Rows), page.Head.Seq)
	}
	wantEpoch(t, page.Head.Epoch)
	equal(t, "Now", page.Now, f.clock.Now())
}

func wantEpoch(t *testing.T, epoch string) {
	t.Helper()
	if epoch == "" || len(epoch) > 40 || strings.ContainsAny(epoch, ": \r\n") {
		t.Errorf("%q cannot be part of an event id", epoch)
	}
}

func pruneByUntil(t *testing.T, f *fixture) {
	f.endings(t, 2)
	until := time.Unix(f.entry(feed.User, "", "").Until, 0)
	f.clock.Advance(time.Minute)
	f.endings(t, 1)
	whole := f.page(t, 0, 100)
	for _, c := range []struct {
		at      time.Time
		removed int
	}{{until.Add(-time.Second), 0}, {until, 0}, {until.Add(time.Second), 2}, {until.Add(time.Second), 0}} {
		f.clock.Set(c.at)
		n, err := f.Revocation.Prune(t.Context())
		must(t, err)
		equal(t, "the number pruned", n, c.removed)
	}
	equal(t, "what is left", f.page(t, 0, 100).Rows, whole.Rows[2:])
}

func pruneKeepsEnd(t *testing.T, f *fixture) {
	f.endings(t, 3)
	head := f.page(t, 0, 1).Head
	f.clock.Advance(24 * time.Hour)
	n, err := f.Revocation.Prune(t.Context())
	must(t, err)
	equal(t, "the number pruned", n, 3)
	page := f.page(t, 0, 100)
	equal(t, "the rows", page.Rows, []revocation.Logged{})
	equal(t, "the log's end", page.Head, head)
	f.endings(t, 1)
	equal(t, "the next number", f.page(t, 0, 100).Head.Seq, head.Seq+1)
}

func newEpoch(t *testing.T, f *fixture) {
	f.endings(t, 2)
	old := f.page(t, 0, 100)
	must(t, f.Revocation.NewEpoch(t.Context(), old.Head.Epoch))
	fresh := f.page(t, 0, 100)
	wantEpoch(t, fresh.Head.Epoch)
	if fresh.Head.Epoch == old.Head.Epoch {
		t.Error("the epoch is the old one")
	}
	equal(t, "the entries", fresh.Rows, old.Rows)
	equal(t, "the number of the end", fresh.Head.Seq, old.Head.Seq)
	must(t, f.Revocation.NewEpoch(t.Context(), fresh.Head.Epoch))
	if third := f.page(t, 0, 1).Head.Epoch; third == old.Head.Epoch || third == fresh.Head.Epoch {
		t.Error("the third epoch is one that there was already")
	}
}

func oneNewEpoch(t *testing.T, f *fixture) {
	old := f.page(t, 0, 1).Head.Epoch
	allWon(t, race(racers, func(int) error { return f.Revocation.NewEpoch(t.Context(), old) }))
	fresh := f.page(t, 0, 1).Head
	if fresh.Epoch == old {
		t.Error("the epoch is the old one")
	}
	must(t, f.Revocation.NewEpoch(t.Context(), old))
	equal(t, "the end after a late node", f.page(t, 0, 1).Head, fresh)
}

func holdLongest(t *testing.T, f *fixture) {
	const longest = 2 * time.Hour
	f.endings(t, 1) // under the fixture's own
	must(t, f.Revocation.Hold(t.Context(), longest))
	must(t, f.Revocation.Hold(t.Context(), time.Minute))
	first := f.clock.Now()
	f.endings(t, 1)
	f.clock.Advance(longest - time.Second)
	late := f.clock.Now()
	f.endings(t, 1)
	rows := f.page(t, 0, 10).Rows
	equal(t, "until under the first lifetime", rows[0].Until, revocation.Until(start, lifetime))
	equal(t, "until under the longest", rows[1].Until, revocation.Until(first, longest))
	equal(t, "until when the longest is about to lapse", rows[2].Until, revocation.Until(late, longest))
}

func holdLapses(t *testing.T, f *fixture) {
	must(t, f.Revocation.Hold(t.Context(), time.Hour))
	f.clock.Advance(5 * time.Hour)
	must(t, f.Revocation.Hold(t.Context(), lifetime))
	f.endings(t, 1)
	equal(t, "until", f.page(t, 0, 1).Rows[0].Until, revocation.Until(f.clock.Now(), lifetime))
}

func holdRaisesMark(t *testing.T, f *fixture) {
	f.clock.Advance(time.Hour)
	high := f.clock.Now()
	must(t, f.Revocation.Hold(t.Context(), lifetime))
	equal(t, "Mark", f.page(t, 0, 1).Mark, high)
	f.clock.Advance(-time.Minute)
	must(t, f.Revocation.Hold(t.Context(), lifetime))
	equal(t, "Mark after a Hold by a clock set back", f.page(t, 0, 1).Mark, high)
}
