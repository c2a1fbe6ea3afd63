package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A logout is what a logout token says.
type logout struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  string         `json:"aud"`
	SessionID string         `json:"sid"`
	ID        string         `json:"jti"`
	IssuedAt  int64          `json:"iat"`
	ExpiresAt int64          `json:"exp"`
	Nonce     *string        `json:"nonce"`
	Events    map[string]any `json:"events"`
}

// read checks a logout token as a client does, by the published keys alone.
func (h *house) read(token string) logout {
	h.t.Helper()
	published, _ := h.ring.Published()
	var keys jose.JSONWebKeySet
	h.must(json.Unmarshal(published, &keys))
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	h.must(err)
	header := signed.Signatures[0].Header
	if header.ExtraHeaders["typ"] != "logout+jwt" {
		h.t.Errorf("typ is %v", header.ExtraHeaders["typ"])
	}
	key := keys.Key(header.KeyID)
	if len(key) != 1 {
		h.t.Fatalf("the key %q is not published", header.KeyID)
	}
	payload, err := signed.Verify(key[0])
	h.must(err)
	var l logout
	h.must(json.Unmarshal(payload, &l))
	return l
}

// grants returns the sid of each token that the app was sent, sorted.
func (h *house) grants(a *app) []string {
	h.t.Helper()
	var ids []string
	for _, token := range a.received() {
		ids = append(ids, h.read(token).SessionID)
	}
	slices.Sort(ids)
	return ids
}

func (h *house) counts() oauth.NoticeCounts {
	h.t.Helper()
	c, err := h.Notices.Counts(h.t.Context(), "")
	h.must(err)
	return c
}

// A client is told by a logout token that says what the standard wants, once.
func TestBCL1LogoutToken(t *testing.T) {
	a := newApp(t, status(http.StatusOK))
	clock := &timepiece{}
	h := newHouse(t, sqliteAt(t), clock, sessionConfig(), a)
	shop := h.told(a)
	club := h.told(a, func(c *oauth.Client) { c.Pairwise = true })
	p := h.person("ada@example.com")
	first, _ := h.connect(p, shop, "openid")
	second, _ := h.connect(p, club, "openid")
	h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
	h.Notices.Deliver(t.Context())
	seen := map[string]bool{}
	for _, token := range a.received() {
		l := h.read(token)
		client, drawn, subject := shop, first, p.opened.Standing.User.ID
		if l.Audience == club.ID {
			client, drawn = club, second
			if subject = l.Subject; !strings.HasPrefix(subject, "pw_") {
				t.Errorf("the subject of a pairwise client is %q", subject)
			}
		}
		now := clock.now().Unix()
		if l.Issuer != issuerURL || l.Audience != client.ID || l.Subject != subject || l.SessionID != drawn.GrantID ||
			l.Nonce != nil || l.ID == "" || seen[l.ID] || l.IssuedAt < now || l.IssuedAt > now+2 || l.ExpiresAt > l.IssuedAt+120 {
			t.Errorf("the logout token says %+v", l)
		}
		if event, is := l.Events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !is || len(event) != 0 || len(l.Events) != 1 {
			t.Errorf("its events are %v", l.Events)
		}
		seen[l.ID] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d tokens arrived, want one for each client", len(seen))
	}
	h.Notices.Deliver(t.Context())
	if again := a.received(); len(again) != 0 || h.counts().Waiting != 0 {
		t.Errorf("%d more arrived, and %+v is left", len(again), h.counts())
	}
}

