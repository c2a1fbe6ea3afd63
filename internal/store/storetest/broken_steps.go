package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// wholeOrNot is what every interface whose methods write says of them.
const wholeOrNot = "A step that fails in a way not named here has happened whole or not at all, and may be taken again."

// brokenPromises are that sentence of each interface.
var brokenPromises = func() []promise {
	var all []promise
	for _, face := range []string{
		"revocation.Store", "keyring.Store", "audit.Store", "account.Store", "account.SetupStore", "account.APIKeyStore",
		"account.LinkStore", "session.Store", "session.UpkeepStore", "session.AttachmentStore", "session.CodeStore", "mail.Store",
		"oauth.ClientStore", "oauth.AssertionStore", "oauth.NoticeStore", "oauth.ConsentStore",
	} {
		p := promise{method: face, sentence: wholeOrNot}
		for _, step := range slices.Concat(faultySteps, noticeSteps, codeSteps) {
			if name, of := within(step.method, face); of {
				p.proofs = append(p.proofs, proof{name + step.name, step.broken})
			}
		}
		p.proofs = append(p.proofs, proof{"reads", func(t *testing.T, f *fixture) {
			readsBroken(t, f, slices.DeleteFunc(slices.Concat(faultyReads, noticeReads, codeReads), func(r faultyRead) bool {
				_, of := within(r.method, face)
				return !of
			}))
		}})
		all = append(all, p)
	}
	return all
}()

// within returns the method's name if it is one of the interface.
func within(method, face string) (string, bool) {
	if len(method) > len(face) && method[:len(face)+1] == face+"." {
		return method[len(face)+1:], true
	}
	return "", false
}

// ending is a step that ends something.
func ending(name string, what func(c *cast) session.Ending) faultyStep {
	return faultyStep{method: "session.Store.End", name: ", " + name, take: func(ctx context.Context, f *fixture, c *cast) error {
		var notices []mail.Message
		if kind := what(c).Kind; kind == feed.Session || kind == feed.Grant { // the others can end once more
			notices = append(notices, c.letterTo(name))
		}
		_, err := f.Sessions.End(ctx, what(c), noted(audit.SessionsEnded), notices...)
		return err
	}}
}

// drafted is the newcomer. Who asks again drafts a user with another id.
func (c *cast) drafted(ctx context.Context, f *fixture) account.User {
	u := c.newcomer
	if _, _, err := f.Users.FindByEmail(ctx, u.EmailKey); err == nil {
		u.ID += "x"
	}
	return u
}

// letterTo is a mail of its own for a step, the same each time.
func (c *cast) letterTo(step string) mail.Message {
	m := c.letter
	m.ID = c.letter.ID[:len(c.letter.ID)-len(step)] + step
	return m
}

// afterwards lets so much time pass before a step, and ends a session first.
func afterwards(d time.Duration) func(t *testing.T, f *fixture, c *cast) {
	return func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		f.end(t, 1, session.Ending{Kind: feed.Session, ID: c.other.ID})
		must(t, f.Mail.Bury(t.Context(), c.letter.ID, lease, "refused"))
		f.clock.Advance(d)
	}
}

