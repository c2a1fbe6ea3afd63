package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

func TestOnlyAFreshProofBeginsASession(t *testing.T) {
	w := newWorld(t, defaults())
	if _, err := w.Begin(t.Context(), account.Proof{}, session.Opening{Cookie: true}); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("the empty proof answers %v", err)
	}
	proof := w.person("ada@example.com")
	w.pass(time.Minute + time.Millisecond)
	if _, err := w.Begin(t.Context(), proof, session.Opening{Cookie: true}); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("a proof of a minute ago answers %v", err)
	}
}

// V-32, V-33, ASVS-7.4.1, ASVS-7.4.2: every way of ending ends every channel.
func TestEveryEndEndsEveryChannel(t *testing.T) {
	endings := map[string]func(*world, session.Opened) error{
		"the session": func(w *world, o session.Opened) error {
			_, err := w.End(t.Context(), session.Ending{Kind: feed.Session, ID: o.Standing.Session.ID}, "cli", here)
			return err
		},
		"the user's sessions": func(w *world, o session.Opened) error {
			_, err := w.End(t.Context(), session.Ending{Kind: feed.User, ID: o.Standing.User.ID}, "cli", here)
			return err
		},
		"everyone": func(w *world, o session.Opened) error {
			_, err := w.End(t.Context(), session.Ending{Kind: feed.All}, "cli", here)
			return err
		},
		"a disabled user": func(w *world, o session.Opened) error {
			yes := true
			_, err := w.accounts.Change(t.Context(), o.Standing.User.ID, account.UserChange{Disabled: &yes}, "cli", here)
			return err
		},
		"a user disabled and enabled again": func(w *world, o session.Opened) error {
			yes, no := true, false
			_, err := w.accounts.Change(t.Context(), o.Standing.User.ID, account.UserChange{Disabled: &yes}, "cli", here)
			w.must(err)
			_, err = w.accounts.Change(t.Context(), o.Standing.User.ID, account.UserChange{Disabled: &no}, "cli", here)
			return err
		},
		"a deleted user": func(w *world, o session.Opened) error {
			return w.accounts.Delete(t.Context(), o.Standing.User.ID, "cli", here)
		},
		"a password set by an administrator": func(w *world, o session.Opened) error {
			return w.accounts.SetPassword(t.Context(), o.Standing.User.ID, "quite another phrase", "cli", here)
		},
		"sign-out": func(w *world, o session.Opened) error {
			h, err := w.CheckCookie(t.Context(), o.Cookie)
			w.must(err)
			return w.SignOut(t.Context(), h, here)
		},
	}
	for name, end := range endings {
		for _, remembered := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, defaults())
				opened := w.begin("ada@example.com")
				neighbour := w.begin("bob@example.com")
				if remembered { // so that memory, too, has to forget
					_, err := w.CheckCookie(t.Context(), opened.Cookie)
					w.must(err)
					_, err = w.CheckToken(t.Context(), opened.Tokens.Access)
					w.must(err)
				}
				w.must(end(w, opened))
				for channel, err := range w.channels(opened) {
					if !errors.Is(err, session.ErrEnded) {
						t.Errorf("%s answers %v", channel, err)
					}
				}
				if name == "everyone" {
					return
				}
				for channel, err := range w.channels(neighbour) { // V-53
					if err != nil {
						t.Errorf("the neighbour's %s answers %v", channel, err)
					}
				}
			})
		}
	}
}

// An end and a sign-in within the same second: the new session is not the old one's
// victim, and the old one does not slip through.
func TestSigningInRightAfterAnEnd(t *testing.T) {
	w := newWorld(t, defaults())
	proof := w.person("ada@example.com")
	old := w.beginFor(proof)
	_, err := w.End(t.Context(), session.Ending{Kind: feed.User, ID: proof.UserID()}, "cli", here)
	w.must(err)
	fresh := w.beginFor(proof)
	for channel, err := range w.channels(fresh) {
		if err != nil {
			t.Errorf("the new session's %s answers %v", channel, err)
		}
	}
	if err := w.channels(old)["access token"]; !errors.Is(err, session.ErrEnded) {
		t.Errorf("the old token answers %v", err)
	}
}

