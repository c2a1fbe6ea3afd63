package session_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

func errorIs(err, want error) bool { return errors.Is(err, want) && (err == nil) == (want == nil) }

func TestACodeGivesWhatItStandsFor(t *testing.T) { // AT-1, OC-1
	w := newWorld(t, defaults())
	c := w.client()
	opened := w.begin("ada@example.com")
	w.pass(time.Hour)
	d, err := w.redeem(w.code(w.holder(opened), c, func(c *session.Code) { c.Audience = "orders" }))
	w.must(err)
	st := opened.Standing
	access := w.claims(d.Access)
	if access.Issuer != issuer || access.Subject != st.User.ID || access.ClientID != c.ID || access.GrantID != d.GrantID || access.SessionID != "" ||
		!slices.Equal(access.Audience, []string{"orders"}) || access.Scope != "openid email read" || access.ID == "" ||
		access.AuthTime != st.Session.AuthTime || access.ACR != "aal1" || !slices.Equal(access.AMR, []string{"pwd"}) {
		t.Errorf("the access token says %+v", access)
	}
	if d.Scope != access.Scope || d.Audience != "orders" || d.ExpiresIn != time.Duration(access.ExpiresAt-access.IssuedAt)*time.Second {
		t.Errorf("the answer says %+v", d)
	}
	id := w.statement(d.ID, jwt.IDToken)
	half := sha256.Sum256([]byte(d.Access))
	for name, want := range map[string]any{
		"iss": issuer, "sub": st.User.ID, "aud": c.ID, "nonce": "a nonce", "sid": d.GrantID, "acr": "aal1",
		"auth_time": float64(st.Session.AuthTime), "iat": float64(w.now().Unix()), "exp": float64(w.now().Unix() + 600),
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	} {
		if got := id.Claims[name]; got != want {
			t.Errorf("the ID token has %s %v, want %v", name, got, want)
		}
	}
	if amr, _ := id.Claims["amr"].([]any); len(amr) != 1 || amr[0] != "pwd" || len(id.Claims) != 11 {
		t.Errorf("the ID token says %v", id.Claims)
	}
	next, err := w.renew(d.Refresh, c)
	w.must(err)
	if next.GrantID != d.GrantID || !w.active(next.Access) {
		t.Errorf("the refresh token gives %+v", next)
	}
	if all := w.entries(audit.GrantOpened); len(all) != 1 || all[0].Subject != c.ID || all[0].UserID != st.User.ID {
		t.Errorf("the audit tells of %+v", all)
	}
}

func TestWhatIsNotAskedForIsNotGiven(t *testing.T) {
	w := newWorld(t, defaults())
	c, silent := w.client(), w.client(func(c *session.ClientTerms) { c.IDAlgorithm = "" })
	h := w.holder(w.begin("ada@example.com"))
	d, err := w.redeem(w.code(h, c, func(c *session.Code) { c.Scope, c.Nonce = "read", "" }))
	w.must(err)
	if d.ID != "" || d.Scope != "read" {
		t.Errorf("without openid: %+v", d)
	}
	d, err = w.redeem(w.code(h, silent))
	w.must(err)
	if d.ID != "" {
		t.Error("an ID token for a client that gets none")
	}
	p, err := w.OfCode(t.Context(), w.code(h, c))
	w.must(err)
	d, err = w.OpenGrant(t.Context(), p, here)
	w.must(err)
	if d.Refresh != "" {
		t.Error("a refresh token for a client that may not renew")
	}
}

// ways are how what a client was given can be used; each says whether it is still good.
func (w *world) ways(d session.Drawn, c session.ClientTerms) map[string]bool {
	w.t.Helper()
	_, _, err := w.CheckGrantToken(w.t.Context(), d.Access)
	_, renewed := w.renew(d.Refresh, c)
	return map[string]bool{
		"introspected access token": w.active(d.Access), "access token": err == nil, "refresh token": renewed == nil,
	}
}

func (w *world) wantAll(d session.Drawn, c session.ClientTerms, want bool) {
	w.t.Helper()
	for name, good := range w.ways(d, c) {
		if good != want {
			w.t.Errorf("%s is good: %t, want %t", name, good, want)
		}
	}
}

