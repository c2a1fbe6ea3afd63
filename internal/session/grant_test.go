package session_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

func TestARefreshTokenIsBoundToItsGrant(t *testing.T) { // BCP-11, V-51
	w := newWorld(t, defaults())
	c, other := w.client(func(c *session.ClientTerms) { c.Audiences = []string{"orders", "mail"} }), w.client()
	d, opened := w.drawn("ada@example.com", c, func(c *session.Code) { c.Audience, c.Scope = "orders", "openid read write" })
	for name, r := range map[string]struct {
		change func(*session.RefreshRequest)
		want   error
	}{
		"another client":                {func(r *session.RefreshRequest) { r.ClientID = other.ID }, session.ErrInvalidToken},
		"the first-party client":        {func(r *session.RefreshRequest) { r.ClientID = session.FirstParty }, session.ErrInvalidToken},
		"no client":                     {func(r *session.RefreshRequest) { r.ClientID = "" }, session.ErrInvalidToken},
		"a scope that was not granted":  {func(r *session.RefreshRequest) { r.Scope = "read email" }, session.ErrInvalidScope},
		"a resource that was not":       {func(r *session.RefreshRequest) { r.Audience = "mail" }, session.ErrInvalidTarget},
		"a resource that is nobody's":   {func(r *session.RefreshRequest) { r.Audience = "payments" }, session.ErrInvalidTarget},
		"a first-party client's token":  {func(r *session.RefreshRequest) { r.Token = opened.Tokens.Refresh }, session.ErrInvalidToken},
		"an access token in its place":  {func(r *session.RefreshRequest) { r.Token = d.Access }, session.ErrInvalidToken},
		"a code's text in its place":    {func(r *session.RefreshRequest) { r.Token = w.code(w.holder(opened), c) }, session.ErrInvalidToken},
		"the session cookie in its own": {func(r *session.RefreshRequest) { r.Token = opened.Cookie }, session.ErrInvalidToken},
	} {
		_, err := w.renew(d.Refresh, c, r.change)
		wantErr(t, name, err, r.want)
	}
	if _, err := w.refresh(d.Refresh); !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("as the first-party client: %v", err)
	}
	d, err := w.renew(d.Refresh, c, func(r *session.RefreshRequest) { r.Scope = "read" })
	w.must(err)
	if d.Scope != "read" || d.Audience != "orders" || d.ID != "" {
		t.Errorf("narrowed: %+v", d)
	}
	d, err = w.renew(d.Refresh, c, func(r *session.RefreshRequest) { r.Audience = issuer })
	w.must(err)
	if d.Scope != "openid read write" || d.Audience != issuer || d.ID == "" {
		t.Errorf("for the issuer, with all that was granted: %+v", d)
	}
}

func TestARefreshSeesWhatHasChanged(t *testing.T) { // V-50
	off, on := true, false
	for name, c := range map[string]struct {
		happen func(w *world, o session.Opened, c session.ClientTerms)
		want   error
		scope  string
	}{
		"nothing": {func(*world, session.Opened, session.ClientTerms) {}, nil, "openid email read"},
		"the client's scopes": {func(w *world, _ session.Opened, c session.ClientTerms) {
			c.Scopes = []string{"openid", "read"}
			w.must(w.db.SetTerms(w.t.Context(), c))
		}, nil, "openid read"},
		"the client's audiences": {func(w *world, _ session.Opened, c session.ClientTerms) {
			c.Audiences = nil
			w.must(w.db.SetTerms(w.t.Context(), c))
		}, session.ErrInvalidTarget, ""},
		"the account": {func(w *world, o session.Opened, _ session.ClientTerms) { w.disable(o) }, session.ErrEnded, ""},
		"the account, and back": {func(w *world, o session.Opened, _ session.ClientTerms) {
			for _, d := range []*bool{&off, &on} {
				_, err := w.db.ChangeUser(w.t.Context(), o.Standing.User.ID, account.UserChange{Disabled: d}, audit.New(audit.UserChanged, audit.OK, here))
				w.must(err)
			}
		}, session.ErrEnded, ""},
		"the session": {func(w *world, o session.Opened, _ session.ClientTerms) {
			w.must(w.SignOut(w.t.Context(), w.holder(o), here))
		}, session.ErrEnded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			terms := w.client()
			d, opened := w.drawn("ada@example.com", terms, func(c *session.Code) { c.Audience = "orders" })
			w.pass(time.Second)
			c.happen(w, opened, terms)
			next, err := w.renew(d.Refresh, terms)
			wantErr(t, "a renewal", err, c.want)
			if next.Scope != c.scope {
				t.Errorf("scope %q, want %q", next.Scope, c.scope)
			}
		})
	}
}