var faultySteps = append([]faultyStep{
	{method: "revocation.Store.Prune", ready: afterwards(time.Hour), take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Revocation.Prune(ctx)
		return err
	}},
	{method: "revocation.Store.NewEpoch", take: func(ctx context.Context, f *fixture, _ *cast) error {
		page, err := f.Revocation.Since(ctx, 0, 1)
		if err != nil {
			return err
		}
		return f.Revocation.NewEpoch(ctx, page.Head.Epoch)
	}},
	{method: "revocation.Store.Hold", take: func(ctx context.Context, f *fixture, _ *cast) error { return f.Revocation.Hold(ctx, time.Hour) }},
	{method: "keyring.Store.Change", again: keyring.ErrLost, take: func(ctx context.Context, f *fixture, c *cast) error {
		next := c.key
		next.ID = "key_2"
		e := noted(audit.KeyRotated)
		return f.Keys.Change(ctx, 1, keyring.Change{Put: []keyring.StoredKey{next}, Remove: []string{c.key.ID}, Distrust: []string{c.key.ID}}, &e)
	}},
	{method: "audit.Store.Record", take: func(ctx context.Context, f *fixture, _ *cast) error {
		return f.Audit.Record(ctx, noted(audit.SignInFailed))
	}},
	{method: "audit.Store.Forget", take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Audit.Forget(ctx, start.Add(time.Minute))
		return err
	}},
	{method: "account.Store.AddUser", again: account.ErrEmailTaken, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Users.AddUser(ctx, c.drafted(ctx, f), "hash", noted(audit.UserAdded))
		return err
	}},
	{method: "account.Store.ClaimSetup", again: account.ErrSetupOver, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Users.ClaimSetup(ctx, link, c.newcomer, "hash", noted(audit.UserAdded))
		return err
	}},
	{method: "account.Store.ChangeUser", name: ", a name", take: changing(account.UserChange{Name: ptr("Countess")})},
	{method: "account.Store.ChangeUser", name: ", disabled", take: changing(account.UserChange{Disabled: ptr(true)})},
	{method: "account.Store.SetPassword", again: account.ErrLost, take: settingPassword(account.PasswordChange{Old: "old", New: "new", EndOthers: true})},
	{method: "account.Store.SetPassword", name: ", ending all", again: account.ErrLost, take: settingPassword(account.PasswordChange{Old: "old", New: "new", EndAll: true})},
	{method: "account.Store.DeleteUser", again: account.ErrNoUser, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Users.DeleteUser(ctx, c.user.ID, noted(audit.UserDeleted))
	}},
	{method: "account.SetupStore.OfferSetup", take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Setup.OfferSetup(ctx, hashOf("another link"), 2*time.Hour)
		return err
	}},
	{method: "account.APIKeyStore.AddAPIKey", again: errAny, take: func(ctx context.Context, f *fixture, c *cast) error {
		k := c.apiKey
		k.ID += "x"
		_, err := f.APIKeys.AddAPIKey(ctx, k, noted(audit.APIKeyAdded))
		return err
	}},
	{method: "account.APIKeyStore.RemoveAPIKey", again: account.ErrNoUser, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.APIKeys.RemoveAPIKey(ctx, c.apiKey.ID, noted(audit.APIKeyRemoved))
	}},
	{method: "account.LinkStore.AddLink", again: errAny, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.AddLink(ctx, c.links[account.LinkInvite], noted(audit.UserAdded), c.letterTo("invite"))
		return err
	}},
	{method: "account.LinkStore.GuessLinks", take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.GuessLinks(ctx, c.user.EmailKey)
		return err
	}},
	{method: "account.LinkStore.AddUserByLink", again: account.ErrLinkOver, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.AddUserByLink(ctx, c.links[account.LinkSignUp].ID, c.drafted(ctx, f), "hash", noted(audit.UserAdded))
		return err
	}},
	{method: "account.LinkStore.ResetByLink", again: account.ErrLinkOver, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Links.ResetByLink(ctx, c.links[account.LinkReset].ID, "new", noted(audit.PasswordChanged), c.letterTo("reset"))
	}},
	{method: "account.LinkStore.AddressByLink", name: ", verified", again: account.ErrLinkOver, take: provingBy(account.LinkVerify)},
	{method: "account.LinkStore.AddressByLink", name: ", changed", again: account.ErrLinkOver, take: provingBy(account.LinkEmail)},
	{method: "account.LinkStore.SweepLinks", ready: afterwards(100 * 24 * time.Hour), take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Links.SweepLinks(ctx, 100)
		return err
	}},
	{method: "session.Store.Add", again: errAny, take: adding(0)},
	{method: "session.Store.Add", name: ", beyond the limit", again: errAny, take: adding(2)},
	{method: "session.Store.Rotate", again: session.ErrLost, take: func(ctx context.Context, f *fixture, c *cast) error {
		w := c.in.swap("next")
		w.Seen = true
		return f.Sessions.Rotate(ctx, w)
	}},
	{method: "session.Store.Renew", again: session.ErrLost, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Sessions.Renew(ctx, c.in.renewal("next"), noted(audit.Reauthenticated))
	}},
	ending("session", func(c *cast) session.Ending { return session.Ending{Kind: feed.Session, ID: c.partners.ID} }),
	ending("others", func(c *cast) session.Ending {
		return session.Ending{Kind: feed.Session, UserID: c.user.ID, Except: c.in.ID}
	}),
	ending("grant", func(c *cast) session.Ending { return session.Ending{Kind: feed.Grant, ID: c.in.Grant.ID} }),
	ending("user", func(c *cast) session.Ending { return session.Ending{Kind: feed.User, ID: c.user.ID} }),
	ending("client", func(*cast) session.Ending { return session.Ending{Kind: feed.Client, ID: pairwise.ID} }),
	ending("all", func(*cast) session.Ending { return session.Ending{Kind: feed.All} }),
	{method: "session.UpkeepStore.Touch", take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Upkeep.Touch(ctx, []session.Seen{{SessionID: c.in.ID, At: start.Add(time.Second)}, {SessionID: c.other.ID, At: start.Add(2 * time.Second)}})
	}},
	{method: "session.UpkeepStore.Sweep", ready: afterwards(24 * time.Hour), take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Upkeep.Sweep(ctx, time.Hour, 100)
		return err
	}},
	{method: "session.UpkeepStore.SetTerms", take: func(ctx context.Context, f *fixture, _ *cast) error {
		terms := partner
		terms.Scopes = []string{"write"}
		return f.Upkeep.SetTerms(ctx, terms)
	}},
	{method: "session.AttachmentStore.SwapAttachment", again: session.ErrLost, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Attachments.SwapAttachment(ctx, c.in.ID, []byte(`{"cart":1}`), 0)
		return err
	}},
	{method: "oauth.ClientStore.AddClient", again: oauth.ErrClientChanged, take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Clients.AddClient(ctx, c.app("x"), noted(audit.ClientAdded))
		return err
	}},
	{method: "oauth.ClientStore.ChangeClient", again: oauth.ErrClientChanged, take: func(ctx context.Context, f *fixture, c *cast) error {
		app := c.app("")
		app.Revision, app.Name = 1, "Store"
		_, err := f.Clients.ChangeClient(ctx, app, noted(audit.ClientChanged))
		return err
	}},
	{method: "oauth.ClientStore.ChangeClient", name: ", disabled", again: oauth.ErrClientChanged, take: func(ctx context.Context, f *fixture, c *cast) error {
		app := c.app("")
		app.Revision, app.Disabled = 1, true
		_, err := f.Clients.ChangeClient(ctx, app, noted(audit.ClientChanged))
		return err
	}},
	{method: "oauth.ClientStore.RemoveClient", again: oauth.ErrNoClient, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Clients.RemoveClient(ctx, c.app("").ID, noted(audit.ClientRemoved))
	}},
	{method: "oauth.AssertionStore.SpendAssertion", again: oauth.ErrSpent, take: func(ctx context.Context, f *fixture, _ *cast) error {
		return f.Assertions.SpendAssertion(ctx, "assertion", start.Add(time.Minute))
	}},
	{method: "oauth.AssertionStore.SweepAssertions", ready: func(t *testing.T, f *fixture, _ *cast) {
		t.Helper()
		must(t, f.Assertions.SpendAssertion(t.Context(), "assertion", start))
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Assertions.SweepAssertions(ctx, 10)
		return err
	}},
	{method: "mail.Store.Post", again: errAny, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Mail.Post(ctx, c.letterTo("first"), c.letterTo("other"))
	}},
	{method: "mail.Store.Claim", ready: func(_ *testing.T, f *fixture, _ *cast) { f.clock.Advance(time.Hour) }, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Mail.Claim(ctx, "another", time.Minute, 10)
		return err
	}},
	{method: "mail.Store.Sent", again: mail.ErrLease, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Mail.Sent(ctx, c.letter.ID, lease)
	}},
	{method: "mail.Store.Postpone", again: mail.ErrLease, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Mail.Postpone(ctx, c.letter.ID, lease, time.Hour, "busy")
	}},
	{method: "mail.Store.Bury", again: mail.ErrLease, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Mail.Bury(ctx, c.letter.ID, lease, "refused")
	}},
	{method: "mail.Store.ForgetDead", ready: afterwards(time.Hour), take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Mail.ForgetDead(ctx, time.Minute)
		return err
	}},
}, consentSteps...)

