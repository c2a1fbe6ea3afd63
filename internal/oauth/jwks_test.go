package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/outbound"
)

// A keyHost serves a key set at this machine.
type keyHost struct {
	url    string
	called atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
	calls  *outbound.Client // which lets it be called
}

func newKeyHost(t *testing.T) *keyHost {
	t.Helper()
	h := &keyHost{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.called.Add(1)
		(*h.answer.Load())(w, r)
	}))
	t.Cleanup(server.Close)
	h.url = server.URL + "/keys"
	h.calls = outbound.New(outbound.Config{Loopback: true})
	t.Cleanup(h.calls.Close)
	return h
}

func (h *keyHost) answers(f http.HandlerFunc) { h.answer.Store(&f) }

func (h *keyHost) serves(keys json.RawMessage) {
	h.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) })
}

// The keys at jwks_uri are fetched once and then known; a new one is found, whatever
// strangers send meanwhile costs one call in ten seconds (V-20), and an outage costs
// nothing for a day.
func TestKeysAtAnAddress(t *testing.T) {
	clock, host := &timepiece{}, newKeyHost(t)
	n := newCallingNode(t, sqliteAt(t), clock, host.calls)
	keys, next := newSigner(t), newSigner(t)
	host.serves(keys.keySet())
	c, _ := n.add(oauth.Client{Type: oauth.Machine, AuthMethod: oauth.AuthKey, JWKSURI: host.url})
	serial := 0
	try := func(s signer, kid string) error {
		serial++
		claims := claimsOf(c.ID, clock.now())
		claims["jti"] = fmt.Sprint(serial)
		credentials := asserted(s.sign(claims, map[string]any{"kid": kid}))
		credentials.From.IP = fmt.Sprintf("10.1.%d.%d", serial/256, serial%256)
		_, err := n.Authenticate(t.Context(), credentials)
		return err
	}
	for range 20 {
		n.must(try(keys, "k1"))
	}
	if got := host.called.Load(); got != 1 {
		t.Errorf("20 assertions cost %d calls, want 1", got)
	}
	clock.pass(11 * time.Second)
	for i := range 300 {
		if err := try(next, fmt.Sprint("unknown-", i)); !errors.Is(err, oauth.ErrClient) {
			t.Fatalf("an unknown key: %v", err)
		}
	}
	n.must(try(keys, "k1"))
	if got := host.called.Load(); got != 2 {
		t.Errorf("300 unknown keys cost %d calls in all, want 2", got)
	}

	host.serves(json.RawMessage(strings.Replace(string(next.keySet()), `"k1"`, `"k2"`, 1)))
	if err := try(next, "k2"); !errors.Is(err, oauth.ErrClient) {
		t.Errorf("a new key at once: %v", err)
	}
	clock.pass(11 * time.Second)
	n.must(try(next, "k2"))
	if err := try(keys, "k1"); !errors.Is(err, oauth.ErrClient) {
		t.Errorf("a key that is there no more: %v", err)
	}

	host.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	clock.pass(23 * time.Hour)
	n.must(try(next, "k2"))
	clock.pass(2 * time.Hour)
	if err := try(next, "k2"); !errors.Is(err, oauth.ErrClient) {
		t.Errorf("after a day without an answer: %v", err)
	}
}

// Of many who come at once one fetches, and all get an answer.
func TestOneFetchesTheKeys(t *testing.T) {
	clock, host := &timepiece{}, newKeyHost(t)
	n := newCallingNode(t, sqliteAt(t), clock, host.calls)
	keys := newSigner(t)
	host.serves(keys.keySet())
	c, _ := n.add(oauth.Client{Type: oauth.Machine, AuthMethod: oauth.AuthKey, JWKSURI: host.url})
	var all sync.WaitGroup
	for i := range 16 {
		claims := claimsOf(c.ID, clock.now())
		claims["jti"] = fmt.Sprint("at once ", i)
		credentials := asserted(keys.sign(claims, nil))
		all.Go(func() {
			if _, err := n.Authenticate(t.Context(), credentials); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := host.called.Load(); got != 1 {
		t.Errorf("the keys were fetched %d times", got)
	}
}

// What is no answer makes nobody a client, and says so in the audit alone.
func TestAnswersThatAreNoKeys(t *testing.T) {
	keys := newSigner(t)
	for name, answer := range map[string]http.HandlerFunc{
		"404": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write(keys.keySet())
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
		"a page":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"no keys":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"a secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"k1"}]}`)
		},
		"much": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(keys.keySet())
			_, _ = io.WriteString(w, strings.Repeat(" ", 65<<10))
		},
		"for secrecy": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(string(keys.keySet()), `"sig"`, `"enc"`, 1)))
		},
	} {
		clock, host := &timepiece{}, newKeyHost(t)
		n := newCallingNode(t, sqliteAt(t), clock, host.calls)
		host.answers(answer)
		c, _ := n.add(oauth.Client{Type: oauth.Machine, AuthMethod: oauth.AuthKey, JWKSURI: host.url})
		if _, err := n.Authenticate(t.Context(), asserted(keys.sign(claimsOf(c.ID, clock.now()), nil))); !errors.Is(err, oauth.ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
		if got := host.called.Load(); got != 1 {
			t.Errorf("%s: %d calls", name, got)
		}
	}
}

