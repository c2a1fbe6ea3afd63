package web_test

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/web"
)

// callback is where the clients of these tests are answered.
const callback = "https://shop.example/callback"

// A registered is a client with what it shows itself by.
type registered struct {
	id, secret string
	header     []string // name and value, for a confidential one
}

// register adds a client. What it does not say is as "coatcheck client add" has it.
func (s *stage) register(t testing.TB, c oauth.Client) registered {
	t.Helper()
	if c.Name == "" {
		c.Name = "An application"
	}
	if c.Type != oauth.Machine && c.RedirectURIs == nil {
		c.RedirectURIs = []string{callback}
	}
	added, secret, err := s.app.Provider.Clients.Add(t.Context(), c, "cli", audit.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	a := registered{id: added.ID, secret: secret}
	if added.AuthMethod == oauth.AuthBasic {
		a.header = []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(a.id+":"+a.secret))}
	}
	return a
}

// form encodes names and values, with the client's id where it has no secret.
func (a registered) form(pairs ...string) string {
	if a.header == nil {
		pairs = append(pairs, "client_id", a.id)
	}
	return encode(pairs...)
}

// token asks the token endpoint.
func (s *stage) token(t testing.TB, a registered, pairs ...string) reply {
	t.Helper()
	return s.ask(t, "POST", "/oauth2/token", a.form(pairs...), a.header...)
}

// verifier and its challenge by S256.
var (
	verifier  = strings.Repeat("v", 43)
	challenge = func() string {
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}()
)

// code has whoever holds the cookie answer a request of the client, which asks nobody.
func (s *stage) code(t testing.TB, a registered, cookie string, pairs ...string) string {
	t.Helper()
	q := url.Values{
		"client_id": {a.id}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	to, err := url.Parse(s.ask(t, "GET", "/oauth2/authorize?"+q.Encode(), "", "Cookie", cookie).must(t, 303).header.Get("Location"))
	if err != nil || !to.Query().Has("code") {
		t.Fatalf("the answer leads to %v (%v), without a code", to, err)
	}
	return to.Query().Get("code")
}

// drawn is what the token endpoint gave.
type drawn struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Scope   string `json:"scope"`
}

// draw redeems a code of the client.
func (s *stage) draw(t testing.TB, a registered, cookie string, pairs ...string) drawn {
	t.Helper()
	var d drawn
	answer := s.token(t, a, "grant_type", "authorization_code", "code", s.code(t, a, cookie, pairs...), "redirect_uri", callback, "code_verifier", verifier).must(t, 200)
	if err := json.Unmarshal([]byte(answer.text), &d); err != nil || d.Access == "" {
		t.Fatalf("the answer is %s (%v)", answer.text, err)
	}
	return d
}

// oauthCode returns the error of an answer.
func oauthCode(t testing.TB, r reply) string {
	t.Helper()
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(r.text), &body); err != nil || body.Description == "" {
		t.Fatalf("%d %s is no answer of RFC 6749 (%v)", r.status, r.text, err)
	}
	return body.Error
}

// opened returns the header and the claims of a token, which it does not check.
func opened(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%.40q is no token", token)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// shop is a client of the operator's own.
func shop() oauth.Client {
	return oauth.Client{Type: oauth.Web, Scopes: []string{"openid", "email"}, Audiences: []string{"orders"}, Trusted: true}
}

// BCP-3, V-62: the four combinations of a challenge at the authorization endpoint and a
// verifier at the token endpoint, for a client that may do without PKCE and one that may
// not. A challenge and its verifier are the only pair that both may use.
func TestChallengeAndVerifier(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	lax := shop()
	lax.WithoutPKCE = true
	for _, c := range []struct {
		name               string
		client             registered
		without            bool // no challenge is sent
		sent               string
		redirect           string
		want               int
		wantWithoutRequest bool // the request itself is refused
	}{
		{name: "both", client: s.register(t, shop()), sent: verifier, want: 200},
		{name: "a challenge alone", client: s.register(t, shop()), want: 400},
		{name: "another verifier", client: s.register(t, shop()), sent: strings.Repeat("w", 43), want: 400},
		{name: "the challenge for the verifier", client: s.register(t, shop()), sent: challenge, want: 400},
		{name: "a verifier alone", client: s.register(t, shop()), without: true, sent: verifier, wantWithoutRequest: true},
		{name: "neither", client: s.register(t, shop()), without: true, wantWithoutRequest: true},
		{name: "lax: both", client: s.register(t, lax), sent: verifier, want: 200},
		{name: "lax: a challenge alone", client: s.register(t, lax), want: 400},
		{name: "lax: a verifier alone", client: s.register(t, lax), without: true, sent: verifier, want: 400},
		{name: "lax: neither", client: s.register(t, lax), without: true, want: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			pairs := []string{}
			if c.without {
				pairs = []string{"code_challenge", "", "code_challenge_method", ""}
			}
			if c.wantWithoutRequest {
				q := encode("client_id", c.client.id, "redirect_uri", callback, "response_type", "code", "scope", "openid")
				to := s.ask(t, "GET", "/oauth2/authorize?"+q, "", "Cookie", ada.cookie).must(t, 303).header.Get("Location")
				if !strings.HasPrefix(to, callback+"?") || !strings.Contains(to, "error=invalid_request") {
					t.Errorf("the answer leads to %s", to)
				}
				return
			}
			code := s.code(t, c.client, ada.cookie, pairs...)
			form := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback}
			if c.sent != "" {
				form = append(form, "code_verifier", c.sent)
			}
			answer := s.token(t, c.client, form...).must(t, c.want)
			if c.want == 400 && oauthCode(t, answer) != "invalid_grant" {
				t.Errorf("the answer is %s", answer.text)
			}
		})
	}
}

