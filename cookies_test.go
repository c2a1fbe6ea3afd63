package coatcheck

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/cookie"
	"github.com/coatcheck/coatcheck/internal/feed"
)

func TestCookieIsAskedAboutOnce(t *testing.T) {
	s, v, clock := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	start := clock.Now().Unix()
	for range 5 {
		c, err := v.checkCookie(t.Context(), cookie)
		if err != nil {
			t.Fatal(err)
		}
		if c.UserID != "usr_ada" || c.SessionID != "ses_1" || len(c.Scopes) != 0 || c.Claims["email_verified"] != true || len(c.Claims) != 2 {
			t.Fatalf("caller %+v", c)
		}
	}
	for range 10 { // used for the last time at nine and a half minutes
		clock.Add(57 * time.Second)
		beat(t, s, v)
		if _, err := v.checkCookie(t.Context(), cookie); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.questions()); got != 1 {
		t.Fatalf("%d questions before the answer has run out, want 1", got)
	}
	clock.Add(30 * time.Second)
	beat(t, s, v)
	if _, err := v.checkCookie(t.Context(), cookie); err != nil {
		t.Fatal(err)
	}
	want := []Question{{cookie, "session_cookie", itoa(start)}, {cookie, "session_cookie", itoa(start + 600)}}
	if got := s.questions(); !slices.Equal(got, want) {
		t.Errorf("questions %v\nwant %v: the second says that the session was used", got, want)
	}
}

func TestEndOfACookiesSession(t *testing.T) { // I-1
	s, v, _ := setUp(t)
	cookie, neighbour := s.Cookie("usr_ada", "ses_1"), s.Cookie("usr_ada", "ses_2")
	for _, each := range []string{cookie, neighbour} {
		if _, err := v.checkCookie(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	s.End("ses_1")
	eventually(t, "refused", func() bool {
		_, err := v.checkCookie(t.Context(), cookie)
		return errors.Is(err, ErrRevoked)
	})
	if _, err := v.checkCookie(t.Context(), neighbour); err != nil {
		t.Errorf("V-53 the neighbour: %v", err)
	}
	if got := len(s.questions()); got != 2 {
		t.Errorf("%d questions, want 2: the log said the rest", got)
	}
}

func TestEndWhileTheAnswerTravels(t *testing.T) { // I-1
	s, v, _ := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	result := make(chan error, 1)
	go func() {
		_, err := v.checkCookie(t.Context(), cookie)
		result <- err
	}()
	<-s.arrived // the issuer has read the session, and found it active
	s.End("ses_1")
	eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_1") })
	close(hold)
	if err := <-result; !errors.Is(err, ErrRevoked) {
		t.Errorf("error %v, want ErrRevoked", err)
	}
	if _, err := v.checkCookie(t.Context(), cookie); err == nil {
		t.Error("and then it is accepted")
	}
}

func TestChangeWhileTheAnswerTravels(t *testing.T) {
	s, v, clock := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	result := make(chan *Caller, 1)
	go func() {
		c, _ := v.checkCookie(t.Context(), cookie)
		result <- c
	}()
	<-s.arrived
	s.Append(feed.Entry{Kind: feed.Changed, ID: "usr_ada", Before: clock.Now().Unix() + 2})
	eventually(t, "the change is heard", func() bool { return v.set.Holds(feed.Changed, "usr_ada") })
	s.set(func() { s.cookies[cookie]["email"] = "new@example.com" })
	close(hold)
	if c := <-result; c == nil || c.Claims["email"] != "new@example.com" {
		t.Errorf("caller %+v, want what was read after the change", c)
	}
}

func TestEntryPrunedWhileDisconnected(t *testing.T) { // I-1
	s, v, clock := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	if _, err := v.checkCookie(t.Context(), cookie); err != nil {
		t.Fatal(err)
	}
	s.Cut(http.StatusServiceUnavailable)
	s.End("ses_1")
	clock.Add(12 * time.Minute) // the entry has come and gone
	s.set(func() { s.from = 1 })
	s.Cut(0)
	eventually(t, "heard", func() bool { return v.Staleness() < time.Second })
	if v.set.Holds(feed.Session, "ses_1") {
		t.Fatal("the entry was not pruned, the test shows nothing")
	}
	if _, err := v.checkCookie(t.Context(), cookie); !errors.Is(err, ErrRevoked) {
		t.Errorf("error %v, want ErrRevoked", err)
	}
}

func TestMalformedCookiesAreNotAskedAbout(t *testing.T) { // V-39, V-18, I-9
	s, v, _ := setUp(t)
	for name, value := range map[string]string{
		"empty": "", "short": "cks_short", "long": strings.Repeat("a", 513), "padding": strings.Repeat("a", 40) + "=",
		"not UTF-8": strings.Repeat("a", 40) + "\xff", "a quote": `"` + strings.Repeat("a", 40) + `"`,
		"a refresh token": "ckr_" + strings.Repeat("a", 120), "an API key": "cka_" + strings.Repeat("a", 43),
		"an access token": s.Token("usr_ada", "ses_1")[:500], "percent": strings.Repeat("%61", 20), "control": strings.Repeat("a", 40) + "\x00",
	} {
		if _, err := v.checkCookie(t.Context(), value); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", name, err)
		}
	}
	if got := s.questions(); len(got) != 0 {
		t.Errorf("questions %v, want none", got)
	}
}

func TestGarbageIsAskedAboutOnceASecondAtMost(t *testing.T) { // V-39, I-9
	s, v, _ := setUp(t)
	garbage := "cks_" + strings.Repeat("g", 60)
	for range 100 {
		if _, err := v.checkCookie(t.Context(), garbage); !errors.Is(err, ErrInvalid) {
			t.Fatalf("error %v, want ErrInvalid", err)
		}
	}
	if got := len(s.questions()); got != 1 {
		t.Errorf("%d questions, want 1", got)
	}
}

func TestAnswersThatAreNotAboutASession(t *testing.T) { // V-18
	s, v, _ := setUp(t)
	for name, change := range map[string]func(map[string]any){
		"a token, which has an audience": func(a map[string]any) { a["aud"] = "orders" },
		"a token for several":            func(a map[string]any) { a["aud"] = []string{"orders"} },
		"a token, which has scopes":      func(a map[string]any) { a["scope"] = "read" },
		"no session":                     func(a map[string]any) { delete(a, "sid") },
		"nobody":                         func(a map[string]any) { delete(a, "sub") },
		"no time of reading":             func(a map[string]any) { a["iat"] = 0 },
		"no end":                         func(a map[string]any) { a["exp"] = 0 },
	} {
		cookie := s.Cookie("usr_ada", "ses_"+strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), ",", ""))
		s.set(func() { change(s.cookies[cookie]) })
		if _, err := v.checkCookie(t.Context(), cookie); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v, want ErrInvalid", name, err)
		}
	}
}

