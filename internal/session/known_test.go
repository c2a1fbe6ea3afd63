package session_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

// told returns what people have been told since it was last called, oldest first.
func (w *world) told() []mail.Message {
	w.t.Helper()
	letters, _, err := w.db.Claim(w.t.Context(), "test", time.Minute, 1000)
	w.must(err)
	var all []mail.Message
	for _, l := range letters {
		w.must(w.db.Sent(w.t.Context(), l.ID, "test"))
		if l.Kind != mail.VerifyEmail { // every sign-up asks for that
			all = append(all, l.Message)
		}
	}
	return all
}

// wantTold fails unless people were told of exactly these kinds since the last look.
func (w *world) wantTold(when string, want ...mail.Kind) []mail.Message {
	w.t.Helper()
	told := w.told()
	var got []mail.Kind
	for _, m := range told {
		got = append(got, m.Kind)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s, people are told (-want +got):\n%s", when, diff)
	}
	return told
}

// arrive begins a session as a browser does that shows this cookie, and returns the next.
func (w *world) arrive(email string, change ...func(*session.Opening)) session.Opened {
	w.t.Helper()
	proof, err := w.accounts.CheckPassword(w.t.Context(), email, password, here)
	w.must(err)
	o := session.Opening{From: here, Event: audit.SignedIn, Cookie: true, Browser: true}
	for _, f := range change {
		f(&o)
	}
	opened, err := w.Begin(w.t.Context(), proof, o)
	w.must(err)
	return opened
}

func showing(cookie string) func(*session.Opening) {
	return func(o *session.Opening) { o.DeviceCookie = cookie }
}

// asApp signs in as an application does that keeps tokens and no cookies.
func asApp(device string) func(*session.Opening) {
	return func(o *session.Opening) { o.Browser, o.Cookie, o.Tokens, o.Device = false, false, true, device }
}

// ASVS-6.3.5: a person is told of a sign-in by a browser that we do not know, once, and
// never of the first session of their account.
func TestPeopleAreToldOfBrowsersWeDoNotKnow(t *testing.T) {
	c := defaults()
	c.Place = func(ip, language string) string { return "Berlin, Germany" }
	w := newWorld(t, c)
	w.person("ada@example.com")
	w.person("grace@example.com")
	mine := w.arrive("ada@example.com").DeviceCookie
	w.wantTold("at the first session")
	w.arrive("ada@example.com", showing(mine))
	w.wantTold("by the browser of the first")

	from := here
	from.Language = "de-CH"
	w.arrive("ada@example.com", func(o *session.Opening) { o.From = from })
	told := w.wantTold("by another", mail.NewDevice)
	want := mail.Message{Kind: mail.NewDevice, To: "ada@example.com", Language: "de-CH", Values: map[string]string{
		"name": "Ada", "device": "Firefox on Linux", "place": "Berlin, Germany", "at": w.now().UTC().Format(time.RFC3339),
	}}
	if len(told) == 1 {
		told[0].ID, told[0].Expires = "", time.Time{}
		if diff := cmp.Diff(want, told[0]); diff != "" {
			t.Errorf("the notice (-want +got):\n%s", diff)
		}
	}

	// Who shares the browser makes it known to themselves, and to nobody else.
	both := w.arrive("grace@example.com", showing(mine)).DeviceCookie
	w.wantTold("at the first session of another")
	w.arrive("ada@example.com", showing(both))
	w.arrive("grace@example.com", showing(both))
	w.wantTold("by a browser of two")
	w.arrive("grace@example.com", showing(mine))
	w.wantTold("by the other's cookie", mail.NewDevice)

	// Nor is it forgotten when all sessions are over, even those that were kept.
	for range 4 {
		w.pass(31 * 24 * time.Hour)
		w.must(w.Sweep(t.Context()))
	}
	w.arrive("ada@example.com", showing(both))
	w.wantTold("long after")
	w.arrive("grace@example.com")
	w.wantTold("long after, by an unknown one", mail.NewDevice)
}

// An application without cookies is known by an earlier session of the same device.
func TestPeopleAreToldOfDevicesWeDoNotKnow(t *testing.T) {
	w := newWorld(t, defaults())
	w.person("ada@example.com")
	phone := w.arrive("ada@example.com", asApp("Ada's phone"))
	w.wantTold("at the first session")
	w.arrive("ada@example.com", asApp("Ada's phone"))
	w.wantTold("by the same")
	w.arrive("ada@example.com", asApp("Ada's tablet"))
	told := w.wantTold("by another", mail.NewDevice)
	if len(told) == 1 && (told[0].Values["device"] != "Ada's tablet" || told[0].Values["ip"] != here.IP || told[0].Values["place"] != "") {
		t.Errorf("the notice says %v", told[0].Values)
	}
	w.arrive("ada@example.com", func(o *session.Opening) { o.Device = "Ada's phone" })
	w.wantTold("by a browser of the same name", mail.NewDevice)
	// Nor does the name of a browser, which is easily guessed, make an application known.
	w.arrive("ada@example.com", func(o *session.Opening) { o.Device = "Firefox on Windows" })
	w.wantTold("by a new browser", mail.NewDevice)
	w.arrive("ada@example.com", asApp("Firefox on Windows"))
	w.wantTold("by an application that calls itself so", mail.NewDevice)
	_, err := w.Manager.End(t.Context(), session.Ending{Kind: "session", ID: phone.Standing.Session.ID}, "cli", here)
	w.must(err)
	w.arrive("ada@example.com", asApp("Ada's phone"))
	w.wantTold("by one whose sessions are over")
}

