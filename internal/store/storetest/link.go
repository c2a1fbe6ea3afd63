package storetest

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/mail"
)

var linkPromises = []promise{
	{"account.LinkStore", "Every method that changes something is one atomic step, in which the audit entry and the mails are written too; an empty entry is not.", []proof{
		{"each change has its entry and its mails when it returns", linkStepsNoted},
		{"no entry", addLinkUnnoted},
	}},
	{"account.LinkStore", "A link is live until the store's time says that it is old, or it was spent or replaced.", []proof{
		{"to the millisecond", linkGrowsOld},
		{"V-87 a link that is over in any way does nothing", deadLinks},
	}},
	{"account.LinkStore", "A decoy is never live.", []proof{{"of any kind", decoys}}},
	{"account.LinkStore", "A user who is removed takes all links along, and a password that is set anew ends the reset and email links.", []proof{
		{"removed", linksGo},
		{"V-87, V-91 a password by other means", takeoversEnd},
		{"V-91 a password by another link", takeoversEndByReset},
	}},
	{"account.LinkStore.AddLink", "AddLink adds a link and sets its times.", []proof{
		{"all of it is read back", linkRoundTrip},
		{"V-41 control characters change no other member", linkControls},
	}},
	{"account.LinkStore.AddLink", "A message that names it is worth sending for as long as the link lives.", []proof{
		{"and any other as it says", linkMails},
	}},
	{"account.LinkStore.AddLink", "Of the live links of a kind and user only the newest stays so, of invitations to an address likewise, and of sign-ups to an address the newest five; a decoy replaces none.", []proof{
		{"V-87 of a kind and user", replaceOfUser},
		{"invitations and sign-ups", replaceOfAddress},
		{"not by decoys", decoysReplaceNone},
		{"eight at once", replaceRace},
	}},
	{"account.LinkStore.AddLink", "It returns [ErrNoUser] if the link is about a user who is not there.", []proof{{"without a trace", linkOfNobody}}},
	{"account.LinkStore.FindLink", "FindLink returns a live link, or [ErrLinkOver], and changes nothing.", []proof{
		{"V-87 however often it is asked", findLink},
	}},
	{"account.LinkStore.GuessLinks", "GuessLinks counts a guess at every live sign_up, verify and email link to the canonical address, and returns those that had fewer than [MaxGuesses] and are younger than [CodeLife].", []proof{
		{"those and no others", guessLinks},
		{"eight at once make five", guessRace},
		{"ASVS-6.5.5 for ten minutes", guessInTime},
	}},
	{"account.LinkStore.SweepLinks", "SweepLinks removes up to limit links that are old, spent or not, and returns how many.", []proof{
		{"those and no others, batch by batch", sweepLinks},
	}},
}

// allKinds are all kinds of links.
var allKinds = []account.LinkKind{account.LinkSignUp, account.LinkVerify, account.LinkReset, account.LinkEmail, account.LinkInvite}

// draftLink is a link that was not added yet: about a user, or about nobody.
func draftLink(kind account.LinkKind, userID, key string) account.Link {
	l := account.Link{ID: credential.NewID(credential.Link), Kind: kind, UserID: userID, Email: "A" + key[1:], EmailKey: key}
	switch kind {
	case account.LinkSignUp:
		l.Name, l.Password, l.Browser = "Ada", "typed first", hashOf("browser")
	case account.LinkInvite:
		l.Name, l.Roles = "Ada", []string{account.Admin}
	}
	return l
}

// linkOf is a draft as it would be made for the user u: to their own address, or for
// the kinds that are about another address, to that.
func linkOf(kind account.LinkKind, u account.User) account.Link {
	switch kind {
	case account.LinkVerify, account.LinkReset:
		l := draftLink(kind, u.ID, u.EmailKey)
		l.Email = u.Email
		return l
	case account.LinkEmail:
		return draftLink(kind, u.ID, "a.new@example.com")
	default:
		return draftLink(kind, "", "a.newcomer@example.com")
	}
}

// addLink adds a link without an entry or a mail.
func (f *fixture) addLink(t *testing.T, l account.Link) account.Link {
	t.Helper()
	added, err := f.Links.AddLink(t.Context(), l, audit.Entry{})
	must(t, err)
	f.links = append(f.links, added.ID)
	return added
}

// spend spends a link in the way of its kind.
func (f *fixture) spend(t *testing.T, l account.Link, e audit.Entry, mails ...mail.Message) error {
	var err error
	switch l.Kind {
	case account.LinkReset:
		return f.Links.ResetByLink(t.Context(), l.ID, "reset", e, mails...)
	case account.LinkVerify, account.LinkEmail:
		_, err = f.Links.AddressByLink(t.Context(), l.ID, e, mails...)
	default:
		_, err = f.Links.AddUserByLink(t.Context(), l.ID, draftUser(l.EmailKey), "new", e)
	}
	return err
}