func TestNoAnswerAboutACookie(t *testing.T) { // I-7, I-8: neither accepted nor sent to sign in
	s, v, _ := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	for _, status := range []int{500, 401, 403, 404, 302} {
		s.set(func() { s.askFail = status })
		if _, err := v.checkCookie(t.Context(), cookie); !errors.Is(err, ErrStale) {
			t.Errorf("the issuer answers %d: %v, want ErrStale", status, err)
		}
	}
	s.set(func() { s.askFail = 0 })
	if _, err := v.checkCookie(t.Context(), cookie); err != nil {
		t.Errorf("a failure was remembered: %v", err)
	}
}

// A server that is restarted closes the connections that were kept: whoever asks on one
// of them asks again, and nobody notices.
func TestAConnectionThatWasKeptIsClosed(t *testing.T) { // D-11, I-8
	s, v, _ := setUp(t)
	if _, err := v.checkCookie(t.Context(), s.Cookie("usr_ada", "ses_1")); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.askFail = -1 })
	if _, err := v.checkCookie(t.Context(), s.Cookie("usr_ada", "ses_2")); err != nil {
		t.Errorf("the connection was closed: %v", err)
	}
	if got := len(s.questions()); got != 3 {
		t.Errorf("%d questions, want 3: one of them twice", got)
	}
}

func TestQuestionsAboutOneCookieAreOne(t *testing.T) {
	s, v, _ := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	hold := make(chan struct{})
	s.set(func() { s.hold = hold })
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, err := v.checkCookie(t.Context(), cookie); err != nil {
				t.Error(err)
			}
		})
	}
	<-s.arrived
	close(hold)
	group.Wait()
	if got := len(s.questions()); got != 1 {
		t.Errorf("%d questions, want 1", got)
	}
}

func TestStaleCookies(t *testing.T) { // I-2
	for policy, want := range map[Policy]error{Deny: ErrStale, Ask: nil} {
		s, v, clock := setUp(t, func(c *Config) { c.WhenStale = policy })
		known, ended, unknown := s.Cookie("usr_ada", "ses_1"), s.Cookie("usr_ada", "ses_2"), s.Cookie("usr_ada", "ses_3")
		for _, each := range []string{known, ended} {
			if _, err := v.checkCookie(t.Context(), each); err != nil {
				t.Fatal(err)
			}
		}
		s.End("ses_2")
		eventually(t, "the end is heard", func() bool { return v.set.Holds(feed.Session, "ses_2") })
		s.Cut(http.StatusServiceUnavailable)
		clock.Add(defaultStaleness)
		for range 3 {
			if _, err := v.checkCookie(t.Context(), known); !errors.Is(err, want) {
				t.Errorf("policy %d, a known cookie: %v, want %v", policy, err, want)
			}
			if _, err := v.checkCookie(t.Context(), unknown); !errors.Is(err, want) {
				t.Errorf("policy %d, an unknown cookie: %v, want %v", policy, err, want)
			}
			if _, err := v.checkCookie(t.Context(), ended); !errors.Is(err, ErrRevoked) {
				t.Errorf("policy %d, what a stale set holds: %v, want ErrRevoked", policy, err)
			}
		}
		if policy == Ask && len(s.questions()) != 4 {
			t.Errorf("%d questions, want 2 before and 1 for each cookie within the second", len(s.questions()))
		}
	}
}