// ASVS-7.3.1, ASVS-7.3.2, NIST-6, V-98: both limits, to the instant, with no sweeper.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		wait []time.Duration // between visits
		want error
	}{
		"just before idle":                {[]time.Duration{7*24*time.Hour - time.Millisecond}, nil},
		"at idle":                         {[]time.Duration{7 * 24 * time.Hour}, session.ErrEnded},
		"a visit moves idle":              {[]time.Duration{6 * 24 * time.Hour, 6 * 24 * time.Hour}, nil},
		"visits do not move the absolute": {slices.Repeat([]time.Duration{6 * 24 * time.Hour}, 5), session.ErrEnded},
		"just before the absolute": {[]time.Duration{
			6 * 24 * time.Hour, 6 * 24 * time.Hour, 6 * 24 * time.Hour,
			6 * 24 * time.Hour, 6*24*time.Hour - time.Second,
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			opened := w.begin("ada@example.com")
			var err error
			for _, d := range c.wait {
				w.pass(d)
				_, err = w.CheckCookie(t.Context(), opened.Cookie)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("the last visit answers %v, want %v", err, c.want)
			}
		})
	}
}

// NIST-8: under aal2 a refresh is not taken for the person's presence.
func TestPresence(t *testing.T) {
	for name, c := range map[string]struct {
		strict bool
		want   error
	}{"standard: a refresh counts": {false, nil}, "aal2: it does not": {true, session.ErrEnded}} {
		t.Run(name, func(t *testing.T) {
			config := defaults()
			config.Idle, config.Absolute, config.Strict = time.Hour, 24*time.Hour, c.strict
			w := newWorld(t, config)
			opened := w.begin("ada@example.com")
			w.pass(40 * time.Minute)
			next, err := w.refresh(opened.Tokens.Refresh)
			w.must(err)
			w.pass(40 * time.Minute)
			if _, err := w.refresh(next.Refresh); !errors.Is(err, c.want) {
				t.Errorf("answered %v, want %v", err, c.want)
			}
		})
	}
}

// I-10: a clock set back revives nothing.
func TestAClockSetBackRevivesNothing(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	w.pass(8 * 24 * time.Hour)
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); !errors.Is(err, session.ErrEnded) {
		t.Fatalf("idle, and answers %v", err)
	}
	w.must(w.log.Hold(t.Context())) // a step that records the time
	w.pass(-4 * 24 * time.Hour)
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); !errors.Is(err, session.ErrEnded) {
		t.Errorf("revived: %v", err)
	}
}

// V-30, ASVS-7.2.4: re-authentication keeps the session and renews the secret.
func TestReauthentication(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	h, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	w.pass(time.Minute)
	proof, err := w.accounts.CheckAgain(t.Context(), opened.Standing.User, password, here)
	w.must(err)
	renewed, err := w.Reauthenticate(t.Context(), h, proof, here)
	w.must(err)
	if renewed.Standing.Session.ID != opened.Standing.Session.ID || renewed.Cookie == opened.Cookie {
		t.Error("another session, or the same secret")
	}
	if renewed.Standing.Session.AuthTime <= opened.Standing.Session.AuthTime {
		t.Error("auth_time has not moved")
	}
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); !errors.Is(err, session.ErrInvalidToken) {
		t.Errorf("the old secret answers %v", err)
	}
	if _, err := w.CheckToken(t.Context(), opened.Tokens.Access); !errors.Is(err, session.ErrTokenExpired) {
		t.Errorf("the old token answers %v, and should say: renew", err)
	}
	if _, err := w.CheckCookie(t.Context(), renewed.Cookie); err != nil {
		t.Errorf("the new secret answers %v", err)
	}
	tokens, err := w.refresh(opened.Tokens.Refresh)
	w.must(err)
	if _, err := w.CheckToken(t.Context(), tokens.Access); err != nil {
		t.Errorf("the renewed token answers %v", err)
	}
	other := w.person("bob@example.com")
	if _, err := w.Reauthenticate(t.Context(), h, other, here); err == nil {
		t.Error("someone else's proof renewed the session")
	}
}

