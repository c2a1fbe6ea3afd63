package oauth

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/fault"
)

const callback = "https://shop.example/callback"

// tricks are addresses that are almost the registered one, each a way in which another
// provider was once fooled (V-60).
var tricks = []string{
	"", " ", "/callback", "//shop.example/callback", "callback", "?", "#",
	"http://shop.example/callback",
	"HTTPS://shop.example/callback", "https://SHOP.example/callback", "https://shop.example/Callback",
	"https://shop.example/callback/", "https://shop.example/callback//", "https://shop.example//callback",
	"https://shop.example/callback?", "https://shop.example/callback?a=b", "https://shop.example/callback#", "https://shop.example/callback#a",
	"https://shop.example/callback/more", "https://shop.example/callback.evil.example", "https://shop.example/callbac",
	"https://shop.example/callback/..", "https://shop.example/callback/../callback", "https://shop.example/./callback",
	"https://shop.example/x/../callback", "https://shop.example/callback/..;/", "https://shop.example/..;/callback",
	"https://shop.example/%2e%2e/callback", "https://shop.example/callback%2f..%2f", "https://shop.example/%63allback",
	"https://shop.example/callback%00", "https://shop.example/callback%0d%0a", "https://shop.example/callback%20",
	"https://shop.example:443/callback", "https://shop.example:/callback", "https://shop.example:8443/callback", "https://shop.example:0443/callback",
	"https://shop.example./callback", "https://.shop.example/callback", "https://www.shop.example/callback",
	"https://shop.example.evil.example/callback", "https://shop.exampleevil.example/callback", "https://evil.example/shop.example/callback",
	"https://evil.example/callback", "https://evil.example?https://shop.example/callback", "https://evil.example#https://shop.example/callback",
	"https://shop.example@evil.example/callback", "https://evil.example@shop.example/callback", "https://a@b@c@shop.example/callback",
	"https://shop.example:x@evil.example/callback", "https://@shop.example/callback", "https://shop.example%40evil.example/callback",
	`https://shop.example\callback`, `https:\\shop.example\callback`, `https://shop.example\@evil.example/callback`, `https://evil.example\.shop.example/callback`,
	"https:/shop.example/callback", "https:///shop.example/callback", "https:shop.example/callback", "https//shop.example/callback",
	" https://shop.example/callback", "https://shop.example/callback ", "https://shop.example/call back", "https://shop.example/callback\n", "https://shop.example/\tcallback",
	"\x00https://shop.example/callback", "https://shop.example/callback\x00", "https://shop.example/callback\u200b", "https://ѕhop.example/callback", "https://shop。example/callback",
	"https://*.example/callback", "https://shop.example/*", "https://shop.example/callback*", "*",
	"javascript:alert(1)", "javascript://shop.example/callback", "data:text/html,https://shop.example/callback",
	"http://127.0.0.1/callback", "http://127.0.0.1:1234/callback", "http://localhost/callback", "com.example.app:/callback",
	"https://shop.example/callback,https://evil.example/", "https://shop.example/callback https://evil.example/",
}

// V-60, BCP-1, ASVS-10.4.1: an address is good character for character, and nothing that a
// browser, a proxy or a library might take for the same counts.
func TestARedirectAddressIsExact(t *testing.T) {
	if len(tricks) < 60 || len(slices.Compact(slices.Sorted(slices.Values(tricks)))) != len(tricks) {
		t.Fatalf("%d tricks, which are too few or not all different", len(tricks))
	}
	for _, kind := range []Type{Web, SPA} {
		c := Client{Type: kind, RedirectURIs: []string{"https://other.example/", callback}, PostLogoutRedirectURIs: []string{callback}}
		if !c.MayRedirect(callback) || !c.MayReturn(callback) {
			t.Fatal("the registered address is refused")
		}
		for _, uri := range tricks {
			if c.MayRedirect(uri) {
				t.Errorf("a browser could be sent to %q", uri)
			}
			if c.MayReturn(uri) {
				t.Errorf("after a sign-out a browser could be sent to %q", uri)
			}
		}
	}
}

