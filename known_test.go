package coatcheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// What is known of a credential is looked up by the whole of it, also where many
// have their first part in common.
func TestKnownIsItsWholeCredential(t *testing.T) { // V-19
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	k := v.tokens.Peek(token)
	if k == nil || k.credential() != token || !k.Is(strings.Clone(token)) {
		t.Fatalf("known is %+v, want the token", k)
	}
	head, body, sig := parts(token)
	for name, other := range map[string]string{
		"without its header": strings.TrimPrefix(token, head+"."), "another header": "x" + token[1:], "another body": head + ".x" + body[1:] + "." + sig,
		"longer": token + "A", "shorter": token[:len(token)-1], "twice": token + token, "empty": "", "the ids behind it": k.text,
	} {
		if k.Is(other) || v.tokens.Peek(other) != nil {
			t.Errorf("%s passes for the token", name)
		}
	}
}

// What entries end a credential by does not hang on a caller that a handler has in
// its hands.
func TestKnownDoesNotHangOnTheCaller(t *testing.T) { // I-1
	s, v, _ := setUp(t)
	token, cookie := s.Token("usr_ada", "ses_1"), s.Cookie("usr_ada", "ses_1")
	fromToken, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	fromCookie, err := v.checkCookie(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Caller{fromToken, fromCookie} {
		c.UserID, c.SessionID, c.GrantID, c.ClientID = "", "", "", ""
	}
	s.End("ses_1")
	closes(t, fromToken.Done())
	closes(t, fromCookie.Done())
	if _, err := v.Verify(t.Context(), token); err == nil {
		t.Error("the token passes after its end")
	}
	if _, err := v.checkCookie(t.Context(), cookie); err == nil {
		t.Error("the cookie passes after its end")
	}
}

// Once a caller's channel is closed, it is so for whoever holds that caller.
func TestDoneStaysClosed(t *testing.T) { // I-1
	s, v, _ := setUp(t)
	c := tokenCaller(t, s, v, "ses_1")
	copied := *c
	done := c.Done()
	if copied.Done() != done || !isOpen(done) {
		t.Fatal("a copy of the caller has a channel of its own, or it is closed")
	}
	s.set(func() { s.from, s.seq = 5, 5 }) // an interruption, after which the issuer does not confirm the token
	s.Cut(0)
	closes(t, done)
	if again := c.Done(); again != done || copied.Done() != done {
		t.Error("a caller whose channel was closed gets an open one")
	}
}

// What is remembered keeps nothing alive of what it was read from.
func TestKnownKeepsCopies(t *testing.T) { // I-9
	v := &Verifier{}
	key := &trusted{id: "k1"}
	decoded := string(make([]byte, 64)) + "usr_1 ses_1 grt_1 first-party read write aal1 pwd"
	at := func(text string) string { i := strings.Index(decoded, text); return decoded[i : i+len(text)] }
	claims := jwt.Claims{
		Subject: at("usr_1"), SessionID: at("ses_1"), GrantID: at("grt_1"), ClientID: at("first-party"),
		Scope: at("read write"), ACR: at("aal1"), AMR: []string{at("pwd")}, IssuedAt: 1, ExpiresAt: 2,
		Extra: map[string]any{"note": at("read"), "list": []any{at("pwd"), map[string]any{"in": at("aal1")}}},
	}
	k := v.knownOfToken("head.body.signature", &claims, key)
	c := &k.caller
	for name, text := range map[string]string{
		"user": c.UserID, "session": c.SessionID, "grant": c.GrantID, "client": c.ClientID, "acr": c.ACR, "amr": c.AMR[0], "scope": c.Scopes[1],
		"claim": c.Claims["note"].(string), "list": c.Claims["list"].([]any)[0].(string), "object": c.Claims["list"].([]any)[1].(map[string]any)["in"].(string),
	} {
		if within(text, decoded) {
			t.Errorf("%s %q is part of the decoded claims", name, text)
		}
	}
	if want := (feed.Subject{User: "usr_1", Session: "ses_1", Grant: "grt_1", Client: "first-party", Key: "k1", IssuedAt: 1}); k.Subject() != want {
		t.Errorf("subject %+v, want %+v", k.Subject(), want)
	}
}

// within reports whether text lies in the memory of whole.
func within(text, whole string) bool {
	start, from := uintptr(unsafe.Pointer(unsafe.StringData(whole))), uintptr(unsafe.Pointer(unsafe.StringData(text)))
	return from >= start && from < start+uintptr(len(whole))
}

func TestIdsThatAreTooLong(t *testing.T) { // I-9
	v := &Verifier{}
	a := answer{Active: true, Subject: strings.Repeat("u", math.MaxUint16), Session: "ses_1", Issued: 1, Expires: 2}
	if k := v.knownOfCookie("cookie", &a, 0); k != nil {
		t.Error("an id of 64 KiB is taken")
	}
	claims := jwt.Claims{Subject: a.Subject}
	if k := v.knownOfToken("a.b.c", &claims, &trusted{}); k != nil {
		t.Error("an id of 64 KiB is taken from a token")
	}
}

func TestMannersAreShared(t *testing.T) {
	var ms manners
	one := ms.manner("read write", "aal1", []string{"pwd", "otp"})
	if !slices.Equal(one.scopes, []string{"read", "write"}) || one.acr != "aal1" || !slices.Equal(one.amr, []string{"pwd", "otp"}) {
		t.Errorf("manner %+v", one)
	}
	ms.manner("", "", nil)
	if again := ms.manner("read write", "aal1", []string{"pwd", "otp"}); again != one {
		t.Error("the same manner is held twice")
	}
	if cap(one.scopes) != len(one.scopes) || cap(one.amr) != len(one.amr) {
		t.Error("what a handler appends would be seen by all")
	}
	for _, other := range []struct {
		scope, acr string
		amr        []string
	}{{"read write", "aal1", []string{"pwd\x00otp"}}, {"read write\x00aal1", "pwd", []string{"otp"}}, {"read write", "aal1\x00pwd", []string{"otp"}}, {"read write", "aal1", []string{"pwd", "otp", ""}}} {
		m := ms.manner(other.scope, other.acr, other.amr)
		if m.scope != other.scope || m.acr != other.acr || !slices.Equal(m.amr, other.amr) {
			t.Errorf("%+v brought %+v", other, m)
		}
	}
}

func TestWhatIsSharedIsBounded(t *testing.T) { // I-9
	var ms manners
	var vs vouches
	for i := range 3 * maxShared {
		scope := fmt.Sprint("scope", i)
		if m := ms.manner(scope, "", nil); m.scopes[0] != scope {
			t.Fatalf("%q brought %q", scope, m.scopes)
		}
		if by := vs.find(nil, nil, "header", scope); by.client != scope || by.header != "header" {
			t.Fatalf("client %q brought %+v", scope, by)
		}
	}
	if len(ms.of) != maxShared || len(vs.of) != maxShared {
		t.Errorf("%d manners and %d vouches are held, want %d", len(ms.of), len(vs.of), maxShared)
	}
	ms = manners{}
	if ms.manner(strings.Repeat("x ", 1000), "", nil); len(ms.of) != 0 {
		t.Error("a manner of 2 KB is shared")
	}
}

func TestSharingIsSafeForConcurrentUse(t *testing.T) {
	var ms manners
	var vs vouches
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 500 {
				name := fmt.Sprint((i * worker) % 7)
				if ms.manner(name, name, []string{name}).amr[0] != name || vs.find(nil, nil, name, name).client != name {
					t.Error("another's")
				}
			}
		})
	}
	group.Wait()
}