// V-50: what has changed about the user is in the next token, and the old one has
// to be renewed.
func TestChangesAreNotEnds(t *testing.T) {
	config := defaults()
	config.Claims = []string{"email", "roles", "name", "email_verified"}
	w := newWorld(t, config)
	opened := w.begin("ada@example.com")
	roles := []string{account.Admin}
	_, err := w.accounts.Change(t.Context(), opened.Standing.User.ID, account.UserChange{Roles: &roles}, "cli", here)
	w.must(err)
	if _, err := w.CheckToken(t.Context(), opened.Tokens.Access); !errors.Is(err, session.ErrTokenExpired) {
		t.Errorf("the old token answers %v", err)
	}
	tokens, err := w.refresh(opened.Tokens.Refresh)
	w.must(err)
	claims, err := jwt.Parse(tokens.Access, w.ring.Public)
	w.must(err)
	if got, _ := claims.Extra["roles"].([]any); len(got) != 1 || got[0] != "admin" {
		t.Errorf("roles in the new token: %v", claims.Extra["roles"])
	}
	h, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	if !slices.Contains(h.Person().Roles, account.Admin) {
		t.Error("the cookie still tells of the user as it was")
	}
}

func TestAccessTokens(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	claims, err := jwt.Parse(opened.Tokens.Access, w.ring.Public)
	w.must(err)
	st := opened.Standing
	if claims.Issuer != issuer || claims.Subject != st.User.ID || claims.SessionID != st.Session.ID || claims.GrantID != st.Grant.ID ||
		claims.ClientID != session.FirstParty || !slices.Equal(claims.Audience, []string{issuer}) || claims.ID == "" ||
		claims.ACR != "aal1" || !slices.Equal(claims.AMR, []string{"pwd"}) || claims.AuthTime != st.Session.AuthTime {
		t.Errorf("claims %+v", claims)
	}
	if life := claims.ExpiresAt - claims.IssuedAt; life > 600 || life < 570 {
		t.Errorf("it lives %d s, want 600 less at most 5 %%", life)
	}
	if _, _, err := w.introspectGarbage(); err != nil {
		t.Errorf("garbage is inactive, not %v", err)
	}
}

func (w *world) introspectGarbage() (session.Answer, bool, error) {
	return w.Introspect(w.t.Context(), "eyJhbGciOiJub25lIn0.e30.", time.Time{}, "")
}

func TestATokenNeverOutlivesItsSession(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	tokens := opened.Tokens
	for range 5 {
		w.pass(6*24*time.Hour - time.Minute)
		var err error
		tokens, err = w.refresh(tokens.Refresh)
		w.must(err)
	}
	claims, err := jwt.Parse(tokens.Access, w.ring.Public)
	w.must(err)
	if claims.ExpiresAt > opened.Standing.Session.ExpiresAt.Unix() {
		t.Error("the token outlives the session")
	}
}

func TestAudienceAndScope(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	h, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	for name, c := range map[string]struct {
		audience, scope string
		want            error
	}{
		"nothing asked":        {"", "", nil},
		"within the terms":     {"orders", "read write read", nil},
		"beyond the audiences": {"payments", "", session.ErrInvalidTarget},
		"beyond the scopes":    {"orders", "read admin", session.ErrInvalidScope},
	} {
		t.Run(name, func(t *testing.T) {
			tokens, err := w.Draw(t.Context(), h, c.audience, c.scope)
			if !errors.Is(err, c.want) {
				t.Fatalf("answered %v, want %v", err, c.want)
			}
			if c.audience != "orders" || err != nil {
				return
			}
			if _, err := w.CheckToken(t.Context(), tokens.Access); !errors.Is(err, session.ErrInvalidToken) {
				t.Errorf("a token for another service opens ours: %v", err)
			}
			claims, err := jwt.Parse(tokens.Access, w.ring.Public)
			w.must(err)
			if claims.Scope != "read write" {
				t.Errorf("scope %q", claims.Scope)
			}
		})
	}
}