// An ID token from a renewal names the same person at the same sign-in, and repeats no
// nonce (OpenID Connect Core 12.2).
func TestAnIDTokenOfARenewal(t *testing.T) { // OC-1
	w := newWorld(t, defaults())
	c := w.client(func(c *session.ClientTerms) { c.Pairwise = true })
	d, _ := w.drawn("ada@example.com", c)
	first := w.statement(d.ID, jwt.IDToken)
	w.pass(time.Hour)
	d, err := w.renew(d.Refresh, c)
	w.must(err)
	next := w.statement(d.ID, jwt.IDToken)
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid", "acr"} {
		if first.Claims[name] != next.Claims[name] {
			t.Errorf("%s was %v and is %v", name, first.Claims[name], next.Claims[name])
		}
	}
	if _, found := next.Claims["nonce"]; found || next.IssuedAt != w.now().Unix() {
		t.Errorf("the second says %v", next.Claims)
	}
}

// Whoever stole an application's token costs the person that application, no more.
func TestATheftFromAClientEndsItsGrantAlone(t *testing.T) { // V-47, V-53
	w := newWorld(t, defaults())
	c := w.client()
	d, opened := w.drawn("ada@example.com", c)
	_, err := w.renew(d.Refresh, c)
	w.must(err)
	w.pass(time.Minute)
	_, err = w.renew(d.Refresh, c)
	wantErr(t, "a spent token", err, session.ErrRefreshReused)
	w.wantAll(d, c, false)
	for name, err := range w.channels(opened) {
		if err != nil {
			t.Errorf("%s of the person: %v", name, err)
		}
	}
}

func TestATheftFromAnOfflineSessionEndsIt(t *testing.T) {
	w := newWorld(t, defaults())
	c := w.client()
	d, opened := w.drawn("ada@example.com", c, offline)
	_, err := w.renew(d.Refresh, c)
	w.must(err)
	w.pass(time.Minute)
	_, err = w.renew(d.Refresh, c)
	wantErr(t, "a spent token", err, session.ErrRefreshReused)
	all, err := w.Grants(t.Context(), opened.Standing.User.ID)
	w.must(err)
	if len(all) != 0 {
		t.Errorf("there is still %+v", all)
	}
	w.wantSessionEnded(d, true)
}

// wantSessionEnded fails unless the session of a grant has ended, or has not.
func (w *world) wantSessionEnded(d session.Drawn, want bool) {
	w.t.Helper()
	st, err := w.db.OfGrant(w.t.Context(), d.GrantID)
	w.must(err)
	if ended := !st.Session.EndedAt.IsZero(); ended != want {
		w.t.Errorf("the session of the grant has ended: %t, want %t", ended, want)
	}
}

