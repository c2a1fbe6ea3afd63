package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

var codePromises = []promise{
	{"session.CodeStore.AddCode", "AddCode adds a code that is good for life from now on, by the store's clock.", []proof{
		{"whatever it stands for", addCodeRoundTrip},
	}},
	{"session.CodeStore.AddCode", "ErrLost unless its session, user and client are alive; ErrAnswered if there is a code for the same request.", []proof{
		{"a session that is over in any way, or missing", addCodeOver},
		{"a client that is disabled, ended or missing", addCodeClientOver},
		{"an answered request, whoever has it", addCodeAnswered},
		{"of eight who answer one request one wins", addCodeRace},
	}},
	{"session.CodeStore.AddCode", "Of the codes of a session that were not spent, those beyond the newest maxOpen are removed.", []proof{
		{"V-68 the oldest go, spent ones and other sessions' stay", addCodeBounded},
	}},
	{"session.CodeStore.OfCode", "OfCode reads a code with the standing of its session: Client is the code's, and Grant what the code gave, if it gave any.", []proof{
		{"before and after it was spent", ofCodeGrant},
	}},
	{"session.CodeStore.OfCode", "What is over is there, too.", []proof{{"a session that is over in any way", ofCodeOver}}},
	{"session.CodeStore.OfCode", "ErrNone if there is no such code.", []proof{{"other ids", ofCodeNone}}},
	{"session.CodeStore.SweepCodes", "SweepCodes removes codes made longer ago than keep, at most limit of them, and returns how many.", []proof{
		{"the oldest first, spent or not", sweepCodes},
		{"they go with their session, too", codesGoWithSession},
	}},
	{"session.CodeStore.SweepCodes", "More says that there may be others.", []proof{{"until all are gone", sweepCodesMore}}},
	{"session.CodeStore.OfClient", "OfClient reads what decides about a client alone: Client, OverBefore and Now.", []proof{
		{"all of its terms", ofClient},
	}},
	{"session.CodeStore.OfClient", "ErrNone if there is no such client.", []proof{{"other ids", ofClientNone}}},
	{"keyring.Store.Algorithms", "Algorithms returns by which algorithms the ID tokens of clients are to be signed, each once, by name.", []proof{
		{"of many clients", algorithms},
	}},
	{"keyring.Store.Algorithms", "Clients that were removed count no more.", []proof{{"the last one with an algorithm", algorithmsOfRemoved}}},
}

// signing is a partner that gets ID tokens and is told of ends.
var signing = session.ClientTerms{
	ID: "cli_signing", Pairwise: true, Sector: "example.com", Audiences: []string{"orders"}, Scopes: []string{"openid", "email"},
	Access: 7 * time.Minute, IDAlgorithm: jwt.RS256, Told: true,
}

const codeLife = time.Minute

// code is a code of a partner on the sign-in, which was not added yet.
func (f *fixture) code(in signIn, clientID string) session.Code {
	id := "cod_" + credential.NewOrdinal()
	return session.Code{
		ID: id, SecretHash: hashOf("secret of " + id), RequestID: "request of " + id, SessionID: in.ID, ClientID: clientID,
		RedirectURI: "https://app.example.com/back", Challenge: "challenge", Audience: "orders", Scope: "openid email",
		Nonce: "a nonce", Claims: `{"id_token":{"email":null}}`,
	}
}

// issue adds a code, and returns it as it is kept.
func (f *fixture) issue(t *testing.T, c session.Code) session.Code {
	t.Helper()
	must(t, f.Codes.AddCode(t.Context(), c, codeLife, 100))
	c.CreatedAt, c.ExpiresAt = f.clock.Now(), f.clock.Now().Add(codeLife)
	return c
}

// issued is a code of the client on a new sign-in of a new user.
func (f *fixture) issued(t *testing.T, clientID string) (session.Code, signIn, account.User) {
	t.Helper()
	u := f.user(t)
	in := f.signIn(t, u)
	return f.issue(t, f.code(in, clientID)), in, u
}

// terms adds a client.
func (f *fixture) terms(t *testing.T, c session.ClientTerms) session.ClientTerms {
	t.Helper()
	must(t, f.Upkeep.SetTerms(t.Context(), c))
	return c
}

// wantCode fails unless the store holds exactly this code.
func (f *fixture) wantCode(t *testing.T, c session.Code) session.Standing {
	t.Helper()
	got, st, err := f.Codes.OfCode(t.Context(), c.ID)
	must(t, err)
	equal(t, "the code", got, c)
	return st
}