// V-51, V-52: what was given to one client is nobody else's: not at the token endpoint,
// not at introspection and not at revocation, and no try of another one ends it.
func TestTokensAreTheClientsOwn(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	a, b := s.register(t, shop()), s.register(t, shop())
	public := s.register(t, oauth.Client{Type: oauth.SPA, Scopes: []string{"openid"}, Trusted: true})
	held := s.draw(t, a, ada.cookie)
	code := s.code(t, a, ada.cookie)
	for name, other := range map[string]registered{"confidential": b, "public": public} {
		for what, answer := range map[string]reply{
			"code":    s.token(t, other, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier),
			"refresh": s.token(t, other, "grant_type", "refresh_token", "refresh_token", held.Refresh),
		} {
			if answer.must(t, 400); oauthCode(t, answer) != "invalid_grant" {
				t.Errorf("V-51: a %s client with another's %s: %s", name, what, answer.text)
			}
		}
		for _, token := range []string{held.Refresh, held.Access} { // REV-1
			s.ask(t, "POST", "/oauth2/revoke", other.form("token", token), other.header...).must(t, 200)
		}
	}
	for _, token := range []string{held.Refresh, held.Access} {
		if got := s.ask(t, "POST", "/oauth2/introspect", b.form("token", token), b.header...).must(t, 200).text; got != `{"active":false}` {
			t.Errorf("V-52, INT-2: another client is told %s", got)
		}
		if got := s.ask(t, "POST", "/oauth2/introspect", a.form("token", token), a.header...).must(t, 200).text; !strings.HasPrefix(got, `{"active":true,`) {
			t.Errorf("V-52: after what the others tried, the token's own client is told %s", got)
		}
	}
	if got := s.ask(t, "POST", "/oauth2/introspect", a.form("token", strings.SplitN(ada.cookie, "=", 2)[1]), a.header...).must(t, 200).text; got != `{"active":false}` {
		t.Errorf("a client is told of a cookie: %s", got)
	}
	s.token(t, a, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier).must(t, 200)
	s.token(t, a, "grant_type", "refresh_token", "refresh_token", held.Refresh).must(t, 200)
}

// REV-1 to REV-4: a client gives a token back, whatever it calls it, and all that came
// of the same grant is over; the session of the person and the client's other grants are
// not (V-53).
func TestRevocation(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	a := s.register(t, shop())
	revoke := func(pairs ...string) reply {
		return s.ask(t, "POST", "/oauth2/revoke", a.form(pairs...), a.header...)
	}
	for _, c := range []struct{ name, hint, which string }{
		{"by the refresh token", "refresh_token", "refresh"},
		{"by the access token", "access_token", "access"},
		{"by the refresh token, called an access token (REV-3)", "access_token", "refresh"},
		{"by the access token, called a refresh token (REV-3)", "refresh_token", "access"},
		{"by a token that is called nothing we know", "pwned", "refresh"},
		{"by a token that is called nothing", "", "access"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone, stays := s.draw(t, a, ada.cookie), s.draw(t, a, ada.cookie)
			token := gone.Refresh
			if c.which == "access" {
				token = gone.Access
			}
			for range 2 { // REV-2: what is over already may be given back once more
				if answer := revoke("token", token, "token_type_hint", c.hint).must(t, 200); answer.text != "" {
					t.Errorf("the answer is %s", answer.text)
				}
			}
			s.ask(t, "GET", "/oauth2/userinfo", "", "Authorization", "Bearer "+gone.Access).must(t, 401) // REV-4
			s.token(t, a, "grant_type", "refresh_token", "refresh_token", gone.Refresh).must(t, 400)
			s.ask(t, "GET", "/oauth2/userinfo", "", "Authorization", "Bearer "+stays.Access).must(t, 200) // V-53
			s.token(t, a, "grant_type", "refresh_token", "refresh_token", stays.Refresh).must(t, 200)
		})
	}
	s.ask(t, "GET", "/v1/session", "", "Cookie", ada.cookie).must(t, 200)
	for _, unknown := range []string{"x", "ckr_" + strings.Repeat("0", 90), "eyJ.e30.x", strings.Repeat("a.", 500)} {
		revoke("token", unknown).must(t, 200)
	}
}

