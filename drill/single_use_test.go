package drill

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/app"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/session"
)

// I-3, V-45: sixty-four callers exchange one refresh token at once, at three nodes.
// All hold the same successor, and the generation has made one step.
func TestRefreshTokenOverThreeNodes(t *testing.T) {
	t.Parallel()
	three := startTrio(t, trioOptions{Settings: map[string]string{"refresh.grace": "60s"}})
	u := three.person(t)
	for round := range size(12, 500) {
		proof, err := three.nodes[round%3].Accounts.CheckPassword(t.Context(), u.Email, password, three.guest())
		if err != nil {
			t.Fatal(err)
		}
		opened, err := three.nodes[round%3].Sessions.Begin(t.Context(), proof, session.Opening{Event: audit.SignedIn, Tokens: true})
		if err != nil {
			t.Fatal(err)
		}
		const generation = `SELECT generation FROM session_grant WHERE session_id = $1`
		first := three.number(t, generation, opened.Standing.Session.ID)
		token, shared := opened.Tokens.Refresh, newKey()
		answers := three.atOnce(func(i int) *http.Request {
			key := shared // of a quarter of them, as tabs that share what they store; the others have their own, or none
			switch i % 4 {
			case 1, 2:
				key = newKey()
			case 3:
				key = ""
			}
			return three.json("/v1/token/refresh", map[string]string{"refresh_token": token}, idempotencyKey(key))
		})
		successor := ""
		for i, a := range answers {
			var in struct{ Tokens tokens }
			if err := json.Unmarshal(a.Body, &in); err != nil || !a.OK() || in.Tokens.Refresh == "" {
				t.Errorf("round %d: I-8 caller %d: %v %v", round, i, a, err)
				continue
			}
			if successor == "" {
				successor = in.Tokens.Refresh
			}
			if in.Tokens.Refresh != successor {
				t.Errorf("round %d: I-3 two successors of one refresh token", round)
			}
		}
		if g := three.number(t, generation, opened.Standing.Session.ID); g != first+1 {
			t.Errorf("round %d: I-3 the generation is %d after %d", round, g, first)
		}
		if a := three.ask(round+1, three.json("/v1/token/refresh", map[string]string{"refresh_token": successor})); !a.OK() {
			t.Errorf("round %d: I-3 the successor at another node: %v", round, a)
		}
		if g := three.number(t, generation, opened.Standing.Session.ID); g != first+2 {
			t.Errorf("round %d: the generation is %d after one more step from %d", round, g, first+1)
		}
		if t.Failed() {
			return
		}
	}
}

// A once is something that may be used one time.
type once struct {
	name string
	// prepare makes it, and returns how a caller uses it and what must be so after the
	// given caller has won.
	prepare func(t *testing.T, three *trio) (use func(caller int) *http.Request, after func(winner int))
	won     int      // the status of the one who wins
	lost    []string // the codes of all others
}

var onces = []once{
	{"a link and its code that prove an address", proveAddress, http.StatusNoContent, []string{"link_over", "wrong_code", "too_many_attempts"}},
	{"a code", proveByCode, http.StatusNoContent, []string{"link_over", "wrong_code", "too_many_attempts"}},
	{"a link to another address", changeAddress, http.StatusNoContent, []string{"link_over"}},
	{"a link to a new password", resetPassword, http.StatusNoContent, []string{"link_over"}},
	{"a sign-up", finishSignUp, http.StatusNoContent, []string{"link_over", "email_taken"}},
	{"five sign-ups of one address", finishSignUps, http.StatusNoContent, []string{"link_over", "email_taken"}},
	{"an invitation", acceptInvitation, http.StatusCreated, []string{"link_over", "email_taken"}},
	{"the link of the first administrator", claimSetup, http.StatusSeeOther, nil},
}