// app is the same client each time; with a suffix it is another.
func (c *cast) app(suffix string) oauth.Client {
	app := draftClient("Shop")
	app.ID, app.SecretHash = credential.Client+c.user.ID[len(credential.User):]+suffix, hashOf("secret")
	return app
}

func changing(change account.UserChange) func(context.Context, *fixture, *cast) error {
	return func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Users.ChangeUser(ctx, c.user.ID, change, noted(audit.UserChanged))
		return err
	}
}

func settingPassword(change account.PasswordChange) func(context.Context, *fixture, *cast) error {
	return func(ctx context.Context, f *fixture, c *cast) error {
		change.UserID, change.Keep = c.user.ID, c.in.ID
		return f.Users.SetPassword(ctx, change, noted(audit.PasswordChanged), c.letterTo("changed"))
	}
}

func provingBy(kind account.LinkKind) func(context.Context, *fixture, *cast) error {
	return func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.AddressByLink(ctx, c.links[kind].ID, noted(audit.UserChanged), c.letterTo("proven"))
		return err
	}
}

// adding signs in once more, as the same session each time.
func adding(limit int) func(context.Context, *fixture, *cast) error {
	return func(ctx context.Context, f *fixture, c *cast) error {
		next := c.in
		next.ID, next.Grant.ID = c.in.ID+"x", c.in.Grant.ID+"x"
		next.Grant.SessionID = next.ID
		return f.Sessions.Add(ctx, next.Session, next.Grant, limit, noted(audit.SignedIn), c.letterTo("device"))
	}
}

