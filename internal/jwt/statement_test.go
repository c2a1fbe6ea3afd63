package jwt

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func statedClaims() map[string]any {
	return map[string]any{
		"iss": "https://auth.example.com", "sub": "usr_01", "aud": "cli_01", "exp": int64(testNow + 600), "iat": int64(testNow),
		"sid": "grt_01", "nonce": "a \"nonce\" é", "amr": []string{"pwd"}, "email_verified": true,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
}

func TestStatements(t *testing.T) {
	for algorithm := range testKeyIDs {
		for _, kind := range []string{IDToken, LogoutToken} {
			t.Run(string(algorithm)+" "+kind, func(t *testing.T) {
				signer := testSigner(t, algorithm)
				token, err := signer.SignStatement(kind, statedClaims())
				if err != nil {
					t.Fatal(err)
				}
				got, err := ParseStatement(token, kind, only(signer.Public()))
				if err != nil {
					t.Fatal(err)
				}
				want := Statement{
					Issuer: "https://auth.example.com", Subject: "usr_01", Audience: []string{"cli_01"}, ExpiresAt: testNow + 600, IssuedAt: testNow,
					SessionID: "grt_01", Claims: statedClaims(),
				}
				want.Claims["exp"], want.Claims["iat"], want.Claims["amr"] = float64(testNow+600), float64(testNow), []any{"pwd"}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("it says\n%+v, want\n%+v", got, want)
				}
				header, _, _ := strings.Cut(token, ".")
				text, err := encoding.DecodeString(header)
				if want := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, algorithm, testKeyIDs[algorithm], kind); err != nil || string(text) != want {
					t.Errorf("header %s, want %s", text, want)
				}
			})
		}
	}
}

// A statement is no access token, an access token is no statement, and an ID token is no
// logout token.
func TestStatementsAreTakenForNothingElse(t *testing.T) { // V-18, JBCP-4, JBCP-5, AT-3
	signer := testSigner(t, ES256)
	keys := only(signer.Public())
	for _, typ := range []string{
		"at+jwt", IDToken, LogoutToken, "jwt", "application/JWT", "LOGOUT+JWT", "application/logout+jwt", "rt+jwt", "dpop+jwt",
		"client-authentication+jwt", "secevent+jwt", "JOSE",
	} {
		token := forge(t, signer, fmt.Sprintf(`{"alg":"ES256","kid":"test-es256","typ":%q}`, typ), claimsJSON("", ""))
		for _, kind := range []string{IDToken, LogoutToken, "at+jwt", "dpop+jwt", ""} {
			_, err := ParseStatement(token, kind, keys)
			if want := typ == kind && (kind == IDToken || kind == LogoutToken); (err == nil) != want {
				t.Errorf("typ %s read as %q: %v", typ, kind, err)
			}
		}
		if _, err := Parse(token, keys); (err == nil) != (typ == "at+jwt") {
			t.Errorf("typ %s read as an access token: %v", typ, err)
		}
	}
	for _, kind := range []string{"at+jwt", "application/at+jwt", "", "secevent+jwt"} {
		if _, err := signer.SignStatement(kind, statedClaims()); err == nil {
			t.Errorf("a statement of the type %q was signed", kind)
		}
	}
}

func TestBadStatements(t *testing.T) { // JBCP-1, JBCP-8, V-17
	signer := testSigner(t, ES256)
	keys := only(signer.Public())
	header := `{"alg":"ES256","kid":"test-es256","typ":"JWT"}`
	usual := `"iss":"i","sub":"s","aud":"a","exp":2,"iat":1`
	for name, token := range map[string]string{
		"alg none":             encode(`{"alg":"none","kid":"test-es256","typ":"JWT"}`) + "." + encode("{"+usual+"}") + ".",
		"no kid":               forge(t, signer, `{"alg":"ES256","typ":"JWT"}`, "{"+usual+"}"),
		"a key in its header":  forge(t, signer, `{"alg":"ES256","kid":"test-es256","typ":"JWT","jwk":{}}`, "{"+usual+"}"),
		"no iss":               forge(t, signer, header, strings.Replace("{"+usual+"}", `"iss":"i",`, "", 1)),
		"an empty iss":         forge(t, signer, header, strings.Replace("{"+usual+"}", `"i"`, `""`, 1)),
		"an empty sub":         forge(t, signer, header, strings.Replace("{"+usual+"}", `"s"`, `""`, 1)),
		"sub a number":         forge(t, signer, header, strings.Replace("{"+usual+"}", `"s"`, `7`, 1)),
		"aud an object":        forge(t, signer, header, strings.Replace("{"+usual+"}", `"a"`, `{}`, 1)),
		"aud an empty list":    forge(t, signer, header, strings.Replace("{"+usual+"}", `"a"`, `[]`, 1)),
		"aud with a number":    forge(t, signer, header, strings.Replace("{"+usual+"}", `"a"`, `["a",1]`, 1)),
		"exp a text":           forge(t, signer, header, strings.Replace("{"+usual+"}", `"exp":2`, `"exp":"2"`, 1)),
		"exp broken":           forge(t, signer, header, strings.Replace("{"+usual+"}", `"exp":2`, `"exp":2.5`, 1)),
		"iat below zero":       forge(t, signer, header, strings.Replace("{"+usual+"}", `"iat":1`, `"iat":-1`, 1)),
		"exp too large":        forge(t, signer, header, strings.Replace("{"+usual+"}", `"exp":2`, `"exp":1e300`, 1)),
		"sid a number":         forge(t, signer, header, "{"+usual+`,"sid":1}`),
		"a claim twice":        forge(t, signer, header, "{"+usual+`,"sub":"t"}`),
		"two documents":        forge(t, signer, header, "{"+usual+"}{}"),
		"no object":            forge(t, signer, header, "[]"),
		"another key's":        forge(t, newTestSigner(t, "test-es256", testSigner(t, EdDSA).key), `{"alg":"EdDSA","kid":"test-es256","typ":"JWT"}`, "{"+usual+"}"),
		"no signature":         encode(header) + "." + encode("{"+usual+"}") + ".AAAA",
		"longer than it may":   strings.Repeat("a", MaxLength+1),
		"an algorithm unknown": forge(t, signer, `{"alg":"HS256","kid":"test-es256","typ":"JWT"}`, "{"+usual+"}"),
	} {
		if st, err := ParseStatement(token, IDToken, keys); err == nil || st.Claims != nil {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	if _, err := ParseStatement(forge(t, signer, header, "{"+usual+"}"), IDToken, find(nil)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("by an unknown key: %v", err)
	}
	for name, claims := range map[string]map[string]any{
		"a channel": {"a": make(chan int)}, "no text": {"a": "\xff"}, "nested too deep": {"a": deep(40)}, "too long": {"a": strings.Repeat("x", MaxLength)},
	} {
		if _, err := signer.SignStatement(IDToken, claims); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func deep(n int) any {
	if n == 0 {
		return 1
	}
	return []any{deep(n - 1)}
}

// FuzzParseStatement: nothing that is not signed is read, and no input makes it fail.
func FuzzParseStatement(f *testing.F) { // V-17
	signer := testSigner(f, ES256)
	for _, kind := range []string{IDToken, LogoutToken} {
		token, err := signer.SignStatement(kind, statedClaims())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		st, err := ParseStatement(token, IDToken, only(signer.Public()))
		if (err == nil) != (st.Claims != nil) {
			t.Errorf("%+v, %v", st, err)
		}
		signed, signature, _ := strings.Cut(token, ".")
		if err == nil && (signed == "" || signature == "") {
			t.Errorf("%q was read", token)
		}
	})
}