func TestAClientGivesItsTokensBack(t *testing.T) { // REV-1, REV-2, REV-4, V-52, V-53
	for name, token := range map[string]func(session.Drawn) string{
		"the access token": func(d session.Drawn) string { return d.Access }, "the refresh token": func(d session.Drawn) string { return d.Refresh },
	} {
		for kind, change := range map[string]func(*session.Code){"": func(*session.Code) {}, ", offline": offline} {
			t.Run(name+kind, func(t *testing.T) {
				w := newWorld(t, defaults())
				c, other := w.client(), w.client()
				d, opened := w.drawn("ada@example.com", c, change)
				neighbour, err := w.redeem(w.code(w.holder(opened), c))
				w.must(err)
				w.must(w.EndGrantOf(t.Context(), token(d), other.ID, here))
				for _, garbage := range []string{"", "garbage", token(d) + "x", d.ID, opened.Cookie, opened.Tokens.Access, opened.Tokens.Refresh} {
					w.must(w.EndGrantOf(t.Context(), garbage, c.ID, here))
				}
				if all := w.entries(audit.GrantEnded); len(all) != 0 || !w.active(d.Access) {
					t.Fatalf("something has ended: %+v", all)
				}
				w.must(w.EndGrantOf(t.Context(), token(d), c.ID, here))
				w.must(w.EndGrantOf(t.Context(), token(d), c.ID, here))
				w.wantAll(d, c, false)
				w.wantSessionEnded(d, kind != "")
				if all := w.entries(audit.GrantEnded); len(all) != 1 || all[0].Actor != c.ID || all[0].Subject != c.ID {
					t.Errorf("the audit tells of %+v", all)
				}
				w.wantAll(neighbour, c, true)
				for name, err := range w.channels(opened) {
					if err != nil {
						t.Errorf("%s of the person: %v", name, err)
					}
				}
			})
		}
	}
}

func TestGivingBackIsNoSuccessWithoutTheStore(t *testing.T) { // REV-5
	w := newWorld(t, defaults())
	c := w.client()
	d, _ := w.drawn("ada@example.com", c)
	w.faults.after = errors.New("the connection broke")
	wantErr(t, "EndGrantOf", w.EndGrantOf(t.Context(), d.Refresh, c.ID, here), fault.ErrUnavailable)
	w.faults.after, w.faults.before = nil, errors.New("the disk is gone")
	wantErr(t, "EndGrantOf", w.EndGrantOf(t.Context(), d.Access, c.ID, here), fault.ErrUnavailable)
}

func TestConnectedApplications(t *testing.T) {
	w := newWorld(t, defaults())
	shop, mail := w.client(), w.client()
	opened := w.begin("ada@example.com")
	h, since := w.holder(opened), w.now()
	draw := func(c session.ClientTerms, change func(*session.Code)) session.Drawn {
		t.Helper()
		d, err := w.redeem(w.code(h, c, change))
		w.must(err)
		return d
	}
	first := draw(shop, func(c *session.Code) { c.Scope = "openid read" })
	w.pass(time.Minute)
	draw(mail, offline)
	w.pass(time.Minute)
	draw(shop, func(c *session.Code) { c.Scope = "openid email" })
	w.pass(time.Minute)
	_, err := w.renew(first.Refresh, shop)
	w.must(err)
	all, err := w.Grants(t.Context(), h.UserID())
	w.must(err)
	if len(all) != 2 || all[0].ClientID != shop.ID || all[1].ClientID != mail.ID || all[0].Offline || !all[1].Offline ||
		!slices.Equal(all[0].Scopes, []string{"email", "openid", "read"}) || !all[0].Since.Equal(since) || !all[0].LastUsed.Equal(w.now()) {
		t.Fatalf("connected are %+v", all)
	}
	for _, c := range []struct {
		terms session.ClientTerms
		want  int
	}{{shop, 2}, {mail, 1}, {mail, 0}} {
		n, err := w.EndClientOf(t.Context(), h.UserID(), c.terms.ID, "disconnected", h.UserID(), here)
		w.must(err)
		if n != c.want {
			t.Errorf("%d have ended, want %d", n, c.want)
		}
	}
	if all, err = w.Grants(t.Context(), h.UserID()); err != nil || len(all) != 0 {
		t.Errorf("still connected: %+v, %v", all, err)
	}
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); err != nil {
		t.Errorf("the person was signed out: %v", err)
	}
}