// INT-3: expired, revoked, for nobody: whatever is not good is inactive, and no more is
// said of it. INT-4: no answer is kept.
func TestIntrospectionOfClients(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	a := s.register(t, shop())
	ask := func(token string) (active bool, text string) {
		t.Helper()
		answer := s.ask(t, "POST", "/oauth2/introspect", a.form("token", token), a.header...).must(t, 200)
		if got := answer.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("INT-4: Cache-Control is %q", got)
		}
		return strings.HasPrefix(answer.text, `{"active":true,`), answer.text
	}
	held := s.draw(t, a, ada.cookie)
	active, text := ask(held.Access)
	for member, there := range map[string]bool{
		`"scope":"openid"`: true, `"aud":"http://localhost:8080"`: true, `"client_id":"` + a.id + `"`: true, `"gid":"grt_`: true,
		`"sid"`: false, `"email"`: false, `"email_verified"`: false, // not asked for: a client is told no more than its scope is worth
	} {
		if !active || strings.Contains(text, member) != there {
			t.Errorf("of a token for openid a client is told %s: %s there %v", text, member, !there)
		}
	}
	mail := s.draw(t, a, ada.cookie, "scope", "openid email")
	if _, text := ask(mail.Access); !strings.Contains(text, `"email":"ada@example.com"`) {
		t.Errorf("of a token for email a client is told %s", text)
	}
	orders := s.draw(t, a, ada.cookie, "resource", "orders")
	if active, text := ask(orders.Access); !active || !strings.Contains(text, `"aud":"orders"`) {
		t.Errorf("of its token for a service a client is told %s", text)
	}
	if active, text := ask(held.ID); active { // V-18
		t.Errorf("an ID token is active: %s", text)
	}
	s.token(t, a, "grant_type", "refresh_token", "refresh_token", held.Refresh).must(t, 200)
	if active, text := ask(held.Refresh); active {
		t.Errorf("a spent refresh token is active: %s", text)
	}
	s.wait(11 * time.Minute)
	if active, text := ask(held.Access); active || text != `{"active":false}` {
		t.Errorf("an expired token is told as %s", text)
	}
	s.ask(t, "POST", "/v1/sign-out", "", "Cookie", ada.cookie, "Origin", s.origin.String()).must(t, 204)
	if active, text := ask(orders.Refresh); active || text != `{"active":false}` {
		t.Errorf("a revoked token is told as %s", text)
	}
}

// BCP-5: no address of ours reads a credential from the query, and none that leads
// elsewhere bears one.
func TestNoTokenInAddresses(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	a := s.register(t, shop())
	own, held := s.phone(t, "ada@example.com"), s.draw(t, a, ada.cookie)
	key := s.addKey(t, "admin", "introspect", "revocations")
	for _, row := range web.Rows() {
		path := strings.NewReplacer("{id}", "ses_00000000000000000000000000", "{client_id}", a.id, "{file}", "none", "{$}", "").Replace(row.Path)
		bare := s.ask(t, row.Method, path, "")
		for name, value := range map[string]string{"access_token": own.access, "token": held.Access, "api_key": key, "cookie": ada.cookie} {
			with := s.ask(t, row.Method, path+"?"+encode(name, value), "")
			if with.status < 300 && bare.status >= 300 {
				t.Errorf("%s takes %s from the address: %d instead of %d", row.Pattern, name, with.status, bare.status)
			}
			if to := with.header.Get("Location"); strings.Contains(to, value) && !row.Page {
				t.Errorf("%s repeats %s in %s", row.Pattern, name, to)
			}
		}
	}
}