func TestAReplayedCodeEndsWhatItGave(t *testing.T) { // V-63, V-53
	for name, after := range map[string]time.Duration{"at once": 0, "after half a minute": 30 * time.Second, "after an hour": time.Hour} {
		for kind, change := range map[string]func(*session.Code){"": func(*session.Code) {}, ", offline": offline} {
			t.Run(name+kind, func(t *testing.T) {
				w := newWorld(t, defaults())
				c := w.client()
				opened := w.begin("ada@example.com")
				code := w.code(w.holder(opened), c, change)
				d, err := w.redeem(code)
				w.must(err)
				neighbour, err := w.redeem(w.code(w.holder(opened), c))
				w.must(err)
				w.pass(after)
				p, err := w.OfCode(t.Context(), code)
				w.must(err)
				if !p.Spent() {
					t.Fatal("the code is not spent")
				}
				_, err = w.redeem(code)
				wantErr(t, "a second redemption", err, session.ErrLost)
				w.must(w.EndReplayed(t.Context(), p, here))
				w.must(w.EndReplayed(t.Context(), p, here))
				w.wantAll(d, c, false)
				w.wantSessionEnded(d, kind != "")
				if _, err := w.renew(neighbour.Refresh, c); err != nil {
					t.Errorf("a neighbour has ended: %v", err)
				}
				if _, err := w.CheckCookie(t.Context(), opened.Cookie); err != nil {
					t.Errorf("the person was signed out: %v", err)
				}
				if got := w.entries(audit.CodeReused); len(got) != 1 || got[0].Subject != c.ID {
					t.Errorf("the audit tells of it %d times", len(got))
				}
			})
		}
	}
}

func TestRacedRedemptionsHaveOneWinner(t *testing.T) { // V-63, V-45
	w := newWorld(t, defaults())
	c := w.client()
	code := w.code(w.holder(w.begin("ada@example.com")), c)
	drawn := make([]session.Drawn, 32)
	errs := make([]error, len(drawn))
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range drawn {
		all.Go(func() {
			<-begin
			drawn[i], errs[i] = w.redeem(code)
		})
	}
	close(begin)
	all.Wait()
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		if i != winner && !errors.Is(err, session.ErrLost) {
			t.Errorf("racer %d: %v", i, err)
		}
	}
	if winner < 0 || !w.active(drawn[winner].Access) {
		t.Fatalf("nobody has won: %v", errs)
	}
	p, err := w.OfCode(t.Context(), code)
	w.must(err)
	if p.Code.GrantID != drawn[winner].GrantID {
		t.Error("the code names another grant than the winner's")
	}
	w.must(w.EndReplayed(t.Context(), p, here))
	w.wantAll(drawn[winner], c, false)
}

func TestACodeOfWhatIsOver(t *testing.T) { // V-54, V-63
	for name, end := range map[string]struct {
		happen func(w *world, opened session.Opened, c session.ClientTerms)
		want   error
	}{
		"its time": {func(w *world, _ session.Opened, _ session.ClientTerms) { w.pass(time.Minute) }, session.ErrLost},
		"signed out": {func(w *world, o session.Opened, _ session.ClientTerms) {
			w.must(w.SignOut(w.t.Context(), w.holder(o), here))
		}, session.ErrEnded},
		"its client": {func(w *world, _ session.Opened, c session.ClientTerms) {
			w.endWhat(session.Ending{Kind: feed.Client, ID: c.ID})
		}, session.ErrEnded},
		"everything":  {func(w *world, _ session.Opened, _ session.ClientTerms) { w.endWhat(session.Ending{Kind: feed.All}) }, session.ErrEnded},
		"the account": {func(w *world, o session.Opened, _ session.ClientTerms) { w.disable(o) }, session.ErrEnded},
		"the client was disconnected": {func(w *world, o session.Opened, c session.ClientTerms) {
			_, err := w.EndClientOf(w.t.Context(), o.Standing.User.ID, c.ID, "disconnected", o.Standing.User.ID, here)
			w.must(err)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			c := w.client()
			opened := w.begin("ada@example.com")
			code := w.code(w.holder(opened), c)
			before, err := w.OfCode(t.Context(), code)
			w.must(err)
			end.happen(w, opened, c)
			_, err = w.OpenGrant(t.Context(), before, here) // it was read before
			wantErr(t, "OpenGrant of an old reading", err, session.ErrLost)
			if _, err = w.redeem(code); end.want == nil {
				end.want = session.ErrNone
			}
			wantErr(t, "a redemption", err, end.want)
			if all := w.entries(audit.GrantOpened); len(all) != 0 {
				t.Errorf("a grant was opened: %+v", all)
			}
		})
	}
}

func (w *world) endWhat(what session.Ending) {
	w.t.Helper()
	_, err := w.End(w.t.Context(), what, "cli", here)
	w.must(err)
}