// V-45, I-3: of sixty-four who use what is good once, at three nodes at the same
// time, one succeeds, and what is stored afterwards is what that one did.
func TestOnceOverThreeNodes(t *testing.T) {
	t.Parallel()
	three := startTrio(t, trioOptions{})
	for _, o := range onces {
		t.Run(o.name, func(t *testing.T) {
			for round := range size(3, 500) {
				o.race(t, three, round)
				if t.Failed() {
					return
				}
			}
		})
	}
}

func (o *once) race(t *testing.T, three *trio, round int) {
	t.Helper()
	use, after := o.prepare(t, three)
	var winners []int
	for i, a := range three.atOnce(use) {
		if a.Status == o.won {
			winners = append(winners, i)
			continue
		}
		known := o.lost == nil && (a.Status == http.StatusNotFound || a.Status == http.StatusConflict) // a page has no code
		for _, code := range o.lost {
			known = known || a.Code == code
		}
		if !known {
			t.Errorf("round %d: caller %d is answered %v %s", round, i, a, a.Body)
		}
	}
	if len(winners) != 1 {
		t.Errorf("V-45 round %d: %d callers succeeded, want 1", round, len(winners))
		return
	}
	after(winners[0])
	if a := three.ask(round, use(0)); a.Status == o.won {
		t.Errorf("V-45 round %d: it is good once more: %v", round, a)
	}
}

func proveAddress(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	u := three.person(t)
	if err := three.nodes[0].Accounts.SendVerification(t.Context(), u, three.guest()); err != nil {
		t.Fatal(err)
	}
	tokens, codes := three.mailed(t, account.LinkVerify, u.Email)
	return func(i int) *http.Request {
			if i%8 == 3 {
				return three.json("/v1/email/verify", map[string]string{"email": u.Email, "code": codes[0]})
			}
			return three.json("/v1/email/verify", map[string]string{"token": tokens[0]})
		}, func(int) {
			three.audited(t, audit.EmailVerified, u.ID)
		}
}

func proveByCode(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	u := three.person(t)
	if err := three.nodes[0].Accounts.SendVerification(t.Context(), u, three.guest()); err != nil {
		t.Fatal(err)
	}
	_, codes := three.mailed(t, account.LinkVerify, u.Email)
	return func(int) *http.Request {
		return three.json("/v1/email/verify", map[string]string{"email": u.Email, "code": codes[0]})
	}, func(int) { three.audited(t, audit.EmailVerified, u.ID) }
}

func changeAddress(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	u, fresh := three.person(t), newEmail()
	if err := three.nodes[0].Accounts.ChangeEmail(t.Context(), u, fresh, password, three.guest()); err != nil {
		t.Fatal(err)
	}
	tokens, _ := three.mailed(t, account.LinkEmail, fresh)
	return func(int) *http.Request {
			return three.json("/v1/email/verify", map[string]string{"token": tokens[0]})
		}, func(int) {
			three.audited(t, audit.EmailChanged, u.ID)
			if n := three.number(t, `SELECT count(*) FROM account WHERE id = $1 AND email = $2`, u.ID, fresh); n != 1 {
				t.Errorf("the address of %s is not the new one", u.ID)
			}
		}
}

func resetPassword(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	u := three.person(t)
	if err := three.nodes[0].Accounts.Forgot(t.Context(), u.Email, three.guest()); err != nil {
		t.Fatal(err)
	}
	tokens, _ := three.mailed(t, account.LinkReset, u.Email)
	chosen := func(i int) string { return fmt.Sprintf("%s, caller %d", password, i) }
	return func(i int) *http.Request {
			return three.json("/v1/password/reset", map[string]string{"token": tokens[0], "password": chosen(i)})
		}, func(winner int) {
			three.audited(t, audit.PasswordReset, u.ID)
			if n := three.number(t, `SELECT password_version FROM account WHERE id = $1`, u.ID); n != 1 {
				t.Errorf("I-3 the password was set %d times", n)
			}
			three.hasPassword(t, u.Email, chosen(winner))
		}
}

