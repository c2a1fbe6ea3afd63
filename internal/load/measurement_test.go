package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tool is the least that a server has to be for a measurement, and misbehaves on
// demand.
type tool struct {
	*httptest.Server
	refuse map[string]int // "signin": 429, by what is refused

	mu             sync.Mutex
	users          map[string]string // id to email
	turns          map[int]int       // by session, the refresh that comes next
	made, sessions int
	slots          int            // connections whose first sign-in is let in; 0: all
	admitted       map[string]int // by connection: 1 let in, -1 turned away
}

func newTool(t *testing.T) *tool {
	s := &tool{users: map[string]string{}, turns: map[int]int{}, admitted: map[string]int{}, refuse: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/admin/users", s.guarded("admin", func(w http.ResponseWriter, _ *http.Request) {}))
	mux.HandleFunc("POST /v1/admin/users", s.guarded("add", s.addUser))
	mux.HandleFunc("DELETE /v1/admin/users/{id}", s.guarded("delete", s.deleteUser))
	mux.HandleFunc("POST /v1/sign-in", s.guarded("signin", s.signIn))
	mux.HandleFunc("GET /v1/session", s.guarded("session", s.check))
	mux.HandleFunc("GET /v1/forward-auth", s.guarded("forward", s.check))
	mux.HandleFunc("POST /v1/token/refresh", s.guarded("refresh", s.refresh))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

var codes = map[int]string{401: "invalid_api_key", 421: "misdirected", 403: "insufficient_scope", 429: "too_many_attempts", 503: "busy"}

func (s *tool) guarded(what string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		status := s.refuse[what]
		s.mu.Unlock()
		if status != 0 {
			refuseWith(w, status)
			return
		}
		h(w, r)
	}
}

func refuseWith(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"code":%q,"detail":"No."}`, codes[status])
}

func (s *tool) addUser(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email string }
	text, _ := io.ReadAll(r.Body)
	if json.Unmarshal(text, &in) != nil || r.Header.Get("Authorization") != "Bearer cka_good" {
		refuseWith(w, 401)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	id := fmt.Sprintf("usr_%d", s.made)
	s.users[id] = in.Email
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"id":%q}`, id)
}

func (s *tool) deleteUser(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, r.PathValue("id"))
	w.WriteHeader(http.StatusNoContent)
}

func (s *tool) signIn(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.sessions++
	n := s.sessions
	let := s.slots == 0 || s.admitted[r.RemoteAddr] != 0 || s.letIn() < s.slots
	if s.admitted[r.RemoteAddr] == 0 {
		s.admitted[r.RemoteAddr] = map[bool]int{true: 1, false: -1}[let]
	}
	s.mu.Unlock()
	if !let {
		refuseWith(w, 503)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "coatcheck_dev", Value: fmt.Sprintf("cks_%d", n)})
	_, _ = fmt.Fprintf(w, `{"session":{"id":"ses_%d"},"tokens":{"refresh_token":"ckr_%d_0"}}`, n, n)
}

// letIn counts the connections that have a slot. Its caller holds mu.
func (s *tool) letIn() int {
	n := 0
	for _, times := range s.admitted {
		if times > 0 {
			n++
		}
	}
	return n
}

func (s *tool) check(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie("coatcheck_dev"); err != nil || !strings.HasPrefix(c.Value, "cks_") || r.Header.Get("X-Forwarded-Method") != "GET" {
		refuseWith(w, 401)
	}
}

// refresh takes each token once: a caller that does not go on with the successor is
// refused.
func (s *tool) refresh(w http.ResponseWriter, r *http.Request) {
	var session, turn int
	text, _ := io.ReadAll(r.Body)
	_, err := fmt.Sscanf(string(text), `{"refresh_token":"ckr_%d_%d"}`, &session, &turn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.turns[session] != turn {
		refuseWith(w, 401)
		return
	}
	s.turns[session]++
	_, _ = fmt.Fprintf(w, `{"tokens":{"refresh_token":"ckr_%d_%d"}}`, session, turn+1)
}

func (s *tool) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.users)
}