// What becomes of a notice is decided by what the receiver answers, and by nothing that
// it sends along (BCL-2, BCL-4, D-22).
func TestBCL2Answers(t *testing.T) {
	block := []byte(strings.Repeat("x", 64<<10))
	huge := func(w http.ResponseWriter, _ *http.Request) {
		for range 160 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	for name, row := range map[string]struct {
		answers []http.HandlerFunc // one for each attempt; the last for all others
		tries   int                // until it is settled
		dead    string             // why it is a dead letter; "": it was taken
	}{
		"200":            {[]http.HandlerFunc{status(200)}, 1, ""},
		"204":            {[]http.HandlerFunc{status(204)}, 1, ""},
		"200 and 10 MiB": {[]http.HandlerFunc{huge}, 1, ""},
		"500, then 200":  {[]http.HandlerFunc{status(500), status(200)}, 2, ""},
		"503 often":      {[]http.HandlerFunc{status(503), status(503), status(503), status(503), status(503), status(503), status(200)}, 7, ""},
		"429, then 200":  {[]http.HandlerFunc{status(429), status(200)}, 2, ""},
		"400, then 200":  {[]http.HandlerFunc{status(400), status(200)}, 2, ""},
		"400 for ever":   {[]http.HandlerFunc{status(400)}, 5, "the receiver answered 400"},
		"404 for ever":   {[]http.HandlerFunc{status(404)}, 5, "the receiver answered 404"},
		"cut, then 200":  {[]http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status(200)}, 2, ""},
		"redirects":      {[]http.HandlerFunc{http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP}, 5, "the receiver answered 307"},
		"no content-length": {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "done")
		}}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, nil)
			clock := &timepiece{}
			h := newHouse(t, sqliteAt(t), clock, sessionConfig(), a)
			shop := h.told(a)
			p := h.person("ada@example.com")
			drawn, _ := h.connect(p, shop, "openid")
			h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
			tries, ids := 0, map[string]bool{}
			for round := 0; round < 200 && h.counts().Waiting > 0; round++ {
				a.answers(row.answers[min(tries, len(row.answers)-1)])
				h.Notices.Deliver(t.Context())
				for _, token := range a.received() {
					tries++
					if l := h.read(token); l.SessionID != drawn.GrantID || ids[l.ID] {
						t.Errorf("attempt %d bears %+v", tries, l)
					} else {
						ids[l.ID] = true
					}
				}
				clock.pass(time.Minute)
			}
			c := h.counts()
			if tries != row.tries || c.Waiting != 0 || (c.Dead == 1) != (row.dead != "") || c.Failure != row.dead {
				t.Errorf("after %d attempts (want %d): %+v, want %q", tries, row.tries, c, row.dead)
			}
		})
	}
}

// A receiver that is not there is tried again and again for three days, seldom in the
// end, and then the notice is a dead letter that can be seen (BCL-2, V-55, D-22).
func TestBCL2DeadReceiver(t *testing.T) {
	a := newApp(t, status(200))
	clock := &timepiece{}
	h := newHouse(t, sqliteAt(t), clock, sessionConfig(), a)
	shop := h.told(a)
	p := h.person("ada@example.com")
	h.connect(p, shop, "openid")
	a.Close()
	h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
	ended := clock.now()
	attempts := 0
	for h.counts().Waiting > 0 && clock.now().Sub(ended) < 100*time.Hour {
		failed := h.Notices.Figures().Failed
		h.Notices.Deliver(t.Context())
		attempts += int(h.Notices.Figures().Failed - failed)
		clock.pass(time.Minute)
	}
	c := h.counts()
	if c.Dead != 1 || c.ClientID != shop.ID || !strings.HasPrefix(c.Failure, "it was not taken in time: dial tcp") || strings.Contains(c.Failure, "tenant") {
		t.Errorf("at last %+v", c)
	}
	if lasted := clock.now().Sub(ended); lasted < oauth.NoticeWorth || lasted > oauth.NoticeWorth+2*time.Hour {
		t.Errorf("it was given up after %v", lasted)
	}
	if attempts < 50 || attempts > 120 {
		t.Errorf("%d attempts in three days", attempts)
	}
	clock.pass(31 * 24 * time.Hour)
	h.Notices.Deliver(t.Context())
	if c := h.counts(); c.Dead != 0 {
		t.Errorf("a month later %+v", c)
	}
}

