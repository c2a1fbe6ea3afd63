package interop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// callback is where the applications of the tests are answered. Nobody listens there: the
// browser stops before it asks.
const callback = "https://rp.example/callback"

// ada is who signs in.
const ada = "ada@example.com"

// allScopes is what the applications of the tests may ask for.
var allScopes = []string{"openid", "profile", "email", "address", "phone", "offline_access"}

// A stage is a server with a person and an application, before anything has happened.
type stage struct {
	*server
	web      client
	person   string // id
	browser  *browser
	verifier string // of PKCE, of the last request
	nonce    string // likewise
	state    string // likewise
}

// newStage registers a web application; args are added to its registration.
func newStage(t *testing.T, args ...string) *stage {
	t.Helper()
	s := newServer(t)
	return &stage{server: s, person: s.person(ada), web: s.application(args...), browser: newBrowser(t, callback)}
}

// application registers a web application that may ask for all scopes.
func (s *server) application(args ...string) client {
	s.t.Helper()
	all := []string{"--name", "Shop", "--type", "web", "--redirect-uri", callback}
	for _, scope := range allScopes {
		all = append(all, "--scope", scope)
	}
	return s.client(append(all, args...)...)
}

// encoding is that of JOSE.
var encoding = base64.RawURLEncoding

func random() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand.Read ends the program instead
	return encoding.EncodeToString(b[:])
}

