package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
)

var auditPromises = []promise{
	{"audit.Store", "Other stores write entries within their own steps; this one adds those that accompany no change, and reads.", []proof{
		{"both are numbered as one", auditNumbers},
	}},
	{"audit.Store.Record", "Record adds one entry, durably, with the next number and the store's time.", []proof{
		{"all of it is read back", recordRoundTrip},
		{"V-41 control characters forge no entry", recordControls},
		{"eight at once leave no gap", recordRace},
	}},
	{"audit.Store.Entries", "Entries returns up to limit entries that match f with Seq below before, newest first; before 0 means from the newest.", []proof{
		{"limit and before", entriesPaged},
		{"by user, by event, by both", entriesFiltered},
	}},
	{"audit.Store.Forget", "Forget removes the entries older than the given time and returns how many.", []proof{
		{"those and no others", forgetOlder},
		{"no number is given out twice", forgetAll},
	}},
}

// wantAudit fails unless the audit log holds exactly these entries after the
// first n, at the present time.
func (f *fixture) wantAudit(t *testing.T, n int, want ...audit.Entry) {
	t.Helper()
	for i := range want {
		want[i].Seq, want[i].At = int64(n+i+1), f.clock.Now()
	}
	got := f.audits(t)
	equal(t, "the audit log", got[min(n, len(got)):], want)
}

func auditNumbers(t *testing.T, f *fixture) {
	must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
	f.user(t)
	must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
	f.wantAudit(t, 0, noted(audit.SignInFailed), noted(audit.UserAdded), noted(audit.SignInFailed))
}

func fullAudit() audit.Entry {
	return audit.Entry{
		Event: audit.RefreshReused, Outcome: "refresh_reused", Actor: "api_actor", UserID: "usr_whose",
		SessionID: "ses_which", Subject: "grt_what 李 é " + strings.Repeat("x", 230), IP: "2001:db8::1",
		UserAgent: strings.Repeat("ü", 128), RequestID: "request",
	}
}

func recordRoundTrip(t *testing.T, f *fixture) {
	e := fullAudit()
	e.Seq, e.At = 77, f.clock.Now().Add(time.Hour) // not the caller's to say
	must(t, f.Audit.Record(t.Context(), e))
	f.clock.Advance(time.Millisecond)
	must(t, f.Audit.Record(t.Context(), audit.Entry{Event: audit.SignInFailed}))
	first := fullAudit()
	first.Seq, first.At = 1, start
	equal(t, "the audit log", f.audits(t), []audit.Entry{first, {Seq: 2, At: f.clock.Now(), Event: audit.SignInFailed}})
}

// recordControls allows a store to escape what audit.New would have escaped.
func recordControls(t *testing.T, f *fixture) {
	for i, text := range slices.Concat(forgeries, unkeepable) {
		e := fullAudit()
		e.UserAgent, e.Subject, e.Actor, e.RequestID, e.IP = text, text, text, text, text
		must(t, f.Audit.Record(t.Context(), e))
		got := f.audits(t)
		if len(got) != i+1 {
			t.Fatalf("%d entries were recorded and %d are read", i+1, len(got))
		}
		if got[i].Subject != text {
			text = audit.Safe(text, 256)
		}
		e.UserAgent, e.Subject, e.Actor, e.RequestID, e.IP = text, text, text, text, text
		f.wantAudit(t, i, e)
	}
}

func recordRace(t *testing.T, f *fixture) {
	allWon(t, race(racers, func(int) error {
		for range 5 {
			if err := f.Audit.Record(t.Context(), noted(audit.SignInFailed)); err != nil {
				return err
			}
		}
		return nil
	}))
	want := make([]audit.Entry, 5*racers)
	for i := range want {
		want[i] = noted(audit.SignInFailed)
	}
	f.wantAudit(t, 0, want...)
}

func entriesPaged(t *testing.T, f *fixture) {
	for range 5 {
		must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
	}
	for _, c := range []struct {
		before int64
		limit  int
		want   []int64
	}{
		{0, 100, []int64{5, 4, 3, 2, 1}}, {0, 2, []int64{5, 4}}, {4, 2, []int64{3, 2}}, {2, 2, []int64{1}}, {1, 2, nil}, {99, 1, []int64{5}},
	} {
		entries, err := f.Audit.Entries(t.Context(), audit.Filter{}, c.before, c.limit)
		must(t, err)
		equal(t, "the numbers", numbers(entries), c.want)
	}
}

func numbers(entries []audit.Entry) []int64 {
	var all []int64
	for _, e := range entries {
		all = append(all, e.Seq)
	}
	return all
}

func entriesFiltered(t *testing.T, f *fixture) {
	for _, user := range []string{"usr_a", "usr_b", "usr_A", ""} {
		for _, event := range []audit.Event{audit.SignedIn, audit.SignInFailed} {
			e := noted(event)
			e.UserID = user
			must(t, f.Audit.Record(t.Context(), e))
		}
	}
	for _, c := range []struct {
		filter audit.Filter
		before int64
		limit  int
		want   []int64
	}{
		{audit.Filter{UserID: "usr_a"}, 0, 10, []int64{2, 1}},
		{audit.Filter{Event: audit.SignedIn}, 0, 10, []int64{7, 5, 3, 1}},
		{audit.Filter{Event: audit.SignedIn}, 0, 2, []int64{7, 5}},
		{audit.Filter{Event: audit.SignedIn}, 5, 1, []int64{3}},
		{audit.Filter{UserID: "usr_b", Event: audit.SignInFailed}, 0, 10, []int64{4}},
		{audit.Filter{UserID: "usr_A", Event: audit.SignInFailed}, 6, 10, nil},
		{audit.Filter{UserID: "usr_"}, 0, 10, nil},
		{audit.Filter{Event: "signed%"}, 0, 10, nil},
	} {
		entries, err := f.Audit.Entries(t.Context(), c.filter, c.before, c.limit)
		must(t, err)
		equal(t, "the numbers", numbers(entries), c.want)
	}
}

func forgetOlder(t *testing.T, f *fixture) {
	for range 3 {
		must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
		f.clock.Advance(time.Millisecond)
	}
	n, err := f.Audit.Forget(t.Context(), start.Add(time.Millisecond))
	must(t, err)
	equal(t, "the number forgotten", n, 1)
	equal(t, "the numbers left", numbers(f.audits(t)), []int64{2, 3})
}

func forgetAll(t *testing.T, f *fixture) {
	for range 3 {
		must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
	}
	n, err := f.Audit.Forget(t.Context(), start.Add(time.Hour))
	must(t, err)
	equal(t, "the number forgotten", n, 3)
	must(t, f.Audit.Record(t.Context(), noted(audit.SignInFailed)))
	equal(t, "the numbers left", numbers(f.audits(t)), []int64{4})
}
