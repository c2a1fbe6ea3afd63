package interop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Plan: Config OP

// TestOIDF_DiscoveryEndpointVerification reads the metadata and holds it to what there is.
func TestOIDF_DiscoveryEndpointVerification(t *testing.T) {
	st := newStage(t)
	d := st.discovery()
	if d["issuer"] != st.url { // OD-1
		t.Errorf("the issuer is %v, want %s", d["issuer"], st.url)
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"} {
		if address, _ := d[name].(string); !strings.HasPrefix(address, st.url+"/") {
			t.Errorf("%s is %v", name, d[name])
		}
	}
	has := func(name, value string) {
		if list, _ := d[name].([]any); !slices.Contains(list, any(value)) {
			t.Errorf("%s is %v, without %s", name, d[name], value)
		}
	}
	has("response_types_supported", "code")
	has("response_modes_supported", "query")
	has("response_modes_supported", "form_post")
	has("grant_types_supported", "authorization_code")
	has("grant_types_supported", "refresh_token")
	has("grant_types_supported", "client_credentials")
	has("subject_types_supported", "public")
	has("subject_types_supported", "pairwise")
	has("id_token_signing_alg_values_supported", "RS256")
	has("scopes_supported", "openid")
	has("code_challenge_methods_supported", "S256")
	has("token_endpoint_auth_methods_supported", "client_secret_basic")
	if d["authorization_response_iss_parameter_supported"] != true || d["claims_parameter_supported"] != true {
		t.Error("the metadata does not tell of iss in answers, or of the claims parameter")
	}
	if list, _ := d["code_challenge_methods_supported"].([]any); slices.Contains(list, any("plain")) {
		t.Error("plain PKCE is offered")
	}
	for id, key := range st.keys() { // OD-3, JCS-1
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if key[private] != nil {
				t.Errorf("the key %s is published with its member %s", id, private)
			}
		}
	}
}

// Plan: RP-Initiated Logout OP

const signedOutAt = "https://rp.example/signed-out"

// newLogoutStage has somebody signed in to an application that may send people back after
// signing out.
func newLogoutStage(t *testing.T) (*stage, signedIn) {
	t.Helper()
	st := newStage(t, "--post-logout-redirect-uri", signedOutAt)
	st.browser.watch = append(st.browser.watch, signedOutAt)
	return st, st.flow()
}

// leave sends the browser to the end-session endpoint; fields are names and values in turn.
func (st *stage) leave(fields ...string) *view {
	st.t.Helper()
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		q.Set(fields[i], fields[i+1])
	}
	return st.browser.open(st.discovery()["end_session_endpoint"].(string) + "?" + q.Encode())
}

// somebody reports whether the person is still signed in.
func (st *stage) somebody() bool {
	st.t.Helper()
	return st.begin("prompt", "none").answer().Get("error") == ""
}

// TestOIDF_RpInitiatedLogoutDiscovery finds the endpoint in the metadata.
func TestOIDF_RpInitiatedLogoutDiscovery(t *testing.T) {
	st := newStage(t)
	if st.discovery()["end_session_endpoint"] == nil {
		t.Error("there is no end_session_endpoint")
	}
}

// TestOIDF_RpInitiatedLogout signs out with an ID token, by GET and by POST: the person is
// sent back, with the state, and is signed out.
func TestOIDF_RpInitiatedLogout(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} { // RPL-1
		st, in := newLogoutStage(t)
		fields := url.Values{"id_token_hint": {in.id}, "post_logout_redirect_uri": {signedOutAt}, "state": {"abc"}}
		v := st.browser.send(method, st.url+"/oauth2/logout?"+map[string]string{http.MethodGet: fields.Encode()}[method], map[string]url.Values{http.MethodPost: fields}[method], "")
		if v.shows("Sign out") {
			v = v.press("Sign out")
		}
		if !strings.HasPrefix(v.address.String(), signedOutAt) || v.address.Query().Get("state") != "abc" { // RPL-2
			t.Errorf("%s: the browser is at %s", method, v.address)
		}
		if st.somebody() {
			t.Errorf("%s: the person is still signed in", method)
		}
	}
}

// refusesLogout demands an error page of ours, and that nobody was signed out.
func (st *stage) refusesLogout(v *view) {
	st.t.Helper()
	st.ownPage(v)
	if !st.somebody() {
		st.t.Error("the person was signed out all the same")
	}
}

// TestOIDF_RpInitiatedLogoutBadLogoutRedirectUri asks to be sent where nobody registered.
func TestOIDF_RpInitiatedLogoutBadLogoutRedirectUri(t *testing.T) {
	st, in := newLogoutStage(t)
	st.refusesLogout(st.leave("id_token_hint", in.id, "post_logout_redirect_uri", "https://rp.example/other", "state", "abc"))
}

// TestOIDF_RpInitiatedLogoutQueryAddedToLogoutRedirectUri adds a query to the registered
// address, which makes it another one.
func TestOIDF_RpInitiatedLogoutQueryAddedToLogoutRedirectUri(t *testing.T) {
	st, in := newLogoutStage(t)
	st.refusesLogout(st.leave("id_token_hint", in.id, "post_logout_redirect_uri", signedOutAt+"?foo=bar", "state", "abc"))
}

// TestOIDF_RpInitiatedLogoutModifiedIdTokenHint changes the ID token, so that its signature
// is wrong.
func TestOIDF_RpInitiatedLogoutModifiedIdTokenHint(t *testing.T) {
	st, in := newLogoutStage(t)
	parts := strings.Split(in.id, ".")
	forged := parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))
	st.refusesLogout(st.leave("id_token_hint", forged, "post_logout_redirect_uri", signedOutAt, "state", "abc")) // RPL-3
}

