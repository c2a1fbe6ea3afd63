package web

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

func basic(text string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

// How a request says which client it comes from (RFC 6749 §2.3.1): in one way, of which
// each half is encoded as in a form.
func TestCredentialsOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		header []string
		form   string
		want   oauth.Credentials
		err    error
	}{
		{"nothing", nil, "", oauth.Credentials{}, nil},
		{"an id", nil, "client_id=a", oauth.Credentials{ID: "a"}, nil},
		{"post", nil, "client_id=a&client_secret=b", oauth.Credentials{ID: "a", Secret: "b", Post: true}, nil},
		{"basic", []string{basic("a:b")}, "", oauth.Credentials{ID: "a", Secret: "b", Basic: true}, nil},
		{"basic, in small letters", []string{"b" + basic("a:b")[1:]}, "", oauth.Credentials{ID: "a", Secret: "b", Basic: true}, nil},
		{"basic without a secret", []string{basic("a:")}, "", oauth.Credentials{ID: "a", Basic: true}, nil},
		{"basic with colons", []string{basic("a:b:c")}, "", oauth.Credentials{ID: "a", Secret: "b:c", Basic: true}, nil},
		{"basic, encoded", []string{basic("a%3Ab:c+d%25")}, "", oauth.Credentials{ID: "a:b", Secret: "c d%", Basic: true}, nil},
		{"basic, and the same id in the form", []string{basic("a:b")}, "client_id=a", oauth.Credentials{ID: "a", Secret: "b", Basic: true}, nil},
		{"basic, and another id in the form", []string{basic("a:b")}, "client_id=c", oauth.Credentials{}, errTwoMethods},
		{"basic and post", []string{basic("a:b")}, "client_secret=b", oauth.Credentials{}, errTwoMethods},
		{"basic and an assertion", []string{basic("a:b")}, "client_assertion=x", oauth.Credentials{}, errTwoMethods},
		{"post and an assertion", nil, "client_secret=b&client_assertion_type=x", oauth.Credentials{}, errTwoMethods},
		{"an assertion", nil, "client_assertion=x&client_assertion_type=y", oauth.Credentials{AssertionType: "y", Assertion: "x"}, nil},
		{"basic twice", []string{basic("a:b"), basic("a:b")}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic of nobody", []string{basic(":b")}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic without a colon", []string{basic("ab")}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic, encoded wrongly", []string{basic("a:%zz")}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic, the id encoded wrongly", []string{basic("%:b")}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic that is no base64", []string{"Basic a:b"}, "", oauth.Credentials{}, oauth.ErrClient},
		{"basic with nothing", []string{"Basic"}, "", oauth.Credentials{}, oauth.ErrClient},
		{"an empty header", []string{""}, "client_id=a", oauth.Credentials{}, oauth.ErrClient},
		{"another scheme", []string{"Bearer a"}, "client_id=a", oauth.Credentials{}, oauth.ErrClient},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if c.header != nil {
				r.Header["Authorization"] = c.header
			}
			form, err := url.ParseQuery(c.form)
			if err != nil {
				t.Fatal(err)
			}
			got, err := credentialsOf(r, form)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("it is %+v, %v", got, err)
			}
		})
	}
}

// FuzzCutBasic: whatever a header holds, it names a client with its secret exactly as a
// client would have written it, or nobody.
func FuzzCutBasic(f *testing.F) {
	for _, seed := range []string{basic("a:b"), basic("a%3A:%25"), basic(":"), "Basic", "Basic  " + basic("a:b")[6:], "Bearer x", basic("a\x00:\xff"), basic("a:b") + "=", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		id, secret, ok := cutBasic([]string{header})
		if !ok {
			return
		}
		again := basic(url.QueryEscape(id) + ":" + url.QueryEscape(secret))
		if other, same, ok := cutBasic([]string{again}); !ok || other != id || same != secret || id == "" {
			t.Errorf("%q is %q and %q, which are written %q", header, id, secret, again)
		}
	})
}

// FuzzReadParameters: a form is read, with each parameter once and none that is empty, or
// refused as what a client is told.
func FuzzReadParameters(f *testing.F) {
	for _, seed := range []string{"", "a=b", "a=b&a=c", "resource=a&resource=b", "a=&b", "%zz", "a;b", "a=%00", "scope=a+b&scope=", strings.Repeat("a=b&", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		form, err := readParameters(&exchange{Request: r})
		if err != nil {
			if code, status := oauthCode(fault.Of(err)); code != "invalid_request" || status != http.StatusBadRequest {
				t.Errorf("%q is refused as %s, %d", body, code, status)
			}
			return
		}
		for name, values := range form {
			if name != "resource" && (len(values) != 1 || values[0] == "") {
				t.Errorf("%q has %q for %q", body, values, name)
			}
		}
	})
}

// RFC 6749 §5.2: a description is printable ASCII without quotes and backslashes,
// whatever fault it tells of, and the code is one that clients know.
func TestWhatClientsAreTold(t *testing.T) {
	plain := regexp.MustCompile(`^[\x20\x21\x23-\x5b\x5d-\x7e]+$`)
	codes := map[string]bool{"temporarily_unavailable": true, "server_error": true, "invalid_request": true, "invalid_token": true}
	for _, known := range protocolCodes {
		codes[known.Code] = true
	}
	for _, f := range failures {
		if f == account.ErrNoAPIKey { // who has to show one is no client
			continue
		}
		code, status := oauthCode(f)
		if !codes[code] || status < 400 {
			t.Errorf("%s is told as %s, %d", f.Code, code, status)
		}
		w := httptest.NewRecorder()
		x := &exchange{ResponseWriter: w, Request: httptest.NewRequest(http.MethodPost, "/oauth2/token", nil), route: &route{class: provider}}
		(&Server{}).failAsOAuth(x, f)
		var told oauthError
		if err := decodeJSON(w.Body.Bytes(), &told); err != nil {
			t.Fatalf("%s: %v", f.Code, err)
		}
		if !plain.MatchString(told.Description) {
			t.Errorf("%s is described as %q", f.Code, told.Description)
		}
		if needs := status == http.StatusUnauthorized; needs != (w.Header().Get("WWW-Authenticate") != "") && status != http.StatusForbidden {
			t.Errorf("%s, %d, has WWW-Authenticate %q", f.Code, status, w.Header().Get("WWW-Authenticate"))
		}
	}
}
