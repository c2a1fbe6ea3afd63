package coatcheck

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// FuzzCookies: what is found is in the line, what passes for a session cookie is of
// its alphabet, and no cookie of our name that the standard library sees is missed:
// otherwise a second one could hide.
func FuzzCookies(f *testing.F) { // V-13, V-39
	for _, seed := range []string{
		"__Host-coatcheck=cks_01kgqn5zv0fkev1h6ddvq2h5bhhH0AXlKMjyo0HYgPHpPKT-vWRmbOA2FFfeDdZIRQdSk; theme=dark",
		"__Host-coatcheck=cks_0123456789abcdef0123456789", "a=b; __Host-coatcheck=x; __Host-coatcheck=y", ";;;=;", "=",
		"__Host-coatcheck", "\u2003__Host-coatcheck=x", "__Host-coatcheck=\x00", "a=b;\t__Host-coatcheck\t=\tx",
		`__Host-coatcheck="x"`, "__host-coatcheck=x", "a=\"; __Host-coatcheck=y\"", "__Host-coatcheck==", "__Host-coatcheck=x,__Host-coatcheck=y",
	} {
		f.Add(seed)
	}
	const name = "__Host-coatcheck"
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") {
			return // no line of a header has one
		}
		header := http.Header{"Cookie": {line}}
		found := allCookies(t, header["Cookie"], name)
		for _, value := range found {
			if !strings.Contains(line, name) || !strings.Contains(line, value) {
				t.Fatalf("%q found in %q", value, line)
			}
			if isCookie(value) && strings.ContainsAny(value, " \t;=,\"\\\x00\r\n") {
				t.Fatalf("%q passes for a cookie", value)
			}
		}
		// The standard library takes a lone name, and spaces behind one, for the name.
		var strict []string
		for piece := range strings.SplitSeq(line, ";") {
			if strings.HasPrefix(strings.Trim(piece, " \t"), name+"=") {
				strict = append(strict, piece)
			}
		}
		if len(found) != len(strict) {
			t.Fatalf("%d found in %q, want %d", len(found), line, len(strict))
		}
		header.Set("Cookie", strings.Join(strict, ";"))
		for _, c := range (&http.Request{Header: header}).CookiesNamed(name) {
			plain := func(value string) string { return strings.Trim(value, "\" \t") }
			if !slices.ContainsFunc(found, func(value string) bool { return plain(value) == plain(c.Value) }) {
				t.Errorf("%q holds %q, and only %q is found", line, c.Value, found)
			}
		}
	})
}

// FuzzBearer: what is taken for a token stands in the header, alone, after the one
// scheme there is.
func FuzzBearer(f *testing.F) { // V-13
	for _, seed := range []string{"Bearer a.b.c", "bearer  a.b.c ", "Basic YWRhOng=", "Bearer", "Bearer ", "Bearer a b", "Bearer\ta", "BEARER x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		token, err := bearerOf([]string{line})
		if err != nil {
			if token != "" {
				t.Errorf("the token %q beside %v", token, err)
			}
			return
		}
		if !strings.EqualFold(line[:7], "Bearer ") || token == "" || strings.Trim(line[7:], " ") != token {
			t.Errorf("%q bears the token %q", line, token)
		}
	})
}

// FuzzAnswer: an answer about a cookie makes a caller only if it says active and
// whose session it is, and the caller is exactly who the answer names, until then
// and no longer. The standard library is asked what the body says.
func FuzzAnswer(f *testing.F) { // V-13, V-14
	for _, seed := range []string{
		`{"active":true,"sub":"usr_01kgqn5zt7e3ntha8nq5y5q4z8","sid":"ses_01kgqn5zv0fkev1h6ddvq2h5bh","gid":"grt_01kgqn5zv0fkev1h6ddw6p2dqk","client_id":"first-party","iat":1763728000,"exp":1763728600,"auth_time":1763727990,"acr":"aal1","amr":["pwd"],"email":"ada@example.com","email_verified":true}`,
		`{"active":false}`, `{"active":true,"sub":"usr_1","sid":"ses_1","client_id":"c","iat":1,"exp":2,"auth_time":1,"acr":"aal1","amr":["pwd"],"email":"a@b"}`,
		`{"active":true,"aud":["x"]}`, `{"active":"true"}`, `{"active":true,"iat":1e400}`, `[]`, `null`, ``, `{"active":true,"sub":null,"sid":{}}`,
	} {
		f.Add([]byte(seed))
	}
	v := &Verifier{}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body)
		if err != nil && a.Active {
			t.Fatal("V-14 an answer beside an error")
		}
		k := v.knownOfCookie("x", &a, 0)
		if k == nil {
			return
		}
		c := k.caller()
		if err != nil || !a.Active || c.UserID == "" || c.SessionID == "" {
			t.Fatalf("caller %+v of %s", c, body)
		}
		var said struct {
			Active bool
			Sub    string
			Sid    string
			Exp    int64
		}
		if err := json.Unmarshal(body, &said); err != nil || !said.Active || c.UserID != said.Sub || c.SessionID != said.Sid {
			t.Errorf("caller %+v of %s, %v", c, body, err)
		}
		if !k.Is("x") || k.credential() != "x" || k.Is("y") || k.Subject().Session != c.SessionID || k.Subject().User != c.UserID {
			t.Errorf("what is known of %s is held to %+v", body, k.Subject())
		}
		if !reflect.DeepEqual(c.Claims, a.others) {
			t.Errorf("%s has the further claims %v, want %v", body, c.Claims, a.others)
		}
		for _, name := range fields {
			if _, further := c.Claims[name]; further {
				t.Errorf("%s is a further claim of %s", name, body)
			}
		}
	})
}

// FuzzIssuer: an address that may be an issuer is one whose every request goes to
// its own host, encrypted or not leaving the machine.
func FuzzIssuer(f *testing.F) {
	for _, seed := range []string{
		"https://auth.example.com", "http://localhost:8080", "http://127.0.0.1:40123/", "http://[::1]:8080", "https://auth.example.com/base",
		"http://auth.example.com", "https://user@auth.example.com", "https://auth.example.com?x", "https:auth.example.com", "//auth.example.com", "http://localhost.evil.example", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, issuer string) {
		u, err := checkIssuer(issuer)
		if err != nil {
			return
		}
		key, err := url.Parse(strings.TrimSuffix(issuer, "/") + "/.well-known/jwks.json")
		switch {
		case err != nil || key.Host != u.Host || key.Scheme != u.Scheme || key.User != nil || key.RawQuery != "" || key.Fragment != "":
			t.Errorf("%q is accepted, and its keys are at %v, %v", issuer, key, err)
		case u.Scheme != "https" && !loopback.Is(key.Hostname()):
			t.Errorf("%q is accepted, and is neither encrypted nor this machine", issuer)
		}
	})
}
