package oauth

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// FuzzRedirect: whatever may be registered is read by the standard library as what it
// looks like, in one way: the scheme and host that stand there, nobody's name before the
// host, no fragment, and a path that leads where it says. V-60, V-61
func FuzzRedirect(f *testing.F) {
	for _, seed := range append([]string{
		callback, "http://localhost:3000/callback?a=b", "http://[::1]:4000/", "com.example.app:/callback", "com.example.app://host/callback",
		"https://[2001:db8::1]/a;b=c/d", "https://shop.example/%C3%A9?x=%41", "https://shop.example/a:b@c", "https://shop.example?next=//evil.example",
	}, tricks...) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		for _, kind := range []Type{Web, SPA, Native} {
			if checkRedirect(kind, uri) == "" {
				holdsGood(t, kind, uri)
			}
			c := Client{Type: kind, RedirectURIs: []string{callback, "http://127.0.0.1/callback"}}
			if c.MayRedirect(uri) && uri != callback {
				if u, err := url.Parse(uri); err != nil || uri != "http://127.0.0.1/callback" && (kind != Native || u.Hostname() != "127.0.0.1" || u.Path != "/callback") {
					t.Errorf("a browser could be sent to %q", uri)
				}
			}
		}
	})
}

// FuzzAssertion: whatever is sent as an assertion is read or refused, and names somebody
// only if all of its form is right. V-13
func FuzzAssertion(f *testing.F) {
	for _, seed := range []string{"", "..", "a.b.c", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjbGkifQ.AA", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat(".", 100), `{"payload":""}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, ok := parseAssertion(text)
		id, named := assertedClient(text)
		if named && (!ok || token == nil || id == "" || strings.Count(text, ".") != 2) {
			t.Errorf("%q names %q", text, id)
		}
	})
}

func holdsGood(t *testing.T, kind Type, uri string) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatalf("%q: %v", uri, err)
	}
	scheme, _, _ := strings.Cut(uri, ":")
	switch {
	case u.Scheme != scheme, u.User != nil, u.Fragment != "", u.Opaque != "", strings.Contains(uri, "#"):
		t.Errorf("%q is read as %#v", uri, u)
	case u.Host != "" && !strings.HasPrefix(uri, scheme+"://"+u.Host):
		t.Errorf("the host of %q is read as %q", uri, u.Host)
	case hostOf(uri) != strings.TrimSuffix(u.Host, ":"+u.Port()):
		t.Errorf("the host of %q is %q here and %q there", uri, hostOf(uri), u.Host)
	case u.Path != "" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/":
		t.Errorf("the path of %q leads to %q", uri, path.Clean(u.Path))
	case kind != Native && u.Scheme != "https" && (u.Scheme != "http" || !slices.Contains([]string{"localhost", "[::1]"}, u.Hostname()) && !strings.HasPrefix(u.Host, "127.") && !strings.HasPrefix(u.Host, "localhost") && !strings.HasPrefix(u.Host, "[::1]")):
		t.Errorf("%q may be registered for %s", uri, kind)
	case slices.Contains(activeSchemes, u.Scheme):
		t.Errorf("%q may be registered", uri)
	}
	if u.String() != uri {
		t.Errorf("%q is written %q", uri, u)
	}
}

// What docs/clients.md says in numbers is so. ASVS-6.1.1
func TestNumbersInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	pair, address := refusalRates.pair, refusalRates.address
	for _, sentence := range []string{
		fmt.Sprintf("Of one network address and client %d failures are answered at once and then one each %.0f seconds, of one address %d and then one each second", pair.Burst, pair.Every.Seconds(), address.Burst),
		fmt.Sprintf("up to %d, as are the next", maxAddresses),
		fmt.Sprintf("1 to %d bytes, another one each time", maxJTI),
	} {
		if !strings.Contains(string(page), sentence) {
			t.Errorf("docs/clients.md does not say %q", sentence)
		}
	}
	if address.Every.Seconds() != 1 || assertLife.Minutes() != 10 || keysFresh.Minutes() != 10 || keysPause.Seconds() != 10 || keysKept.Hours() != 24 {
		t.Error("docs/clients.md says ten minutes, ten minutes, ten seconds and a day of these")
	}
}