func (f *fixture) wantLink(t *testing.T, l account.Link, live bool) {
	t.Helper()
	_, err := f.Links.FindLink(t.Context(), l.ID)
	if live {
		wantErr(t, "FindLink of a live "+string(l.Kind)+" link", err, nil)
		return
	}
	wantErr(t, "FindLink of a "+string(l.Kind)+" link that is over", err, account.ErrLinkOver)
}

func linkStepsNoted(t *testing.T, f *fixture) {
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			f := f.again(t)
			u := f.user(t)
			e, m := fullAudit(), mail.New(mail.PasswordChanged, "ada@example.com", "")
			n := len(f.audits(t))
			l, err := f.Links.AddLink(t.Context(), linkOf(kind, u), e, m)
			must(t, err)
			f.wantAudit(t, n, e)
			equal(t, "the mails", mailIDs(f.claimMails(t, "first", 10)), []string{m.ID})
			if kind == account.LinkSignUp || kind == account.LinkInvite {
				must(t, f.spend(t, l, e))
				f.wantAudit(t, n, e, e)
				return
			}
			m = mail.New(mail.EmailChanged, "ada@example.com", "")
			must(t, f.spend(t, l, e, m))
			f.wantAudit(t, n, e, e)
			equal(t, "the mails", mailIDs(f.claimMails(t, "second", 10)), []string{m.ID})
		})
	}
}