// V-76, V-102: an address where only the server itself could go is refused when it is
// registered, and nothing is called for a registration.
func TestNothingIsFetchedForARegistration(t *testing.T) {
	calls := outbound.New(outbound.Config{})
	defer calls.Close()
	n := newCallingNode(t, sqliteAt(t), &timepiece{}, calls)
	for _, host := range []string{"127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]", "shop.example:8443"} {
		_, _, err := n.Clients.Add(t.Context(), oauth.Client{Name: "Shop", Type: oauth.Machine, AuthMethod: oauth.AuthKey, JWKSURI: "https://" + host + "/keys"}, "cli", fromHere)
		wantMember(t, "keys at "+host, err, "/jwks_uri")
		_, _, err = n.Clients.Add(t.Context(), oauth.Client{Name: "Shop", Type: oauth.Web, RedirectURIs: shopCallback, BackchannelLogoutURI: "https://" + host + "/out"}, "cli", fromHere)
		wantMember(t, "told at "+host, err, "/backchannel_logout_uri")
	}
	n.add(oauth.Client{
		Type: oauth.Web, JWKSURI: "https://shop.example/keys", AuthMethod: oauth.AuthKey, BackchannelLogoutURI: "https://shop.example/out",
		HomeURI: "https://shop.example/", PolicyURI: "https://shop.example/policy", TermsURI: "https://shop.example/terms", Pairwise: true, Sector: "shop.example",
	})
	if got := calls.Figures(); got.Called != 0 {
		t.Errorf("registering made %d calls", got.Called)
	}
}

// Key sets that are refused at registration, each with what is wrong.
func TestKeySets(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	const x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
	ec := func(more string) string {
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q%s}`, x, y, more)
	}
	add := func(keys string) error {
		_, _, err := n.Clients.Add(t.Context(), oauth.Client{Name: "Shop", Type: oauth.Machine, JWKS: json.RawMessage(keys)}, "cli", fromHere)
		return err
	}
	for name, keys := range map[string]string{
		"one":     ec(""),
		"two":     ec(`,"kid":"a"`) + "," + ec(`,"kid":"b"`),
		"its alg": ec(`,"alg":"ES256","use":"sig"`),
		"EdDSA":   `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		if err := add(`{"keys":[` + keys + `]}`); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, keys := range map[string]string{
		"nothing": ``, "null": `null`, "no set": ec(""), "an array": `[` + ec("") + `]`, "empty": `{"keys":[]}`, "text": `{"keys":"a"}`,
		"private":          `{"keys":[` + ec(`,"d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"`) + `]}`,
		"shared":           `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
		"P-384":            `{"keys":[{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}]}`,
		"off the curve":    `{"keys":[` + strings.Replace(ec(""), y, x, 1) + `]}`,
		"a short RSA key":  `{"keys":[{"kty":"RSA","n":"` + strings.Repeat("_", 171) + `","e":"AQAB"}]}`,
		"for secrecy":      `{"keys":[` + ec(`,"use":"enc"`) + `]}`,
		"another alg":      `{"keys":[` + ec(`,"alg":"RS256"`) + `]}`,
		"none":             `{"keys":[` + ec(`,"alg":"none"`) + `]}`,
		"a kid twice":      `{"keys":[` + ec(`,"kid":"a"`) + "," + ec(`,"kid":"a"`) + `]}`,
		"two without kids": `{"keys":[` + ec("") + "," + ec("") + `]}`,
		"eleven":           `{"keys":[` + ec("") + strings.Repeat(","+ec(""), 10) + `]}`,
		"too long":         `{"keys":[` + ec(`,"x5c":["`+strings.Repeat("a", 17<<10)+`"]`) + `]}`,
	} {
		wantMember(t, name, add(keys), "/jwks")
	}
}