// A program that keeps no cookies does not fill a mailbox, and nobody else's notice is
// held back for it.
func TestNoticesAreBounded(t *testing.T) {
	w := newWorld(t, defaults())
	for _, email := range []string{"ada@example.com", "grace@example.com"} {
		w.person(email)
		w.arrive(email)
	}
	for range 50 {
		w.arrive("ada@example.com")
	}
	if n := len(w.told()); n != 10 {
		t.Errorf("%d notices of 50 sign-ins, want 10", n)
	}
	w.arrive("grace@example.com")
	w.wantTold("another", mail.NewDevice)
	w.pass(10 * time.Minute)
	w.arrive("ada@example.com")
	w.arrive("ada@example.com")
	w.wantTold("later", mail.NewDevice)
}

// A cookie that is not ours to the letter makes nothing known, and harms nobody.
func TestForgedDeviceCookies(t *testing.T) {
	w := newWorld(t, defaults())
	w.person("ada@example.com")
	mine := w.arrive("ada@example.com").DeviceCookie
	tag := func(letter string) string { return strings.Repeat(letter, 21) + "A" }
	full := strings.Join([]string{tag("a"), tag("b"), tag("c"), tag("d"), tag("e")}, ".")
	for name, forged := range map[string]string{
		"none": "", "garbage": "x", "upper case": strings.ToUpper(mine), "cut": mine[:21], "longer": mine + "A", "a dot behind": mine + ".", "a dot before": "." + mine,
		"spaces": mine + ". " + tag("a"), "twice": mine + "." + mine, "six": full + "." + mine, "other signs": mine + "." + strings.Repeat("+", 22),
		"another spelling": mine[:21] + string(mine[21]+1), "somebody else's": tag("a"), "five of others": full, "huge": strings.Repeat(mine+".", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			next := w.arrive("ada@example.com", showing(forged)).DeviceCookie
			w.wantTold("with a forged cookie", mail.NewDevice)
			w.pass(10 * time.Minute)
			w.arrive("ada@example.com", showing(next))
			w.wantTold("with the cookie that it got")
		})
	}
	for _, genuine := range []string{mine, mine + "." + tag("a"), tag("a") + "." + mine, strings.Replace(full, tag("e"), mine, 1)} {
		next := w.arrive("ada@example.com", showing(genuine)).DeviceCookie
		if w.wantTold("with " + genuine); !strings.HasPrefix(next, mine) || len(next) > 5*23-1 || strings.Count(next, mine) != 1 {
			t.Errorf("%s becomes %s", genuine, next)
		}
	}
}

// Of those who share a browser the one who came longest ago is forgotten.
func TestBrowserOfSix(t *testing.T) {
	w := newWorld(t, defaults())
	cookie := ""
	people := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com", "f@example.com"}
	for _, email := range people {
		w.person(email)
		cookie = w.arrive(email, showing(cookie)).DeviceCookie
	}
	w.wantTold("at first sessions")
	for _, email := range people[1:] {
		w.arrive(email, showing(cookie))
	}
	w.wantTold("the last five")
	w.arrive(people[0], showing(cookie))
	w.wantTold("the first of six", mail.NewDevice)
}