// BCP-1, RFC 8252 section 7.3: a native application listens where it finds a free port, and
// the port is all that may differ.
func TestANativeApplicationChoosesItsPort(t *testing.T) {
	c := Client{Type: Native, RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]:4000/callback?a=b", "com.example.app:/callback", "https://shop.example/app"}}
	for _, uri := range []string{
		"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback",
		"http://[::1]/callback?a=b", "http://[::1]:4001/callback?a=b", "com.example.app:/callback", "https://shop.example/app",
	} {
		if !c.MayRedirect(uri) {
			t.Errorf("%q is refused", uri)
		}
	}
	for _, uri := range append([]string{
		"http://127.0.0.1:0/callback", "http://127.0.0.1:00080/callback", "http://127.0.0.1:65536/callback", "http://127.0.0.1:123456/callback",
		"http://127.0.0.1:/callback", "http://127.0.0.1:-1/callback", "http://127.0.0.1:80a/callback", "http://127.0.0.1:80:80/callback",
		"http://127.0.0.1:80@evil.example/callback", "http://127.0.0.1@evil.example/callback", "http://127.0.0.1.evil.example/callback",
		"http://127.0.0.1:80", "http://127.0.0.1:80/", "http://127.0.0.1:80/callback/", "http://127.0.0.1:80/callback?a=b",
		"http://127.0.0.2:80/callback", "http://127.0.0.01:80/callback", "http://127.1/callback", "http://2130706433/callback", "http://localhost:80/callback",
		"http://[::1]:4001/callback", "http://[::1]:4001/callback?a=c", "http://[0:0:0:0:0:0:0:1]:4000/callback?a=b", "http://[::1]evil.example/callback?a=b",
		"https://127.0.0.1:80/callback", "https://shop.example:8443/app", "com.example.app:80/callback", "com.example.app://callback",
	}, slices.DeleteFunc(slices.Clone(tricks), c.MayRedirect)...) {
		if c.MayRedirect(uri) {
			t.Errorf("a browser could be sent to %q", uri)
		}
	}
	web := Client{Type: Web, RedirectURIs: []string{"http://127.0.0.1/callback"}}
	if web.MayRedirect("http://127.0.0.1:80/callback") {
		t.Error("the port of a web application is free")
	}
}

// Addresses that may be registered, by type.
func TestGoodAddresses(t *testing.T) {
	for uri, kinds := range map[string][]Type{
		callback:                                   {Web, SPA, Native},
		"https://shop.example":                     {Web, SPA, Native},
		"https://shop.example?a=b":                 {Web, SPA, Native},
		"https://shop.example:8443/":               {Web, SPA, Native},
		"https://shop.example/a/b_c-d.e~f?g=%20&h": {Web, SPA, Native},
		"https://shop.example/@ada/callback":       {Web, SPA, Native},
		"https://xn--bcher-kva.example/":           {Web, SPA, Native},
		"https://192.0.2.1/callback":               {Web, SPA, Native},
		"https://[2001:db8::1]:8443/callback":      {Web, SPA, Native},
		"http://localhost:3000/callback":           {Web, SPA},
		"http://127.0.0.1:3000/callback":           {Web, SPA, Native},
		"http://[::1]/callback":                    {Web, SPA, Native},
		"http://127.0.0.1/":                        {Web, SPA, Native},
		"com.example.app:/callback":                {Native},
		"com.example.app://callback":               {Native},
		"com.example.app-2:/":                      {Native},
	} {
		for _, kind := range Types[:3] {
			if wrong := checkRedirect(kind, uri); (wrong == "") != slices.Contains(kinds, kind) {
				t.Errorf("%s for %s: %q", uri, kind, wrong)
			}
		}
	}
}