func finishSignUp(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	return signUps(t, three, 1)
}

func finishSignUps(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	return signUps(t, three, 5)
}

// signUps begins some sign-ups with one address, in browsers that nobody comes back
// with.
func signUps(t *testing.T, three *trio, count int) (func(int) *http.Request, func(int)) {
	email := newEmail()
	for i := range count {
		n := account.NewUser{Email: email, Password: password}
		if err := three.nodes[i%3].Accounts.BeginSignUp(t.Context(), n, credential.Hash{}, three.guest()); err != nil {
			t.Fatal(err)
		}
	}
	tokens, _ := three.mailed(t, account.LinkSignUp, email)
	if len(tokens) != count {
		t.Fatalf("%d links, want %d", len(tokens), count)
	}
	chosen := func(i int) string { return fmt.Sprintf("%s, caller %d", password, i) }
	return func(i int) *http.Request {
		return three.json("/v1/email/verify", map[string]string{"token": tokens[i%count], "password": chosen(i)})
	}, func(winner int) { three.oneAccount(t, email, chosen(winner)) }
}

func acceptInvitation(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	email := newEmail()
	if _, err := three.nodes[2].Accounts.Invite(t.Context(), account.Invited{Email: email}, "system", app.Origin); err != nil {
		t.Fatal(err)
	}
	tokens, _ := three.mailed(t, account.LinkInvite, email)
	chosen := func(i int) string { return fmt.Sprintf("%s, caller %d", password, i) }
	return func(i int) *http.Request {
		return three.json("/v1/sign-up", map[string]string{"invitation": tokens[0], "email": email, "password": chosen(i)})
	}, func(winner int) { three.oneAccount(t, email, chosen(winner)) }
}

// claimSetup forgets that there was a first administrator.
func claimSetup(t *testing.T, three *trio) (func(int) *http.Request, func(int)) {
	if _, err := three.db.ExecContext(t.Context(), `DELETE FROM setup`); err != nil {
		t.Fatal(err)
	}
	token, offered, err := three.nodes[0].Accounts.OfferSetup(t.Context())
	if err != nil || !offered {
		t.Fatalf("no link is offered: %v", err)
	}
	base := newEmail()
	email := func(i int) string { return fmt.Sprintf("admin%d.%s", i, base) }
	return func(i int) *http.Request {
			form := url.Values{"token": {token}, "email": {email(i)}, "name": {"Ada"}, "password": {password}}
			r := httptest.NewRequest(http.MethodPost, three.public+"/setup", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}, func(winner int) {
			made := three.number(t, `SELECT count(*) FROM account WHERE email LIKE '%.' || $1`, base)
			if made != 1 || three.number(t, `SELECT count(*) FROM account WHERE email = $1`, email(winner)) != 1 {
				t.Errorf("I-3 %d first administrators", made)
			}
		}
}

// audited holds that an event was noted once of a person.
func (three *trio) audited(t *testing.T, event audit.Event, userID string) {
	t.Helper()
	if n := three.number(t, `SELECT count(*) FROM audit WHERE event = $1 AND account_id = $2 AND outcome = 'ok'`, string(event), userID); n != 1 {
		t.Errorf("I-11 %s was noted %d times", event, n)
	}
}

// oneAccount holds that an address has one account, which the winner made.
func (three *trio) oneAccount(t *testing.T, email, secret string) {
	t.Helper()
	if n := three.number(t, `SELECT count(*) FROM account WHERE email = $1`, email); n != 1 {
		t.Errorf("I-3 %d accounts of one address", n)
	}
	three.hasPassword(t, email, secret)
}

func (three *trio) hasPassword(t *testing.T, email, secret string) {
	t.Helper()
	for i, a := range three.nodes {
		if _, err := a.Accounts.CheckPassword(t.Context(), email, secret, three.guest()); err != nil {
			t.Errorf("node %d: the password of the one who succeeded: %v", i, err)
		}
	}
}
