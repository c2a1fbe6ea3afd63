package oauth

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636 appendix B

// shop is a confidential client that may ask for a good deal.
func shop() *Client {
	return &Client{
		ID: "cli_shop", Name: "Shop", Type: Web, AuthMethod: AuthBasic, Grants: []string{GrantCode, GrantRefresh},
		RedirectURIs: []string{"https://shop.example/callback", "https://shop.example/other?from=us"},
		Scopes:       []string{"openid", "profile", "email", "offline_access", "orders:read"}, Audiences: []string{"orders", "https://api.example.com/mail"},
	}
}

// with returns a good request with further parameters, or others in the place of its own;
// "" leaves one out.
func with(pairs ...string) url.Values {
	form := url.Values{
		"client_id": {"cli_shop"}, "redirect_uri": {"https://shop.example/callback"}, "response_type": {"code"}, "scope": {"openid"},
		"state": {"xyz"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	return form
}

// twice returns a good request in which a parameter stands twice.
func twice(name, other string) url.Values {
	form := with()
	form.Add(name, form.Get(name))
	form[name][1] = other
	return form
}

func read(c *Client, form url.Values) (*Request, error) {
	r := &Request{ID: "id", Began: time.Unix(1, 0)}
	return r, r.readFor(c, form)
}

func TestRequestIsRead(t *testing.T) {
	r, err := read(shop(), with(
		"scope", "openid email  openid offline_access", "resource", "orders", "nonce", "n-0S6_WzA2Mj", "max_age", "0", "prompt", "login consent",
		"login_hint", "ada@example.com", "ui_locales", "de en", "response_mode", "form_post", "claims", `{"id_token":{"acr":{"essential":true,"values":["aal2"]}},"userinfo":{"name":null}}`,
		"display", "popup", "unknown", "x", // OC-6: what we do not know is passed over
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, equal := range map[string]bool{
		"scope": r.Scope == "openid email offline_access", "offline": r.Offline, "audience": r.Audience == "orders", "nonce": r.Nonce == "n-0S6_WzA2Mj",
		"max_age": r.maxAge == 0, "prompt": r.prompts == prompts{login: true, consent: true}, "hint": r.LoginHint == "ada@example.com",
		"locales": r.Locales == "de en", "mode": r.To == Destination{"https://shop.example/callback", ModeFormPost, "xyz"},
		"demand": cmp.Equal(r.demand.levels, []string{"aal2"}), "challenge": r.Challenge == challenge,
		"asks": cmp.Equal(r.Asks(), []string{"email", "offline_access", "openid", "profile"}),
	} {
		if !equal {
			t.Errorf("%s was read otherwise: %+v", name, r)
		}
	}
	if r, err := read(shop(), with()); err != nil || r.maxAge >= 0 || r.To.Mode != ModeQuery || r.Offline {
		t.Errorf("the plainest request is %+v, %v", r, err)
	}
}

// BCP-2, V-60: nobody is sent to an address that is not known to be the client's.
func TestNothingIsAnsweredElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		form url.Values
		want *fault.Fault
	}{
		"no redirect_uri":        {with("redirect_uri", ""), ErrRequest},
		"two of them":            {twice("redirect_uri", "https://evil.example/"), ErrRequest},
		"two alike":              {twice("redirect_uri", "https://shop.example/callback"), ErrRequest},
		"another":                {with("redirect_uri", "https://evil.example/callback"), ErrRedirectURI},
		"a slash more":           {with("redirect_uri", "https://shop.example/callback/"), ErrRedirectURI},
		"a query more":           {with("redirect_uri", "https://shop.example/callback?x=1"), ErrRedirectURI},
		"a fragment":             {with("redirect_uri", "https://shop.example/callback#x"), ErrRedirectURI},
		"a user":                 {with("redirect_uri", "https://shop.example@evil.example/callback"), ErrRedirectURI},
		"upper case":             {with("redirect_uri", "https://SHOP.example/callback"), ErrRedirectURI},
		"a port":                 {with("redirect_uri", "https://shop.example:443/callback"), ErrRedirectURI},
		"another, and all wrong": {with("redirect_uri", "https://evil.example/", "response_type", "token", "request", "x"), ErrRedirectURI},
	} {
		_, err := read(shop(), c.form)
		var told *RedirectError
		if errors.As(err, &told) || fault.Of(err) != c.want {
			t.Errorf("%s: %v, want %v on a page", name, err, c.want)
		}
	}
	off := shop()
	off.Disabled = true
	if _, err := read(off, with()); !errors.Is(err, ErrUnknownClient) {
		t.Errorf("a client that is switched off: %v", err)
	}
}

// OC-7, BCP-3 and the rest: what is wrong with a request is told to the client, at its own
// address, with its state.
func TestClientIsToldWhatIsWrong(t *testing.T) {
	long := strings.Repeat("x", 600)
	for name, c := range map[string]struct {
		form  url.Values
		want  *fault.Fault
		about string
	}{
		"no response_type":      {with("response_type", ""), ErrRequest, "response_type"},
		"implicit":              {with("response_type", "token"), ErrResponseType, ""},
		"hybrid":                {with("response_type", "code id_token"), ErrResponseType, ""},
		"fragment":              {with("response_mode", "fragment"), ErrRequest, "response_mode"},
		"a scope beyond":        {with("scope", "openid admin"), session.ErrInvalidScope, ""},
		"a resource beyond":     {with("resource", "payroll"), session.ErrInvalidTarget, ""},
		"two resources":         {url.Values(merged(with(), "resource", "orders", "https://api.example.com/mail")), session.ErrInvalidTarget, ""},
		"no challenge":          {with("code_challenge", "", "code_challenge_method", ""), ErrRequest, "PKCE"},
		"a method alone":        {with("code_challenge", ""), ErrRequest, "PKCE"},
		"no method means plain": {with("code_challenge_method", ""), ErrRequest, "S256"},
		"plain":                 {with("code_challenge_method", "plain"), ErrRequest, "S256"},
		"a short challenge":     {with("code_challenge", challenge[1:]), ErrRequest, "code_challenge"},
		"a padded challenge":    {with("code_challenge", challenge+"="), ErrRequest, "code_challenge"},
		"a second spelling":     {with("code_challenge", challenge[:42]+"N"), ErrRequest, "code_challenge"},
		"another prompt":        {with("prompt", "shout"), ErrRequest, "prompt"},
		"none and login":        {with("prompt", "none login"), ErrRequest, "prompt=none"},
		"a negative age":        {with("max_age", "-1"), ErrRequest, "max_age"},
		"an age in words":       {with("max_age", "1h"), ErrRequest, "max_age"},
		"a long nonce":          {with("nonce", long), ErrRequest, "nonce"},
		"a nonce that breaks":   {with("nonce", "a\nb"), ErrRequest, "nonce"},
		"claims are no JSON":    {with("claims", "{"), ErrRequest, "claims"},
		"claims are a list":     {with("claims", "[]"), ErrRequest, "claims"},
		"a request object":      {with("request", "eyJ"), ErrRequestObject, ""},
		"a registration":        {with("registration", "{}"), ErrRegistration, ""},
		"a request elsewhere":   {with("request_uri", "https://shop.example/r"), ErrRequestURI, ""},
		"two scopes":            {twice("scope", "email"), ErrRequest, "scope"},
		"two of one kind":       {twice("response_type", "code"), ErrRequest, "response_type"},
		"all too long":          {with("login_hint", strings.Repeat(long, 8)), ErrRequest, "4000"},
	} {
		_, err := read(shop(), c.form)
		var told *RedirectError
		if !errors.As(err, &told) || told.Fault != c.want || !strings.Contains(told.description(), c.about) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			continue
		}
		if want := (Destination{"https://shop.example/callback", ModeQuery, "xyz"}); told.To != want {
			t.Errorf("%s is answered %+v", name, told.To)
		}
		if strings.ContainsFunc(told.description(), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			t.Errorf("%s: RFC 6749 §4.1.2.1 has no characters for %q", name, told.description())
		}
	}
}

func merged(form url.Values, name string, values ...string) url.Values {
	form[name] = values
	return form
}

// A state that cannot be given back is not, and the client is told all the same.
func TestStateThatCannotBeGivenBack(t *testing.T) {
	for name, form := range map[string]url.Values{
		"long": with("state", strings.Repeat("x", maxState+1)), "broken": with("state", "a\r\nb"), "not UTF-8": with("state", "\xff"), "twice": twice("state", "abc"),
	} {
		_, err := read(shop(), form)
		var told *RedirectError
		if !errors.As(err, &told) || told.Fault != ErrRequest || told.To.State != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, state := range []string{"a b&c=d%20+\"<>'#é", strings.Repeat("x", maxState)} {
		r, err := read(shop(), with("state", state))
		if err != nil || r.To.State != state {
			t.Errorf("the state %.40q is given back as %.40q, %v", state, r.To.State, err)
		}
	}
}

// What only some clients may do.
func TestClientsOfOtherKinds(t *testing.T) {
	without := shop()
	without.WithoutPKCE = true
	if r, err := read(without, with("code_challenge", "", "code_challenge_method", "")); err != nil || r.Challenge != "" {
		t.Errorf("the one that may leave out PKCE: %v", err)
	}
	public := shop()
	public.WithoutPKCE, public.AuthMethod = true, AuthNone
	if _, err := read(public, with("code_challenge", "", "code_challenge_method", "")); fault.Of(err) != ErrRequest {
		t.Errorf("a public client leaves out PKCE: %v", err)
	}
	brief := shop()
	brief.Grants = []string{GrantCode}
	if r, err := read(brief, with("scope", "openid offline_access")); err != nil || r.Offline || r.Scope != "openid" { // OpenID Connect Core 11
		t.Errorf("offline_access without refresh tokens: %v", err)
	}
	machine := shop()
	machine.Grants = []string{GrantClient}
	if _, err := read(machine, with()); fault.Of(err) != ErrClientNotAllowed {
		t.Errorf("a machine asks a person: %v", err)
	}
	native := shop()
	native.Type, native.AuthMethod, native.RedirectURIs = Native, AuthNone, []string{"http://127.0.0.1/cb", "com.example.shop:/cb"}
	if r, err := read(native, with("redirect_uri", "http://127.0.0.1:51234/cb")); err != nil || r.Assured() { // BCP-1
		t.Errorf("a port of its own: %v, %v", err, r.Assured())
	}
	if _, err := read(native, with("redirect_uri", "com.example.shop:/cb", "response_mode", "form_post")); fault.Of(err) != ErrRequest {
		t.Errorf("a form to a scheme of its own: %v", err)
	}
}

// BCP-4, V-64: every response says who answers, and leaves the address as registered.
func TestResponses(t *testing.T) {
	p := &Provider{config: Config{Issuer: "https://auth.example.com"}}
	for uri, want := range map[string]string{
		"https://shop.example/callback":      "https://shop.example/callback?code=a%2Bb&state=x+y%26iss%3D&iss=https%3A%2F%2Fauth.example.com",
		"https://shop.example/other?from=us": "https://shop.example/other?from=us&code=a%2Bb&state=x+y%26iss%3D&iss=https%3A%2F%2Fauth.example.com",
		"com.example.shop:/cb":               "com.example.shop:/cb?code=a%2Bb&state=x+y%26iss%3D&iss=https%3A%2F%2Fauth.example.com",
	} {
		if got := p.respond(Destination{URI: uri, State: "x y&iss="}, shop(), Parameter{"code", "a+b"}).Address(); got != want {
			t.Errorf("the answer goes to\n%s, want\n%s", got, want)
		}
	}
	refusal := p.Deny(&Request{Client: shop(), To: Destination{URI: "https://shop.example/callback"}})
	u, err := url.Parse(refusal.Address())
	if err != nil || u.Query().Get("error") != "access_denied" || u.Query().Get("iss") != "https://auth.example.com" || u.Query().Has("state") {
		t.Errorf("a refusal is %s", refusal.Address())
	}
	home := shop()
	home.HomeURI = "https://www.shop.example/"
	for uri, want := range map[string][]string{
		"https://shop.example/callback": {"https://shop.example", "https://www.shop.example"}, "com.example.shop:/cb": {"com.example.shop:", "https://www.shop.example"},
	} {
		if got := origins(uri, home); !cmp.Equal(got, want) {
			t.Errorf("the origins of %s are %v", uri, got)
		}
	}
}
