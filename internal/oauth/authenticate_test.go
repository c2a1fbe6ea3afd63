package oauth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// asserted are the credentials of an assertion.
func asserted(text string) oauth.Credentials {
	return oauth.Credentials{AssertionType: jwtBearer, Assertion: text, From: fromHere}
}

// ASVS-10.4.10, ASVS-10.4.16: a client shows who it is by the one method that it was
// registered with, and by no other, however good what it shows is.
func TestEachClientHasOneMethod(t *testing.T) {
	clock := &timepiece{}
	n := newNode(t, sqliteAt(t), clock)
	keys := newSigner(t)
	clients, secrets := map[oauth.AuthMethod]oauth.Client{}, map[oauth.AuthMethod]string{}
	for method, c := range map[oauth.AuthMethod]oauth.Client{
		oauth.AuthNone: {Type: oauth.SPA}, oauth.AuthBasic: {Type: oauth.Web},
		oauth.AuthPost: {Type: oauth.Machine, AuthMethod: oauth.AuthPost}, oauth.AuthKey: {Type: oauth.Web, JWKS: keys.keySet()},
	} {
		clients[method], secrets[method] = n.add(c)
	}
	for method, c := range clients {
		secret := secrets[method]
		shown := map[oauth.AuthMethod]oauth.Credentials{
			oauth.AuthNone:  {ID: c.ID},
			oauth.AuthBasic: {ID: c.ID, Secret: secret, Basic: true},
			oauth.AuthPost:  {ID: c.ID, Secret: secret, Post: true},
			oauth.AuthKey:   asserted(keys.sign(claimsOf(c.ID, clock.now()), nil)),
		}
		for way, credentials := range shown {
			credentials.From = fromHere
			found, err := n.Authenticate(t.Context(), credentials)
			switch good := way == method; {
			case good && (err != nil || found.ID != c.ID):
				t.Errorf("%s by its own method: %v", method, err)
			case !good && (!errors.Is(err, oauth.ErrClient) || found != nil):
				t.Errorf("%s by %s: %v, %v", method, way, found, err)
			}
		}
		for name, two := range map[string]oauth.Credentials{
			"Basic and form":      {ID: c.ID, Secret: secret, Basic: true, Post: true},
			"Basic and a key":     {ID: c.ID, Secret: secret, Basic: true, AssertionType: jwtBearer, Assertion: "a.b.c"},
			"form and half a key": {ID: c.ID, Secret: secret, Post: true, AssertionType: jwtBearer},
		} {
			if _, err := n.Authenticate(t.Context(), two); !errors.Is(err, oauth.ErrRequest) {
				t.Errorf("%s in two ways, %s: %v", method, name, err)
			}
		}
	}
}

// A secret is compared as a whole; one that was replaced is dead at once, and so is that of
// a client that was disabled or removed (V-33).
func TestSecrets(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	c, secret := n.add(oauth.Client{Type: oauth.Web})
	other, others := n.add(oauth.Client{Type: oauth.Web})
	refused := func(name, id, text string) {
		t.Helper()
		from := fromHere
		from.IP = "192.0.2.1" + fmt.Sprint(len(name)%10)
		if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: id, Secret: text, Basic: true, From: from}); !errors.Is(err, oauth.ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := func(text string) {
		t.Helper()
		if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: c.ID, Secret: text, Basic: true, From: fromHere}); err != nil {
			t.Fatalf("the right secret is refused: %v", err)
		}
	}
	good(secret)
	for name, text := range map[string]string{
		"none": "", "another client's": others, "cut": secret[:len(secret)-1], "longer": secret + "A", "without its prefix": strings.TrimPrefix(secret, "ccs_"),
		"in upper case": strings.ToUpper(secret), "with a space": secret + " ", "the zero one": "ccs_" + credential.Secret{}.Encode(), "an API key": "cka_" + secret[4:],
	} {
		refused(name, c.ID, text)
	}
	for name, id := range map[string]string{"none": "", "the name": "Shop", "another's": other.ID, "upper case": strings.ToUpper(c.ID), "first-party": "first-party", "unknown": credential.NewID(credential.Client)} {
		refused("id: "+name, id, secret)
	}
	next, err := n.Clients.RotateSecret(t.Context(), c.ID, "cli", fromHere)
	n.must(err)
	refused("replaced", c.ID, secret)
	good(next)
	change := func(disabled bool) {
		t.Helper()
		_, _, err := n.Clients.Change(t.Context(), c.ID, func(c *oauth.Client) error { c.Disabled = disabled; return nil }, "cli", fromHere)
		n.must(err)
	}
	change(true)
	refused("of a disabled client", c.ID, next)
	change(false)
	good(next)
	n.must(n.Clients.Remove(t.Context(), c.ID, "cli", fromHere))
	refused("of a removed client", c.ID, next)
}

