package storetest

import (
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What is given out in the second of an end or a change is stamped ahead, after
// the Before of that. An end that follows within the second reaches no further by
// its own Before, and has to end it nonetheless.

// priors are what may have happened in the same second, before and after the
// sign-in.
var priors = []struct {
	name          string
	before, after func(t *testing.T, f *fixture, in signIn)
}{
	{name: "nothing"},
	{name: "its user ended", before: func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.User, ID: in.UserID})
	}},
	{name: "its client ended", before: func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.Client, ID: in.Grant.ClientID})
	}},
	{name: "everyone ended", before: func(t *testing.T, f *fixture, _ signIn) {
		f.end(t, 1, session.Ending{Kind: feed.All})
	}},
	{name: "its user changed", after: func(t *testing.T, f *fixture, in signIn) {
		f.change(t, in.UserID, account.UserChange{Name: ptr("Countess")})
	}},
	{name: "it was renewed", after: func(t *testing.T, f *fixture, in signIn) {
		must(t, f.Sessions.Renew(t.Context(), in.renewal("renewed"), noted(audit.Reauthenticated)))
	}},
}

// finals are the ends of which verifiers are told.
var finals = []way{
	{"session", func(t *testing.T, f *fixture, in signIn) { f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID}) }},
	{"grant", func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.Grant, ID: in.Grant.ID})
	}},
	{"user", func(t *testing.T, f *fixture, in signIn) { f.end(t, 1, session.Ending{Kind: feed.User, ID: in.UserID}) }},
	{"client", func(t *testing.T, f *fixture, in signIn) {
		f.end(t, 1, session.Ending{Kind: feed.Client, ID: in.Grant.ClientID})
	}},
	{"everyone", func(t *testing.T, f *fixture, _ signIn) { f.end(t, 1, session.Ending{Kind: feed.All}) }},
	{"disabled", func(t *testing.T, f *fixture, in signIn) { f.disable(t, in.UserID) }},
	{"password reset", func(t *testing.T, f *fixture, in signIn) {
		f.setPassword(t, account.PasswordChange{UserID: in.UserID, New: "new", EndAll: true})
	}},
	{"deleted", func(t *testing.T, f *fixture, in signIn) {
		must(t, f.Users.DeleteUser(t.Context(), in.UserID, noted(audit.UserDeleted)))
	}},
}

// endTokens ends, in each way, what each kind of client drew, and asks a
// verifier's set about a token that was minted just before.
func endTokens(t *testing.T, f *fixture) {
	for _, client := range []session.ClientTerms{firstParty, partner, pairwise} {
		for _, last := range finals {
			t.Run(client.ID+", "+last.name, func(t *testing.T) {
				f := f.again(t)
				in := f.signIn(t, f.user(t), client.ID)
				f.clock.Advance(time.Minute)
				f.endsToken(t, in, client, last)
			})
		}
	}
}

// endTokensAhead does the same where another end or change went before it.
func endTokensAhead(t *testing.T, f *fixture) {
	for _, prior := range priors {
		for _, last := range finals {
			t.Run(prior.name+", then "+last.name, func(t *testing.T) {
				f := f.again(t)
				u := f.user(t)
				in := f.draft(u.ID)
				if prior.before != nil {
					prior.before(t, f, in)
				}
				st, err := f.Sessions.Terms(t.Context(), u.ID, session.FirstParty)
				must(t, err)
				in.CreatedAt = time.Unix(stampOf(st), 0).UTC()
				in.LastSeenAt, in.Grant.CreatedAt = in.CreatedAt, in.CreatedAt
				f.add(t, in)
				if prior.after != nil {
					prior.after(t, f, in)
				}
				f.endsToken(t, in, firstParty, last)
			})
		}
	}
}

// stampOf is the second that a token minted from this reading bears.
func stampOf(st session.Standing) int64 {
	floor := max(st.User.OverBefore, st.Client.OverBefore, st.OverBefore, st.User.ChangedBefore, st.Session.ChangedBefore) + 1
	return max(st.Now.Unix(), floor)
}

// endsToken ends the sign-in in the given way. A token of it must be over for a
// verifier that followed the log, and its refresh token must not rotate.
func (f *fixture) endsToken(t *testing.T, in signIn, client session.ClientTerms, last way) {
	t.Helper()
	st, err := f.Sessions.OfGrant(t.Context(), in.Grant.ID)
	must(t, err)
	token := feed.Subject{Grant: in.Grant.ID, Client: client.ID, IssuedAt: stampOf(st)}
	if client.FirstParty {
		token.Session = in.ID
	}
	if !client.Pairwise {
		token.User = in.UserID
	}
	var heard feed.Set
	heard.Add(f.log(t)...)
	if verdict := heard.Verdict(token); verdict == feed.Over {
		t.Fatal("the token is over before anything has ended it")
	}
	last.happen(t, f, in)
	heard.Add(f.log(t)...)
	if verdict := heard.Verdict(token); verdict != feed.Over {
		t.Errorf("a verifier that heard %+v finds %+v to be %d and not over", f.log(t), token, verdict)
	}
	if err := f.Sessions.Rotate(t.Context(), in.swap("after the end")); err == nil {
		t.Error("the refresh token can still be spent")
	}
}