// TestOIDF_RpInitiatedLogoutBadIdTokenHint sends something that is no ID token.
func TestOIDF_RpInitiatedLogoutBadIdTokenHint(t *testing.T) {
	st, _ := newLogoutStage(t)
	st.refusesLogout(st.leave("id_token_hint", "bad id token hint", "post_logout_redirect_uri", signedOutAt, "state", "abc"))
}

// asks demands that the person is asked first, stays signed in until they say so, and is
// not sent anywhere that no ID token vouches for.
func (st *stage) asks(v *view) {
	t := st.t
	t.Helper()
	if !v.shows("Sign out") { // RPL-4, V-72
		t.Fatalf("nobody is asked at %s: %s", v.address, v.words())
	}
	if !st.somebody() {
		t.Error("the person was signed out before they said so")
	}
	if v = v.press("Sign out"); !strings.HasPrefix(v.address.String(), st.url) || v.status != http.StatusOK {
		t.Errorf("the browser is at %s, with status %d", v.address, v.status)
	}
	if st.somebody() {
		t.Error("the person is still signed in")
	}
}

// TestOIDF_RpInitiatedLogoutNoIdTokenHint names an address but no ID token.
func TestOIDF_RpInitiatedLogoutNoIdTokenHint(t *testing.T) {
	st, _ := newLogoutStage(t)
	st.asks(st.leave("post_logout_redirect_uri", signedOutAt, "state", "abc"))
}

// TestOIDF_RpInitiatedLogoutNoParams says nothing at all.
func TestOIDF_RpInitiatedLogoutNoParams(t *testing.T) {
	st, _ := newLogoutStage(t)
	st.asks(st.leave())
}

// TestOIDF_RpInitiatedLogoutOnlyState says nothing but a state.
func TestOIDF_RpInitiatedLogoutOnlyState(t *testing.T) {
	st, _ := newLogoutStage(t)
	st.asks(st.leave("state", "abc"))
}

// TestOIDF_RpInitiatedLogoutNoPostLogoutRedirectUri signs out and stays with us.
func TestOIDF_RpInitiatedLogoutNoPostLogoutRedirectUri(t *testing.T) {
	st, in := newLogoutStage(t)
	v := st.leave("id_token_hint", in.id, "state", "abc")
	if v.shows("Sign out") {
		v = v.press("Sign out")
	}
	if !strings.HasPrefix(v.address.String(), st.url) || v.status != http.StatusOK || st.somebody() {
		t.Errorf("the browser is at %s (%d)", v.address, v.status)
	}
}

// TestOIDF_RpInitiatedLogoutNoState signs out without a state: there is none in the answer.
func TestOIDF_RpInitiatedLogoutNoState(t *testing.T) {
	st, in := newLogoutStage(t)
	v := st.leave("id_token_hint", in.id, "post_logout_redirect_uri", signedOutAt)
	if v.shows("Sign out") {
		v = v.press("Sign out")
	}
	if v.address.String() != signedOutAt || st.somebody() {
		t.Errorf("the browser is at %s", v.address)
	}
}

// Plan: Back-Channel Logout OP

// TestOIDF_BackChannelLogoutDiscovery finds in the metadata that sign-outs are told, and of
// which session.
func TestOIDF_BackChannelLogoutDiscovery(t *testing.T) {
	st := newStage(t)
	d := st.discovery()
	if d["backchannel_logout_supported"] != true || d["backchannel_logout_session_supported"] != true {
		t.Errorf("the metadata says %v, %v", d["backchannel_logout_supported"], d["backchannel_logout_session_supported"])
	}
}

// TestOIDF_BackChannelRpInitiatedLogout signs out at one application: it is told by the back
// channel, with a logout token that a library checks.
func TestOIDF_BackChannelRpInitiatedLogout(t *testing.T) {
	told := make(chan url.Values, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing shows below
		form, _ := url.ParseQuery(string(body))
		form.Set("method", r.Method)
		told <- form
	}))
	t.Cleanup(receiver.Close)
	st := newStage(t, "--post-logout-redirect-uri", signedOutAt, "--backchannel-logout-uri", receiver.URL+"/logout")
	st.browser.watch = append(st.browser.watch, signedOutAt)
	in := st.flow()
	v := st.leave("id_token_hint", in.id, "post_logout_redirect_uri", signedOutAt)
	if v.shows("Sign out") {
		v.press("Sign out")
	}
	var form url.Values
	select {
	case form = <-told:
	case <-time.After(20 * time.Second):
		t.Fatal("the application is not told")
	}
	if form.Get("method") != http.MethodPost || form.Get("logout_token") == "" { // BCL-2
		t.Fatalf("the application is told %v", form)
	}
	st.logoutToken(form.Get("logout_token"), in)
}

// logoutToken holds a logout token to the standard, and to what was signed in.
func (st *stage) logoutToken(text string, in signedIn) { // BCL-1
	t := st.t
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), st.url)
	if err != nil {
		t.Fatal(err)
	}
	token, err := provider.Verifier(&oidc.Config{ClientID: st.web.ID}).VerifyLogout(t.Context(), text)
	if err != nil {
		t.Fatalf("the logout token: %v", err)
	}
	claims := payload(t, text)
	if token.Subject != in.token.Subject || claims["sid"] != in.claims["sid"] || claims["sid"] == nil {
		t.Errorf("the logout token is about %q, session %v; signed in was %q, session %v", token.Subject, claims["sid"], in.token.Subject, in.claims["sid"])
	}
	if claims["nonce"] != nil || claims["jti"] == nil || header(t, text)["typ"] != "logout+jwt" {
		t.Errorf("the logout token is %v %v", header(t, text), claims)
	}
}

// payload reads the claims of a token without looking at its signature.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("a token has three parts")
	}
	text, err := encoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}