// An old cookie that a renewal has replaced says nothing about the session, so
// nobody may be signed out by it.
func TestReplacedCookie(t *testing.T) { // I-8
	s, v, clock := setUp(t)
	old := s.Cookie("usr_ada", "ses_1")
	c, err := v.checkCookie(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	done := c.Done()
	s.set(func() { delete(s.cookies, old) })
	s.Append(feed.Entry{Kind: feed.Changed, ID: "ses_1", Before: clock.Now().Unix() + 2})
	eventually(t, "the change is heard", func() bool { return v.set.Holds(feed.Changed, "ses_1") })
	for range 2 {
		if _, err := v.checkCookie(t.Context(), old); !errors.Is(err, ErrInvalid) {
			t.Errorf("error %v, want ErrInvalid", err)
		}
	}
	s.Cut(http.StatusServiceUnavailable)
	clock.Add(defaultStaleness)
	closes(t, done)
	s.Cut(0)
	eventually(t, "heard", func() bool { return v.Staleness() < time.Second })
	if _, err := v.checkCookie(t.Context(), old); !errors.Is(err, ErrInvalid) {
		t.Errorf("after an interruption: %v, want ErrInvalid", err)
	}
}

func TestFindCookies(t *testing.T) { // CK-2, CK-3, V-35
	const name = "__Host-coatcheck"
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"one", []string{"a=b; __Host-coatcheck=x; c=d"}, []string{"x"}},
		{"none", []string{"a=b"}, nil},
		{"CK-2 twice in a line", []string{"__Host-coatcheck=x; __Host-coatcheck=y"}, []string{"x", "y"}},
		{"CK-2 twice in two lines", []string{"__Host-coatcheck=x", "__Host-coatcheck=y"}, []string{"x", "y"}},
		{"CK-2 twice the same", []string{"__Host-coatcheck=x;__Host-coatcheck=x"}, []string{"x", "x"}},
		{"CK-3 a no-break space before it", []string{"\u00a0__Host-coatcheck=x"}, nil},
		{"CK-3 an em space after it", []string{"__Host-coatcheck\u2003=x"}, nil},
		{"CK-3 another case", []string{"__host-coatcheck=x; __HOST-COATCHECK=y"}, nil},
		{"CK-3 a vertical tab", []string{"\v__Host-coatcheck=x"}, nil},
		{"CK-3 a longer name", []string{"__Host-coatcheck_at=x; x__Host-coatcheck=y"}, nil},
		{"spaces and tabs between cookies", []string{"a=b; \t__Host-coatcheck=x \t; c=d"}, []string{"x"}},
		{"CK-3 a space behind the name", []string{"__Host-coatcheck =x"}, nil},
		{"an empty value is there", []string{"__Host-coatcheck="}, []string{""}},
		{"CK-3 the value of a cookie without a name", []string{"__Host-coatcheck"}, nil},
		{"equals signs in the value", []string{"__Host-coatcheck=x=y"}, []string{"x=y"}},
		{"V-35 the name that any host of the domain can set", []string{"__Secure-coatcheck=x"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := allCookies(t, test.lines, name); !slices.Equal(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// allCookies returns the values of all cookies of a name.
func allCookies(t *testing.T, lines []string, name string) []string {
	t.Helper()
	var all []string
	for _, line := range lines {
		for line != "" {
			var own, value string
			if own, value, line = cookie.Cut(line); own == name {
				all = append(all, value)
			}
		}
	}
	want := found{times: len(all)}
	if len(all) > 0 {
		want.value = all[0]
	}
	for _, names := range []cookieNames{{session: []string{"other", name}}, {token: []string{name}}} {
		token, session := names.find(lines)
		if got := max(token.times, session.times); got != want.times || token.value+session.value != want.value {
			t.Errorf("of %q, %q and %d cookies are found, want %+v", lines, token.value+session.value, got, want)
		}
	}
	return all
}

func TestCookieNames(t *testing.T) {
	for _, test := range []struct {
		plain, shared bool
		want          []string
	}{
		{false, false, []string{"__Host-coatcheck"}},
		{false, true, []string{"__Secure-coatcheck"}},
		{true, false, []string{"__Host-coatcheck", "coatcheck_dev"}},
	} {
		if got := namesOf(test.plain, test.shared).session; !slices.Equal(got, test.want) {
			t.Errorf("plain %v, shared %v: %q, want %q", test.plain, test.shared, got, test.want)
		}
	}
}