// Of three receivers one hangs, and the others hear of everything meanwhile (BCL-2, D-22).
func TestBCL2HangingReceiverDelaysNobody(t *testing.T) {
	const people = 30
	hangs, quick, other := newApp(t, nil), newApp(t, nil), newApp(t, nil)
	h := newHouse(t, sqliteAt(t), &timepiece{}, sessionConfig(), hangs, quick, other)
	h.endAll(people, h.told(hangs), h.told(quick), h.told(other))
	released := make(chan struct{})
	begun, done := make(chan struct{}, 3*people), make(chan struct{}, 3*people)
	call := func(_ context.Context, c outbound.Call) (outbound.Answer, error) {
		if strings.HasPrefix(c.URL, hangs.URL) {
			begun <- struct{}{}
			<-released // for as long as the others need
			return outbound.Answer{}, errors.New("no answer")
		}
		done <- struct{}{}
		return outbound.Answer{Status: http.StatusOK}, nil
	}
	notifier := oauth.NewNotifier(h.db, h.Clients.Find, h.sessions.LogoutToken, call, h.clock.now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		notifier.Run(ctx)
	}()
	<-begun // it hangs already
	for range 2 * people {
		<-done
	}
	cancel()
	close(released)
	<-over
	if n := len(begun) + 1; n >= people {
		t.Errorf("%d calls were begun at the one that hangs", n)
	}
	if c := h.counts(); c.Waiting != people {
		t.Errorf("%+v, want all of the one that hangs", c)
	}
}

// A receiver that fails again and again is not asked about everything that waits for it;
// it gets all of it when it is back.
func TestBCL2ReceiverThatIsAway(t *testing.T) {
	const people = 30
	a := newApp(t, status(http.StatusServiceUnavailable))
	h := newHouse(t, sqliteAt(t), &timepiece{}, sessionConfig(), a)
	h.endAll(people, h.told(a))
	h.Notices.Deliver(t.Context())
	if n := len(a.received()); n == 0 || n >= people {
		t.Errorf("it was asked %d times", n)
	}
	h.Notices.Deliver(t.Context())
	if n := len(a.received()); n != 0 {
		t.Errorf("it was asked %d times more, at once", n)
	}
	a.answers(status(http.StatusOK))
	for range 10 {
		h.clock.pass(time.Minute)
		h.Notices.Deliver(t.Context())
	}
	if n := len(a.received()); n != people || h.counts().Waiting != 0 {
		t.Errorf("%d sign-outs were told of, and %+v", n, h.counts())
	}
}

// endAll has so many people sign in to these clients, and sign out.
func (h *house) endAll(people int, clients ...oauth.Client) {
	h.t.Helper()
	for i := range people {
		p := h.person(fmt.Sprintf("person%d@example.com", i))
		for _, c := range clients {
			h.connect(p, c, "openid")
		}
		h.must(h.sessions.SignOut(h.t.Context(), p.holder, fromHere))
	}
}

// Who dies between taking a notice and sending it takes it to nobody's grave: when the
// lease is over another node sends it. Who dies after sending it has it sent twice, by
// two tokens about one sid (at least once, V-55).
func TestBCL2KilledSender(t *testing.T) {
	for name, sent := range map[string]bool{"before it was sent": false, "after it was sent": true} {
		t.Run(name, func(t *testing.T) {
			url, clock := sqliteAt(t), &timepiece{}
			a := newApp(t, status(200))
			h := newHouse(t, url, clock, sessionConfig(), a)
			shop := h.told(a)
			p := h.person("ada@example.com")
			drawn, _ := h.connect(p, shop, "openid")
			h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
			// A node that does so much and is never heard of again.
			notices, now, err := h.db.ClaimNotices(t.Context(), shop.ID, "the dead one's", 2*time.Minute, 16)
			h.must(err)
			want := 1
			if sent {
				token, err := h.sessions.LogoutToken(t.Context(), shop.ID, notices[0].UserID, notices[0].GrantID, now)
				h.must(err)
				a.taken <- token
				want = 2
			}
			survivor := newHouse(t, url, clock, sessionConfig(), a)
			survivor.Notices.Deliver(t.Context())
			if sent == (len(a.taken) == 0) || !sent && len(a.taken) > 0 {
				t.Fatalf("%d tokens were sent under another's lease", len(a.taken))
			}
			clock.pass(2 * time.Minute)
			survivor.Notices.Deliver(t.Context())
			tokens := a.received()
			ids := map[string]bool{}
			for _, token := range tokens {
				l := survivor.read(token)
				if l.SessionID != drawn.GrantID {
					t.Errorf("the sid is %q", l.SessionID)
				}
				ids[l.ID] = true
			}
			if len(tokens) != want || len(ids) != want || survivor.counts().Waiting != 0 {
				t.Errorf("%d tokens with %d ids arrived, want %d; %+v", len(tokens), len(ids), want, survivor.counts())
			}
		})
	}
}

