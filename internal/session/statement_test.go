package session_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/jwt"
	"github.com/coatcheck/coatcheck/internal/session"
)

// V-70: what an ID token says by itself cannot be asked for otherwise, and what is asked
// for is given only where the client may have it.
func TestReservedClaimsStay(t *testing.T) {
	w := newWorld(t, defaults())
	all := `{"id_token":{"iss":{"value":"x"},"sub":{"value":"x"},"aud":null,"exp":null,"iat":null,"sid":null,"nonce":null,"acr":null,
		"auth_time":null,"at_hash":null,"jti":{"value":"x"},"scope":null,"client_id":null,"cnf":null,"typ":null,"password":null,
		"email":null,"email_verified":{"essential":true},"name":null,"roles":null},"userinfo":{"name":null}}`
	asks := func(c *session.Code) { c.Claims = all }
	reserved := 11 // see TestACodeGivesWhatItStandsFor
	for name, c := range map[string]struct {
		scopes []string
		want   map[string]any
	}{
		"a client that may have all":  {[]string{"openid", "email", "profile"}, map[string]any{"email": "Ada@example.com", "email_verified": false, "name": "Ada"}},
		"a client that may have some": {[]string{"openid", "profile"}, map[string]any{"name": "Ada"}},
		"a client that may have none": {[]string{"openid"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			terms := w.client(func(t *session.ClientTerms) { t.Scopes = c.scopes })
			d, opened := w.drawn(strings.ReplaceAll(name, " ", ".")+"@example.com", terms, asks)
			st := w.statement(d.ID, jwt.IDToken)
			if st.Subject != opened.Standing.User.ID || st.Issuer != issuer || st.SessionID != d.GrantID || len(st.Claims) != reserved+len(c.want) {
				t.Errorf("it says %v", st.Claims)
			}
			for name, want := range c.want {
				if name == "email" {
					want = opened.Standing.User.Email
				}
				if st.Claims[name] != want {
					t.Errorf("%s is %v, want %v", name, st.Claims[name], want)
				}
			}
		})
	}
}

// Claims that the operator lists for access tokens reach other clients as far as the
// scope says, and never one that knows people by pairwise subjects.
func TestListedClaimsByScope(t *testing.T) {
	config := defaults()
	config.Claims = []string{"email", "email_verified", "name", "roles"}
	w := newWorld(t, config)
	opened := w.begin("ada@example.com")
	if n := len(w.claims(opened.Tokens.Access).Extra); n != 4 {
		t.Errorf("the first-party client gets %d of 4", n)
	}
	open, hidden := w.client(), w.client(func(c *session.ClientTerms) { c.Pairwise = true })
	for scope, want := range map[string]int{"read": 0, "email": 2, "profile email": 3, "profile email roles": 4} {
		for _, c := range []session.ClientTerms{open, hidden} {
			d, err := w.redeem(w.code(w.holder(opened), c, func(c *session.Code) { c.Scope = scope }))
			w.must(err)
			if got := len(w.claims(d.Access).Extra); got != want && !c.Pairwise || c.Pairwise && got != 0 {
				t.Errorf("with %q, pairwise %t: %d claims, want %d", scope, c.Pairwise, got, want)
			}
		}
	}
}

// OC-10: a subject is one person's at one sector, for ever, and tells nobody else who.
func TestPairwiseSubjects(t *testing.T) {
	w := newWorld(t, defaults())
	at := func(sector string) func(*session.ClientTerms) {
		return func(c *session.ClientTerms) { c.Pairwise, c.Sector = true, sector }
	}
	one, two, elsewhere := w.client(at("shop.example")), w.client(at("shop.example")), w.client(at("mail.example"))
	alone, alike := w.client(at("")), w.client(at(""))
	ada, bob := w.begin("ada@example.com"), w.begin("bob@example.com")
	sub := func(o session.Opened, c session.ClientTerms) string {
		t.Helper()
		d, err := w.redeem(w.code(w.holder(o), c))
		w.must(err)
		id, access := w.statement(d.ID, jwt.IDToken).Subject, w.claims(d.Access).Subject
		st, _, err := w.CheckGrantToken(t.Context(), d.Access)
		w.must(err)
		if id != access || id != w.SubjectOf(&st) || !w.active(d.Access) {
			t.Errorf("one token has the subject %s, another %s", id, access)
		}
		if len(id) > 255 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.Contains(id, o.Standing.User.ID) {
			t.Errorf("a subject looks like %q", id)
		}
		return id
	}
	seen := map[string]bool{}
	for _, id := range []string{sub(ada, one), sub(ada, elsewhere), sub(ada, alone), sub(ada, alike), sub(bob, one), sub(bob, elsewhere)} {
		if seen[id] {
			t.Errorf("%s stands for two", id)
		}
		seen[id] = true
	}
	first := sub(ada, one)
	w.pass(time.Hour)
	if first != sub(ada, two) || first != sub(ada, one) {
		t.Error("two clients of one sector know her by two subjects")
	}
	d, err := w.redeem(w.code(w.holder(ada), one))
	w.must(err)
	w.must(w.SignOut(t.Context(), w.holder(ada), here))
	if w.active(d.Access) {
		t.Error("a pairwise token outlives its session")
	}
}

