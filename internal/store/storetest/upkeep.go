package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var upkeepPromises = []promise{
	{"session.UpkeepStore.Touch", "Touch raises LastSeenAt of each session named; it never lowers one and never revives one that is over.", []proof{
		{"each of those named, and no other", touchRaises},
		{"V-32 one that is over in any way stays over", touchRevivesNone},
		{"a batch of forty thousand", touchMany},
	}},
	{"session.UpkeepStore.Sweep", "Sweep removes sessions, with their grants and application data, that have been over for longer than keep, at most limit of them, and returns how many.", []proof{
		{"however they came to be over", sweepOver},
		{"not before, and none that live", sweepKeeps},
		{"at most limit", sweepLimit},
	}},
	{"session.UpkeepStore.Sweep", "More says that there may be others.", []proof{
		{"until all are gone, with many that live before them", sweepMore},
	}},
	{"session.UpkeepStore.SetTerms", "SetTerms adds or replaces a client's terms; OverBefore and Disabled of an existing row stay.", []proof{
		{"all of them are read back", setTermsRoundTrip},
		{"V-33 nothing is enabled or revived by it", setTermsKeeps},
	}},
	{"session.UpkeepStore.Count", "Count returns the number of live sessions.", []proof{
		{"of all users", countAll},
		{"none that is over in any way", countOver},
	}},
}

var attachmentPromises = []promise{
	{"session.AttachmentStore.Attachment", "Attachment returns the document and its version; version 0 and nil if there is none yet.", []proof{
		{"byte for byte", attachmentRoundTrip},
	}},
	{"session.AttachmentStore.Attachment", "It goes with the session.", []proof{{"when that is swept or its user deleted", attachmentGoes}}},
	{"session.AttachmentStore.SwapAttachment", "SwapAttachment puts document in the place of the one at version, and returns the new version, or ErrLost; ErrNone if the session is over or missing.", []proof{
		{"another version", swapAttachmentLost},
		{"of eight one wins", swapAttachmentRace},
		{"a session that is over in any way, or missing", swapAttachmentOver},
	}},
}

func (f *fixture) lastSeen(t *testing.T, in signIn) time.Time {
	t.Helper()
	return f.ofSession(t, in.ID).Session.LastSeenAt
}

func touchRaises(t *testing.T, f *fixture) {
	u := f.user(t)
	first, second, other := f.signIn(t, u), f.signIn(t, u), f.signIn(t, u)
	f.clock.Advance(10 * time.Minute)
	now := f.clock.Now()
	early := now.Add(-time.Minute - time.Millisecond)
	must(t, f.Upkeep.Touch(t.Context(), nil))
	must(t, f.Upkeep.Touch(t.Context(), []session.Seen{
		{SessionID: first.ID, At: now}, {SessionID: credential.NewID(credential.Session), At: now}, {SessionID: second.ID, At: early},
	}))
	equal(t, "LastSeenAt of the first", f.lastSeen(t, first), now)
	equal(t, "LastSeenAt of the second", f.lastSeen(t, second), early)
	equal(t, "LastSeenAt of the other", f.lastSeen(t, other), start)
	must(t, f.Upkeep.Touch(t.Context(), []session.Seen{
		{SessionID: first.ID, At: early}, {SessionID: second.ID, At: now}, {SessionID: other.ID},
	}))
	equal(t, "LastSeenAt of the first, never lowered", f.lastSeen(t, first), now)
	equal(t, "LastSeenAt of the second, raised again", f.lastSeen(t, second), now)
	equal(t, "LastSeenAt of the other, never seen", f.lastSeen(t, other), start)
	f.wantLog(t, 0)
	f.clock.Set(start.Add(idle + time.Minute))
	f.wantAlive(t, first)
	f.wantOver(t, other)
}

func touchRevivesNone(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		at := f.clock.Now()
		if mark := f.page(t, 0, 1).Mark; mark.After(at) {
			at = mark // the store's time does not go back with the clock
		}
		for range 3 {
			must(t, f.Upkeep.Touch(t.Context(), []session.Seen{{SessionID: in.ID, At: at}}))
			f.wantOver(t, in)
			equal(t, "the number of live sessions", f.count(t), 0)
			at = at.Add(time.Minute)
		}
	})
}

func touchMany(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	f.clock.Advance(time.Minute)
	batch := make([]session.Seen, 40_000)
	for i := range batch {
		batch[i] = session.Seen{SessionID: fmt.Sprint("ses_", i), At: f.clock.Now()}
	}
	batch[len(batch)/2].SessionID = in.ID
	must(t, f.Upkeep.Touch(t.Context(), batch))
	equal(t, "LastSeenAt", f.lastSeen(t, in), f.clock.Now())
}

// sweep sweeps until nothing more is removed, and returns how many that were. A
// store may look at a session more than once before it finds it over.
func (f *fixture) sweep(t *testing.T, keep time.Duration, limit int) int {
	t.Helper()
	sum := 0
	for range 20 {
		n, _, err := f.Upkeep.Sweep(t.Context(), keep, limit)
		must(t, err)
		if n > limit {
			t.Errorf("Sweep removed %d sessions, and may %d", n, limit)
		}
		sum += n
	}
	return sum
}

func sweepOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		f.clock.Advance(10 * 24 * time.Hour)
		neighbour := f.signIn(t, f.user(t))
		f.sweep(t, time.Hour, 100)
		_, err := f.Sessions.OfSession(t.Context(), in.ID)
		wantErr(t, "OfSession", err, session.ErrNone)
		_, err = f.Sessions.OfGrant(t.Context(), in.Grant.ID)
		wantErr(t, "OfGrant", err, session.ErrNone)
		f.wantDocument(t, in.ID, "", 0)
		f.wantAlive(t, neighbour)
	})
}