// OC-6: a parameter that nobody knows changes nothing.
func TestUnknownParametersAreIgnored(t *testing.T) {
	s := front(t)
	machine := s.register(t, oauth.Client{Type: oauth.Machine, Scopes: []string{"read"}})
	s.token(t, machine, "grant_type", "client_credentials", "audience", "elsewhere", "unknown", "1", "scope", "").must(t, 200)
	for _, endpoint := range []string{"/oauth2/revoke", "/oauth2/introspect"} {
		s.ask(t, "POST", endpoint, machine.form("token", "x", "unknown", "1"), machine.header...).must(t, 200)
	}
}

// RFC 6749 §3.2: of a parameter that is there twice nobody can say which was meant, at
// whichever endpoint.
func TestDuplicatesAreRefused(t *testing.T) {
	s := front(t)
	machine := s.register(t, oauth.Client{Type: oauth.Machine, Scopes: []string{"read"}})
	twice := machine.form("grant_type", "client_credentials", "token", "x")
	for _, name := range []string{"grant_type", "token", "scope", "client_id", "client_secret", "code", "unknown"} {
		for _, endpoint := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"} {
			answer := s.ask(t, "POST", endpoint, twice+"&"+name+"=a&"+name+"=b", machine.header...).must(t, 400)
			if oauthCode(t, answer) != "invalid_request" {
				t.Errorf("%s with %s twice: %s", endpoint, name, answer.text)
			}
		}
	}
}

