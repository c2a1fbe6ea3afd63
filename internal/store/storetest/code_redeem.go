package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

var redeemPromises = []promise{
	{"session.CodeStore.Redeem", "Redeem spends a code and adds the grant that it gives, and before it the session that the grant is to be on, if there is one of its own.", []proof{
		{"a grant on the session at hand", redeemApplies},
		{"a grant on a session of the client's own", redeemOffline},
		{"what it adds ends like anything else", redeemedEnds},
	}},
	{"session.CodeStore.Redeem", "Of a client's live grants on one session, and of its own live sessions with one user, those beyond the newest sixteen end, reason \"replaced\".", []proof{
		{"grants", redeemBounded},
		{"sessions of its own, and session.max does not count them", redeemOfflineBounded},
	}},
	{"session.CodeStore.Redeem", "ErrLost, and nothing changed, if the code was spent or has expired, or its session, user or client is over.", []proof{
		{"V-63 spent, expired to the millisecond, no such code", redeemLost},
		{"a session that is over in any way", redeemOver},
		{"a client that is disabled or was ended since", redeemClientOver},
		{"V-63 of 32 on one code one wins", redeemRace},
		{"raced against the end of its session: what is left is over", redeemAgainstEnd},
		{"raced against the end of the client with the user", redeemAgainstClientEnd},
		{"I-1 raced against a sign-out: verifiers hear of the grant", redeemAgainstSignOut},
	}},
	{"session.CodeStore.GrantsOf", "GrantsOf returns up to limit live grants of a user's live sessions, newest first: Session, Grant and Client.", []proof{
		{"as they are kept", grantsOf},
		{"of no session that is over in any way", grantsOfOver},
		{"none that is over itself", grantsOfEnded},
	}},
	{"session.CodeStore.GrantsOf", "Those of the first-party client are not among them.", []proof{{"of a user with both", grantsOfFirstParty}}},
	{"session.Store.List", "Those that were opened for a client are not among them.", []proof{{"beside the person's own", listOffline}}},
}

// grantFor is the grant that a code gives, now.
func (f *fixture) grantFor(c session.Code) session.Grant {
	id := credential.NewID(credential.Grant)
	f.grants = append(f.grants, id)
	return session.Grant{
		ID: id, SessionID: c.SessionID, ClientID: c.ClientID, Audience: c.Audience, Scope: c.Scope, Claims: c.Claims,
		Generation: 1, RefreshHash: hashOf("refresh 1 of " + id), CreatedAt: f.clock.Now(),
	}
}

// redeem spends a code.
func (f *fixture) redeem(t *testing.T, c session.Code) session.Grant {
	t.Helper()
	g := f.grantFor(c)
	must(t, f.Codes.Redeem(t.Context(), c.ID, nil, g, noted(audit.GrantOpened)))
	return g
}

// offline is the session that a client opens for itself by a code, with its grant.
func (f *fixture) offline(userID string, c session.Code) signIn {
	in := f.draft(userID)
	in.ClientID, in.SecretHash, in.Idle = c.ClientID, credential.Hash{}, absolute
	in.Grant = f.grantFor(c)
	in.Grant.SessionID = in.ID
	return in
}

func (f *fixture) redeemOffline(t *testing.T, userID string, c session.Code) signIn {
	t.Helper()
	in := f.offline(userID, c)
	must(t, f.Codes.Redeem(t.Context(), c.ID, &in.Session, in.Grant, noted(audit.GrantOpened)))
	return in
}

// ofGrant reads a grant that is there.
func (f *fixture) ofGrant(t *testing.T, id string) session.Standing {
	t.Helper()
	st, err := f.Sessions.OfGrant(t.Context(), id)
	must(t, err)
	return st
}

// untouched fails unless a step leaves every row as it is.
func (f *fixture) untouched(t *testing.T, what string, step func()) {
	t.Helper()
	epoch := f.epoch(t)
	before := f.contents(t, epoch)
	step()
	if diff := cmp.Diff(before, f.contents(t, epoch)); diff != "" {
		t.Errorf("%s left a trace (-before +after):\n%s", what, diff)
	}
}

func redeemApplies(t *testing.T, f *fixture) {
	c, in, u := f.issued(t, partner.ID)
	f.clock.Advance(time.Second)
	n, last := len(f.log(t)), len(f.audits(t))
	g := f.redeem(t, c)
	want := session.Standing{Session: in.Session, Grant: g, User: u, Client: partner, Now: f.clock.Now()}
	equal(t, "OfGrant", f.ofGrant(t, g.ID), want)
	f.wantStanding(t, in, u)
	f.wantLog(t, n)
	f.wantAudit(t, last, noted(audit.GrantOpened))
	in.Grant = g
	must(t, f.Sessions.Rotate(t.Context(), in.swap("refresh 2")))
}

