package oauth_test

import (
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/hashing"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// A house is a node with people, sessions and keys, whose outgoing calls reach the
// receivers of a test.
type house struct {
	*node
	accounts *account.Directory
	sessions *session.Manager
	ring     *keyring.Ring
}

// newHouse opens one that calls these receivers, over HTTPS, as the operator allows it.
func newHouse(t testing.TB, url string, clock *timepiece, config session.Config, receivers ...*app) *house {
	t.Helper()
	h := &house{node: &node{t: t, clock: clock}}
	quiet, secret := slog.New(slog.DiscardHandler), []byte(strings.Repeat("s", 32))
	var err error
	h.db, err = sqlstore.Open(t.Context(), sqlstore.Options{URL: url, Now: clock.now, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.db.Close() })
	h.log = revocation.New(revocation.Config{Lifetime: config.Access}, h.db, clock.now, quiet)
	h.db.Heard(h.log.Heard)
	h.must(h.log.Hold(t.Context()))
	h.accounts, err = account.New(account.Config{Passwords: account.PasswordPolicy{MinLength: 8}},
		account.Stores{Users: h.db, Setup: h.db, APIKeys: h.db, Links: h.db, Audit: h.db},
		account.NewHasher(account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}, 2, 100, hashing.Here), h.log, secret, clock.now, quiet)
	h.must(err)
	h.ring, err = keyring.New(keyring.Config{Algorithm: jwt.ES256, Access: config.Access}, h.db, h.log, secret, clock.now, quiet)
	h.must(err)
	h.must(h.ring.Load(t.Context()))
	h.sessions, err = session.New(config, session.Stores{Sessions: h.db, Upkeep: h.db, Attachments: h.db, History: h.db, Codes: h.db},
		h.ring, h.log, secret, clock.now, quiet)
	h.must(err)
	h.must(h.sessions.Declare(t.Context(), session.ClientTerms{ID: session.FirstParty, FirstParty: true, Access: config.Access}))
	calls := outbound.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Roots: x509.NewCertPool(), Agent: "coatcheck/test"}
	for _, r := range receivers {
		calls.Ports = append(calls.Ports, r.port)
		if certificate := r.Certificate(); certificate != nil {
			calls.Roots.AddCert(certificate)
		}
	}
	h.Provider, err = oauth.New(oauth.Config{Issuer: issuerURL, Outbound: outbound.New(calls)},
		oauth.Stores{Clients: h.db, Assertions: h.db, Consents: h.db, Notices: h.db, Audit: h.db},
		h.sessions, h.ring, h.log, secret, clock.now, quiet)
	h.must(err)
	return h
}

func sessionConfig() session.Config {
	return session.Config{
		Issuer: issuerURL, Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour, MaxTokenBytes: 1024, Grace: 10 * time.Second, Access: 10 * time.Minute,
	}
}

// A person is somebody with an account and a session in a browser.
type person struct {
	proof  account.Proof
	opened session.Opened
	holder session.Holder
}

const password = "a long enough sentence"

func (h *house) person(email string) person {
	h.t.Helper()
	proof, err := h.accounts.SignUp(h.t.Context(), account.NewUser{Email: email, Name: "Ada", Password: password}, fromHere)
	h.must(err)
	return h.again(proof)
}

// again begins another session of somebody.
func (h *house) again(proof account.Proof) person {
	h.t.Helper()
	opened, err := h.sessions.Begin(h.t.Context(), proof, session.Opening{From: fromHere, Event: audit.SignedIn, Cookie: true, Tokens: true})
	h.must(err)
	holder, err := h.sessions.CheckCookie(h.t.Context(), opened.Cookie)
	h.must(err)
	return person{proof, opened, holder}
}

var requests int

// connect signs a person in to a client by an authorization code, and returns what it
// drew, and the code.
func (h *house) connect(p person, client oauth.Client, scope string) (session.Drawn, string) {
	h.t.Helper()
	requests++
	code, err := h.sessions.IssueCode(h.t.Context(), p.holder, session.Code{
		RequestID: "request" + strconv.Itoa(requests), ClientID: client.ID, RedirectURI: client.RedirectURIs[0], Scope: scope,
		Offline: strings.Contains(scope, "offline_access"),
	})
	h.must(err)
	pending, err := h.sessions.OfCode(h.t.Context(), code)
	h.must(err)
	pending.Renewable = true
	drawn, err := h.sessions.OpenGrant(h.t.Context(), pending, fromHere)
	h.must(err)
	return drawn, code
}

// An app is a client's server, which is told of sign-outs over HTTPS.
type app struct {
	*httptest.Server
	port  uint16
	taken chan string // logout tokens, in the order in which they came

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newApp(t testing.TB, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{taken: make(chan string, 10_000), answer: answer}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.receive))
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	a.StartTLS()
	t.Cleanup(a.Close)
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	a.port = uint16(port)
	return a
}

// answers changes what the app says from now on.
func (a *app) answers(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *app) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || len(form) != 1 {
		http.Error(w, "this is no logout", http.StatusTeapot)
		return
	}
	a.taken <- form.Get("logout_token")
	a.mu.Lock()
	answer := a.answer
	a.mu.Unlock()
	answer(w, r)
}

// received returns all that has come so far.
func (a *app) received() []string {
	var all []string
	for {
		select {
		case token := <-a.taken:
			all = append(all, token)
		default:
			return all
		}
	}
}

// status answers with it.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
	}
}

// told registers a client that is told of sign-outs at the app.
func (h *house) told(a *app, change ...func(*oauth.Client)) oauth.Client {
	h.t.Helper()
	c := oauth.Client{Name: "Shop", Type: oauth.Web, Scopes: []string{"openid", "offline_access"}, BackchannelLogoutURI: a.URL + "/logout?tenant=1", IDAlgorithm: jwt.ES256}
	for _, f := range change {
		f(&c)
	}
	c, _ = h.add(c)
	return c
}
