package interop

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// Plan: Basic OP

// TestOIDF_Server runs a whole code flow and holds every answer to the standard.
func TestOIDF_Server(t *testing.T) {
	st := newStage(t)
	in := st.flow()
	if got := in.claims["iss"]; got != st.url {
		t.Errorf("iss is %v", got)
	}
	for _, name := range []string{"sub", "aud", "exp", "iat"} { // OC-1
		if in.claims[name] == nil {
			t.Errorf("the ID token has no %s", name)
		}
	}
	st.userInfo(in)
}

// TestOIDF_ResponseTypeMissing leaves response_type out: the application is told, or the
// person is.
func TestOIDF_ResponseTypeMissing(t *testing.T) {
	st := newStage(t)
	st.refused(st.begin("response_type", ""), "invalid_request")
}

// TestOIDF_IdTokenSignature holds the signature of an ID token to the published key: RS256
// unless the client chose another algorithm.
func TestOIDF_IdTokenSignature(t *testing.T) {
	st := newStage(t)
	h := header(t, st.flow().id)
	if h["alg"] != "RS256" || h["kid"] == nil { // OC-8
		t.Errorf("the header is %v", h)
	}
	if key := st.keys()[h["kid"].(string)]; key == nil || key["kty"] != "RSA" {
		t.Errorf("the key %v is published as %v", h["kid"], key)
	}
}

// TestOIDF_IdTokenUnsigned wants an unsigned ID token for who registered for one. Deviation:
// there are none; the metadata does not offer it, and it cannot be registered.
func TestOIDF_IdTokenUnsigned(t *testing.T) {
	st := newStage(t)
	offered := st.discovery()["id_token_signing_alg_values_supported"].([]any)
	if slices.Contains(offered, any("none")) || !slices.Contains(offered, any("RS256")) {
		t.Errorf("the metadata offers %v", offered)
	}
	if out, err := st.tryCommand("client", "add", "--name", "Unsigned", "--type", "web", "--redirect-uri", callback, "--scope", "openid", "--id-token-algorithm", "none"); err == nil {
		t.Errorf("an application without signatures was registered: %s", out)
	}
}

// TestOIDF_UserInfoGet asks userinfo by GET with the token in the header.
func TestOIDF_UserInfoGet(t *testing.T) {
	st := newStage(t)
	st.userInfo(st.flow())
}

// TestOIDF_UserInfoPostHeader asks userinfo by POST with the token in the header.
func TestOIDF_UserInfoPostHeader(t *testing.T) {
	st := newStage(t)
	in := st.flow()
	r := st.call(http.MethodPost, "/oauth2/userinfo", nil, "Authorization", "Bearer "+in.access)
	if r.status != http.StatusOK || r.member("sub") != in.token.Subject {
		t.Errorf("userinfo is %d %s", r.status, r.text)
	}
}

// TestOIDF_UserInfoPostBody asks userinfo by POST with the token in the body.
func TestOIDF_UserInfoPostBody(t *testing.T) {
	st := newStage(t)
	in := st.flow()
	r := st.call(http.MethodPost, "/oauth2/userinfo", url.Values{"access_token": {in.access}})
	if r.status != http.StatusOK || r.member("sub") != in.token.Subject {
		t.Errorf("userinfo is %d %s", r.status, r.text)
	}
}

// TestOIDF_EnsureRequestWithoutNonceSucceedsForCodeFlow leaves the nonce out: there is none
// in the ID token.
func TestOIDF_EnsureRequestWithoutNonceSucceedsForCodeFlow(t *testing.T) {
	st := newStage(t)
	code := st.code(st.begin("nonce", "").pass())
	st.nonce = ""
	if in := st.tokens(code); in.claims["nonce"] != nil {
		t.Errorf("the nonce is %v", in.claims["nonce"])
	}
}

// scoped runs a flow with scopes and returns what userinfo says.
func scoped(t *testing.T, scope string) map[string]any {
	t.Helper()
	st := newStage(t)
	return st.userInfo(st.flow("scope", scope, "prompt", "consent"))
}