func redeemOffline(t *testing.T, f *fixture) {
	c, in, u := f.issued(t, partner.ID)
	f.clock.Advance(time.Second)
	own := f.redeemOffline(t, u.ID, c)
	want := session.Standing{Session: own.Session, Grant: own.Grant, User: u, Client: partner, Now: f.clock.Now()}
	equal(t, "OfGrant", f.ofGrant(t, own.Grant.ID), want)
	_, st, err := f.Codes.OfCode(t.Context(), c.ID)
	must(t, err)
	equal(t, "the grant of the code", st.Grant, own.Grant)
	equal(t, "the session of the code", st.Session, in.Session)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	must(t, f.Sessions.Rotate(t.Context(), own.swap("refresh 2")))
}

func redeemedEnds(t *testing.T, f *fixture) {
	for name, end := range map[string]func(in, own signIn, g session.Grant) (session.Ending, int){
		"its user": func(in, _ signIn, _ session.Grant) (session.Ending, int) {
			return session.Ending{Kind: feed.User, ID: in.UserID}, 1
		},
		"its client": func(_, _ signIn, _ session.Grant) (session.Ending, int) {
			return session.Ending{Kind: feed.Client, ID: partner.ID}, 1
		},
		"all its sessions": func(in, _ signIn, _ session.Grant) (session.Ending, int) {
			return session.Ending{Kind: feed.Session, UserID: in.UserID}, 2
		},
		"its client with its user": func(in, _ signIn, _ session.Grant) (session.Ending, int) {
			return session.Ending{Kind: feed.Grant, UserID: in.UserID, ClientID: partner.ID}, 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.again(t)
			c, in, u := f.issued(t, partner.ID)
			f.clock.Advance(time.Second)
			g := f.redeem(t, c)
			own := f.redeemOffline(t, u.ID, f.issue(t, f.code(in, partner.ID)))
			f.clock.Advance(time.Second)
			what, n := end(in, own, g)
			f.end(t, n, what)
			in.Grant = g
			for _, in := range []signIn{in, own} {
				wantErr(t, "Rotate", f.Sessions.Rotate(t.Context(), in.swap("refresh 2")), session.ErrLost)
			}
			rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 10)
			must(t, err)
			equal(t, "how many grants live", len(rows), 0)
		})
	}
}

func redeemBounded(t *testing.T, f *fixture) {
	_, in, _ := f.issued(t, partner.ID)
	theirs := f.redeem(t, f.issue(t, f.code(in, pairwise.ID)))
	var grants []session.Grant
	for range 18 {
		f.clock.Advance(time.Second)
		grants = append(grants, f.redeem(t, f.issue(t, f.code(in, partner.ID))))
	}
	f.wantLog(t, 1, f.entry(feed.Grant, grants[1].ID, "replaced"))
	for i, g := range append(grants, theirs, in.Grant) {
		st := f.ofGrant(t, g.ID)
		if over := !st.Grant.EndedAt.IsZero(); over != (i < 2) || over && st.Grant.EndReason != "replaced" {
			t.Errorf("grant %d is over: %t, by reason of %q", i, over, st.Grant.EndReason)
		}
	}
}

func redeemOfflineBounded(t *testing.T, f *fixture) {
	_, in, u := f.issued(t, partner.ID)
	theirs := f.redeemOffline(t, u.ID, f.issue(t, f.code(in, pairwise.ID)))
	var all []signIn
	for range 18 {
		f.clock.Advance(time.Second)
		all = append(all, f.redeemOffline(t, u.ID, f.issue(t, f.code(in, partner.ID))))
	}
	for i, own := range append(all, theirs) {
		st := f.ofSession(t, own.ID)
		if over := !st.Session.EndedAt.IsZero(); over != (i < 2) || over && st.Session.EndReason != "replaced" {
			t.Errorf("session %d is over: %t, by reason of %q", i, over, st.Session.EndReason)
		}
	}
	next := f.draft(u.ID)
	must(t, f.Sessions.Add(t.Context(), next.Session, next.Grant, 2, noted(audit.SignedIn)))
	f.wantAlive(t, in)
}