// A token that is too large is refused before anything is spent.
func TestATokenTooLargeSpendsNothing(t *testing.T) {
	config := defaults()
	config.Claims, config.MaxTokenBytes = []string{"name"}, 700
	w := newWorld(t, config)
	opened := w.begin("ada@example.com")
	long := strings.Repeat("n", 190)
	_, err := w.accounts.Change(t.Context(), opened.Standing.User.ID, account.UserChange{Name: &long}, "cli", here)
	w.must(err)
	_, err = w.refresh(opened.Tokens.Refresh)
	if !errors.Is(err, session.ErrTokenTooLarge) || !strings.Contains(err.Error(), "name") {
		t.Fatalf("answered %v, which should name the largest claims", err)
	}
	short := "Ada"
	_, err = w.accounts.Change(t.Context(), opened.Standing.User.ID, account.UserChange{Name: &short}, "cli", here)
	w.must(err)
	w.pass(time.Hour)
	if _, err := w.refresh(opened.Tokens.Refresh); err != nil {
		t.Errorf("the token was spent: %v", err)
	}
}

// V-42: the cap ends the oldest.
func TestTheCapEndsTheOldest(t *testing.T) {
	config := defaults()
	config.Max = 2
	w := newWorld(t, config)
	proof := w.person("ada@example.com")
	first := w.beginFor(proof)
	w.pass(time.Second)
	second := w.beginFor(proof)
	w.pass(time.Second)
	third := w.beginFor(proof)
	if err := w.channels(first)["cookie"]; !errors.Is(err, session.ErrEnded) {
		t.Errorf("the oldest answers %v", err)
	}
	for _, o := range []session.Opened{second, third} {
		if err := w.channels(o)["cookie"]; err != nil {
			t.Errorf("a younger one answers %v", err)
		}
	}
}

// A stranger, or another person, who knows a session's id cannot end it.
func TestOnlyOnesOwn(t *testing.T) {
	w := newWorld(t, defaults())
	ada, bob := w.begin("ada@example.com"), w.begin("bob@example.com")
	h, err := w.CheckCookie(t.Context(), bob.Cookie)
	w.must(err)
	if err := w.EndOwn(t.Context(), h, ada.Standing.Session.ID, here); !errors.Is(err, session.ErrNoSession) {
		t.Errorf("answered %v", err)
	}
	if err := w.channels(ada)["cookie"]; err != nil {
		t.Errorf("and it is over: %v", err)
	}
}

// I-7: a store that fails makes a refusal or a 503, never an acceptance.
func TestAFailingStoreAcceptsNothing(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	w.faults.before = errors.New("the disk is gone")
	if _, err := w.CheckCookie(t.Context(), opened.Cookie); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("an unknown record answers %v", err)
	}
	if _, err := w.End(t.Context(), session.Ending{Kind: feed.Session, ID: opened.Standing.Session.ID}, "cli", here); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("an end that was not written answers %v", err)
	}
	if _, _, err := w.Introspect(t.Context(), opened.Cookie, time.Time{}, ""); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("introspection answers %v", err)
	}
}

func TestIntrospectionCarriesItsOwnTime(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	w.pass(7*24*time.Hour - 5*time.Minute)
	a, active, err := w.Introspect(t.Context(), opened.Cookie, opened.Standing.Session.LastSeenAt, "")
	w.must(err)
	if !active || a.Issued != w.now().Unix() {
		t.Errorf("active %v, issued %d", active, a.Issued)
	}
	if want := w.now().Add(5 * time.Minute).Unix(); a.Expires != want {
		t.Errorf("a report of no use moved idle: expires %d, want %d", a.Expires, want)
	}
	a, _, err = w.Introspect(t.Context(), opened.Cookie, w.now().Add(time.Hour), "")
	w.must(err)
	if want := w.now().Add(10 * time.Minute).Unix(); a.Expires != want {
		t.Errorf("used just now: expires %d, want one access lifetime, %d", a.Expires, want)
	}
}