func TestATokenOfAnyClientOpensUserinfo(t *testing.T) { // OC-5, AT-3
	w := newWorld(t, defaults())
	c := w.client()
	d, opened := w.drawn("ada@example.com", c)
	st, claims, err := w.CheckGrantToken(t.Context(), d.Access)
	w.must(err)
	if st.User.ID != opened.Standing.User.ID || st.Client.ID != c.ID || st.Grant.ID != d.GrantID || claims.Scope != d.Scope {
		t.Errorf("it is read as %+v of %+v", claims, st)
	}
	if _, _, err := w.CheckGrantToken(t.Context(), opened.Tokens.Access); err != nil {
		t.Errorf("the first-party client's: %v", err)
	}
	if _, err := w.CheckToken(t.Context(), d.Access); !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("it opens our own endpoints: %v", err)
	}
	elsewhere, err := w.redeem(w.code(w.holder(opened), c, func(c *session.Code) { c.Audience = "orders" }))
	w.must(err)
	own, err := w.DrawForClient(t.Context(), c.ID, "", "")
	w.must(err)
	for name, token := range map[string]string{
		"a token for another service": elsewhere.Access, "an ID token": d.ID, "a client's own": own.Access, "a refresh token": d.Refresh,
	} {
		_, _, err := w.CheckGrantToken(t.Context(), token)
		wantErr(t, name, err, session.ErrInvalidToken)
	}
	name := "Countess"
	w.pass(2 * time.Second)
	_, err = w.db.ChangeUser(t.Context(), opened.Standing.User.ID, account.UserChange{Name: &name}, audit.New(audit.UserChanged, audit.OK, here))
	w.must(err)
	_, _, err = w.CheckGrantToken(t.Context(), d.Access)
	wantErr(t, "a token from before a change", err, session.ErrTokenExpired)
	d, err = w.renew(d.Refresh, c)
	w.must(err)
	w.must(w.EndGrantOf(t.Context(), d.Refresh, c.ID, here))
	_, _, err = w.CheckGrantToken(t.Context(), d.Access)
	wantErr(t, "a token of a grant that has ended", err, session.ErrEnded)
}

func TestAClientDrawsForItself(t *testing.T) { // AT-1, AT-2
	w := newWorld(t, defaults())
	c := w.client()
	d, err := w.DrawForClient(t.Context(), c.ID, "orders", "read read write")
	w.must(err)
	claims := w.claims(d.Access)
	if claims.Subject != c.ID || claims.ClientID != c.ID || claims.GrantID != "" || claims.SessionID != "" || claims.Scope != "read write" ||
		!slices.Equal(claims.Audience, []string{"orders"}) || claims.AuthTime != 0 || claims.ACR != "" || claims.Extra != nil {
		t.Errorf("the token says %+v", claims)
	}
	if d.Refresh != "" || d.ID != "" || d.GrantID != "" || d.Scope != "read write" {
		t.Errorf("beside the token: %+v", d)
	}
	a, active, err := w.Introspect(t.Context(), d.Access, time.Time{}, c.ID)
	if err != nil || !active || !a.ClientOnly || a.Subject != c.ID || a.Audience != "orders" {
		t.Errorf("it is introspected as %+v, %v, %v", a, active, err)
	}
	_, err = w.DrawForClient(t.Context(), c.ID, "payments", "")
	wantErr(t, "another audience", err, session.ErrInvalidTarget)
	_, err = w.DrawForClient(t.Context(), c.ID, "", "admin")
	wantErr(t, "another scope", err, session.ErrInvalidScope)
	wantErr(t, "giving it back", w.EndGrantOf(t.Context(), d.Access, c.ID, here), session.ErrUnsupportedToken)
	wantErr(t, "another client's giving it back", w.EndGrantOf(t.Context(), d.Access, w.client().ID, here), nil)
	_, err = w.DrawForClient(t.Context(), "cli_none", "", "")
	wantErr(t, "no such client", err, session.ErrEnded)
}