// The algorithm of ID tokens is the client's: keys come with the first client that needs
// one, and stand in the same set.
func TestIDTokensByAlgorithm(t *testing.T) { // OC-8
	w := newWorld(t, defaults())
	for _, algorithm := range []jwt.Algorithm{jwt.ES256, jwt.EdDSA, jwt.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			c := w.client(func(c *session.ClientTerms) { c.IDAlgorithm = algorithm })
			d, _ := w.drawn(strings.ToLower(string(algorithm))+"@example.com", c)
			var kid string
			st, err := jwt.ParseStatement(d.ID, jwt.IDToken, func(id string) (jwt.PublicKey, bool) {
				kid = id
				return w.ring.Public(id)
			})
			w.must(err)
			key, _ := w.ring.Public(kid)
			sum, long := sha256.Sum256([]byte(d.Access)), sha512.Sum512([]byte(d.Access))
			half := sum[:16]
			if algorithm == jwt.EdDSA {
				half = long[:32]
			}
			if key.Algorithm != algorithm || st.Claims["at_hash"] != base64.RawURLEncoding.EncodeToString(half) {
				t.Errorf("signed by %s, at_hash %v", key.Algorithm, st.Claims["at_hash"])
			}
			if set, _ := w.ring.Published(); !strings.Contains(string(set), kid) {
				t.Error("its key is not published")
			}
			if w.claims(d.Access).KeyID == kid && algorithm != jwt.ES256 {
				t.Error("the access token is signed by it, too")
			}
		})
	}
}

func TestLogoutTokens(t *testing.T) { // BCL-1
	w := newWorld(t, defaults())
	c := w.client(func(c *session.ClientTerms) { c.Pairwise, c.Sector, c.IDAlgorithm = true, "shop.example", jwt.EdDSA })
	d, opened := w.drawn("ada@example.com", c)
	token, err := w.LogoutToken(t.Context(), c.ID, opened.Standing.User.ID, d.GrantID, w.now())
	w.must(err)
	st := w.statement(token, jwt.LogoutToken)
	events, _ := st.Claims["events"].(map[string]any)
	event, isObject := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any)
	if st.Issuer != issuer || st.Subject != w.statement(d.ID, jwt.IDToken).Subject || st.Audience[0] != c.ID || st.SessionID != d.GrantID ||
		st.IssuedAt != w.now().Unix() || st.ExpiresAt != w.now().Unix()+120 || len(events) != 1 || !isObject || len(event) != 0 || len(st.Claims) != 8 {
		t.Errorf("it says %v", st.Claims)
	}
	again, err := w.LogoutToken(t.Context(), c.ID, opened.Standing.User.ID, d.GrantID, w.now())
	w.must(err)
	if w.statement(again, jwt.LogoutToken).Claims["jti"] == st.Claims["jti"] {
		t.Error("two have one jti")
	}
	_, err = w.LogoutToken(t.Context(), "cli_none", opened.Standing.User.ID, d.GrantID, w.now())
	wantErr(t, "for no client", err, session.ErrNone)
}