func TestAttachments(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	h, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	version, err := w.Attach(t.Context(), h.SessionID(), []byte(`{"cart":["a"]}`), 0)
	w.must(err)
	if _, err := w.Attach(t.Context(), h.SessionID(), []byte(`{}`), 0); !errors.Is(err, session.ErrVersionChanged) {
		t.Errorf("a lost race answers %v", err)
	}
	got, _, err := w.MergeAttachment(t.Context(), h.SessionID(), []byte(`{"cart":null,"n":{"x":1}}`), nil)
	w.must(err)
	if string(got) != `{"n":{"x":1}}` {
		t.Errorf("merged %s", got)
	}
	if _, _, err := w.MergeAttachment(t.Context(), h.SessionID(), []byte(`{}`), &version); !errors.Is(err, session.ErrVersionChanged) {
		t.Errorf("a merge into an old version answers %v", err)
	}
	if _, err := w.Attach(t.Context(), h.SessionID(), make([]byte, session.MaxAttachment+1), 2); !errors.Is(err, session.ErrTooBig) {
		t.Errorf("too large answers %v", err)
	}
}

func TestEndOthersKeepsTheOneAtHand(t *testing.T) {
	w := newWorld(t, defaults())
	proof := w.person("ada@example.com")
	here1, there := w.beginFor(proof), w.beginFor(proof)
	h, err := w.CheckCookie(t.Context(), here1.Cookie)
	w.must(err)
	n, err := w.EndOthers(t.Context(), h, here)
	w.must(err)
	if n != 1 || w.channels(there)["cookie"] == nil || w.channels(here1)["cookie"] != nil {
		t.Errorf("%d ended, the other answers %v, this one %v", n, w.channels(there)["cookie"], w.channels(here1)["cookie"])
	}
}

func TestAuditTellsWhoWhatAndWhere(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	got := w.entries(audit.SignedIn)
	if len(got) != 1 || got[0].UserID != opened.Standing.User.ID || got[0].SessionID != opened.Standing.Session.ID || got[0].IP != here.IP || got[0].Outcome != audit.OK {
		t.Errorf("audit %+v", got)
	}
}

// V-54: a sign-in whose password was right when it was looked at, and was changed
// before the session began, begins none.
func TestAProofDoesNotOutliveThePassword(t *testing.T) {
	for name, at := range map[string]func(w *world, change func()){
		"changed before it begins":                 func(_ *world, change func()) { change() },
		"changed just before the session is there": func(w *world, change func()) { w.faults.adding = change },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, defaults())
			w.person("ada@example.com")
			u, err := w.accounts.FindByEmail(t.Context(), "ada@example.com")
			w.must(err)
			proof, err := w.accounts.CheckPassword(t.Context(), u.Email, password, here)
			w.must(err)
			at(w, func() {
				w.must(w.accounts.ChangePassword(t.Context(), u, password, "an even longer pass phrase", "", true, here))
			})
			_, err = w.Begin(t.Context(), proof, session.Opening{From: here, Event: audit.SignedIn, Cookie: true})
			if !errors.Is(err, account.ErrCredentials) {
				t.Errorf("answered %v", err)
			}
			if n, err := w.Count(t.Context()); err != nil || n != 0 {
				t.Errorf("%d sessions are live, %v", n, err)
			}
		})
	}
}

// A session seen shortly before its idle end is alive for the store, too.
func TestASightingAtTheEdgeIsWritten(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	w.pass(7*24*time.Hour - 2*time.Second)
	_, err := w.CheckCookie(t.Context(), opened.Cookie)
	w.must(err)
	w.pass(4 * time.Second)
	if _, err := w.refresh(opened.Tokens.Refresh); err != nil {
		t.Errorf("a refresh after the edge: %v", err)
	}
	if n, err := w.Count(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions are live, %v", n, err)
	}
}

func TestSigningInWithANewPassword(t *testing.T) {
	w := newWorld(t, defaults())
	w.person("ada@example.com")
	u, err := w.accounts.FindByEmail(t.Context(), "ada@example.com")
	w.must(err)
	const next = "an even longer pass phrase"
	w.must(w.accounts.ChangePassword(t.Context(), u, password, next, "", true, here))
	proof, err := w.accounts.CheckPassword(t.Context(), u.Email, next, here)
	w.must(err)
	w.beginFor(proof)
}
