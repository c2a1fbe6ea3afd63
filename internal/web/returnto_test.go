package web

import (
	"strings"
	"testing"
)

// V-101: where sign-in sends people back. Whatever is accepted means our own origin or
// a configured one to every reader; whatever is odd in any way goes home.
func TestReturnTo(t *testing.T) {
	s := &Server{origin: "https://auth.example.com", config: Config{ReturnTo: []string{"https://shop.example", "https://app.example:8443"}}}
	good := []string{
		"/", "/account", "/account?done=name", "/account#password", "/a/b/c", "/a-b_c~d.e/f", "/..a/b..", "/.well-known/change-password",
		"/oauth2/authorize?client_id=x&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state=a%2Fb", "/?next=https://evil.example/", "/?a=//b&c=/../d",
		"/caf%C3%A9", "/a%20b", "/#//evil.example", "/@evil.example", "/:80/", "/a;b=c/d",
		"https://auth.example.com", "https://auth.example.com/", "https://auth.example.com/account?x=1#y",
		"https://shop.example", "https://shop.example/cart?id=1", "https://app.example:8443/cb",
	}
	for _, address := range good {
		if !s.mayReturn(address) || s.returnTo(address) != address {
			t.Errorf("%q is refused", address)
		}
	}
	bad := []string{
		// Nothing, or no address.
		"", " ", "account", "?x", "#x", ".", "..", "./account", "../account", "%2Faccount", "%2F%2Fevil.example",
		// Another host, said so.
		"https://evil.example/", "http://evil.example", "ftp://evil.example", "https://", "https:", "http:", "https:///evil.example", "https:/evil.example", "https:evil.example",
		// Another host without a scheme.
		"//evil.example", "//evil.example/", "///evil.example", "////evil.example", "//auth.example.com", "//evil.example/%2e%2e", "//@evil.example",
		// Backslashes, which browsers take for slashes.
		`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `/a\b`, `https:\\evil.example`, `https:\evil.example`, `https://shop.example\@evil.example`, `https://shop.example\.evil.example`,
		// What browsers drop before they read: tabs, line breaks, controls, space around.
		"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", "/\t\\evil.example", "ht\ntps://evil.example", " //evil.example", " /account", "/account ", "/a b", "\x00//evil.example", "/\x00/evil.example", "/a\x7fb", "/a\r\nSet-Cookie:x=1",
		// Escapes that make another path once somebody unescapes them.
		"/%2F/evil.example", "/%2f%2fevil.example", "/%2Fevil.example", "/%5Cevil.example", "/%5c%5cevil.example", "/%09/evil.example", "/%0d%0aLocation:x", "/%00", "/%252Fevil.example", "/%25252f", "/%", "/%2", "/%zz", "/a%", "/%7F", "/?a=%", "/#%zz",
		// Dot segments.
		"/..", "/../", "/./", "/.", "/../evil.example", "/a/../b", "/a/..", "/..//evil.example", "/.//evil.example", "/%2e%2e/", "/%2E/x", "/.%2e/x", "/%2e%2e//evil.example", "/a//b", "/a//", "/account//evil.example",
		// User and port, and hosts that begin or end like ours.
		"https://auth.example.com@evil.example", "https://auth.example.com:x@evil.example", "https://auth.example.com%40evil.example", "https://auth.example.com.evil.example", "https://auth.example.comevil.example", "https://auth.example.com:8443/", "https://auth.example.com:443/", "https://user@auth.example.com/", "https://shop.example:443@evil.example/", "https://evil.example#https://auth.example.com/", "https://evil.example?https://shop.example/", "https://evil.example/https://shop.example/", "https://sub.shop.example/", "https://app.example/", "https://app.example:8443@evil.example/",
		"https://auth.example.com?x", "https://auth.example.com#x", "https://auth.example.com//evil.example", `https://auth.example.com/\evil.example`, "https://auth.example.com/../x",
		// Another scheme, or another case.
		"http://auth.example.com/", "HTTPS://auth.example.com/", "https://AUTH.example.com/", "javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", "/javascript:alert(1)\x01", "data:text/html,x", "vbscript:x", "blob:https://auth.example.com/x", "view-source:https://auth.example.com", "intent://evil.example#Intent;end", "//javascript:alert(1)",
		// Characters that some reader folds into others.
		"/\u3002evil.example", "https://shop\u3002example/", "/\uff0fevil.example", "/\u2215evil.example", "/\u2044/evil.example", "https://evil.example\uff0fshop.example", "//evil\u3002example", "/\u202e/moc", "/\ufeff//evil.example", "\ufeff//evil.example", "/caf\u00e9", "/\xff",
		// Characters that no address has.
		`/"onclick=x`, "/<script>", "/a>b", "/{x}", "/a|b", "/a^b", "/a`b", `/a"b`,
		// Addresses of hosts in other writings.
		"//0x7f.1", "//[::1]/", "https://[::1]/", "https://2130706433/", "https://0300.0250.0.1/", "//127.1",
		"/" + strings.Repeat("a", maxReturn),
	}
	if len(bad) < 80 {
		t.Errorf("the table has %d tricks", len(bad))
	}
	for _, address := range bad {
		if s.mayReturn(address) || s.returnTo(address) != home {
			t.Errorf("%q is accepted", address)
		}
	}
}