var faultyReads = append([]faultyRead{
	{"revocation.Store.Since", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Revocation.Since(ctx, 0, 10)
		return err
	}},
	{"keyring.Store.Keys", func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, _, err := f.Keys.Keys(ctx)
		return err
	}},
	{"audit.Store.Entries", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Audit.Entries(ctx, audit.Filter{}, 0, 10)
		return err
	}},
	{"account.Store.FindUser", func(ctx context.Context, f *fixture, c *cast) error {
		_, _, err := f.Users.FindUser(ctx, c.user.ID)
		return err
	}},
	{"account.Store.FindByEmail", func(ctx context.Context, f *fixture, c *cast) error {
		_, _, err := f.Users.FindByEmail(ctx, c.user.EmailKey)
		return err
	}},
	{"account.Store.Users", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Users.Users(ctx, "", 10)
		return err
	}},
	{"account.SetupStore.SetupOpen", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Setup.SetupOpen(ctx, link)
		return err
	}},
	{"account.APIKeyStore.FindAPIKey", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.APIKeys.FindAPIKey(ctx, c.apiKey.ID)
		return err
	}},
	{"account.APIKeyStore.APIKeys", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.APIKeys.APIKeys(ctx)
		return err
	}},
	{"account.LinkStore.FindLink", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.FindLink(ctx, c.links[account.LinkReset].ID)
		return err
	}},
	{"account.LinkStore.LinksOf", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Links.LinksOf(ctx, c.user.ID, c.user.EmailKey)
		return err
	}},
	{"session.Store.Terms", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Sessions.Terms(ctx, c.user.ID, session.FirstParty)
		return err
	}},
	{"session.Store.OfSession", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Sessions.OfSession(ctx, c.in.ID)
		return err
	}},
	{"session.Store.OfGrant", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Sessions.OfGrant(ctx, c.in.Grant.ID)
		return err
	}},
	{"session.Store.List", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Sessions.List(ctx, c.user.ID, "", 10)
		return err
	}},
	{"session.UpkeepStore.Count", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Upkeep.Count(ctx)
		return err
	}},
	{"session.AttachmentStore.Attachment", func(ctx context.Context, f *fixture, c *cast) error {
		_, _, err := f.Attachments.Attachment(ctx, c.in.ID)
		return err
	}},
	{"oauth.ClientStore.FindClient", func(ctx context.Context, f *fixture, c *cast) error {
		_, _, err := f.Clients.FindClient(ctx, c.app("").ID)
		return err
	}},
	{"oauth.ClientStore.Clients", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Clients.Clients(ctx, "", 10)
		return err
	}},
	{"mail.Store.Next", func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Mail.Next(ctx)
		return err
	}},
	{"mail.Store.Counts", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Mail.Counts(ctx)
		return err
	}},
}, consentReads...)
