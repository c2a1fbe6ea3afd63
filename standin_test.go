package coatcheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A StandIn is an issuer that speaks only what the contract says: metadata, the
// key set, the stream of revocations and introspection.
type StandIn struct {
	*httptest.Server
	Now func() time.Time

	mu      sync.Mutex
	signers map[string]*jwt.Signer
	keysOff bool // the key set is not to be had
	noMeta  bool // there is no metadata
	fetched int  // readings of the key set

	epoch      string
	seq        uint64
	log        []feed.Entry
	from       uint64 // the first number that can be resumed after
	refuse     int    // status for the stream, 0 to serve
	retryAfter string
	silent     bool // no heartbeat is sent by itself
	opened     []string
	streams    map[chan []byte]struct{}

	cookies map[string]map[string]any // active answers by credential
	asked   []Question
	hold    chan struct{} // answers wait until it is closed
	askFail int           // status for introspection, 0 to answer; -1: the connection is closed, once
	arrived chan struct{} // a question has arrived
	beats   int           // heartbeats that a test has waited for
}

// A Question is one introspection.
type Question struct{ Token, Hint, Seen string }

const apiKey = "cka_stand_in_key"

// NewStandIn starts an issuer with one ES256 key, "k1".
func NewStandIn(now func() time.Time) *StandIn {
	s := &StandIn{
		Now: now, epoch: "e1", signers: map[string]*jwt.Signer{},
		streams: map[chan []byte]struct{}{}, cookies: map[string]map[string]any{},
		arrived: make(chan struct{}, 1024),
	}
	s.AddKey("k1")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /.well-known/jwks.json", s.keySet)
	mux.HandleFunc("GET /v1/revocations", s.stream)
	mux.HandleFunc("POST /oauth2/introspect", s.introspect)
	s.Server = httptest.NewServer(mux)
	return s
}

// Stop ends the issuer and its streams.
func (s *StandIn) Stop() {
	s.CloseClientConnections()
	s.Close()
}

func (s *StandIn) AddKey(id string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := jwt.NewSigner(id, key)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signers[id] = signer
}