func mailIDs(letters []mail.Letter) []string {
	var ids []string
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

func addLinkUnnoted(t *testing.T, f *fixture) {
	n := len(f.audits(t))
	f.addLink(t, linkOf(account.LinkSignUp, account.User{}))
	equal(t, "the number of entries", len(f.audits(t)), n)
}

func linkGrowsOld(t *testing.T, f *fixture) {
	u := f.user(t)
	var links []account.Link
	for _, kind := range allKinds {
		links = append(links, f.addLink(t, linkOf(kind, u)))
	}
	f.clock.Advance(account.LinkLife - time.Millisecond)
	for _, l := range links {
		f.wantLink(t, l, true)
	}
	f.clock.Advance(time.Millisecond)
	for _, l := range links {
		f.wantLink(t, l, false)
	}
}

// deadLinks spends links that are over in every way there is.
func deadLinks(t *testing.T, f *fixture) {
	for _, kind := range allKinds {
		for how, kill := range map[string]func(f *fixture, u account.User, l account.Link){
			"old":   func(f *fixture, _ account.User, _ account.Link) { f.clock.Advance(account.LinkLife) },
			"spent": func(f *fixture, _ account.User, l account.Link) { must(t, f.spend(t, l, noted(audit.SignedUp))) },
			"replaced": func(f *fixture, u account.User, _ account.Link) {
				for range 5 {
					f.addLink(t, linkOf(kind, u))
				}
			},
			"never there": nil,
		} {
			t.Run(string(kind)+" "+how, func(t *testing.T) {
				f := f.again(t)
				u := f.user(t)
				l := linkOf(kind, u)
				if kill != nil {
					l = f.addLink(t, l)
					f.clock.Advance(time.Millisecond)
					kill(f, u, l)
				}
				f.unchanged(t, "a link that is over", func() {
					wantErr(t, "spending", f.spend(t, l, noted(audit.SignedUp), mail.New(mail.EmailChanged, "a@example.com", "")), account.ErrLinkOver)
				})
				f.wantLink(t, l, false)
			})
		}
	}
}

func decoys(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, kind := range allKinds {
		l := linkOf(kind, u)
		l.Decoy = true
		f.addLink(t, l)
		f.wantLink(t, l, false)
		f.unchanged(t, "a decoy", func() {
			wantErr(t, "spending a decoy", f.spend(t, l, noted(audit.SignedUp)), account.ErrLinkOver)
		})
		guessed, err := f.Links.GuessLinks(t.Context(), l.EmailKey)
		must(t, err)
		equal(t, "what can be guessed at", guessed, []account.Link(nil))
	}
}

func linksGo(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine := []account.Link{f.addLink(t, linkOf(account.LinkReset, u)), f.addLink(t, linkOf(account.LinkVerify, u)), f.addLink(t, linkOf(account.LinkEmail, u))}
	theirs := f.addLink(t, linkOf(account.LinkReset, neighbour))
	must(t, f.Users.DeleteUser(t.Context(), u.ID, noted(audit.UserDeleted)))
	for _, l := range mine {
		f.wantLink(t, l, false)
		wantErr(t, "spending", f.spend(t, l, noted(audit.SignedUp)), account.ErrLinkOver)
	}
	f.wantLink(t, theirs, true)
}

func takeoversEnd(t *testing.T, f *fixture) {
	u, neighbour := f.user(t), f.user(t)
	mine, theirs := f.addLink(t, linkOf(account.LinkReset, u)), f.addLink(t, linkOf(account.LinkReset, neighbour))
	verify, email := f.addLink(t, linkOf(account.LinkVerify, u)), f.addLink(t, linkOf(account.LinkEmail, u))
	must(t, f.Users.SetPassword(t.Context(), account.PasswordChange{UserID: u.ID, Old: "old", New: "upgraded"}, audit.Entry{}))
	f.wantLink(t, mine, true) // the password is the same
	f.wantLink(t, email, true)
	f.setPassword(t, account.PasswordChange{UserID: u.ID, New: "new"})
	f.wantLink(t, mine, false)
	f.wantLink(t, email, false)
	f.wantLink(t, theirs, true)
	f.wantLink(t, verify, true)
}

func takeoversEndByReset(t *testing.T, f *fixture) {
	u := f.user(t)
	email := f.addLink(t, linkOf(account.LinkEmail, u))
	must(t, f.spend(t, f.addLink(t, linkOf(account.LinkReset, u)), noted(audit.PasswordReset)))
	f.wantLink(t, email, false)
}

func linkRoundTrip(t *testing.T, f *fixture) {
	u := f.user(t)
	for _, kind := range allKinds {
		l := linkOf(kind, u)
		l.CreatedAt, l.ExpiresAt, l.Guesses = start.Add(-time.Hour), start.AddDate(1, 0, 0), 0
		added := f.addLink(t, l)
		l.CreatedAt, l.ExpiresAt = f.clock.Now(), f.clock.Now().Add(account.LinkLife)
		equal(t, "what AddLink returned", added, l)
		found, err := f.Links.FindLink(t.Context(), l.ID)
		must(t, err)
		equal(t, "what FindLink returned", found, l)
	}
}

func linkControls(t *testing.T, f *fixture) {
	for _, text := range forgeries {
		l := linkOf(account.LinkSignUp, account.User{})
		l.Name, l.Email, l.Password = text, text, text
		l = f.addLink(t, l)
		found, err := f.Links.FindLink(t.Context(), l.ID)
		must(t, err)
		equal(t, "the link", found, l)
	}
	l := linkOf(account.LinkInvite, account.User{})
	l.Roles = []string{"reader\nadmin"}
	f.unchanged(t, "a role that is two", func() {
		if _, err := f.Links.AddLink(t.Context(), l, noted(audit.UserInvited)); err == nil {
			t.Error("it was kept")
		}
	})
}

func linkMails(t *testing.T, f *fixture) {
	l := linkOf(account.LinkSignUp, account.User{})
	named, other, dated := mail.New(mail.FinishSignUp, "a@example.com", "de"), mail.New(mail.EmailChanging, "b@example.com", ""), mail.New(mail.EmailChanging, "c@example.com", "")
	named.LinkID, dated.Expires = l.ID, f.clock.Now().Add(time.Minute)
	_, err := f.Links.AddLink(t.Context(), l, audit.Entry{}, named, other, dated)
	must(t, err)
	letters := f.claimMails(t, "lease", 10)
	until := map[string]time.Time{}
	for _, letter := range letters {
		until[letter.ID] = letter.Expires
	}
	now := f.clock.Now()
	equal(t, "until when they are worth sending", until, map[string]time.Time{
		named.ID: now.Add(account.LinkLife), other.ID: now.Add(mail.Worth), dated.ID: now.Add(time.Minute),
	})
}

func linkOfNobody(t *testing.T, f *fixture) {
	u := f.user(t)
	must(t, f.Users.DeleteUser(t.Context(), u.ID, noted(audit.UserDeleted)))
	f.unchanged(t, "a link of nobody", func() {
		_, err := f.Links.AddLink(t.Context(), linkOf(account.LinkReset, u), noted(audit.ResetAsked), mail.New(mail.ResetPassword, u.Email, ""))
		wantErr(t, "AddLink", err, account.ErrNoUser)
	})
}

func findLink(t *testing.T, f *fixture) {
	u := f.user(t)
	l := f.addLink(t, linkOf(account.LinkReset, u))
	f.unchanged(t, "looking", func() {
		for range 10 {
			f.wantLink(t, l, true)
		}
		for _, id := range []string{"", "%", l.ID[:len(l.ID)-1], l.ID + " ", credential.NewID(credential.Link), u.ID} {
			_, err := f.Links.FindLink(t.Context(), id)
			wantErr(t, "FindLink of another id", err, account.ErrLinkOver)
		}
	})
	must(t, f.spend(t, l, noted(audit.PasswordReset)))
}

func sweepLinks(t *testing.T, f *fixture) {
	u := f.user(t)
	for range 5 {
		f.addLink(t, linkOf(account.LinkSignUp, u))
	}
	must(t, f.spend(t, f.addLink(t, linkOf(account.LinkReset, u)), noted(audit.PasswordReset)))
	decoy := linkOf(account.LinkReset, u)
	decoy.Decoy = true
	f.addLink(t, decoy)
	f.clock.Advance(time.Minute)
	young := f.addLink(t, linkOf(account.LinkVerify, u))
	sweep := func(limit, want int) {
		t.Helper()
		n, err := f.Links.SweepLinks(t.Context(), limit)
		must(t, err)
		equal(t, "how many were removed", n, want)
	}
	f.clock.Advance(account.LinkLife - time.Minute - time.Millisecond)
	sweep(100, 0)
	f.clock.Advance(time.Millisecond)
	sweep(3, 3)
	sweep(100, 4)
	sweep(100, 0)
	f.wantLink(t, young, true)
}