func TestPackedClaims(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"email":"ada@example.com","email_verified":true}`, `{"a":null,"b":false,"c":-1.5e300,"d":"","e":[],"f":{}}`,
		`{"":{"a":[1,"two",[true,null,{"b":"\u0000é"}]]},"roles":["admin","` + strings.Repeat("x", 300) + `"]}`,
	} {
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatal(err)
		}
		want := claims
		if len(claims) == 0 {
			want = nil
		}
		packed := string(packClaims(claims))
		if got := unpackClaims(packed); !reflect.DeepEqual(got, want) {
			t.Errorf("%s came back as %v", text, got)
		}
		if got := cloneClaims(claims); !reflect.DeepEqual(got, want) {
			t.Errorf("%s was cloned as %v", text, got)
		}
		for i := range packed { // nothing that is cut off makes it fail
			unpackClaims(packed[:i])
		}
	}
}

// Each request gets claims of its own: what one handler does to them no other sees.
func TestClaimsOfACookieAreTheRequests(t *testing.T) {
	s, v, _ := setUp(t)
	cookie := s.Cookie("usr_ada", "ses_1")
	first, err := v.checkCookie(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(first.Claims)
	clear(first.Claims)
	second, err := v.checkCookie(t.Context(), cookie)
	if err != nil || !reflect.DeepEqual(second.Claims, want) || len(want) != 2 {
		t.Errorf("claims %v, %v, want %v", second.Claims, err, want)
	}
	if first.Done() != second.Done() {
		t.Error("two requests with one cookie have two ends")
	}
}
