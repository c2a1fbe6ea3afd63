package oauth

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// What a claims parameter may be, and which scopes it stands for (OpenID Connect Core
// §5.5).
func TestParseClaims(t *testing.T) {
	for _, c := range []struct {
		text   string
		good   bool
		scopes []string
	}{
		{"", true, nil},
		{"{}", true, nil},
		{` {"userinfo":{"name":null}}`, true, []string{"profile"}},
		{`{"id_token":{"email":{"essential":true},"email_verified":null}}`, true, []string{"email"}},
		{`{"userinfo":{"email":null,"roles":null},"id_token":{"name":{"value":"Ada"}}}`, true, []string{"email", "profile", "roles"}},
		{`{"id_token":{"acr":{"essential":true,"values":["aal1","aal2"]},"auth_time":{"essential":true}}}`, true, nil},
		{`{"userinfo":{"picture":null,"name":{"purpose":"why not"}},"future":{"x":1}}`, true, []string{"profile"}},
		{`[]`, false, nil},
		{`null`, false, nil},
		{`"x"`, false, nil},
		{` `, false, nil},
		{`{"userinfo":[]}`, false, nil},
		{`{"userinfo":{"name":1}}`, false, nil},
		{`{"userinfo":{"name":null,"name":null}}`, false, nil},
		{`{"userinfo":{}}x`, false, nil},
		{`{"userinfo":{"name":{"essential":"yes"}}}`, false, nil},
		{`{"userinfo":{"` + strings.Repeat("a", maxClaims) + `":null}}`, false, nil},
	} {
		asked, err := ParseClaims(c.text)
		if (err == nil) != c.good || !slices.Equal(asked.Scopes(), c.scopes) {
			t.Errorf("%.80s is %v (%v), want good %v and the scopes %v", c.text, asked.Scopes(), err, c.good, c.scopes)
		}
	}
}

// OC-5: the userinfo endpoint tells what the scope stands for and what was asked for by
// name, as far as the client may still ask for it; and nothing where nothing is known.
func TestClaimsFor(t *testing.T) {
	ada := account.User{ID: "usr_1", Email: "ada@example.com", EmailVerified: true, Name: "Ada", Roles: []string{"admin"}}
	named := `{"userinfo":{"email":null,"name":null,"phone_number":{"essential":true}}}`
	for _, c := range []struct {
		name, scope, asked string
		may                []string // the client's scopes
		user               account.User
		want               map[string]any
	}{
		{"openid alone", "openid", "", []string{"openid", "email", "profile"}, ada, map[string]any{}},
		{"scopes", "openid email profile", "", []string{"openid", "email", "profile"}, ada, map[string]any{"email": "ada@example.com", "email_verified": true, "name": "Ada"}},
		{"by name", "openid", named, []string{"openid", "email", "profile"}, ada, map[string]any{"email": "ada@example.com", "name": "Ada"}},
		{"by name, a scope that the client has lost", "openid", named, []string{"openid", "profile"}, ada, map[string]any{"name": "Ada"}},
		{"nobody has said a name", "openid profile email", "", []string{"profile"}, account.User{Email: "a@example.com"}, map[string]any{"email": "a@example.com", "email_verified": false}},
		{"roles", "openid roles", "", []string{"roles"}, ada, map[string]any{"roles": []string{"admin"}}},
		{"a scope that begins alike", "openid emails profile2", "", []string{"email"}, ada, map[string]any{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, err := ParseClaims(c.asked)
			if err != nil {
				t.Fatal(err)
			}
			st := &session.Standing{Client: session.ClientTerms{Scopes: c.may}}
			if diff := cmp.Diff(c.want, ClaimsFor(c.scope, asked.within(st), c.user)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// RFC 7636 §4.1, §4.6, appendix B: a verifier has a form, and is compared with S256 alone.
func TestVerifies(t *testing.T) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, c := range []struct {
		verifier, challenge string
		want                bool
	}{
		{verifier, challenge, true},
		{verifier[:42], challenge, false},
		{verifier + "x", challenge, false},
		{verifier, challenge + "=", false},
		{verifier, verifier, false}, // plain
		{challenge, challenge, false},
		{"", "", false},
		{verifier, "", false},
		{strings.Repeat("a", 42), "iOkSbVAhFIb8-UVzqn3MdVFRdhzIuZs_oLIGTSHWRLg", false}, // too short, whatever its hash
		{strings.Repeat(" ", 43), challenge, false},
		{strings.Repeat("é", 43), challenge, false},
		{strings.Repeat("a", 129), challenge, false},
	} {
		if got := verifies(c.verifier, c.challenge); got != c.want {
			t.Errorf("%.50q for %.50q is %v", c.verifier, c.challenge, got)
		}
	}
}

// FuzzParseClaims: whatever comes is read or refused, and asks for nothing that there is
// not.
func FuzzParseClaims(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"userinfo":{"email":null}}`, `{"id_token":{"acr":{"values":["a"]}}}`, `{"userinfo":{"email":{"value":{"a":[1,2]}}}}`, "\x00", "[", `{"userinfo":null}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		asked, err := ParseClaims(text)
		if err != nil && (asked.UserInfo != nil || asked.IDToken != nil) {
			t.Errorf("%q is refused and read", text)
		}
		for _, scope := range asked.Scopes() {
			if !slices.Contains(Scopes, scope) {
				t.Errorf("%q stands for the scope %q", text, scope)
			}
		}
		for name := range ClaimsFor("", asked, account.User{Email: "a@example.com", Name: "A"}) {
			if !slices.Contains(Claims(), name) {
				t.Errorf("%q is told the claim %q", text, name)
			}
		}
	})
}