func (w *world) disable(opened session.Opened) {
	w.t.Helper()
	disabled := true
	_, err := w.db.ChangeUser(w.t.Context(), opened.Standing.User.ID, account.UserChange{Disabled: &disabled}, audit.New(audit.UserDisabled, audit.OK, here))
	w.must(err)
}

func TestARequestIsAnsweredOnce(t *testing.T) { // V-75
	w := newWorld(t, defaults())
	c := w.client()
	opened := w.begin("ada@example.com")
	h := w.holder(opened)
	w.code(h, c, func(c *session.Code) { c.RequestID = "one" })
	_, err := w.IssueCode(t.Context(), h, session.Code{RequestID: "one", ClientID: c.ID})
	wantErr(t, "a second answer", err, session.ErrAnswered)
	w.must(w.SignOut(t.Context(), h, here))
	_, err = w.IssueCode(t.Context(), h, session.Code{RequestID: "two", ClientID: c.ID})
	wantErr(t, "an answer after the end", err, session.ErrEnded)
}

func TestCodesHaveOneSpelling(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	code := w.code(w.holder(opened), w.client())
	if !strings.HasPrefix(code, "ckc_") || len(code) != 4+26+43 {
		t.Fatalf("a code looks like %q", code)
	}
	other := w.code(w.holder(opened), w.client())
	for name, bad := range map[string]string{
		"empty": "", "short": code[:len(code)-1], "long": code + "A", "upper case": strings.ToUpper(code), "a space": code[:10] + " " + code[11:],
		"another's secret": code[:30] + other[30:], "no secret": code[:30] + strings.Repeat("A", 43), "a cookie": opened.Cookie,
		"a refresh token": opened.Tokens.Refresh, "a line break": code[:40] + "\n" + code[41:],
	} {
		_, err := w.OfCode(t.Context(), bad)
		wantErr(t, name, err, session.ErrNone)
	}
	w.must(func() error { _, err := w.redeem(code); return err }())
}

func TestWhatOfflineGivesOutlivesTheSession(t *testing.T) {
	w := newWorld(t, defaults())
	c := w.client()
	d, opened := w.drawn("ada@example.com", c, offline)
	rows, err := w.List(t.Context(), opened.Standing.User.ID, "", 10)
	w.must(err)
	if len(rows) != 1 || rows[0].Session.ID != opened.Standing.Session.ID {
		t.Errorf("%d devices are listed, want the person's own alone", len(rows))
	}
	w.must(w.SignOut(t.Context(), w.holder(opened), here))
	w.wantAll(d, c, true)
	d, opened = w.drawn("bob@example.com", c, offline)
	w.must(w.SignOut(t.Context(), w.holder(opened), here))
	w.pass(29 * 24 * time.Hour) // nobody has used it since
	d, err = w.renew(d.Refresh, c)
	w.must(err)
	w.pass(25 * time.Hour)
	_, err = w.renew(d.Refresh, c)
	wantErr(t, "beyond the absolute end", err, session.ErrEnded)
}

// A store that fails gives nothing out, and is no verdict. I-7
func TestAFailingStoreOpensNoGrant(t *testing.T) {
	w := newWorld(t, defaults())
	c := w.client()
	opened := w.begin("ada@example.com")
	h := w.holder(opened)
	code := w.code(h, c)
	p, err := w.OfCode(t.Context(), code)
	w.must(err)
	w.codes.before = errors.New("the disk is gone")
	_, err = w.IssueCode(t.Context(), h, session.Code{RequestID: "x", ClientID: c.ID})
	wantErr(t, "IssueCode", err, fault.ErrUnavailable)
	_, err = w.OfCode(t.Context(), code)
	wantErr(t, "OfCode", err, fault.ErrUnavailable)
	_, err = w.OpenGrant(t.Context(), p, here)
	wantErr(t, "OpenGrant", err, fault.ErrUnavailable)
	_, err = w.DrawForClient(t.Context(), c.ID, "", "")
	wantErr(t, "DrawForClient", err, fault.ErrUnavailable)
	_, err = w.LogoutToken(t.Context(), c.ID, h.UserID(), "grt_1", w.now())
	wantErr(t, "LogoutToken", err, fault.ErrUnavailable)
	_, err = w.Grants(t.Context(), h.UserID())
	wantErr(t, "Grants", err, fault.ErrUnavailable)
	w.codes.before, w.codes.after = nil, errors.New("the connection broke")
	d, err := w.OpenGrant(t.Context(), p, here)
	wantErr(t, "OpenGrant", err, fault.ErrUnavailable)
	if d != (session.Drawn{}) {
		t.Errorf("given out beside the failure: %+v", d)
	}
}