func TestWhatAClientDrewForItselfEndsWithIt(t *testing.T) {
	for name, what := range map[string]func(c session.ClientTerms) session.Ending{
		"its client": func(c session.ClientTerms) session.Ending { return session.Ending{Kind: "client", ID: c.ID} },
		"everything": func(session.ClientTerms) session.Ending { return session.Ending{Kind: "all"} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			c, other := w.client(), w.client()
			d, err := w.DrawForClient(t.Context(), c.ID, "", "")
			w.must(err)
			theirs, err := w.DrawForClient(t.Context(), other.ID, "", "")
			w.must(err)
			w.endWhat(what(c))
			if w.active(d.Access) || w.active(theirs.Access) != (name == "its client") {
				t.Error("one that should be over is active, or the other way")
			}
			fresh, err := w.DrawForClient(t.Context(), c.ID, "", "")
			w.must(err)
			if !w.active(fresh.Access) {
				t.Error("a fresh one is over")
			}
		})
	}
}

func TestAClientsTokensLiveNoLongerThanAny(t *testing.T) {
	for access, want := range map[time.Duration]int64{100 * 365 * 24 * time.Hour: 600, 2 * time.Minute: 120} {
		w := newWorld(t, defaults())
		c := w.client(func(c *session.ClientTerms) { c.Access = access })
		d, _ := w.drawn("ada@example.com", c)
		own, err := w.DrawForClient(t.Context(), c.ID, "", "")
		w.must(err)
		id := w.statement(d.ID, jwt.IDToken)
		if got := id.ExpiresAt - id.IssuedAt; got != want {
			t.Errorf("an ID token lives %d s, want %d", got, want)
		}
		for _, token := range []string{d.Access, own.Access} {
			if c := w.claims(token); c.ExpiresAt-c.IssuedAt > want || c.ExpiresAt-c.IssuedAt < want*95/100 {
				t.Errorf("an access token lives %d s, want %d less at most 5 %%", c.ExpiresAt-c.IssuedAt, want)
			}
		}
	}
}

// What a client may learn of a token is whose it is: its own, or one that is for it.
func TestAClientLearnsOfItsOwnTokensAlone(t *testing.T) { // INT-3, V-52
	w := newWorld(t, defaults())
	service := w.client()
	c, other := w.client(func(c *session.ClientTerms) { c.Audiences = []string{"orders", service.ID} }), w.client()
	d, opened := w.drawn("ada@example.com", c)
	forService, err := w.redeem(w.code(w.holder(opened), c, func(code *session.Code) { code.Audience = service.ID }))
	w.must(err)
	for name, token := range map[string]struct {
		text string
		who  []string
	}{
		"an access token":                   {d.Access, []string{c.ID}},
		"a refresh token":                   {d.Refresh, []string{c.ID}},
		"an access token for a service":     {forService.Access, []string{c.ID, service.ID}},
		"its refresh token":                 {forService.Refresh, []string{c.ID}},
		"the person's cookie":               {opened.Cookie, nil},
		"the first-party client's token":    {opened.Tokens.Access, nil},
		"an ID token, which opens nothing":  {d.ID, nil},
		"a code, which is no token at all ": {w.code(w.holder(opened), c), nil},
	} {
		for _, asker := range []string{c.ID, other.ID, service.ID} {
			a, active, err := w.Introspect(t.Context(), token.text, time.Time{}, asker)
			w.must(err)
			if active != slices.Contains(token.who, asker) {
				t.Errorf("%s is active: %t", name, active)
			}
			if !active && a.Standing.Session.ID != "" {
				t.Errorf("%s tells of a session", name)
			}
		}
	}
}