func sweepKeeps(t *testing.T, f *fixture) {
	const keep = 30 * time.Minute
	u := f.user(t)
	ended, used, neighbour := f.signIn(t, u), f.signIn(t, u), f.signIn(t, u)
	f.clock.Advance(20 * time.Minute)
	f.touch(t, used.ID)
	f.touch(t, neighbour.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: ended.ID})
	f.clock.Advance(keep - time.Minute)
	equal(t, "the number swept too early", f.sweep(t, keep, 100), 0)
	f.touch(t, neighbour.ID)
	f.clock.Advance(2 * time.Minute)
	equal(t, "the number swept", f.sweep(t, keep, 100), 1)
	_, err := f.Sessions.OfSession(t.Context(), ended.ID)
	wantErr(t, "OfSession", err, session.ErrNone)
	f.wantAlive(t, used)
	f.clock.Set(start.Add(20*time.Minute + idle + keep - time.Minute))
	equal(t, "the number of idle ones swept too early", f.sweep(t, keep, 100), 0)
	f.wantOver(t, used)
	f.clock.Advance(2 * time.Minute)
	equal(t, "the number of idle ones swept", f.sweep(t, keep, 100), 1)
	f.ofSession(t, neighbour.ID)
	equal(t, "the number swept of those that live in an hour", f.sweep(t, 0, 100), 1)
}

func sweepLimit(t *testing.T, f *fixture) {
	u := f.user(t)
	for range 5 {
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: f.signIn(t, u).ID})
	}
	f.clock.Advance(time.Hour + time.Second)
	live := f.signIn(t, u)
	equal(t, "the number swept", f.sweep(t, time.Hour, 2), 5)
	f.wantAlive(t, live)
}

// Those that live on lie before those that are over, because they are older: they
// neither hide them, nor are they looked at for ever.
func sweepMore(t *testing.T, f *fixture) {
	u := f.user(t)
	var used []signIn
	for range 7 {
		used = append(used, f.signIn(t, u))
	}
	f.clock.Advance(time.Minute)
	for range 5 {
		f.signIn(t, u)
	}
	f.clock.Advance(idle / 2)
	for _, in := range used {
		f.touch(t, in.ID)
	}
	f.clock.Set(start.Add(idle + 2*time.Minute))
	sum, calls := 0, 0
	for more := true; more; calls++ {
		var n int
		var err error
		n, more, err = f.Upkeep.Sweep(t.Context(), 0, 3)
		must(t, err)
		if sum += n; calls > 12 {
			t.Fatal("there is always more")
		}
	}
	equal(t, "the number swept", sum, 5)
	for _, in := range used {
		f.wantAlive(t, in)
	}
}

func setTermsRoundTrip(t *testing.T, f *fixture) {
	u := f.user(t)
	full := session.ClientTerms{
		ID: "cli_full", FirstParty: true, Pairwise: true, Audiences: []string{"https://a.example/", "b", "c"},
		Scopes: []string{"openid", "a:b"}, Access: time.Hour + time.Millisecond, Disabled: true,
	}
	bare := session.ClientTerms{ID: "cli_bare", Audiences: []string{}, Access: time.Second}
	for i := range 100 {
		bare.Scopes = append(bare.Scopes, fmt.Sprint("scope", i))
	}
	replaced := partner
	replaced.Pairwise, replaced.Audiences, replaced.Scopes, replaced.Access = true, []string{"x"}, nil, time.Minute
	for _, c := range []session.ClientTerms{full, bare, replaced, partner} {
		must(t, f.Upkeep.SetTerms(t.Context(), c))
		st, err := f.Sessions.Terms(t.Context(), u.ID, c.ID)
		must(t, err)
		equal(t, "the terms", st.Client, c)
	}
	st, err := f.Sessions.Terms(t.Context(), u.ID, pairwise.ID)
	must(t, err)
	equal(t, "another client's terms", st.Client, pairwise)
}

func setTermsKeeps(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: partner.ID})
	over := f.reach(t, feed.Client)
	must(t, f.Upkeep.SetTerms(t.Context(), session.ClientTerms{ID: "cli_disabled", Access: lifetime, Disabled: true}))
	for id, want := range map[string]session.ClientTerms{
		partner.ID: {OverBefore: over}, "cli_disabled": {Disabled: true}, pairwise.ID: {},
	} {
		want.ID, want.Access = id, time.Minute
		given := want
		given.Disabled, given.OverBefore = !want.Disabled, 5
		must(t, f.Upkeep.SetTerms(t.Context(), given))
		st, err := f.Sessions.Terms(t.Context(), u.ID, id)
		must(t, err)
		equal(t, "the terms", st.Client, want)
	}
	wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), in.swap("refresh 2")), session.ErrLost)
}

func countAll(t *testing.T, f *fixture) {
	equal(t, "the number at first", f.count(t), 0)
	u := f.user(t)
	for range 3 {
		f.signIn(t, u)
		f.signIn(t, f.user(t), partner.ID)
	}
	equal(t, "the number", f.count(t), 6)
	f.change(t, u.ID, account.UserChange{Disabled: ptr(true)})
	equal(t, "the number without those of one user", f.count(t), 3)
}

func countOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, _ signIn) {
		equal(t, "the number", f.count(t), 0)
	})
}
