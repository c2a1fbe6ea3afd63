package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

var outboxPromises = []promise{
	{"mail.Store.Post", "Post adds messages that accompany no change, due at once; one that does not say until when it is worth sending is for three days.", []proof{
		{"all of it is read back", postRoundTrip},
		{"all or none", postAllOrNone},
	}},
	{"mail.Store.Next", "Next returns when the first message is due, or false if none waits.", []proof{
		{"however the outbox is filled", nextDue},
	}},
	{"mail.Store.Claim", "Claim gives up to limit messages that are due to the caller, the longest due first, under a lease that keeps them from everyone else until it is over.", []proof{
		{"limit and order", claimOrder},
		{"nobody else before the lease is over", claimLease},
		{"eight at once share what is due", claimRace},
		{"a dead letter is nobody's", claimNotDead},
	}},
	{"mail.Store.Claim", "It also returns the time of the store.", []proof{
		{"the injected clock", claimTime},
	}},
	{"mail.Store.Sent", "Sent removes a message that the lease still holds; else [ErrLease].", []proof{
		{"once", sentOnce},
		{"not under another's lease, nor when dead", leaseGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Mail.Sent(t.Context(), id, lease)
		})},
	}},
	{"mail.Store.Postpone", "Postpone makes a message that the lease still holds due after a while, and keeps why; else [ErrLease].", []proof{
		{"not before", postponed},
		{"not under another's lease, nor when dead", leaseGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Mail.Postpone(t.Context(), id, lease, time.Second, "why")
		})},
	}},
	{"mail.Store.Bury", "Bury makes a message that the lease still holds a dead letter, and keeps why; else [ErrLease].", []proof{
		{"for good", buried},
		{"not under another's lease, nor when dead", leaseGuards(func(t *testing.T, f *fixture, id, lease string) error {
			return f.Mail.Bury(t.Context(), id, lease, "why")
		})},
	}},
	{"mail.Store.Counts", "Counts counts what waits and what is dead.", []proof{
		{"claimed ones too, and the oldest", mailCounts},
	}},
	{"mail.Store.ForgetDead", "ForgetDead removes dead letters that died longer ago than keep, and says how many.", []proof{
		{"those and no others", forgetDead},
	}},
}

const leased = 5 * time.Minute

// fullMessage returns a message that says all there is to say.
func fullMessage() mail.Message {
	m := mail.New(mail.NewDevice, "李@example.com", "de-CH, fr;q=0.5")
	m.LinkID, m.Expires = "lnk_link", start.Add(time.Hour)
	m.Values = map[string]string{"name": "Ada \"<b>\x00\r\nBcc: eve", "device": "Firefox on Linux", "place": "Zürich"}
	return m
}

// postMails posts n messages, each a second after the one before.
func (f *fixture) postMails(t *testing.T, n int) []mail.Message {
	t.Helper()
	messages := make([]mail.Message, n)
	for i := range messages {
		messages[i] = mail.New(mail.PasswordChanged, fmt.Sprintf("ada.%d@example.com", i), "")
		must(t, f.Mail.Post(t.Context(), messages[i]))
		f.clock.Advance(time.Second)
	}
	return messages
}

func (f *fixture) claimMails(t *testing.T, lease string, limit int) []mail.Letter {
	t.Helper()
	letters, _, err := f.Mail.Claim(t.Context(), lease, leased, limit)
	must(t, err)
	return letters
}

// wantClaim fails unless exactly these messages can be claimed now.
func (f *fixture) wantClaim(t *testing.T, lease string, limit int, want ...mail.Message) {
	t.Helper()
	equal(t, "what is claimed", letterIDs(f.claimMails(t, lease, limit)), messageIDs(want))
}

func letterIDs(letters []mail.Letter) []string {
	ids := make([]string, len(letters))
	for i, l := range letters {
		ids[i] = l.ID
	}
	return ids
}

func messageIDs(messages []mail.Message) []string {
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	return ids
}

// mails takes what the steps so far have put into the outbox, oldest first, without
// ids and with Expires only where the message said so.
func (f *fixture) mails(t *testing.T) []mail.Message {
	t.Helper()
	letters := f.claimMails(t, "reader", 1000)
	messages := make([]mail.Message, len(letters))
	for i, l := range letters {
		must(t, f.Mail.Sent(t.Context(), l.ID, "reader"))
		messages[i] = l.Message
		messages[i].ID = ""
		if l.Expires.Equal(l.Created.Add(mail.Worth)) {
			messages[i].Expires = time.Time{}
		}
	}
	return messages
}