func TestMeasurementLeavesNoUsers(t *testing.T) {
	s := newTool(t)
	figures, err := Measurement{URL: s.URL, APIKey: "cka_good", Duration: 50 * time.Millisecond, Connections: 4, Only: []string{"signin", "check", "refresh"}}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range figures {
		names = append(names, f.Name)
		if f.PerSecond <= 0 || f.Requests == 0 || f.P50 > f.P99 || f.P99 > f.P999 || f.P999 == 0 || f.Remark != "" {
			t.Errorf("%+v", f)
		}
		if half := f.Name == "session" || f.Name == "forward_auth"; half != (f.At > 0) {
			t.Errorf("%s: its latencies are at %v", f.Name, f.At)
		}
	}
	if got := strings.Join(names, " "); got != "sign_in session forward_auth refresh" {
		t.Errorf("measured %s", got)
	}
	if s.made != fewPeople || s.left() != 0 {
		t.Errorf("%d users were made, and %d are left", s.made, s.left())
	}
}

// Whatever happens meanwhile, the users are removed.
func TestInterruptedMeasurementLeavesNoUsers(t *testing.T) {
	for _, at := range []string{"checks: signing in", "sign-ins, 4 at the same time", "refreshes"} {
		s := newTool(t)
		ctx, cancel := context.WithCancel(t.Context())
		m := Measurement{URL: s.URL, APIKey: "cka_good", Duration: 20 * time.Millisecond, Connections: 4, Only: []string{"signin", "check", "refresh"}}
		m.Note = func(text string) {
			if text == at {
				cancel()
			}
		}
		if _, err := m.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at %q: %v", at, err)
		}
		if s.made == 0 || s.left() != 0 {
			t.Errorf("interrupted at %q: %d users were made, and %d are left", at, s.made, s.left())
		}
	}
}

func TestRefusalsAreNamed(t *testing.T) {
	for _, c := range []struct {
		what   string
		status int
		want   error
		made   bool
	}{
		{"admin", 401, ErrNoKey, false}, {"session", 421, ErrName, false}, {"admin", 403, ErrScope, false}, {"signin", 429, ErrThrottled, true}, {"add", 403, ErrScope, false},
	} {
		s := newTool(t)
		s.refuse[c.what] = c.status
		_, err := Measurement{URL: s.URL, APIKey: "cka_good", Duration: 20 * time.Millisecond, Connections: 2, Only: []string{"signin"}}.Run(t.Context())
		if !errors.Is(err, c.want) || (s.made > 0) != c.made || s.left() != 0 {
			t.Errorf("%s refused with %d: %v, %d users made, %d left", c.what, c.status, err, s.made, s.left())
		}
	}
}

func TestUsersThatAreLeftAreNamed(t *testing.T) {
	s := newTool(t)
	s.refuse["delete"] = 403
	_, err := Measurement{URL: s.URL, APIKey: "cka_good", Duration: 20 * time.Millisecond, Connections: 2, Only: []string{"refresh"}}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "coatcheck user delete") || !strings.Contains(err.Error(), "bench-") {
		t.Errorf("users are left: %v", err)
	}
}

func TestNoServer(t *testing.T) {
	s := newTool(t)
	s.Close()
	if _, err := (Measurement{URL: s.URL, APIKey: "cka_good"}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no server answers at "+s.URL) {
		t.Error(err)
	}
}

// Those whom a busy server turns away come again, except where it is measured how
// many it lets in.
func TestBusyServerIsAskedAgain(t *testing.T) {
	s := newTool(t)
	s.slots = 2
	r := &run{Measurement: Measurement{URL: s.URL, APIKey: "cka_good", Duration: 50 * time.Millisecond, Connections: 8}}
	r.fill()
	target, err := targetOf(mustParse(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	r.target, r.people = target, newPeople(r)
	if err := r.people.add(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	all, err := r.people.begin(t.Context(), 50, "token")
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		if a.session == "" || a.refresh == "" {
			t.Errorf("%d was not signed in: %+v", i, a)
		}
	}
	clear(s.admitted)
	figures, err := r.signIns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := figures[0]; f.Requests == 0 || !strings.HasPrefix(f.Remark, "2 at the same time") {
		t.Errorf("%+v", f)
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
