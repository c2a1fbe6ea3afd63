package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

var noticePromises = []promise{
	{"session.Store.Add", "The notices are posted in the same step.", []proof{
		{"all of them, and none for a session that is not added", addNotices},
	}},
	{"session.Store.End", "The notices are posted in the same step, so that of many who end one thing at once one tells of it.", []proof{
		{"once, and none where nothing ends", endNotices},
		{"of 64 at once one tells", endNoticesRace},
	}},
	{"account.Store.SetPassword", "The notices are posted in the same step.", []proof{
		{"all of them, and none when it lost", passwordNotices},
		{"of eight that win once one tells", passwordNoticesRace},
	}},
	{"session.HistoryStore.Devices", "Devices reports whether a session of the user is kept, and whether one of the newest thousand is of a device of this name and has no cookie; those that are over count, too.", []proof{
		{"of the user alone", devicesOfUser},
		{"those that are over", devicesOver},
		{"as it was written", devicesAsWritten},
	}},
	{"session.HistoryStore.Devices", "An empty name is nobody's.", []proof{{"not even that of a nameless device", devicesNameless}}},
	{"session.HistoryStore.Devices", "A session that was opened for a client is of no device.", []proof{{"though it has no cookie", devicesOffline}}},
	{"session.HistoryStore.Kept", "Kept returns up to limit sessions of a user, by descending id below before (empty: from the newest), each with its grants in the order of their ids; those that are over are there until they are swept.", []proof{
		{"page after page", keptPaged},
		{"those that are over", keptUntilSwept},
	}},
	{"account.LinkStore.LinksOf", "LinksOf returns all links that are kept of a user and, unless key is empty, to the canonical address, the oldest first; spent ones and decoys too.", []proof{
		{"of the user, and to the address", linksOfUser},
	}},
	{"mail.RecipientStore.LettersTo", "LettersTo returns up to limit messages to an address that were not sent, the oldest first; dead ones too.", []proof{
		{"and to no other", lettersTo},
	}},
}

// notices returns two notices that tell all there is to tell.
func notices(kind mail.Kind) []mail.Message {
	one, two := fullMessage(), mail.New(kind, "old@example.com", "")
	one.Kind = kind
	return []mail.Message{one, two}
}

func addNotices(t *testing.T, f *fixture) {
	u := f.user(t)
	in, told := f.draft(u.ID), notices(mail.NewDevice)
	must(t, f.Sessions.Add(t.Context(), in.Session, in.Grant, 1, noted(audit.SignedIn), told...))
	f.wantMails(t, told...)
	f.signIn(t, u)
	f.wantMails(t)
	f.disable(t, u.ID)
	lost := f.draft(u.ID)
	f.unchanged(t, "a session of a disabled user", func() {
		wantErr(t, "Add", f.Sessions.Add(t.Context(), lost.Session, lost.Grant, 1, noted(audit.SignedIn), notices(mail.NewDevice)...), session.ErrLost)
	})
	again, other := f.draft(f.user(t).ID), in
	again.ID = other.ID
	f.unchanged(t, "a session that is there", func() {
		if err := f.Sessions.Add(t.Context(), again.Session, again.Grant, 0, noted(audit.SignedIn), notices(mail.NewDevice)...); err == nil {
			t.Error("a session was added twice")
		}
	})
}

func endNotices(t *testing.T, f *fixture) {
	u := f.user(t)
	in, third := f.signIn(t, u), f.signIn(t, u, partner.ID)
	for _, what := range []session.Ending{
		{Kind: feed.Session, ID: in.ID, Reason: "refresh_reused"},
		{Kind: feed.Grant, ID: third.Grant.ID, Reason: "refresh_reused"},
	} {
		told := notices(mail.RefreshReused)
		n, err := f.Sessions.End(t.Context(), what, noted(audit.RefreshReused), told...)
		must(t, err)
		equal(t, "the number of records ended", n, 1)
		f.wantMails(t, told...)
		f.unchanged(t, "what is over", func() {
			n, err := f.Sessions.End(t.Context(), what, noted(audit.RefreshReused), notices(mail.RefreshReused)...)
			must(t, err)
			equal(t, "the number of records ended again", n, 0)
		})
	}
}

func endNoticesRace(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	told := mail.New(mail.RefreshReused, "ada@example.com", "de")
	allWon(t, race(64, func(int) error {
		mine := told
		mine.ID = mail.New(told.Kind, told.To, told.Language).ID
		_, err := f.Sessions.End(t.Context(), session.Ending{Kind: feed.Session, ID: in.ID}, noted(audit.RefreshReused), mine)
		return err
	}))
	f.wantMails(t, told)
}