// OD-2: every value that the metadata names works, and what it does not name does not.
func TestMetadataIsTrue(t *testing.T) {
	s := front(t)
	ada := s.signUpAs(t, "ada@example.com")
	var said struct {
		Grants, Methods, Algorithms, Scopes, Claims []string
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s.ask(t, "GET", "/.well-known/openid-configuration", "").must(t, 200).text), &raw); err != nil {
		t.Fatal(err)
	}
	for name, into := range map[string]*[]string{
		"grant_types_supported": &said.Grants, "token_endpoint_auth_methods_supported": &said.Methods,
		"id_token_signing_alg_values_supported": &said.Algorithms, "scopes_supported": &said.Scopes, "claims_supported": &said.Claims,
	} {
		if err := json.Unmarshal(raw[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, address := range raw {
		var text string
		if !strings.HasSuffix(name, "_endpoint") || json.Unmarshal(address, &text) != nil {
			continue
		}
		path := strings.TrimPrefix(text, s.origin.String())
		if answer := s.ask(t, "OPTIONS", path, ""); answer.status != 405 {
			t.Errorf("%s: there is nothing at %s (%d)", name, path, answer.status)
		}
	}
	for _, algorithm := range said.Algorithms {
		c := shop()
		c.IDAlgorithm = jwt.Algorithm(algorithm)
		c.Scopes = said.Scopes
		held := s.draw(t, s.register(t, c), ada.cookie, "scope", strings.Join(said.Scopes, " "))
		header, claims := opened(t, held.ID)
		if header["alg"] != algorithm || claims["iss"] != s.origin.String() { // OD-1
			t.Errorf("an ID token signed with %s has the header %v and is of %v", algorithm, header, claims["iss"])
		}
		if !strings.Contains(s.ask(t, "GET", "/.well-known/jwks.json", "").text, fmt.Sprintf("%q", header["kid"])) { // OD-3
			t.Errorf("the key %v is not published", header["kid"])
		}
		info := s.ask(t, "GET", "/oauth2/userinfo", "", "Authorization", "Bearer "+held.Access).must(t, 200).text
		var told map[string]any
		if err := json.Unmarshal([]byte(info), &told); err != nil {
			t.Fatal(err)
		}
		for claim := range told {
			if !slices.Contains(said.Claims, claim) {
				t.Errorf("the claim %s is told, and not named in claims_supported", claim)
			}
		}
		for claim := range claims {
			if !slices.Contains(said.Claims, claim) {
				t.Errorf("the claim %s is in an ID token, and not named in claims_supported", claim)
			}
		}
	}
	for _, grant := range append(slices.Clone(said.Grants), "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "") {
		answer := s.token(t, s.register(t, shop()), "grant_type", grant)
		known := slices.Contains(said.Grants, grant)
		if unsupported := oauthCode(t, answer) == "unsupported_grant_type"; unsupported == known && grant != "" {
			t.Errorf("the grant type %q: %s", grant, answer.text)
		}
	}
	if want := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}; !slices.Equal(said.Methods, want) {
		t.Errorf("the methods are %v, want %v: each has a test of its own", said.Methods, want)
	}
}

// OD-2: a client is known by each method that the metadata names, by its own and by no
// other, wherever clients show who they are (ASVS-10.4.10).
func TestAuthMethods(t *testing.T) {
	s := front(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	clients := map[oauth.AuthMethod]registered{}
	for _, method := range oauth.AuthMethods {
		c := shop()
		c.AuthMethod, c.Type = method, oauth.Web
		switch method {
		case oauth.AuthKey:
			c.JWKS = keys
		case oauth.AuthNone:
			c.Type = oauth.SPA
		}
		clients[method] = s.register(t, c)
	}
	times := 0
	show := func(method oauth.AuthMethod, a registered) (form, headers []string) {
		switch method {
		case oauth.AuthBasic:
			return nil, []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(a.id+":"+a.secret))}
		case oauth.AuthPost:
			return []string{"client_id", a.id, "client_secret", cmp.Or(a.secret, "x")}, nil
		case oauth.AuthKey:
			times++
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			now := s.clock.read().Unix()
			signed, err := signer.Sign(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":"j%d","iat":%d,"exp":%d}`, a.id, a.id, s.origin.String(), times, now, now+60))
			if err != nil {
				t.Fatal(err)
			}
			text, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			return []string{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", text}, nil
		}
		return []string{"client_id", a.id}, nil
	}
	for own, a := range clients {
		for _, shown := range oauth.AuthMethods {
			for endpoint, good := range map[string]int{"/oauth2/token": 400, "/oauth2/revoke": 200, "/oauth2/introspect": 200} {
				form, headers := show(shown, a)
				want := 401
				if shown == own && (endpoint != "/oauth2/introspect" || own != oauth.AuthNone) {
					want = good
				}
				answer := s.ask(t, "POST", endpoint, encode(append(form, "token", "x", "grant_type", "refresh_token", "refresh_token", "x")...), headers...)
				if answer.status != want {
					t.Errorf("%s: a client of %s that uses %s is told %d, want %d: %s", endpoint, own, shown, answer.status, want, answer.text)
				}
			}
		}
	}
}

// BCP-8: scripts of the configured origins may use what clients use in browsers, without
// cookies; nobody else's may, and no script may ask the authorization endpoint or
// introspect.
func TestCORSOfClients(t *testing.T) {
	s := front(t, append([]string{"cors.origins", "https://app.example.com"}, secure...)...)
	for path, shared := range map[string]bool{
		"/oauth2/token": true, "/oauth2/revoke": true, "/oauth2/userinfo": true, "/.well-known/openid-configuration": true,
		"/.well-known/jwks.json": true, "/oauth2/authorize": false, "/oauth2/introspect": false,
	} {
		for _, origin := range []string{"https://app.example.com", "https://evil.example", "null"} {
			own := s.origin.String()
			asked := s.ask(t, "OPTIONS", path, "", "Host", strings.TrimPrefix(own, "https://"), "Origin", origin, "Access-Control-Request-Method", "POST")
			want := ""
			if shared && origin == "https://app.example.com" {
				want = origin
			}
			if got := asked.header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%s from %s: Access-Control-Allow-Origin is %q, want %q", path, origin, got, want)
			}
			if strings.HasPrefix(path, "/oauth2/") && asked.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s takes cookies from other origins", path)
			}
		}
	}
}

// The token endpoint counts by grant type and outcome, and no text of a client becomes a
// label (V-104).
func TestTokenMetrics(t *testing.T) {
	s := front(t)
	machine := s.register(t, oauth.Client{Type: oauth.Machine, Scopes: []string{"read"}})
	s.token(t, machine, "grant_type", "client_credentials").must(t, 200)
	s.token(t, machine, "grant_type", "client_credentials", "scope", "canary").must(t, 400)
	s.token(t, machine, "grant_type", "canary").must(t, 400)
	w := httptest.NewRecorder()
	s.app.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`coatcheck_tokens_total{grant="client_credentials",outcome="ok"} 1`,
		`coatcheck_tokens_total{grant="client_credentials",outcome="invalid_scope"} 1`,
		`coatcheck_tokens_total{grant="other",outcome="unsupported_grant_type"} 1`,
	} {
		if !bytes.Contains(w.Body.Bytes(), []byte(want)) {
			t.Errorf("there is no %s", want)
		}
	}
	if bytes.Contains(w.Body.Bytes(), []byte("canary")) {
		t.Error("the figures hold what a client sent")
	}
}