func TestHints(t *testing.T) { // RPL-3, OC-4
	w := newWorld(t, defaults())
	c := w.client(func(c *session.ClientTerms) { c.Pairwise = true })
	d, opened := w.drawn("ada@example.com", c)
	want := session.Hint{
		Subject: w.statement(d.ID, jwt.IDToken).Subject, ClientID: c.ID, GrantID: d.GrantID, UserID: opened.Standing.User.ID,
		ExpiresAt: w.now().Unix() + 600,
	}
	for _, after := range []time.Duration{0, time.Hour, 20 * 24 * time.Hour} {
		w.pass(after)
		if h, err := w.ReadHint(t.Context(), d.ID); err != nil || h != want {
			t.Errorf("after %s it is read as %+v, %v", after, h, err)
		}
	}
	logout, err := w.LogoutToken(t.Context(), c.ID, opened.Standing.User.ID, d.GrantID, w.now())
	w.must(err)
	signer, err := w.ring.SignerFor(t.Context(), c.IDAlgorithm)
	w.must(err)
	forged := func(change func(map[string]any)) string {
		t.Helper()
		claims := map[string]any{"iss": issuer, "sub": "usr_1", "aud": c.ID, "iat": w.now().Unix(), "exp": w.now().Unix() + 600, "sid": d.GrantID}
		change(claims)
		token, err := signer.SignStatement(jwt.IDToken, claims)
		w.must(err)
		return token
	}
	parts := strings.Split(d.ID, ".")
	for name, bad := range map[string]string{
		"empty": "", "garbage": "a.b.c", "an access token": d.Access, "a logout token": logout, "the person's cookie": opened.Cookie,
		"other claims": parts[0] + "." + strings.Split(logout, ".")[1] + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".",
		"cut short": d.ID[:len(d.ID)-2], "two audiences": forged(func(c map[string]any) { c["aud"] = []string{"cli_1", "cli_2"} }),
		"from when the issuer had another name": forged(func(c map[string]any) { c["iss"] = "https://former.example.com" }),
	} {
		_, err := w.ReadHint(t.Context(), bad)
		wantErr(t, name, err, session.ErrInvalidToken)
	}
	other := newWorld(t, defaults())
	_, err = other.ReadHint(t.Context(), d.ID)
	wantErr(t, "another server's, by a key that is not known", err, session.ErrTokenExpired)
	w.endWhat(session.Ending{Kind: "user", ID: opened.Standing.User.ID})
	w.pass(60 * 24 * time.Hour)
	w.must(w.Sweep(t.Context()))
	if h, err := w.ReadHint(t.Context(), d.ID); err != nil || h.UserID != "" || h.Subject != want.Subject {
		t.Errorf("of a grant that was swept: %+v, %v", h, err)
	}
}

// V-18, JBCP-5: what is given out as one kind is taken for no other.
func TestEachKindIsTakenForItselfAlone(t *testing.T) {
	w := newWorld(t, defaults())
	c := w.client()
	opened := w.begin("ada@example.com")
	h := w.holder(opened)
	d, err := w.redeem(w.code(h, c))
	w.must(err)
	own, err := w.DrawForClient(t.Context(), c.ID, "", "")
	w.must(err)
	logout, err := w.LogoutToken(t.Context(), c.ID, h.UserID(), d.GrantID, w.now())
	w.must(err)
	kinds := []struct{ name, text string }{
		{"cookie", opened.Cookie},
		{"first-party access token", opened.Tokens.Access},
		{"client's access token", d.Access},
		{"client's own access token", own.Access},
		{"ID token", d.ID},
		{"logout token", logout},
		{"first-party refresh token", opened.Tokens.Refresh},
		{"client's refresh token", d.Refresh},
		{"code", w.code(h, c)},
	}
	access := []string{"first-party access token", "client's access token", "client's own access token"}
	doors := []struct {
		name  string
		takes []string
		open  func(text string) error
	}{
		{"CheckCookie", []string{"cookie"}, func(text string) error { _, err := w.CheckCookie(t.Context(), text); return err }},
		{"Beside", []string{"cookie"}, func(text string) error { _, err := w.Beside(t.Context(), text); return err }},
		{"CheckToken", access[:1], func(text string) error { _, err := w.CheckToken(t.Context(), text); return err }},
		{"CheckGrantToken", access[:2], func(text string) error { _, _, err := w.CheckGrantToken(t.Context(), text); return err }},
		{"a service", access, func(text string) error { _, err := jwt.Parse(text, w.ring.Public); return err }},
		{"ID tokens", []string{"ID token"}, func(text string) error { _, err := w.ReadHint(t.Context(), text); return err }},
		{"logout tokens", []string{"logout token"}, func(text string) error {
			_, err := jwt.ParseStatement(text, jwt.LogoutToken, w.ring.Public)
			return err
		}},
		{"Refresh", []string{"first-party refresh token"}, func(text string) error { _, err := w.refresh(text); return err }},
		{"RefreshGrant", []string{"client's refresh token"}, func(text string) error { _, err := w.renew(text, c); return err }},
		{"OfCode", []string{"code"}, func(text string) error { _, err := w.OfCode(t.Context(), text); return err }},
	}
	for _, door := range doors {
		for _, kind := range kinds {
			err := door.open(kind.text)
			want := false
			for _, taken := range door.takes {
				want = want || taken == kind.name
			}
			if (err == nil) != want {
				t.Errorf("%s, given a %s, answers %v", door.name, kind.name, err)
			}
		}
	}
}