// V-60, V-61, BCP-1: what is refused at registration, and the sentence that says what is right.
func TestBadAddresses(t *testing.T) {
	for uri, want := range map[string]string{
		"": uriEmpty, "https://shop.example/" + strings.Repeat("a", maxURI): uriLong,
		" https://shop.example/": uriCharacters, "https://shop.example/a b": uriCharacters, "https://shop.example/\n": uriCharacters,
		"https://shop.example/\x00": uriCharacters, "https://shop.example/\x7f": uriCharacters, "https://bücher.example/": uriCharacters,
		`https://shop.example\callback`: uriCharacters, `https://shop.example/"onload="x`: uriCharacters, "https://shop.example/<script>": uriCharacters,
		"https://shop.example/%": uriCharacters, "https://shop.example/%4": uriCharacters, "https://shop.example/%zz": uriCharacters, "https://shop.example/?a;b": uriCharacters,
		"/callback": uriRelative, "callback": uriRelative, "//shop.example/callback": uriRelative, "https:shop.example": uriRelative, "https:/shop.example": uriRelative,
		"1https://shop.example/": uriRelative, ":": uriRelative, "a:b": uriRelative,
		"javascript:alert(1)": uriScheme, "JavaScript:alert(1)": uriScheme, "jAvAsCrIpT://shop.example/%0aalert(1)": uriScheme,
		"data:text/html,x": uriScheme, "DATA:text/html;base64,eA==": uriScheme, "file:///etc/passwd": uriScheme, "FILE:///etc/passwd": uriScheme,
		"vbscript:x": uriScheme, "blob:https://shop.example/1": uriScheme, "about:blank": uriScheme, "view-source:https://shop.example/": uriScheme, "mailto:a@shop.example": uriScheme,
		"HTTPS://shop.example/": uriAuthority, "https://Shop.example/": uriAuthority, "https:///callback": uriAuthority,
		"https://ada@shop.example/": uriAuthority, "https://ada:secret@shop.example/": uriAuthority, "https://@shop.example/": uriAuthority, "https://a@b@c@shop.example/": uriAuthority,
		"https://shop.example:/": uriAuthority, "https://shop.example:0/": uriAuthority, "https://shop.example:0443/": uriAuthority, "https://shop.example:65536/": uriAuthority,
		"https://shop..example/": uriAuthority, "https://shop.example./": uriAuthority, "https://-shop.example/": uriAuthority, "https://shop_.example/": uriAuthority,
		"https://127.1/": uriAuthority, "https://2130706433/": uriAuthority, "https://0x7f.0.0.1/": uriAuthority, "https://0177.0.0.1/": uriAuthority, "https://1.2.3.4.5/": uriAuthority,
		"https://[::1/": uriAuthority, "https://[0:0::1]/": uriAuthority, "https://[::ffff:127.0.0.1]/": uriAuthority, "https://[fe80::1%25eth0]/": uriAuthority, "https://[127.0.0.1]/": uriAuthority,
		"https://shop%2eexample/": uriAuthority,
		"https://shop.example/#":  uriFragment, "https://shop.example/callback#a": uriFragment,
		"https://*.example/": uriWildcard, "https://shop.example/*": uriWildcard, "https://shop.example/?*": uriWildcard, "*": uriWildcard,
		"https://shop.example/../callback": uriDots, "https://shop.example/./callback": uriDots, "https://shop.example/..": uriDots, "https://shop.example/..;/callback": uriDots,
		"https://shop.example/a;b/..;x/c": uriDots, "https://shop.example//callback": uriDots, "https://shop.example/%2e%2e/callback": uriDots, "https://shop.example/%2E": uriDots,
		"https://shop.example/a%2fb": uriDots, "https://shop.example/a%5Cb": uriDots, "https://shop.example/%0d%0aSet-Cookie:a": uriDots, "https://shop.example/%00": uriDots, "https://shop.example/%252e": uriDots,
		"https://shop.example/?a=%0a": uriDots, "https://shop.example/[a]": uriDots,
		"https://shop.example/?code=1": uriAnswers, "https://shop.example/?a=b&state=1": uriAnswers, "https://shop.example/?%69ss=1": uriAnswers, "https://shop.example/?error": uriAnswers,
		"http://shop.example/callback": uriHTTPS, "http://localhost.evil.example/": uriHTTPS, "http://10.0.0.1/": uriHTTPS, "http://0.0.0.0/": uriHTTPS,
		"ftp2://shop.example/": uriHTTPS, "com.example.app:/callback": uriHTTPS, "myapp://callback": uriHTTPS,
	} {
		if got := checkRedirect(Web, uri); got != want {
			t.Errorf("%q for a web application: %q, want %q", uri, got, want)
		}
		if checkRedirect(SPA, uri) == "" || checkRedirect(Native, uri) == "" && want != uriHTTPS {
			t.Errorf("%q may be registered for another type", uri)
		}
	}
	for uri, want := range map[string]string{
		"http://localhost:3000/callback": uriLocalhost, "http://127.0.0.2/callback": uriNative, "http://shop.example/callback": uriNative,
		"myapp://callback": uriNative, "myapp:/callback": uriRelative, "com.example.app:callback": uriRelative, "com.example.app:": uriRelative,
		"com..app:/callback": uriRelative, "com.example.:/callback": uriRelative, "Com.example.app:/callback": uriAuthority,
	} {
		if got := checkRedirect(Native, uri); got != want {
			t.Errorf("%q for a native application: %q, want %q", uri, got, want)
		}
	}
}

// V-61, V-76: no address of a registration, whatever it is for, may be one that runs or
// reads something; ASVS-10.4.7. None of them is fetched.
func TestEveryAddressOfARegistrationIsChecked(t *testing.T) {
	for _, bad := range []string{"javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "Data:text/html,x", "file:///etc/passwd", "http://shop.example/", "https://shop.example/<b>", "/policy", "//evil.example/"} {
		for member, set := range map[string]func(c *Client){
			"/redirect_uris":             func(c *Client) { c.RedirectURIs = append(c.RedirectURIs, bad) },
			"/post_logout_redirect_uris": func(c *Client) { c.PostLogoutRedirectURIs = []string{bad} },
			"/backchannel_logout_uri":    func(c *Client) { c.BackchannelLogoutURI = bad },
			"/client_uri":                func(c *Client) { c.HomeURI = bad },
			"/policy_uri":                func(c *Client) { c.PolicyURI = bad },
			"/tos_uri":                   func(c *Client) { c.TermsURI = bad },
			"/jwks_uri":                  func(c *Client) { c.AuthMethod, c.JWKSURI = AuthKey, bad },
			"/sector":                    func(c *Client) { c.Pairwise, c.Sector = true, bad },
		} {
			c := Client{Name: "Shop", Type: Web, RedirectURIs: []string{callback}}
			set(&c)
			c.complete()
			if got := membersOf(c.check()); !slices.Equal(got, []string{member}) {
				t.Errorf("%s as %s: at fault are %v", bad, member, got)
			}
		}
	}
}

// membersOf returns which members an error names.
func membersOf(err error) []string {
	var members fault.Members
	errors.As(err, &members)
	var names []string
	for _, m := range members {
		names = append(names, m.Member)
	}
	slices.Sort(names)
	return names
}