func passwordNotices(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.signIn(t, u)
	change := account.PasswordChange{UserID: u.ID, Old: "old", New: "new", Keep: in.ID, EndOthers: true}
	told := notices(mail.PasswordChanged)
	must(t, f.Users.SetPassword(t.Context(), change, noted(audit.PasswordChanged), told...))
	f.wantMails(t, told...)
	f.unchanged(t, "a lost password", func() {
		err := f.Users.SetPassword(t.Context(), change, noted(audit.PasswordChanged), notices(mail.PasswordChanged)...)
		wantErr(t, "SetPassword", err, account.ErrLost)
	})
	f.unchanged(t, "a password of nobody", func() {
		nobody := account.PasswordChange{UserID: credential.NewID(credential.User), New: "new", EndAll: true}
		err := f.Users.SetPassword(t.Context(), nobody, noted(audit.PasswordChanged), notices(mail.PasswordChanged)...)
		wantErr(t, "SetPassword", err, account.ErrNoUser)
	})
}

func passwordNoticesRace(t *testing.T, f *fixture) {
	u := f.user(t)
	told := mail.New(mail.PasswordChanged, u.Email, "")
	oneWinner(t, race(racers, func(int) error {
		mine := told
		mine.ID = mail.New(told.Kind, told.To, told.Language).ID
		change := account.PasswordChange{UserID: u.ID, Old: "old", New: "new", EndAll: true}
		return f.Users.SetPassword(t.Context(), change, noted(audit.PasswordChanged), mine)
	}), account.ErrLost)
	f.wantMails(t, told)
}

// wantDevices fails unless this is what is known of a device of a user.
func (f *fixture) wantDevices(t *testing.T, userID, device string, signedIn, same bool) {
	t.Helper()
	before, alike, err := f.History.Devices(t.Context(), userID, device)
	must(t, err)
	equal(t, fmt.Sprintf("what is known of %q", device), [2]bool{before, alike}, [2]bool{signedIn, same})
}

// phone adds a session that has no cookie.
func (f *fixture) phone(t *testing.T, u account.User) signIn {
	t.Helper()
	in := f.draft(u.ID)
	in.SecretHash = credential.Hash{}
	f.add(t, in)
	return in
}

func devicesOfUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	in := f.phone(t, neighbour)
	f.wantDevices(t, u.ID, in.Device, false, false)
	f.signIn(t, u)
	f.wantDevices(t, u.ID, in.Device, true, false)
	f.phone(t, u)
	f.wantDevices(t, u.ID, in.Device, true, true)
	f.wantDevices(t, u.ID, "Firefox", true, false)
	f.wantDevices(t, u.ID, "", true, false)
	f.wantDevices(t, credential.NewID(credential.User), in.Device, false, false)
}

func devicesNameless(t *testing.T, f *fixture) {
	u := f.user(t)
	in := f.draft(u.ID)
	in.Device, in.SecretHash = "", credential.Hash{}
	f.add(t, in)
	f.wantDevices(t, u.ID, "", true, false)
}

func devicesOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		_, err := f.Sessions.OfSession(t.Context(), in.ID)
		f.wantDevices(t, in.UserID, in.Device, !errors.Is(err, session.ErrNone), false)
	})
	u := f.user(t)
	in := f.phone(t, u)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.wantDevices(t, u.ID, in.Device, true, true)
	f.clock.Advance(absolute + 2*time.Hour)
	_, _, err := f.Upkeep.Sweep(t.Context(), time.Hour, 1000)
	must(t, err)
	f.wantDevices(t, u.ID, in.Device, false, false)
}

func devicesAsWritten(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, device := range []string{"Adas Händi 📱", "a' OR 1=1 --", "%", "FIREFOX ON LINUX"} {
		f.wantDevices(t, u.ID, device, len(f.sessions) > 0, false)
		in := f.draft(u.ID)
		in.Device, in.SecretHash = device, credential.Hash{}
		f.add(t, in)
		f.wantDevices(t, u.ID, device, true, true)
	}
	f.wantDevices(t, u.ID, "firefox on linux", true, false)
	f.wantDevices(t, u.ID, "_", true, false)
}