func addCodeRoundTrip(t *testing.T, f *fixture) {
	f.clock.Advance(7 * time.Millisecond)
	full, in, u := f.issued(t, partner.ID)
	bare := f.issue(t, session.Code{
		ID: "cod_1", SecretHash: hashOf("secret"), RequestID: "r", SessionID: in.ID, ClientID: partner.ID, Offline: true,
	})
	odd := f.code(in, partner.ID)
	odd.Nonce, odd.Scope, odd.Claims, odd.RedirectURI = "ü\n\t'\"%", "a b\nc", `{"userinfo":{"näme":null}}`, "app:/ü"
	odd = f.issue(t, odd)
	for _, c := range []session.Code{full, bare, odd} {
		st := f.wantCode(t, c)
		want := session.Standing{Session: in.Session, User: u, Client: partner, Now: f.clock.Now()}
		equal(t, "the standing", st, want)
	}
	f.wantLog(t, 0)
}

func addCodeOver(t *testing.T, f *fixture) {
	f.eachWay(t, func(t *testing.T, f *fixture, in signIn) {
		wantErr(t, "AddCode", f.Codes.AddCode(t.Context(), f.code(in, partner.ID), codeLife, 10), session.ErrLost)
	})
	in := f.signIn(t, f.user(t))
	in.ID = credential.NewID(credential.Session)
	wantErr(t, "AddCode to no session", f.Codes.AddCode(t.Context(), f.code(in, partner.ID), codeLife, 10), session.ErrLost)
}

func addCodeClientOver(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	disabled := partner
	disabled.ID, disabled.Disabled = "cli_disabled", true
	f.terms(t, disabled)
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: pairwise.ID})
	for _, client := range []string{disabled.ID, pairwise.ID, "cli_none"} {
		c := f.code(in, client)
		wantErr(t, "AddCode for "+client, f.Codes.AddCode(t.Context(), c, codeLife, 10), session.ErrLost)
		_, _, err := f.Codes.OfCode(t.Context(), c.ID)
		wantErr(t, "OfCode", err, session.ErrNone)
	}
}

func addCodeAnswered(t *testing.T, f *fixture) {
	first, in, _ := f.issued(t, partner.ID)
	again, theirs := f.code(in, partner.ID), f.code(f.signIn(t, f.user(t)), pairwise.ID)
	again.RequestID, theirs.RequestID = first.RequestID, first.RequestID
	for _, c := range []session.Code{again, theirs} {
		wantErr(t, "AddCode", f.Codes.AddCode(t.Context(), c, codeLife, 10), session.ErrAnswered)
	}
	f.redeem(t, first)
	wantErr(t, "AddCode after it was spent", f.Codes.AddCode(t.Context(), again, codeLife, 10), session.ErrAnswered)
}

func addCodeRace(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	oneWinner(t, race(racers, func(int) error {
		c := f.code(in, partner.ID)
		c.RequestID = "one"
		return f.Codes.AddCode(t.Context(), c, codeLife, 10)
	}), session.ErrAnswered)
}

func addCodeBounded(t *testing.T, f *fixture) {
	spent, in, u := f.issued(t, partner.ID)
	f.redeem(t, spent)
	neighbour := f.issue(t, f.code(f.signIn(t, u), partner.ID))
	var all []session.Code
	for range 7 {
		f.clock.Advance(time.Second)
		c := f.code(in, partner.ID)
		must(t, f.Codes.AddCode(t.Context(), c, codeLife, 3))
		all = append(all, c)
	}
	for i, c := range append(all, spent, neighbour) {
		_, _, err := f.Codes.OfCode(t.Context(), c.ID)
		var want error
		if i < 4 {
			want = session.ErrNone
		}
		wantErr(t, fmt.Sprint("OfCode of code ", i), err, want)
	}
}

func ofCodeGrant(t *testing.T, f *fixture) {
	f.terms(t, signing)
	c, in, u := f.issued(t, signing.ID)
	want := session.Standing{Session: in.Session, User: u, Client: signing, Now: f.clock.Now()}
	equal(t, "the standing before", f.wantCode(t, c), want)
	f.clock.Advance(time.Second)
	g := f.grantFor(c)
	must(t, f.Codes.Redeem(t.Context(), c.ID, nil, g, noted(audit.GrantOpened)))
	c.SpentAt, c.GrantID = f.clock.Now(), g.ID
	want.Grant, want.Now = g, f.clock.Now()
	equal(t, "the standing after", f.wantCode(t, c), want)
}

func ofCodeOver(t *testing.T, f *fixture) {
	for _, w := range ways {
		if w.name == "its user deleted" { // and the code with the session
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			f := f.again(t)
			c, in, _ := f.issued(t, partner.ID)
			w.happen(t, f, in)
			st := f.wantCode(t, c)
			equal(t, "the session", st.Session.ID, in.ID)
		})
	}
}