func redeemLost(t *testing.T, f *fixture) {
	spent, in, u := f.issued(t, partner.ID)
	f.redeem(t, spent)
	early, late := f.issue(t, f.code(in, partner.ID)), f.issue(t, f.code(in, partner.ID))
	lost := func(name string, c session.Code) {
		t.Helper()
		own := f.offline(u.ID, c)
		f.untouched(t, name, func() {
			wantErr(t, name, f.Codes.Redeem(t.Context(), c.ID, nil, f.grantFor(c), noted(audit.GrantOpened)), session.ErrLost)
			wantErr(t, name, f.Codes.Redeem(t.Context(), c.ID, &own.Session, own.Grant, noted(audit.GrantOpened)), session.ErrLost)
		})
	}
	lost("a spent code", spent)
	none := spent
	none.ID = "cod_none"
	lost("no such code", none)
	f.clock.Advance(codeLife - time.Millisecond)
	f.redeem(t, early)
	f.clock.Advance(time.Millisecond)
	lost("an expired code", late)
}

func redeemOver(t *testing.T, f *fixture) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			f := f.again(t)
			in := f.signIn(t, f.user(t))
			c := f.code(in, partner.ID)
			must(t, f.Codes.AddCode(t.Context(), c, 10*absolute, 10))
			w.happen(t, f, in)
			own := f.offline(in.UserID, c)
			f.untouched(t, "a code of a session that is over", func() {
				wantErr(t, "Redeem", f.Codes.Redeem(t.Context(), c.ID, nil, f.grantFor(c), noted(audit.GrantOpened)), session.ErrLost)
				wantErr(t, "Redeem", f.Codes.Redeem(t.Context(), c.ID, &own.Session, own.Grant, noted(audit.GrantOpened)), session.ErrLost)
			})
		})
	}
}

func redeemClientOver(t *testing.T, f *fixture) {
	c, in, _ := f.issued(t, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: partner.ID})
	f.clock.Advance(5 * time.Second)
	f.untouched(t, "a code from before the end of its client", func() {
		wantErr(t, "Redeem", f.Codes.Redeem(t.Context(), c.ID, nil, f.grantFor(c), noted(audit.GrantOpened)), session.ErrLost)
	})
	f.redeem(t, f.issue(t, f.code(in, partner.ID)))
	shop := f.client(t, "Shop")
	c = f.issue(t, f.code(in, shop.ID))
	shop.Disabled = true
	_, err := f.Clients.ChangeClient(t.Context(), shop, noted(audit.ClientChanged))
	must(t, err)
	wantErr(t, "Redeem of a disabled client", f.Codes.Redeem(t.Context(), c.ID, nil, f.grantFor(c), noted(audit.GrantOpened)), session.ErrLost)
}

func redeemRace(t *testing.T, f *fixture) {
	c, _, u := f.issued(t, partner.ID)
	grants := make([]session.Grant, 4*racers)
	for i := range grants {
		grants[i] = f.grantFor(c)
	}
	errs := race(len(grants), func(i int) error {
		return f.Codes.Redeem(t.Context(), c.ID, nil, grants[i], noted(audit.GrantOpened))
	})
	oneWinner(t, errs, session.ErrLost)
	rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 100)
	must(t, err)
	winner := slices.Index(errs, nil)
	if len(rows) != 1 || winner < 0 || rows[0].Grant.ID != grants[winner].ID {
		t.Errorf("%d grants are there, want the winner's alone", len(rows))
	}
}

// redeemRaced has somebody redeem a code while another ends something.
func (f *fixture) redeemRaced(t *testing.T, what func(in signIn) session.Ending) {
	t.Helper()
	for round := range 30 {
		c, in, u := f.issued(t, partner.ID)
		own := f.offline(u.ID, c)
		g := f.grantFor(c)
		allWon(t, race(2, func(i int) error {
			if i == 1 {
				_, err := f.Sessions.End(t.Context(), what(in), noted(audit.SessionsEnded))
				return err
			}
			var err error
			if round%2 == 1 {
				err = f.Codes.Redeem(t.Context(), c.ID, &own.Session, own.Grant, noted(audit.GrantOpened))
			} else {
				err = f.Codes.Redeem(t.Context(), c.ID, nil, g, noted(audit.GrantOpened))
			}
			if errors.Is(err, session.ErrLost) {
				return nil
			}
			return err
		}))
		f.clock.Advance(5 * time.Second)
		rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 10)
		must(t, err)
		if len(rows) > 0 {
			t.Fatalf("round %d: a grant lives on: %+v", round, rows)
		}
	}
}