func keptPaged(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	f.signIn(t, neighbour)
	var want []session.Kept
	for i := range 5 {
		f.clock.Advance(time.Second)
		in := f.signIn(t, u)
		if i == 1 {
			f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID, Reason: "ended"})
			in.EndedAt, in.EndReason = f.clock.Now(), "ended"
		}
		if i == 2 {
			f.end(t, 1, session.Ending{Kind: feed.Grant, ID: in.Grant.ID, Reason: "reused"})
			in.Grant.EndedAt, in.Grant.EndReason = f.clock.Now(), "reused"
		}
		want = append([]session.Kept{{Session: in.Session, Grants: []session.Grant{in.Grant}}}, want...)
	}
	var got []session.Kept
	for before := ""; ; before = got[len(got)-1].Session.ID {
		rows, err := f.History.Kept(t.Context(), u.ID, before, 2)
		must(t, err)
		if got = append(got, rows...); len(rows) < 2 || len(got) > 5 {
			break
		}
	}
	equal(t, "what is kept", got, want)
	rows, err := f.History.Kept(t.Context(), credential.NewID(credential.User), "", 10)
	must(t, err)
	equal(t, "what is kept of nobody", rows, []session.Kept{})
}

func keptUntilSwept(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		_, err := f.Sessions.OfSession(t.Context(), in.ID)
		there := !errors.Is(err, session.ErrNone)
		rows, err := f.History.Kept(t.Context(), in.UserID, "", 10)
		must(t, err)
		if found := slices.ContainsFunc(rows, func(k session.Kept) bool { return k.Session.ID == in.ID }); found != there {
			t.Errorf("the session is listed: %v, and there: %v", found, there)
		}
	})
	u := f.user(t)
	f.signIn(t, u)
	f.clock.Advance(absolute + 2*time.Hour)
	_, _, err := f.Upkeep.Sweep(t.Context(), time.Hour, 1000)
	must(t, err)
	rows, err := f.History.Kept(t.Context(), u.ID, "", 10)
	must(t, err)
	equal(t, "what is kept after the sweep", rows, []session.Kept{})
}

func linksOfUser(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	var own, to []string
	for i, l := range []account.Link{
		{Kind: account.LinkVerify, UserID: u.ID, Email: u.Email, EmailKey: u.EmailKey},
		{Kind: account.LinkReset, UserID: u.ID, Email: u.Email, EmailKey: u.EmailKey},
		{Kind: account.LinkEmail, UserID: u.ID, Email: "new@example.com", EmailKey: "new@example.com"},
		{Kind: account.LinkSignUp, Email: u.Email, EmailKey: u.EmailKey},
		{Kind: account.LinkReset, Email: u.Email, EmailKey: u.EmailKey, Decoy: true},
		{Kind: account.LinkReset, UserID: neighbour.ID, Email: neighbour.Email, EmailKey: neighbour.EmailKey},
		{Kind: account.LinkSignUp, Email: "somebody@example.com", EmailKey: "somebody@example.com"},
	} {
		f.clock.Advance(time.Second)
		l.ID = credential.NewID(credential.Link)
		f.addLink(t, l)
		if i < 3 {
			own = append(own, l.ID)
		}
		if i < 5 {
			to = append(to, l.ID)
		}
	}
	f.clock.Advance(2 * account.LinkLife) // old ones are there until they are swept
	for key, want := range map[string][]string{"": own, u.EmailKey: to} {
		links, err := f.Links.LinksOf(t.Context(), u.ID, key)
		must(t, err)
		var ids []string
		for _, l := range links {
			ids = append(ids, l.ID)
		}
		equal(t, "the links", ids, want)
	}
	links, err := f.Links.LinksOf(t.Context(), credential.NewID(credential.User), "")
	must(t, err)
	equal(t, "the links of nobody", links, []account.Link{})
}

func lettersTo(t *testing.T, f *fixture) {
	posted := f.postMails(t, 3)
	again := mail.New(mail.NewDevice, posted[1].To, "de")
	again.Values = map[string]string{"device": "Firefox on Linux"}
	must(t, f.Mail.Post(t.Context(), again))
	for _, l := range f.claimMails(t, "one", 3) {
		if l.ID == posted[1].ID {
			must(t, f.Mail.Bury(t.Context(), l.ID, "one", "refused"))
		} else {
			must(t, f.Mail.Sent(t.Context(), l.ID, "one"))
		}
	}
	for limit, want := range map[int][]string{10: {posted[1].ID, again.ID}, 1: {posted[1].ID}} {
		letters, err := f.Recipients.LettersTo(t.Context(), posted[1].To, limit)
		must(t, err)
		equal(t, "the mails", letterIDs(letters), want)
	}
	for _, nobody := range []string{posted[0].To, "", "%", "ADA.1@example.com"} {
		letters, err := f.Recipients.LettersTo(t.Context(), nobody, 10)
		must(t, err)
		equal(t, "the mails to "+nobody, letterIDs(letters), []string{})
	}
}