func (s *StandIn) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *StandIn) metadata(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noMeta {
		http.Error(w, "none", http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/.well-known/jwks.json"})
}

func (s *StandIn) keySet(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	if s.keysOff {
		http.Error(w, "off", http.StatusServiceUnavailable)
		return
	}
	set := jwt.KeySet{}
	for id, signer := range s.signers {
		set[id] = signer.Public()
	}
	body, _ := set.Marshal()
	_, _ = w.Write(body)
}

// Token signs an access token for the session with the key k1.
func (s *StandIn) Token(user, session string, change ...func(*jwt.Claims)) string {
	return s.TokenBy("k1", user, session, change...)
}

func (s *StandIn) TokenBy(key, user, session string, change ...func(*jwt.Claims)) string {
	now := s.Now().Unix()
	c := jwt.Claims{
		Issuer: s.URL, Subject: user, Audience: []string{"orders"}, ID: "jti-" + session,
		ClientID: "first-party", GrantID: "grt_" + session, SessionID: session, Scope: "read write",
		ACR: "aal1", AMR: []string{"pwd"}, IssuedAt: now, ExpiresAt: now + 600, AuthTime: now - 60,
		Extra: map[string]any{"email": "ada@example.com"},
	}
	for _, f := range change {
		f(&c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, err := s.signers[key].Sign(c)
	if err != nil {
		panic(err)
	}
	return token
}

// Cookie opens a session for which the issuer answers, and returns its cookie.
func (s *StandIn) Cookie(user, session string) string {
	cookie := "cks_" + session + strings.Repeat("A", 40)
	s.answer(cookie, user, session)
	return cookie
}

func (s *StandIn) answer(cookie, user, session string) {
	s.set(func() {
		s.cookies[cookie] = map[string]any{
			"active": true, "sub": user, "sid": session, "client_id": "first-party",
			"auth_time": s.Now().Unix() - 60, "acr": "aal1", "amr": []string{"pwd"},
			"email": "ada@example.com", "email_verified": true,
		}
	})
}

// End ends a session: in the record, and in the log.
func (s *StandIn) End(session string) {
	s.set(func() {
		for cookie, a := range s.cookies {
			if a["sid"] == session {
				delete(s.cookies, cookie)
			}
		}
	})
	s.Append(feed.Entry{Kind: feed.Session, ID: session})
}

// Append adds an entry to the log and sends it to all streams.
func (s *StandIn) Append(e feed.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	now := s.Now().Unix()
	e.Seq, e.At = s.seq, now
	if e.Until == 0 {
		e.Until = now + 670
	}
	s.log = append(s.log, e)
	s.send(frame(feed.EventRevocation, s.id(s.seq), e))
}

// Beat sends a heartbeat to all streams.
func (s *StandIn) Beat() { s.BeatAs(func(*feed.Heartbeat) {}) }

func (s *StandIn) BeatAs(change func(*feed.Heartbeat)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(s.beat(change))
}

func (s *StandIn) beat(change func(*feed.Heartbeat)) []byte {
	h := feed.Heartbeat{Epoch: s.epoch, Seq: s.seq, At: s.Now().Unix(), AgeMS: 10}
	change(&h)
	return frame(feed.EventHeartbeat, "", h)
}

func (s *StandIn) id(seq uint64) string { return fmt.Sprintf("%s:%d:beef", s.epoch, seq) }

func frame(event, id string, payload any) []byte {
	b, err := feed.Frame(event, id, payload)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *StandIn) send(frames []byte) {
	for stream := range s.streams {
		stream <- frames
	}
}

// Send sends raw frames to all streams.
func (s *StandIn) Send(frames []byte) { s.set(func() { s.send(frames) }) }

// Cut ends all streams; while refuse is not 0, new ones get it as status.
func (s *StandIn) Cut(refuse int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
	for stream := range s.streams {
		close(stream)
		delete(s.streams, stream)
	}
}

// live returns the entries a snapshot holds.
func (s *StandIn) live() []feed.Entry {
	now := s.Now().Unix()
	entries := []feed.Entry{}
	for _, e := range s.log {
		if e.Until >= now {
			entries = append(entries, e)
		}
	}
	return entries
}

func (s *StandIn) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	last := r.Header.Get("Last-Event-ID")
	s.opened = append(s.opened, last)
	if r.Header.Get("Authorization") != "Bearer "+apiKey {
		s.mu.Unlock()
		http.Error(w, "who?", http.StatusUnauthorized)
		return
	}
	if s.refuse != 0 {
		status := s.refuse
		if s.retryAfter != "" {
			w.Header().Set("Retry-After", s.retryAfter)
		}
		s.mu.Unlock()
		http.Error(w, "no", status)
		return
	}
	first := s.begin(last)
	if !s.silent {
		first = append(first, s.beat(func(*feed.Heartbeat) {})...)
	}
	queue := make(chan []byte, 256)
	s.streams[queue] = struct{}{}
	s.mu.Unlock()
	defer s.set(func() { delete(s.streams, queue) })

	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	_, _ = w.Write(first)
	_ = out.Flush()
	for {
		select {
		case frames, open := <-queue:
			if !open {
				return
			}
			_, _ = w.Write(frames)
			_ = out.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// begin returns what a stream begins with: what was missed, or a snapshot.
func (s *StandIn) begin(last string) []byte {
	for seq := s.from; seq <= s.seq; seq++ {
		if last != s.id(seq) {
			continue
		}
		var missed []byte
		for _, e := range s.log {
			if e.Seq > seq {
				missed = append(missed, frame(feed.EventRevocation, s.id(e.Seq), e)...)
			}
		}
		return missed
	}
	var b []byte
	if last != "" {
		b = frame(feed.EventResync, "", feed.Resync{Reason: "compacted"})
	}
	return append(b, frame(feed.EventSnapshot, s.id(s.seq), feed.Snapshot{Epoch: s.epoch, Seq: s.seq, Entries: s.live()})...)
}

func (s *StandIn) introspect(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	token := r.PostFormValue("token")
	s.asked = append(s.asked, Question{token, r.PostFormValue("token_type_hint"), r.PostFormValue("seen")})
	hold, status := s.hold, s.askFail
	a := map[string]any{"active": false}
	now := s.Now().Unix()
	if found := s.cookies[token]; found != nil && r.Header.Get("Authorization") == "Bearer "+apiKey {
		a = map[string]any{"iat": now, "exp": now + 600}
		for k, v := range found {
			a[k] = v
		}
	}
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
	if hold != nil {
		<-hold
	}
	switch {
	case status < 0:
		s.set(func() { s.askFail = 0 })
		panic(http.ErrAbortHandler)
	case status != 0:
		http.Error(w, "no", status)
		return
	}
	_ = json.NewEncoder(w).Encode(a)
}

func (s *StandIn) questions() []Question {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *StandIn) openings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opened)
}

func (s *StandIn) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// A testClock is a wall clock without a monotonic reading.
type testClock struct {
	mu sync.Mutex
	at time.Time
}

func newTestClock() *testClock { return &testClock{at: time.Unix(1_763_000_000, 0)} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *testClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// setUp starts an issuer and a verifier that is ready, on one clock.
func setUp(t testing.TB, change ...func(*Config)) (*StandIn, *Verifier, *testClock) {
	t.Helper()
	clock := newTestClock()
	s := NewStandIn(clock.Now)
	t.Cleanup(s.Stop)
	v := verifierOf(t, s, clock, change...)
	beat(t, s, v)
	return s, v, clock
}

// beat sends heartbeats until the verifier has heard one, and so all that was
// sent before it. One may be lost: after a leap of the clock it connects anew.
func beat(t testing.TB, s *StandIn, v *Verifier) {
	t.Helper()
	s.beats++
	age := time.Duration(20+s.beats%900) * time.Millisecond
	tries := 0
	eventually(t, "a heartbeat is heard", func() bool {
		if tries%25 == 0 {
			s.BeatAs(func(h *feed.Heartbeat) { h.AgeMS = age.Milliseconds() })
		}
		tries++
		h := v.heard.Load()
		return h != nil && h.old == age && h.at.wall == v.clock.now().UnixNano()
	})
}

// verifierOf starts a verifier of the issuer and waits until it is ready.
func verifierOf(t testing.TB, s *StandIn, clock *testClock, change ...func(*Config)) *Verifier {
	t.Helper()
	v := startVerifier(t, s, clock, change...)
	if err := v.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	return v
}

func startVerifier(t testing.TB, s *StandIn, clock *testClock, change ...func(*Config)) *Verifier {
	t.Helper()
	c := Config{Issuer: s.URL, Audience: "orders", APIKey: apiKey, Now: clock.Now, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	v, err := NewVerifier(c)
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	t.Cleanup(v.Close)
	return v
}

// eventually waits for what other goroutines are about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// closes waits until a channel is closed.
func closes(t testing.TB, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Done stays open")
	}
}

func isOpen(done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