func ofCodeNone(t *testing.T, f *fixture) {
	c, in, _ := f.issued(t, partner.ID)
	for _, id := range []string{"", in.ID, in.Grant.ID, c.RequestID, c.ID + "0", "%"} {
		_, _, err := f.Codes.OfCode(t.Context(), id)
		wantErr(t, fmt.Sprintf("OfCode(%q)", id), err, session.ErrNone)
	}
}

func sweepCodes(t *testing.T, f *fixture) {
	oldest, in, _ := f.issued(t, partner.ID)
	f.redeem(t, oldest)
	f.clock.Advance(time.Second)
	older := f.issue(t, f.code(in, partner.ID))
	f.clock.Advance(time.Second)
	young := f.issue(t, f.code(in, partner.ID))
	sweep := func(limit, want int) {
		t.Helper()
		n, _, err := f.Codes.SweepCodes(t.Context(), time.Hour, limit)
		must(t, err)
		equal(t, "how many were removed", n, want)
	}
	f.clock.Advance(time.Hour - 2*time.Second)
	sweep(10, 0)
	f.clock.Advance(time.Second + time.Millisecond)
	sweep(1, 1)
	_, _, err := f.Codes.OfCode(t.Context(), oldest.ID)
	wantErr(t, "OfCode of the oldest", err, session.ErrNone)
	f.wantCode(t, older)
	sweep(10, 1)
	f.wantCode(t, young)
}

func codesGoWithSession(t *testing.T, f *fixture) {
	c, in, _ := f.issued(t, partner.ID)
	f.end(t, 1, session.Ending{Kind: feed.Session, ID: in.ID})
	f.clock.Advance(time.Second)
	_, _, err := f.Upkeep.Sweep(t.Context(), time.Millisecond, 10)
	must(t, err)
	_, _, err = f.Codes.OfCode(t.Context(), c.ID)
	wantErr(t, "OfCode", err, session.ErrNone)
}

func sweepCodesMore(t *testing.T, f *fixture) {
	in := f.signIn(t, f.user(t))
	for range 10 {
		f.issue(t, f.code(in, partner.ID))
	}
	f.clock.Advance(time.Hour)
	for removed := 0; ; {
		n, more, err := f.Codes.SweepCodes(t.Context(), time.Minute, 3)
		must(t, err)
		if removed += n; !more {
			equal(t, "how many were removed", removed, 10)
			return
		}
		if n == 0 {
			t.Fatal("more is said, and nothing is removed")
		}
	}
}

func ofClient(t *testing.T, f *fixture) {
	f.terms(t, signing)
	f.end(t, 1, session.Ending{Kind: feed.All})
	all := f.reach(t, feed.All)
	for _, want := range []session.ClientTerms{firstParty, partner, pairwise, signing} {
		st, err := f.Codes.OfClient(t.Context(), want.ID)
		must(t, err)
		equal(t, "OfClient", st, session.Standing{Client: want, OverBefore: all, Now: f.clock.Now()})
	}
	f.end(t, 1, session.Ending{Kind: feed.Client, ID: signing.ID})
	st, err := f.Codes.OfClient(t.Context(), signing.ID)
	must(t, err)
	equal(t, "OverBefore of the client", st.Client.OverBefore, f.reach(t, feed.Client))
}

func ofClientNone(t *testing.T, f *fixture) {
	for _, id := range []string{"", "cli_none", "CLI_PARTNER", "%"} {
		_, err := f.Codes.OfClient(t.Context(), id)
		wantErr(t, fmt.Sprintf("OfClient(%q)", id), err, session.ErrNone)
	}
}

func algorithms(t *testing.T, f *fixture) {
	want := func(want ...jwt.Algorithm) {
		t.Helper()
		got, err := f.Keys.Algorithms(t.Context())
		must(t, err)
		equal(t, "the algorithms", got, want)
	}
	want()
	for i, a := range []jwt.Algorithm{jwt.RS256, jwt.EdDSA, jwt.RS256} {
		c := signing
		c.ID, c.IDAlgorithm = fmt.Sprint("cli_", i), a
		f.terms(t, c)
	}
	want(jwt.EdDSA, jwt.RS256)
}

func algorithmsOfRemoved(t *testing.T, f *fixture) {
	c := f.client(t, "Shop")
	got, err := f.Keys.Algorithms(t.Context())
	must(t, err)
	equal(t, "the algorithms", got, []jwt.Algorithm{c.IDAlgorithm})
	must(t, f.Clients.RemoveClient(t.Context(), c.ID, noted(audit.ClientRemoved)))
	got, err = f.Keys.Algorithms(t.Context())
	must(t, err)
	equal(t, "the algorithms after the removal", got, []jwt.Algorithm{})
}