// wantMails fails unless the steps since the last look at the outbox have put exactly
// these messages there. Ids do not count.
func (f *fixture) wantMails(t *testing.T, want ...mail.Message) {
	t.Helper()
	want = slices.Clone(want)
	for i := range want {
		want[i].ID = ""
	}
	equal(t, "the outbox", f.mails(t), want)
}

func postRoundTrip(t *testing.T, f *fixture) {
	full, bare := fullMessage(), mail.Message{ID: "bare", Kind: mail.Invitation, To: "ada@example.com"}
	must(t, f.Mail.Post(t.Context(), full, bare))
	letters := f.claimMails(t, "one", 10)
	slices.SortFunc(letters, func(a, b mail.Letter) int { return len(b.ID) - len(a.ID) })
	bare.Expires = start.Add(72 * time.Hour)
	equal(t, "the letters", letters, []mail.Letter{
		{Message: full, Created: start, Attempts: 1}, {Message: bare, Created: start, Attempts: 1},
	})
}

func postAllOrNone(t *testing.T, f *fixture) {
	m := fullMessage()
	must(t, f.Mail.Post(t.Context(), m))
	f.unchanged(t, "a post of one message anew", func() {
		if err := f.Mail.Post(t.Context(), fullMessage(), m); err == nil {
			t.Error("one message was posted twice")
		}
	})
}

func nextDue(t *testing.T, f *fixture) {
	next := func(want time.Time, waits bool) {
		t.Helper()
		due, some, err := f.Mail.Next(t.Context())
		must(t, err)
		if some != waits || waits && !due.Equal(want) {
			t.Errorf("Next returned %s and %t, want %s and %t", due, some, want, waits)
		}
	}
	next(time.Time{}, false)
	messages := f.postMails(t, 2)
	next(start, true)
	f.wantClaim(t, "one", 1, messages[0])
	next(start.Add(time.Second), true)
	f.wantClaim(t, "one", 1, messages[1])
	next(f.clock.Now().Add(leased), true)
	must(t, f.Mail.Bury(t.Context(), messages[0].ID, "one", "why"))
	must(t, f.Mail.Sent(t.Context(), messages[1].ID, "one"))
	next(time.Time{}, false)
}

func claimOrder(t *testing.T, f *fixture) {
	f.wantClaim(t, "one", 10)
	messages := f.postMails(t, 5)
	f.wantClaim(t, "one", 2, messages[:2]...)
	f.wantClaim(t, "one", 2, messages[2:4]...)
	f.wantClaim(t, "one", 2, messages[4])
	f.wantClaim(t, "one", 2)
}

func claimLease(t *testing.T, f *fixture) {
	m := f.postMails(t, 1)
	f.wantClaim(t, "one", 1, m...)
	f.clock.Advance(leased - time.Millisecond)
	f.wantClaim(t, "two", 1)
	f.clock.Advance(time.Millisecond)
	again := f.claimMails(t, "two", 1)
	if len(again) != 1 || again[0].Attempts != 2 {
		t.Fatalf("after the lease %v can be claimed", again)
	}
	wantErr(t, "Sent under the first lease", f.Mail.Sent(t.Context(), m[0].ID, "one"), mail.ErrLease)
	must(t, f.Mail.Sent(t.Context(), m[0].ID, "two"))
}

func claimRace(t *testing.T, f *fixture) {
	const each = 3
	messages := f.postMails(t, racers*each-each) // so that one racer goes short
	claimed := make([][]string, racers)
	allWon(t, race(racers, func(i int) error {
		letters, _, err := f.Mail.Claim(t.Context(), fmt.Sprint("racer ", i), leased, each)
		claimed[i] = letterIDs(letters)
		return err
	}))
	// Racers that looked at the same rows may have gone short, but none shares any.
	for range racers {
		claimed = append(claimed, letterIDs(f.claimMails(t, "late", each)))
	}
	all := slices.Concat(claimed...)
	slices.Sort(all)
	want := messageIDs(messages)
	slices.Sort(want)
	equal(t, "what all have claimed", all, want)
}

func claimNotDead(t *testing.T, f *fixture) {
	m := f.postMails(t, 1)
	f.wantClaim(t, "one", 1, m...)
	must(t, f.Mail.Bury(t.Context(), m[0].ID, "one", "why"))
	f.clock.Advance(2 * leased)
	f.wantClaim(t, "two", 1)
}

func claimTime(t *testing.T, f *fixture) {
	f.clock.Advance(time.Hour)
	_, now, err := f.Mail.Claim(t.Context(), "one", leased, 1)
	must(t, err)
	equal(t, "the time", now, f.clock.Now())
}