func redeemAgainstEnd(t *testing.T, f *fixture) {
	f.redeemRaced(t, func(in signIn) session.Ending { return session.Ending{Kind: feed.User, ID: in.UserID} })
}

func redeemAgainstClientEnd(t *testing.T, f *fixture) {
	f.redeemRaced(t, func(in signIn) session.Ending {
		return session.Ending{Kind: feed.Grant, UserID: in.UserID, ClientID: partner.ID}
	})
}

// redeemAgainstSignOut has somebody redeem a code while its session ends: either there is
// no grant, or the log says that it is over, because its tokens do not name the session.
func redeemAgainstSignOut(t *testing.T, f *fixture) {
	given := 0
	for range 60 {
		c, in, _ := f.issued(t, partner.ID)
		g := f.grantFor(c)
		allWon(t, race(2, func(i int) error {
			if i == 1 {
				_, err := f.Sessions.End(t.Context(), session.Ending{Kind: feed.Session, ID: in.ID}, noted(audit.SessionEnded))
				return err
			}
			if err := f.Codes.Redeem(t.Context(), c.ID, nil, g, noted(audit.GrantOpened)); !errors.Is(err, session.ErrLost) {
				return err
			}
			return nil
		}))
		_, err := f.Sessions.OfGrant(t.Context(), g.ID)
		if errors.Is(err, session.ErrNone) {
			continue
		}
		must(t, err)
		if given++; !contains(f.log(t), feed.Grant, g.ID) {
			t.Fatalf("after %d grants: one is over, and no verifier hears of it", given)
		}
	}
}

func grantsOf(t *testing.T, f *fixture) {
	f.terms(t, signing)
	_, in, u := f.issued(t, partner.ID)
	var want []session.Standing
	for i := range 4 {
		f.clock.Advance(time.Second)
		client := []session.ClientTerms{partner, signing}[i%2]
		c := f.issue(t, f.code(in, client.ID))
		st := session.Standing{Session: in.Session, Client: client}
		if i == 3 {
			own := f.redeemOffline(t, u.ID, c)
			st.Session, st.Grant = own.Session, own.Grant
		} else {
			st.Grant = f.redeem(t, c)
		}
		want = append([]session.Standing{st}, want...)
	}
	f.issued(t, partner.ID) // somebody else
	for _, limit := range []int{1, 3, 4, 100} {
		rows, err := f.Codes.GrantsOf(t.Context(), u.ID, limit)
		must(t, err)
		equal(t, fmt.Sprint("GrantsOf with limit ", limit), rows, want[:min(limit, len(want))])
	}
}

func grantsOfOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		rows, err := f.Codes.GrantsOf(t.Context(), in.UserID, 10)
		must(t, err)
		equal(t, "the grants", len(rows), 0)
	})
	u := f.user(t)
	in := f.signIn(t, u, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 10)
	must(t, err)
	equal(t, "the grants", len(rows), 0)
}

func grantsOfEnded(t *testing.T, f *fixture) {
	u := f.user(t)
	ended, theirs, lives := f.signIn(t, u, partner.ID), f.signIn(t, u, pairwise.ID), f.signIn(t, u, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Grant, ID: ended.Grant.ID})
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: pairwise.ID})
	rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 10)
	must(t, err)
	if len(rows) != 1 || rows[0].Grant.ID != lives.Grant.ID {
		t.Errorf("%d grants are listed, want that of %s alone and not that of %s", len(rows), lives.ID, theirs.ID)
	}
}

func grantsOfFirstParty(t *testing.T, f *fixture) {
	u := f.user(t)
	f.signIn(t, u)
	in := f.signIn(t, u, partner.ID)
	rows, err := f.Codes.GrantsOf(t.Context(), u.ID, 10)
	must(t, err)
	if len(rows) != 1 || rows[0].Grant.ID != in.Grant.ID {
		t.Errorf("%d grants are listed, want the partner's alone", len(rows))
	}
}

func listOffline(t *testing.T, f *fixture) {
	c, in, u := f.issued(t, partner.ID)
	f.redeemOffline(t, u.ID, c)
	equal(t, "the sessions of the user", f.list(t, u.ID), []string{in.ID})
	equal(t, "all sessions", f.list(t, ""), []string{in.ID})
}

func devicesOffline(t *testing.T, f *fixture) {
	c, in, u := f.issued(t, partner.ID)
	own := f.redeemOffline(t, u.ID, c)
	if own.Device != in.Device {
		t.Fatalf("it was opened on %q, and is said to be of %q", in.Device, own.Device)
	}
	f.wantDevices(t, u.ID, in.Device, true, false)
}