// A client that is gone, or does not want to hear of sign-outs any more, is not called,
// and its notices are not kept.
func TestNoticesOfWhoIsGone(t *testing.T) {
	a := newApp(t, status(200))
	h := newHouse(t, sqliteAt(t), &timepiece{}, sessionConfig(), a)
	gone, silent := h.told(a), h.told(a)
	p := h.person("ada@example.com")
	h.connect(p, gone, "openid")
	h.connect(p, silent, "openid")
	h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
	h.must(h.Clients.Remove(t.Context(), gone.ID, "cli", fromHere))
	_, _, err := h.Clients.Change(t.Context(), silent.ID, func(c *oauth.Client) error {
		c.BackchannelLogoutURI = ""
		return nil
	}, "cli", fromHere)
	h.must(err)
	h.Notices.Deliver(t.Context())
	if got := a.received(); len(got) != 0 || h.counts() != (oauth.NoticeCounts{}) {
		t.Errorf("%d calls, and %+v is left", len(got), h.counts())
	}
}

// Whatever ends a grant, its client is told (BCL-3). What other clients hold is theirs.
func TestBCL3EveryCause(t *testing.T) {
	type stage struct {
		*house
		p     person
		shop  oauth.Client
		drawn session.Drawn
		code  string
	}
	end := func(what func(s *stage) session.Ending) func(*stage) error {
		return func(s *stage) error {
			_, err := s.sessions.End(s.t.Context(), what(s), "cli", fromHere)
			return err
		}
	}
	causes := map[string]func(s *stage) error{
		"sign-out": func(s *stage) error { return s.sessions.SignOut(s.t.Context(), s.p.holder, fromHere) },
		"end one": func(s *stage) error {
			return s.sessions.EndOwn(s.t.Context(), s.again(s.p.proof).holder, s.p.holder.SessionID(), fromHere)
		},
		"end all others": func(s *stage) error {
			_, err := s.sessions.EndOthers(s.t.Context(), s.again(s.p.proof).holder, fromHere)
			return err
		},
		"an administrator, one": end(func(s *stage) session.Ending {
			return session.Ending{Kind: feed.Session, ID: s.p.holder.SessionID(), Reason: "admin"}
		}),
		"an administrator, a user": end(func(s *stage) session.Ending {
			return session.Ending{Kind: feed.User, ID: s.p.holder.UserID(), Reason: "admin"}
		}),
		"everyone":        end(func(*stage) session.Ending { return session.Ending{Kind: feed.All, Reason: "admin"} }),
		"all of a client": end(func(s *stage) session.Ending { return session.Ending{Kind: feed.Client, ID: s.shop.ID} }),
		"user disabled": func(s *stage) error {
			disabled := true
			_, err := s.accounts.Change(s.t.Context(), s.p.holder.UserID(), account.UserChange{Disabled: &disabled}, "cli", fromHere)
			return err
		},
		"user deleted": func(s *stage) error {
			return s.accounts.Delete(s.t.Context(), s.p.holder.UserID(), "cli", fromHere)
		},
		"password set by an administrator": func(s *stage) error {
			return s.accounts.SetPassword(s.t.Context(), s.p.holder.UserID(), "another long sentence", "cli", fromHere)
		},
		"password changed elsewhere": func(s *stage) error {
			return s.accounts.ChangePassword(s.t.Context(), s.p.opened.Standing.User, password, "another long sentence", s.again(s.p.proof).holder.SessionID(), true, fromHere)
		},
		"client disconnected": func(s *stage) error {
			_, err := s.sessions.EndClientOf(s.t.Context(), s.p.holder.UserID(), s.shop.ID, "disconnected", "", fromHere)
			return err
		},
		"token revoked": func(s *stage) error {
			return s.sessions.EndGrantOf(s.t.Context(), s.drawn.Refresh, s.shop.ID, fromHere)
		},
		"refresh token used again": func(s *stage) error {
			for i := range 2 {
				_, err := s.sessions.RefreshGrant(s.t.Context(), session.RefreshRequest{Token: s.drawn.Refresh, ClientID: s.shop.ID, Arrived: s.clock.now(), From: fromHere})
				if i == 0 {
					s.must(err)
					s.clock.pass(time.Minute)
				} else if !errors.Is(err, session.ErrRefreshReused) {
					s.t.Errorf("the second use returned %v", err)
				}
			}
			return nil
		},
		"code used again": func(s *stage) error {
			pending, err := s.sessions.OfCode(s.t.Context(), s.code)
			s.must(err)
			return s.sessions.EndReplayed(s.t.Context(), pending, fromHere)
		},
		"replaced by sixteen others": func(s *stage) error {
			for range 16 {
				s.clock.pass(time.Second)
				s.connect(s.p, s.shop, "openid")
			}
			return nil
		},
		"beyond session.max": func(s *stage) error {
			s.clock.pass(time.Second)
			s.again(s.p.proof)
			s.clock.pass(time.Second)
			s.again(s.p.proof)
			return nil
		},
		"unused for session.idle": func(s *stage) error {
			s.clock.pass(7*24*time.Hour + time.Minute)
			return nil
		},
		"at session.absolute": func(s *stage) error {
			for range 6 {
				s.clock.pass(5 * 24 * time.Hour)
				s.must(s.db.Touch(s.t.Context(), []session.Seen{{SessionID: s.p.holder.SessionID(), At: s.clock.now()}}))
			}
			return nil
		},
	}
	for name, act := range causes {
		t.Run(name, func(t *testing.T) {
			a, others := newApp(t, status(200)), newApp(t, status(200))
			config := sessionConfig()
			config.Max = 2
			if name != "beyond session.max" {
				config.Max = 0
			}
			h := newHouse(t, sqliteAt(t), &timepiece{}, config, a, others)
			s := &stage{house: h, shop: h.told(a), p: h.person("ada@example.com")}
			bob := h.person("bob@example.com")
			h.connect(bob, h.told(others), "openid")
			s.drawn, s.code = h.connect(s.p, s.shop, "openid")
			h.Notices.Deliver(t.Context())
			if early := a.received(); len(early) != 0 {
				t.Fatalf("%d calls before anything was over", len(early))
			}
			h.must(act(s))
			h.Notices.Deliver(t.Context())
			if got := h.grants(a); !slices.Equal(got, []string{s.drawn.GrantID}) {
				t.Errorf("told of %v, want %s alone", got, s.drawn.GrantID)
			}
			everybody := name == "everyone" || strings.HasPrefix(name, "unused") || strings.HasPrefix(name, "at session")
			if got := h.grants(others); len(got) > 0 != everybody {
				t.Errorf("another client of another person was told of %v", got)
			}
		})
	}
}

// A client that may go on without the person is told when that is over, and not before.
func TestOfflineGrantIsToldOfItsOwnEnd(t *testing.T) {
	a := newApp(t, status(200))
	h := newHouse(t, sqliteAt(t), &timepiece{}, sessionConfig(), a)
	shop := h.told(a)
	p := h.person("ada@example.com")
	drawn, _ := h.connect(p, shop, "openid offline_access")
	h.must(h.sessions.SignOut(t.Context(), p.holder, fromHere))
	h.Notices.Deliver(t.Context())
	if got := a.received(); len(got) != 0 {
		t.Errorf("it was told of a sign-out that it outlives")
	}
	_, err := h.sessions.EndClientOf(t.Context(), p.holder.UserID(), shop.ID, "disconnected", "", fromHere)
	h.must(err)
	h.Notices.Deliver(t.Context())
	if got := h.grants(a); !slices.Equal(got, []string{drawn.GrantID}) {
		t.Errorf("told of %v, want %s", got, drawn.GrantID)
	}
}