func sentOnce(t *testing.T, f *fixture) {
	m := f.postMails(t, 1)
	f.wantClaim(t, "one", 1, m...)
	must(t, f.Mail.Sent(t.Context(), m[0].ID, "one"))
	wantErr(t, "Sent again", f.Mail.Sent(t.Context(), m[0].ID, "one"), mail.ErrLease)
	f.clock.Advance(2 * leased)
	f.wantClaim(t, "one", 1)
}

// leaseGuards returns a proof that a change needs the lease.
func leaseGuards(change func(t *testing.T, f *fixture, id, lease string) error) func(*testing.T, *fixture) {
	return func(t *testing.T, f *fixture) {
		m := f.postMails(t, 1)
		for _, lease := range []string{"", "one"} {
			f.unchanged(t, "a change without a claim", func() {
				wantErr(t, "the change", change(t, f, m[0].ID, lease), mail.ErrLease)
			})
		}
		f.wantClaim(t, "one", 1, m...)
		for _, lease := range []string{"", "two", "ONE"} {
			wantErr(t, "the change under another lease", change(t, f, m[0].ID, lease), mail.ErrLease)
		}
		wantErr(t, "the change of another", change(t, f, "another", "one"), mail.ErrLease)
		must(t, f.Mail.Bury(t.Context(), m[0].ID, "one", "why"))
		f.unchanged(t, "a change of a dead letter", func() {
			for _, lease := range []string{"", "one"} {
				wantErr(t, "the change", change(t, f, m[0].ID, lease), mail.ErrLease)
			}
		})
	}
}

func postponed(t *testing.T, f *fixture) {
	m := f.postMails(t, 1)
	f.wantClaim(t, "one", 1, m...)
	must(t, f.Mail.Postpone(t.Context(), m[0].ID, "one", time.Minute, "the server is away"))
	wantErr(t, "Sent after Postpone", f.Mail.Sent(t.Context(), m[0].ID, "one"), mail.ErrLease)
	counts, err := f.Mail.Counts(t.Context())
	must(t, err)
	equal(t, "why", counts.Failure, "the server is away")
	f.clock.Advance(time.Minute - time.Millisecond)
	f.wantClaim(t, "one", 1)
	f.clock.Advance(time.Millisecond)
	f.wantClaim(t, "one", 1, m...)
}

func buried(t *testing.T, f *fixture) {
	m := f.postMails(t, 2)
	f.wantClaim(t, "one", 2, m...)
	must(t, f.Mail.Bury(t.Context(), m[0].ID, "one", "no such mailbox"))
	must(t, f.Mail.Postpone(t.Context(), m[1].ID, "one", 0, "later"))
	counts, err := f.Mail.Counts(t.Context())
	must(t, err)
	equal(t, "the counts", counts, mail.Counts{Waiting: 1, Oldest: start.Add(time.Second), Dead: 1, Failure: "no such mailbox"})
}

func mailCounts(t *testing.T, f *fixture) {
	want := func(want mail.Counts) {
		t.Helper()
		counts, err := f.Mail.Counts(t.Context())
		must(t, err)
		equal(t, "the counts", counts, want)
	}
	want(mail.Counts{})
	m := f.postMails(t, 3)
	want(mail.Counts{Waiting: 3, Oldest: start})
	f.wantClaim(t, "one", 2, m[:2]...)
	want(mail.Counts{Waiting: 3, Oldest: start})
	must(t, f.Mail.Sent(t.Context(), m[0].ID, "one"))
	must(t, f.Mail.Bury(t.Context(), m[1].ID, "one", "first"))
	want(mail.Counts{Waiting: 1, Oldest: start.Add(2 * time.Second), Dead: 1, Failure: "first"})
	f.clock.Advance(time.Second)
	f.wantClaim(t, "one", 2, m[2])
	must(t, f.Mail.Bury(t.Context(), m[2].ID, "one", "second"))
	want(mail.Counts{Dead: 2, Failure: "second"})
}

func forgetDead(t *testing.T, f *fixture) {
	const keep = time.Hour
	m := f.postMails(t, 3)
	f.wantClaim(t, "one", 3, m...)
	must(t, f.Mail.Bury(t.Context(), m[0].ID, "one", "why"))
	f.clock.Advance(time.Second)
	must(t, f.Mail.Bury(t.Context(), m[1].ID, "one", "why"))
	f.clock.Advance(keep)
	n, err := f.Mail.ForgetDead(t.Context(), keep)
	must(t, err)
	equal(t, "how many are forgotten", n, 1)
	counts, err := f.Mail.Counts(t.Context())
	must(t, err)
	equal(t, "the counts", counts, mail.Counts{Waiting: 1, Oldest: start.Add(2 * time.Second), Dead: 1, Failure: "why"})
}