// TestOIDF_ScopeProfile asks for the profile: its claims are in userinfo.
func TestOIDF_ScopeProfile(t *testing.T) {
	said := scoped(t, "openid profile")
	if said["name"] != "Ada Lovelace" || said["email"] != nil {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_ScopeEmail asks for the address of mail: it is in userinfo, with whether it is
// proven.
func TestOIDF_ScopeEmail(t *testing.T) {
	said := scoped(t, "openid email")
	if said["email"] != ada || said["email_verified"] != true || said["name"] != nil {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_ScopeAddress asks for the postal address. Deviation: none is kept of anybody, so
// the scope is granted and brings no claim.
func TestOIDF_ScopeAddress(t *testing.T) {
	if said := scoped(t, "openid address"); said["address"] != nil {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_ScopePhone asks for the phone number. Deviation: none is kept of anybody, so the
// scope is granted and brings no claim.
func TestOIDF_ScopePhone(t *testing.T) {
	if said := scoped(t, "openid phone"); said["phone_number"] != nil {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_ScopeAll asks for all scopes at once.
func TestOIDF_ScopeAll(t *testing.T) {
	said := scoped(t, "openid profile email address phone")
	if said["name"] != "Ada Lovelace" || said["email"] != ada {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_AlternateHappyFlow runs the flow with the scopes in another order and by the
// other methods: a POST to the authorization endpoint, an answer by form_post.
func TestOIDF_AlternateHappyFlow(t *testing.T) {
	st := newStage(t)
	q := st.request("scope", "email openid", "response_mode", "form_post")
	v := st.browser.post(st.url+"/oauth2/authorize", q).pass()
	if v.posted == nil {
		t.Error("the answer is no form")
	}
	if said := st.userInfo(st.tokens(st.code(v))); said["email"] != ada {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_DisplayPage asks for a page: a hint that changes nothing.
func TestOIDF_DisplayPage(t *testing.T) { newStage(t).flow("display", "page") }

// TestOIDF_DisplayPopup asks for a small window: a hint that changes nothing.
func TestOIDF_DisplayPopup(t *testing.T) { newStage(t).flow("display", "popup") }

// TestOIDF_PromptLogin asks twice, the second time with prompt=login: the person proves
// again who they are, and auth_time moves.
func TestOIDF_PromptLogin(t *testing.T) {
	st := newStage(t)
	first := st.flow("max_age", "15000")
	st.ahead(3 * time.Second)
	v := st.begin("prompt", "login", "max_age", "15000")
	if v.browser.watched(v.address.String()) {
		t.Fatal("nobody was asked for a password")
	}
	second := st.tokens(st.code(st.again(v)))
	if later(second, first) < 1 { // OC-3
		t.Errorf("auth_time moved by %v s", later(second, first))
	}
	if first.token.Subject != second.token.Subject {
		t.Error("the subject has changed")
	}
}

// TestOIDF_PromptNoneNotLoggedIn asks with prompt=none where nobody is signed in.
func TestOIDF_PromptNoneNotLoggedIn(t *testing.T) {
	st := newStage(t)
	st.refused(st.begin("prompt", "none"), "login_required") // OC-2
}

// TestOIDF_PromptNoneLoggedIn asks with prompt=none where somebody is: the same person, at
// the same time, without a page.
func TestOIDF_PromptNoneLoggedIn(t *testing.T) {
	st := newStage(t)
	first := st.flow()
	second := st.tokens(st.code(st.begin("prompt", "none")))
	if first.token.Subject != second.token.Subject || first.claims["auth_time"] != second.claims["auth_time"] {
		t.Errorf("first %v, then %v", first.claims, second.claims)
	}
}

// TestOIDF_MaxAge1 asks for a sign-in of the last second.
func TestOIDF_MaxAge1(t *testing.T) {
	st := newStage(t)
	first := st.flow()
	st.ahead(3 * time.Second)
	v := st.begin("max_age", "1")
	if v.browser.watched(v.address.String()) {
		t.Fatal("nobody was asked for a password")
	}
	second := st.tokens(st.code(st.again(v)))
	if later(second, first) < 1 {
		t.Errorf("auth_time moved by %v s", later(second, first))
	}
}

// TestOIDF_MaxAge10000 asks for a sign-in of the last hours, which there was.
func TestOIDF_MaxAge10000(t *testing.T) {
	st := newStage(t)
	first := st.flow()
	v := st.begin("max_age", "10000")
	second := st.tokens(st.code(v))
	if second.claims["auth_time"] == nil || later(second, first) != 0 {
		t.Errorf("auth_time is %v, then %v", first.claims["auth_time"], second.claims["auth_time"])
	}
}

// TestOIDF_EnsureRequestWithUnknownParameterSucceeds sends a parameter that nobody knows.
func TestOIDF_EnsureRequestWithUnknownParameterSucceeds(t *testing.T) {
	newStage(t).flow("extra", "foobar") // OC-6
}

// TestOIDF_IdTokenHint asks with prompt=none and the ID token of the person who is there.
func TestOIDF_IdTokenHint(t *testing.T) {
	st := newStage(t)
	first := st.flow()
	second := st.tokens(st.code(st.begin("prompt", "none", "id_token_hint", first.id)))
	if first.token.Subject != second.token.Subject {
		t.Error("the subject has changed")
	}
}

// TestOIDF_LoginHint says who is expected: the sign-in page has the address filled in.
func TestOIDF_LoginHint(t *testing.T) {
	st := newStage(t)
	v := st.begin("login_hint", ada)
	f, _, err := v.find("Sign in")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.fields.Get("email"); got != ada {
		t.Errorf("the page has %q in the email field", got)
	}
	st.tokens(st.code(v.pass()))
}

// TestOIDF_UiLocales says which languages the person reads.
func TestOIDF_UiLocales(t *testing.T) { newStage(t).flow("ui_locales", "se en") }

// TestOIDF_ClaimsLocales says in which languages claims are wanted, which have none here.
func TestOIDF_ClaimsLocales(t *testing.T) { newStage(t).flow("claims_locales", "se en") }

// TestOIDF_EnsureRequestWithAcrValuesSucceeds wishes for levels of assurance that nobody
// here can reach, which a wish may.
func TestOIDF_EnsureRequestWithAcrValuesSucceeds(t *testing.T) {
	if in := newStage(t).flow("acr_values", "1 2"); in.claims["acr"] == nil {
		t.Error("the ID token has no acr")
	}
}

// TestOIDF_AuthCodeReuse spends a code twice: the second time is refused, and what the
// first one gave is over.
func TestOIDF_AuthCodeReuse(t *testing.T) {
	st := newStage(t)
	code := st.code(st.begin().pass())
	in := st.tokens(code)
	st.spentTwice(code, in)
}

// TestOIDF_AuthCodeReuseAfter30Seconds does so half a minute later.
func TestOIDF_AuthCodeReuseAfter30Seconds(t *testing.T) {
	st := newStage(t)
	code := st.code(st.begin().pass())
	in := st.tokens(code)
	st.ahead(32 * time.Second)
	st.spentTwice(code, in)
}

func (st *stage) spentTwice(code string, in signedIn) { // ASVS-10.4.2, V-63
	st.t.Helper()
	if r := st.redeem(code); r.status != http.StatusBadRequest || r.member("error") != "invalid_grant" {
		st.t.Errorf("the code is answered %d %s the second time", r.status, r.text)
	}
	if r := st.call(http.MethodGet, "/oauth2/userinfo", nil, "Authorization", "Bearer "+in.access); r.status != http.StatusUnauthorized {
		st.t.Errorf("after that userinfo answers the first token %d", r.status)
	}
}

// TestOIDF_EnsureRegisteredRedirectUri asks for an answer at an address that is not
// registered: the person is told, and nobody else.
func TestOIDF_EnsureRegisteredRedirectUri(t *testing.T) {
	st := newStage(t)
	st.ownPage(st.begin("redirect_uri", callback+"/other"))
}

// TestOIDF_EnsurePostRequestSucceeds sends the request by POST.
func TestOIDF_EnsurePostRequestSucceeds(t *testing.T) {
	st := newStage(t)
	st.tokens(st.code(st.browser.post(st.url+"/oauth2/authorize", st.request()).pass())) // OC-9
}

// TestOIDF_ServerTestClientSecretPost lets a client show its secret in the body, if it
// registered for that.
func TestOIDF_ServerTestClientSecretPost(t *testing.T) {
	st := newStage(t, "--auth-method", "client_secret_post")
	code := st.code(st.begin().pass())
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {st.verifier},
		"client_id": {st.web.ID}, "client_secret": {st.web.Secret},
	}
	r := st.call(http.MethodPost, "/oauth2/token", form)
	if r.status != http.StatusOK {
		t.Fatalf("the code is answered %d %s", r.status, r.text)
	}
	st.verify(r.member("id_token"))
}

// TestOIDF_RequestUriUnsignedSupportedCorrectlyOrRejectedAsUnsupported sends a request by
// reference. Deviation: that is refused as the standard says.
func TestOIDF_RequestUriUnsignedSupportedCorrectlyOrRejectedAsUnsupported(t *testing.T) {
	st := newStage(t)
	if st.discovery()["request_uri_parameter_supported"] != false {
		t.Error("the metadata does not say that request_uri is not supported, which is the default otherwise")
	}
	st.refused(st.begin("request_uri", "https://rp.example/request.jwt"), "request_uri_not_supported") // OC-7
}

// unsigned is a request object without a signature.
const unsigned = "eyJhbGciOiJub25lIn0.eyJyZXNwb25zZV90eXBlIjoiY29kZSJ9."

// TestOIDF_UnsignedRequestObjectSupportedCorrectlyOrRejectedAsUnsupported sends a request by
// value. Deviation: that is refused as the standard says.
func TestOIDF_UnsignedRequestObjectSupportedCorrectlyOrRejectedAsUnsupported(t *testing.T) {
	st := newStage(t)
	st.refused(st.begin("request", unsigned), "request_not_supported")
}

// TestOIDF_EnsureRequestObjectWithRedirectUri sends the redirect URI inside a request
// object. Deviation: request objects are refused, so nobody is sent to an address in one.
func TestOIDF_EnsureRequestObjectWithRedirectUri(t *testing.T) {
	st := newStage(t)
	st.ownPage(st.begin("request", unsigned, "redirect_uri", ""))
}

// TestOIDF_ClaimsEssential asks for a claim by name, as essential.
func TestOIDF_ClaimsEssential(t *testing.T) {
	st := newStage(t)
	said := st.userInfo(st.flow("claims", `{"userinfo":{"name":{"essential":true}},"id_token":{"email":null}}`))
	if said["name"] != "Ada Lovelace" {
		t.Errorf("userinfo says %v", said)
	}
}

// TestOIDF_RefreshToken spends a refresh token for new tokens of the same person.
func TestOIDF_RefreshToken(t *testing.T) {
	st := newStage(t)
	in := st.flow("scope", "openid offline_access", "prompt", "consent")
	if in.refresh == "" {
		t.Fatal("there is no refresh token")
	}
	r := st.call(http.MethodPost, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {in.refresh}}, st.web.basic()...)
	if r.status != http.StatusOK || r.member("access_token") == in.access {
		t.Fatalf("the refresh token is answered %d %s", r.status, r.text)
	}
	if id := r.member("id_token"); id != "" {
		if again := st.verify(id); again.Subject != in.token.Subject {
			t.Error("the subject has changed")
		}
	}
	other := st.application("--name", "Another")
	r = st.call(http.MethodPost, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.member("refresh_token")}}, other.basic()...)
	if r.status != http.StatusBadRequest || r.member("error") != "invalid_grant" { // V-51
		t.Errorf("another client is answered %d %s", r.status, r.text)
	}
}

// TestOIDF_EnsureRequestWithValidPkceSucceeds runs the flow with PKCE S256, and refuses a
// verifier that is not the one.
func TestOIDF_EnsureRequestWithValidPkceSucceeds(t *testing.T) {
	st := newStage(t)
	st.flow()
	code := st.code(st.begin().pass())
	if r := st.redeem(code, "code_verifier", random()+random()); r.status != http.StatusBadRequest || r.member("error") != "invalid_grant" {
		t.Errorf("another verifier is answered %d %s", r.status, r.text)
	}
}