// request returns the parameters of a good authorization request with fresh state, nonce
// and PKCE; more are names and values in turn, and an empty value takes a parameter away.
func (st *stage) request(more ...string) url.Values {
	st.verifier, st.nonce, st.state = random()+random(), random(), random()
	challenge := sha256.Sum256([]byte(st.verifier))
	q := url.Values{
		"client_id": {st.web.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"},
		"state": {st.state}, "nonce": {st.nonce},
		"code_challenge": {encoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(more); i += 2 {
		if q.Del(more[i]); more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	return q
}

// begin sends the browser to the authorization endpoint.
func (st *stage) begin(more ...string) *view {
	st.t.Helper()
	return st.browser.open(st.url + "/oauth2/authorize?" + st.request(more...).Encode())
}

// pass signs in and consents where the person is asked to.
func (v *view) pass() *view {
	v.browser.t.Helper()
	return v.signIn(ada).allow()
}

// code returns the code of a good answer, which it holds to what every good answer bears.
func (st *stage) code(v *view) string {
	t := st.t
	t.Helper()
	answer := v.answer()
	if answer.Get("error") != "" || answer.Get("code") == "" {
		t.Fatalf("the application is answered %v", answer)
	}
	if answer.Get("state") != st.state {
		t.Errorf("the state is %q, want %q", answer.Get("state"), st.state)
	}
	if answer.Get("iss") != st.url { // RFC 9207, BCP-4
		t.Errorf("the issuer in the answer is %q, want %q", answer.Get("iss"), st.url)
	}
	return answer.Get("code")
}

// redeem exchanges a code by client_secret_basic.
func (st *stage) redeem(code string, more ...string) reply {
	st.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {st.verifier}}
	for i := 0; i < len(more); i += 2 {
		if form.Del(more[i]); more[i+1] != "" {
			form.Set(more[i], more[i+1])
		}
	}
	return st.call(http.MethodPost, "/oauth2/token", form, st.web.basic()...)
}

// A signedIn is what an application holds after a good flow.
type signedIn struct {
	access, refresh, id string
	claims              map[string]any // of the ID token
	token               *oidc.IDToken
}

// tokens redeems a code and holds the answer and the ID token to what the standard asks.
func (st *stage) tokens(code string) signedIn {
	t := st.t
	t.Helper()
	r := st.redeem(code)
	if r.status != http.StatusOK {
		t.Fatalf("the code is answered %d %s", r.status, r.text)
	}
	if !strings.EqualFold(r.member("token_type"), "Bearer") || r.json["expires_in"] == nil {
		t.Errorf("the answer says token_type %v, expires_in %v", r.json["token_type"], r.json["expires_in"])
	}
	if r.header.Get("Cache-Control") != "no-store" { // V-112
		t.Errorf("the answer may be cached: %q", r.header.Get("Cache-Control"))
	}
	in := signedIn{access: r.member("access_token"), refresh: r.member("refresh_token"), id: r.member("id_token")}
	in.token = st.verify(in.id)
	if in.token.Nonce != st.nonce {
		t.Errorf("the nonce is %q, want %q", in.token.Nonce, st.nonce)
	}
	if err := in.token.VerifyAccessToken(in.access); err != nil && in.token.AccessTokenHash != "" {
		t.Errorf("at_hash: %v", err)
	}
	if err := in.token.Claims(&in.claims); err != nil {
		t.Fatal(err)
	}
	return in
}

// verify checks an ID token by a library that nobody here wrote, as it comes to a client.
func (st *stage) verify(id string) *oidc.IDToken {
	st.t.Helper()
	provider, err := oidc.NewProvider(st.t.Context(), st.url)
	if err != nil {
		st.t.Fatalf("discovery: %v", err)
	}
	token, err := provider.Verifier(&oidc.Config{ClientID: st.web.ID}).Verify(st.t.Context(), id)
	if err != nil {
		st.t.Fatalf("the ID token: %v", err)
	}
	if len(token.Audience) != 1 || token.Audience[0] != st.web.ID || token.Subject == "" {
		st.t.Errorf("the ID token is for %v, of %q", token.Audience, token.Subject)
	}
	return token
}

// flow is a whole good flow.
func (st *stage) flow(more ...string) signedIn {
	st.t.Helper()
	return st.tokens(st.code(st.begin(more...).pass()))
}

// userInfo asks for the claims of the person, which must be whose the ID token is.
func (st *stage) userInfo(in signedIn) map[string]any {
	st.t.Helper()
	r := st.call(http.MethodGet, "/oauth2/userinfo", nil, "Authorization", "Bearer "+in.access)
	if r.status != http.StatusOK {
		st.t.Fatalf("userinfo is %d %s", r.status, r.text)
	}
	if r.member("sub") != in.token.Subject {
		st.t.Errorf("userinfo is of %q, the ID token of %q", r.member("sub"), in.token.Subject)
	}
	return r.json
}

// refused demands that the application is told this error, with its state and our issuer.
func (st *stage) refused(v *view, code string) {
	st.t.Helper()
	answer := v.answer()
	if answer.Get("error") != code || answer.Get("code") != "" {
		st.t.Errorf("the application is answered %v, want %s", answer, code)
	}
	if answer.Get("state") != st.state || answer.Get("iss") != st.url {
		st.t.Errorf("the answer bears state %q and issuer %q", answer.Get("state"), answer.Get("iss"))
	}
}

// ownPage demands that the browser stayed with us, on a page that says what is wrong.
func (st *stage) ownPage(v *view) {
	st.t.Helper()
	if v.status < 400 || v.status > 499 || !strings.HasPrefix(v.address.String(), st.url) {
		st.t.Errorf("the browser is at %s, with status %d", v.address, v.status)
	}
}

// discovery reads the metadata.
func (st *stage) discovery() map[string]any {
	st.t.Helper()
	r := st.call(http.MethodGet, "/.well-known/openid-configuration", nil)
	if r.status != http.StatusOK {
		st.t.Fatalf("discovery is %d", r.status)
	}
	return r.json
}

// keys returns the published keys by their ids.
func (st *stage) keys() map[string]map[string]any {
	st.t.Helper()
	r := st.call(http.MethodGet, st.discovery()["jwks_uri"].(string), nil)
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(r.text, &set); err != nil {
		st.t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, k := range set.Keys {
		all[k["kid"].(string)] = k
	}
	return all
}

// header reads the header of a token.
func header(t *testing.T, token string) map[string]any {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	text, err := encoding.DecodeString(first)
	var h map[string]any
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// again proves once more who is there, on whatever page asks for the password.
func (st *stage) again(v *view) *view {
	st.t.Helper()
	for _, text := range []string{"Sign in", "Continue", "Confirm"} {
		if v.shows(text) {
			return v.press(text, "email", ada, "password", password).allow()
		}
	}
	st.t.Fatalf("nobody is asked for a password at %s: %s", v.address, v.words())
	return nil
}

// later returns by how many seconds the proof behind a is later than that behind b.
func later(a, b signedIn) float64 {
	at, _ := a.claims["auth_time"].(float64)
	before, _ := b.claims["auth_time"].(float64)
	return at - before
}