// A sign-in that does not come about tells nobody.
func TestNoNoticeOfWhatDidNotHappen(t *testing.T) {
	w := newWorld(t, defaults())
	w.person("ada@example.com")
	w.arrive("ada@example.com")
	proof, err := w.accounts.CheckPassword(t.Context(), "ada@example.com", password, here)
	w.must(err)
	var once sync.Once
	w.faults.adding = func() {
		once.Do(func() {
			if _, err := w.Manager.End(t.Context(), session.Ending{Kind: "user", ID: proof.UserID()}, "cli", here); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := w.Begin(t.Context(), proof, session.Opening{From: here, Event: audit.SignedIn, Cookie: true, Browser: true, Audience: "nobody"}); err == nil {
		t.Error("a session began for an audience that nobody may ask for")
	}
	w.wantTold("after a refusal")
	_, err = w.Begin(t.Context(), proof, session.Opening{From: here, Event: audit.SignedIn, Cookie: true, Browser: true})
	w.must(err) // the first try lost against the end, the second won
	w.wantTold("after a try that lost and one that won", mail.NewDevice)
}

// V-47, ASVS-6.3.7: a spent token ends the session, and the person is told once, also
// when 64 come at the same time.
func TestPersonIsToldOnceOfAReusedToken(t *testing.T) {
	c := defaults()
	c.Place = func(ip, language string) string { return map[string]string{"203.0.113.9": "Elsewhere"}[ip] }
	w := newWorld(t, c)
	opened := w.begin("ada@example.com")
	_, err := w.refresh(opened.Tokens.Refresh)
	w.must(err)
	w.pass(time.Minute)
	w.wantTold("before")
	thief := audit.Origin{IP: "203.0.113.9", UserAgent: "curl/8.0", Language: "en"}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if _, err := w.refresh(opened.Tokens.Refresh, func(r *session.RefreshRequest) { r.From = thief }); err == nil {
				t.Error("a spent token was good")
			}
		})
	}
	all.Wait()
	told := w.wantTold("after 64 at once", mail.RefreshReused)
	want := map[string]string{"name": "Ada", "device": "Firefox on Linux", "place": "Elsewhere", "at": w.now().UTC().Format(time.RFC3339)}
	if len(told) == 1 {
		if diff := cmp.Diff(want, told[0].Values); diff != "" {
			t.Errorf("the notice (-want +got):\n%s", diff)
		}
	}
	if _, err := w.refresh(opened.Tokens.Refresh); err == nil {
		t.Error("a spent token was good")
	}
	w.wantTold("after one more")
}

// An answer that is lost does not make two notices of one.
func TestNoticeOfAReuseWhoseAnswerIsLost(t *testing.T) {
	w := newWorld(t, defaults())
	opened := w.begin("ada@example.com")
	_, err := w.refresh(opened.Tokens.Refresh)
	w.must(err)
	w.pass(time.Minute)
	w.faults.after = errors.New("connection")
	if _, err := w.refresh(opened.Tokens.Refresh); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("answered %v", err)
	}
	w.faults.after = nil
	if _, err := w.refresh(opened.Tokens.Refresh); err == nil {
		t.Error("a spent token was good")
	}
	w.wantTold("after an answer that was lost, and a retry", mail.RefreshReused)
}

// ASVS-6.3.7: the person is told of a new password, by whoever set it, and an
// administrator's whereabouts are nobody's to know.
func TestPersonIsToldOfANewPassword(t *testing.T) {
	w := newWorld(t, defaults())
	proof := w.person("ada@example.com")
	u, err := w.accounts.Find(t.Context(), proof.UserID())
	w.must(err)
	w.must(w.accounts.ChangePassword(t.Context(), u, password, "quite another phrase", "", true, here))
	told := w.wantTold("after a change", mail.PasswordChanged)
	at := w.now().UTC().Format(time.RFC3339)
	if want := map[string]string{"name": "Ada", "device": "Firefox on Linux", "ip": here.IP, "at": at}; len(told) == 1 && !cmp.Equal(want, told[0].Values) {
		t.Errorf("the notice says %v", told[0].Values)
	}
	w.must(w.accounts.SetPassword(t.Context(), u.ID, "still another phrase", "cli", here))
	told = w.wantTold("after an administrator's", mail.PasswordChanged)
	if want := map[string]string{"name": "Ada", "at": at}; len(told) == 1 && (!cmp.Equal(want, told[0].Values) || told[0].Language != "") {
		t.Errorf("the notice says %v", told[0])
	}
	if err := w.accounts.ChangePassword(t.Context(), u, "wrong wrong wrong", "quite another phrase", "", true, here); err == nil {
		t.Error("a wrong password changed it")
	}
	w.wantTold("after a refusal")
	if _, err := w.accounts.CheckPassword(t.Context(), "ada@example.com", "still another phrase", here); err != nil {
		t.Error(err)
	}
	w.wantTold("after a sign-in")
}

// Whoever has not proven an address learns nothing of what others asked for it.
func TestLinksOfAnAddressThatIsNotProven(t *testing.T) {
	w := newWorld(t, defaults())
	u, err := w.accounts.Find(t.Context(), w.person("ada@example.com").UserID())
	w.must(err)
	invited := account.Link{ID: credential.NewID(credential.Link), Kind: account.LinkInvite, Email: u.Email, EmailKey: u.EmailKey}
	_, err = w.db.AddLink(t.Context(), invited, audit.Entry{})
	w.must(err)
	for _, verified := range []bool{false, true} {
		u.EmailVerified = verified
		links, err := w.accounts.Links(t.Context(), u)
		w.must(err)
		if told := slices.ContainsFunc(links, func(l account.Link) bool { return l.ID == invited.ID }); told != verified || len(links) == 0 {
			t.Errorf("verified %v: the export tells of %v", verified, links)
		}
	}
}