// BCP-12, V-18: an assertion is for us alone, about the client that signs it, for now, and
// of the right kind.
func TestAssertions(t *testing.T) {
	clock := &timepiece{}
	n := newNode(t, sqliteAt(t), clock)
	keys, strangers := newSigner(t), newSigner(t)
	c, _ := n.add(oauth.Client{Type: oauth.Machine, JWKS: keys.keySet()})
	other, _ := n.add(oauth.Client{Type: oauth.Machine, JWKS: strangers.keySet()})
	now, serial := clock.now(), 0
	with := func(changes map[string]any) map[string]any {
		serial++
		claims := claimsOf(c.ID, now)
		claims["jti"] = fmt.Sprintf("id-%d", serial)
		maps.Copy(claims, changes)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		return claims
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, text := range map[string]string{
		"as they should be":         keys.sign(with(nil), nil),
		"without typ":               keys.sign(with(nil), map[string]any{"typ": nil}),
		"with a typ of its own":     keys.sign(with(nil), map[string]any{"typ": "client-authentication+jwt"}),
		"without kid":               keys.sign(with(nil), map[string]any{"kid": nil}),
		"without iat":               keys.sign(with(map[string]any{"iat": nil}), nil),
		"a fractional exp":          keys.sign(with(map[string]any{"exp": float64(at(time.Minute)) + 0.5}), nil),
		"a clock a little ahead":    keys.sign(with(map[string]any{"iat": at(9 * time.Second), "nbf": at(9 * time.Second)}), nil),
		"ten minutes":               keys.sign(with(map[string]any{"exp": at(10 * time.Minute)}), nil),
		"a jti as long as may be":   keys.sign(with(map[string]any{"jti": strings.Repeat("j", 255)}), nil),
		"a claim that nobody knows": keys.sign(with(map[string]any{"planet": []string{"mars"}}), nil),
	} {
		if found, err := n.Authenticate(t.Context(), asserted(text)); err != nil || found.ID != c.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	parts := strings.Split(keys.sign(with(nil), nil), ".")
	raw := func(header string) string { return base64.RawURLEncoding.EncodeToString([]byte(header)) }
	for name, text := range map[string]string{
		"aud: the token endpoint":        keys.sign(with(map[string]any{"aud": issuerURL + "/oauth2/token"}), nil),
		"aud: us in an array":            keys.sign(with(map[string]any{"aud": []string{issuerURL}}), nil),
		"aud: us and another":            keys.sign(with(map[string]any{"aud": []string{issuerURL, "https://other.example"}}), nil),
		"aud: an empty array":            keys.sign(with(map[string]any{"aud": []string{}}), nil),
		"aud: with a slash":              keys.sign(with(map[string]any{"aud": issuerURL + "/"}), nil),
		"aud: upper case":                keys.sign(with(map[string]any{"aud": strings.ToUpper(issuerURL)}), nil),
		"aud: none":                      keys.sign(with(map[string]any{"aud": nil}), nil),
		"aud: a number":                  keys.sign(with(map[string]any{"aud": 1}), nil),
		"aud: an object":                 keys.sign(with(map[string]any{"aud": map[string]any{"aud": issuerURL}}), nil),
		"aud: another":                   keys.sign(with(map[string]any{"aud": "https://other.example"}), nil),
		"aud: twice":                     keys.sign(fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":"https://other.example","aud":%q,"jti":"t1","exp":%d}`, c.ID, c.ID, issuerURL, at(time.Minute)), nil),
		"iss: another client":            keys.sign(with(map[string]any{"iss": other.ID}), nil),
		"iss: none":                      keys.sign(with(map[string]any{"iss": nil}), nil),
		"sub: another client":            keys.sign(with(map[string]any{"sub": other.ID}), nil),
		"sub: nobody":                    keys.sign(with(map[string]any{"sub": nil}), nil),
		"another client altogether":      keys.sign(with(map[string]any{"iss": other.ID, "sub": other.ID}), nil),
		"signed by another":              strangers.sign(with(nil), nil),
		"exp: none":                      keys.sign(with(map[string]any{"exp": nil}), nil),
		"exp: now":                       keys.sign(with(map[string]any{"exp": now.Unix()}), nil),
		"exp: an hour":                   keys.sign(with(map[string]any{"exp": at(time.Hour)}), nil),
		"exp: a string":                  keys.sign(with(map[string]any{"exp": fmt.Sprint(at(time.Minute))}), nil),
		"exp: beyond all numbers":        keys.sign(fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"jti":"t2","exp":1e400}`, c.ID, c.ID, issuerURL), nil),
		"nbf: ahead":                     keys.sign(with(map[string]any{"nbf": at(time.Minute)}), nil),
		"iat: ahead":                     keys.sign(with(map[string]any{"iat": at(time.Minute)}), nil),
		"jti: none":                      keys.sign(with(map[string]any{"jti": nil}), nil),
		"jti: empty":                     keys.sign(with(map[string]any{"jti": ""}), nil),
		"jti: too long":                  keys.sign(with(map[string]any{"jti": strings.Repeat("j", 256)}), nil),
		"jti: a number":                  keys.sign(with(map[string]any{"jti": 7}), nil),
		"typ: an access token's":         keys.sign(with(nil), map[string]any{"typ": "at+jwt"}),
		"typ: a proof's":                 keys.sign(with(nil), map[string]any{"typ": "dpop+jwt"}),
		"typ: a logout token's":          keys.sign(with(nil), map[string]any{"typ": "logout+jwt"}),
		"kid: unknown":                   keys.sign(with(nil), map[string]any{"kid": "k2"}),
		"crit":                           keys.sign(with(nil), map[string]any{"crit": []string{"x"}, "x": true}),
		"crit: empty":                    keys.sign(with(nil), map[string]any{"crit": []string{}}),
		"b64":                            keys.sign(with(nil), map[string]any{"b64": true}),
		"jwk":                            keys.sign(with(nil), map[string]any{"jwk": jose.JSONWebKey{Key: keys.key.Public()}}),
		"alg: none":                      raw(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg: HS256 with what is public": raw(`{"alg":"HS256","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"alg: another of the family":     raw(`{"alg":"ES384","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"a changed claim":                parts[0] + "." + raw(string(`{"iss":"`+c.ID+`"}`)) + "." + parts[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"four parts":                     strings.Join(parts, ".") + ".x",
		"five parts":                     strings.Join(parts, ".") + ".x.y",
		"a thousand parts":               strings.Repeat(".", 1000),
		"JSON":                           `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"claims: an array":               keys.sign(`["a"]`, nil),
		"claims: none":                   keys.sign(``, nil),
		"claims: not UTF-8":              keys.sign("{\"iss\":\"\xff\"}", nil),
		"too long":                       keys.sign(with(map[string]any{"x": strings.Repeat("x", 20<<10)}), nil),
		"garbage":                        "garbage",
	} {
		credentials := asserted(text)
		credentials.From.IP = "2001:db8:" + fmt.Sprintf("%x", len(name)*31+int(name[0])) + "::1"
		if found, err := n.Authenticate(t.Context(), credentials); !errors.Is(err, oauth.ErrClient) || found != nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	for name, change := range map[string]func(*oauth.Credentials){
		"no type":           func(c *oauth.Credentials) { c.AssertionType = "" },
		"the SAML type":     func(c *oauth.Credentials) { c.AssertionType = strings.Replace(jwtBearer, "jwt", "saml2", 1) },
		"another client_id": func(c *oauth.Credentials) { c.ID = other.ID },
	} {
		credentials := asserted(keys.sign(with(nil), nil))
		change(&credentials)
		if _, err := n.Authenticate(t.Context(), credentials); !errors.Is(err, oauth.ErrClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// V-22: an assertion is good once, at whichever nodes and however many bring it at once.
func TestAnAssertionIsGoodOnceOverTwoNodes(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		clock := &timepiece{}
		nodes := []*node{newNode(t, url, clock), newNode(t, url, clock)}
		keys := newSigner(t)
		c, _ := nodes[0].add(oauth.Client{Type: oauth.Machine, JWKS: keys.keySet()})
		for round := range 5 {
			claims := claimsOf(c.ID, clock.now())
			claims["jti"] = fmt.Sprint("round ", round)
			credentials := asserted(keys.sign(claims, nil))
			errs := make([]error, 32)
			begin := make(chan struct{})
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() {
					<-begin
					own := credentials
					own.From.IP = fmt.Sprintf("192.0.2.%d", i)
					_, errs[i] = nodes[i%2].Authenticate(t.Context(), own)
				})
			}
			close(begin)
			all.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, oauth.ErrClient) {
					t.Errorf("a racer got %v", err)
				}
			}
			if won != 1 {
				t.Errorf("round %d: %d of %d were accepted, want 1", round, won, len(errs))
			}
		}
	})
}

// V-22: as long as an assertion could be accepted by anybody it is remembered, upkeep or not.
func TestASpentAssertionIsNotForgottenTooEarly(t *testing.T) {
	clock := &timepiece{}
	n := newNode(t, sqliteAt(t), clock)
	keys := newSigner(t)
	c, _ := n.add(oauth.Client{Type: oauth.Machine, JWKS: keys.keySet()})
	credentials := asserted(keys.sign(claimsOf(c.ID, clock.now()), nil))
	_, err := n.Authenticate(t.Context(), credentials)
	n.must(err)
	for range 11 {
		clock.pass(10 * time.Second)
		_, _, err := n.db.SweepAssertions(t.Context(), 10)
		n.must(err)
		if _, err := n.Authenticate(t.Context(), credentials); !errors.Is(err, oauth.ErrClient) {
			t.Fatalf("%s later: %v", clock.now().Sub(today), err)
		}
	}
	clock.pass(11 * time.Second)
	if removed, _, err := n.db.SweepAssertions(t.Context(), 10); err != nil || removed != 1 {
		t.Errorf("two minutes later %d were removed, %v", removed, err)
	}
}

// ASVS-6.1.1 for clients: who guesses is slowed down at his own address, and the client
// itself never is.
func TestNobodyLocksAClientOut(t *testing.T) {
	n := newNode(t, sqliteAt(t), &timepiece{})
	c, secret := n.add(oauth.Client{Type: oauth.Web})
	wrong := oauth.Credentials{ID: c.ID, Secret: "ccs_" + credential.NewSecret().Encode(), Basic: true, From: fromHere}
	var slow *fault.Retry
	for range 25 {
		_, err := n.Authenticate(t.Context(), wrong)
		if errors.As(err, &slow) {
			break
		}
		if !errors.Is(err, oauth.ErrClient) {
			t.Fatalf("a wrong secret: %v", err)
		}
	}
	if slow == nil || !errors.Is(slow, account.ErrTooMany) || slow.After <= 0 {
		t.Fatalf("after 25 wrong secrets: %v", slow)
	}
	for name, from := range map[string]audit.Origin{"the same address": fromHere, "another": {IP: "198.51.100.1"}} {
		if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: c.ID, Secret: secret, Basic: true, From: from}); err != nil {
			t.Errorf("from %s the right secret is refused: %v", name, err)
		}
	}
	if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: c.ID, Secret: "x", Basic: true, From: audit.Origin{IP: "198.51.100.1"}}); !errors.Is(err, oauth.ErrClient) {
		t.Errorf("from another address a wrong secret: %v", err)
	}
	entries, err := n.db.Entries(t.Context(), audit.Filter{Event: audit.ClientRefused}, 0, 100)
	n.must(err)
	if len(entries) != 21 {
		t.Errorf("%d refusals were audited, want 21", len(entries))
	}
	for _, e := range entries {
		if e.Subject != c.ID+": wrong secret" || e.Outcome != "invalid_client" || strings.Contains(fmt.Sprint(e), "ccs_") {
			t.Errorf("a refusal is audited as %+v", e)
		}
	}
}

// A store that cannot answer lets nobody in, and nobody is told that he is not a client.
func TestAStoreThatFailsKnowsNoClient(t *testing.T) {
	clock := &timepiece{}
	n := newNode(t, sqliteAt(t), clock)
	keys := newSigner(t)
	c, _ := n.add(oauth.Client{Type: oauth.Machine, JWKS: keys.keySet()})
	if _, err := n.Clients.Find(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	credentials := asserted(keys.sign(claimsOf(c.ID, clock.now()), nil))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Authenticate(cancelled, credentials); err == nil || errors.Is(err, oauth.ErrClient) {
		t.Errorf("for a caller that went away: %v", err)
	}
	n.must(n.db.Close())
	if _, err := n.Authenticate(t.Context(), credentials); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("a known client's assertion: %v", err)
	}
	if _, err := n.Authenticate(t.Context(), oauth.Credentials{ID: credential.NewID(credential.Client), Secret: "x", Basic: true}); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("an unknown client: %v", err)
	}
}
