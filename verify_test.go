package coatcheck

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

func TestVerify(t *testing.T) {
	s, v, clock := setUp(t)
	c, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.UserID, c.SessionID, c.GrantID, c.ClientID, c.Scopes, c.AMR, c.ACR, c.AuthTime.Unix(), c.Claims)
	want := fmt.Sprint("usr_ada", "ses_1", "grt_ses_1", "first-party", []string{"read", "write"}, []string{"pwd"}, "aal1",
		clock.Now().Unix()-60, map[string]any{"email": "ada@example.com"})
	if got != want {
		t.Errorf("caller %s\nwant %s", got, want)
	}
}

func TestBadTokens(t *testing.T) {
	s, v, clock := setUp(t)
	other := NewStandIn(clock.Now) // has a key k1 of its own
	defer other.Stop()
	good := s.Token("usr_ada", "ses_1")
	head, body, sig := parts(good)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"k1"}`))
	claim := func(f func(*jwt.Claims)) string { return s.Token("usr_ada", "ses_1", f) }
	expired := func(c *jwt.Claims) { c.IssuedAt, c.ExpiresAt = c.IssuedAt-1200, c.IssuedAt-600 }
	tests := []struct {
		name, token string
		want        error
	}{
		{"V-01 alg none", none + "." + body + ".", ErrInvalid},
		{"V-01 alg none, with a signature", none + "." + body + "." + sig, ErrInvalid},
		{"V-06 no signature", head + "." + body + ".", ErrInvalid},
		{"V-12 empty", "", ErrInvalid},
		{"V-12 dots", strings.Repeat(".", 1<<20), ErrInvalid},
		{"V-12 over the limit", good + strings.Repeat("A", 16<<10), ErrInvalid},
		{"V-12 truncated", good[:len(good)-1], ErrInvalid},
		{"V-12 extended", good + "A", ErrInvalid},
		{"V-12 two parts", head + "." + body, ErrInvalid},
		{"V-12 four parts", good + "." + sig, ErrInvalid},
		{"V-12 with a space", good + " ", ErrInvalid},
		{"another's signature", other.Token("usr_ada", "ses_1", func(c *jwt.Claims) { c.Issuer = s.URL }), ErrInvalid},
		{"another issuer", claim(func(c *jwt.Claims) { c.Issuer = other.URL }), ErrInvalid},
		{"the issuer with a slash", claim(func(c *jwt.Claims) { c.Issuer += "/" }), ErrInvalid},
		{"V-15 another audience", claim(func(c *jwt.Claims) { c.Audience = []string{"shop"} }), ErrInvalid},
		{"V-15 one of several audiences", claim(func(c *jwt.Claims) { c.Audience = []string{"shop", "orders"} }), nil},
		{"expired", claim(expired), ErrExpired},
		{"V-14 expired and forged", other.Token("usr_ada", "ses_1", expired, func(c *jwt.Claims) { c.Issuer = s.URL }), ErrInvalid},
		{"issued in the future", claim(func(c *jwt.Claims) { c.IssuedAt += 300; c.ExpiresAt += 300 }), ErrInvalid},
		{"a refresh token", "ckr_" + strings.Repeat("A", 120), ErrInvalid},
		{"SM-1 a session cookie", s.Cookie("usr_ada", "ses_1"), ErrInvalid},
		{"the good one", good, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second time it has been seen
				c, err := v.Verify(t.Context(), test.token)
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if (c == nil) != (err != nil) {
					t.Errorf("V-14 caller %v beside error %v", c, err)
				}
			}
		})
	}
	if q := s.questions(); len(q) != 0 {
		t.Errorf("the issuer was asked %d times about tokens", len(q))
	}
}

func parts(token string) (head, body, sig string) {
	head, rest, _ := strings.Cut(token, ".")
	body, sig, _ = strings.Cut(rest, ".")
	return head, body, sig
}

func TestExpiryOfASeenToken(t *testing.T) { // V-98, I-10
	s, v, clock := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	step := func(by time.Duration, want error) {
		t.Helper()
		clock.Add(by)
		beat(t, s, v)
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
	step(0, nil)
	for range 9 {
		step(time.Minute, nil)
	}
	step(59*time.Second, nil)
	step(time.Second, ErrExpired)
	step(-5*time.Minute, ErrExpired)
}

// A verifier whose own clock is behind, also from its start on, goes by the issuer's.
func TestExpiryByTheIssuersClock(t *testing.T) { // I-10, V-98
	issuer, behind := newTestClock(), newTestClock()
	behind.Add(-24 * time.Hour)
	s := NewStandIn(issuer.Now)
	t.Cleanup(s.Stop)
	v := startVerifier(t, s, behind)
	beat(t, s, v)
	ended := s.Token("usr_1", "ses_1", func(c *jwt.Claims) { c.IssuedAt, c.ExpiresAt = c.IssuedAt-3600, c.IssuedAt-1800 })
	if _, err := v.Verify(t.Context(), ended); !errors.Is(err, ErrExpired) {
		t.Errorf("a token that expired half an hour ago: %v", err)
	}
	seen := s.Token("usr_1", "ses_1")
	if _, err := v.Verify(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	issuer.Add(time.Hour)
	behind.Add(time.Second)
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), seen); !errors.Is(err, ErrExpired) {
		t.Errorf("a seen token that has expired meanwhile: %v", err)
	}
	issuer.Add(-2 * time.Hour)
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), seen); !errors.Is(err, ErrExpired) {
		t.Errorf("after the issuer's clock went back: %v", err)
	}
	s.set(func() { s.epoch = "e2" }) // which ends all: an issuer that was far ahead does not brick its verifiers
	s.Cut(0)
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), s.Token("usr_1", "ses_2")); err != nil {
		t.Errorf("in a new epoch: %v", err)
	}
}

func TestEndsAndChanges(t *testing.T) { // I-1, ASVS-7.4.1
	now := newTestClock().Now().Unix()
	tests := []struct {
		entry feed.Entry
		want  error
	}{
		{feed.Entry{Kind: feed.Session, ID: "ses_1"}, ErrRevoked},
		{feed.Entry{Kind: feed.Grant, ID: "grt_ses_1"}, ErrRevoked},
		{feed.Entry{Kind: feed.User, ID: "usr_ada", Before: now + 2}, ErrRevoked},
		{feed.Entry{Kind: feed.Client, ID: "first-party", Before: now + 2}, ErrRevoked},
		{feed.Entry{Kind: feed.All, Before: now + 2}, ErrRevoked},
		{feed.Entry{Kind: feed.Changed, ID: "usr_ada", Before: now + 2}, ErrExpired},
		{feed.Entry{Kind: feed.Changed, ID: "ses_1", Before: now + 2}, ErrExpired},
		{feed.Entry{Kind: feed.Key, ID: "k1"}, ErrExpired},
		{feed.Entry{Kind: feed.Session, ID: "ses_2"}, nil},
		{feed.Entry{Kind: feed.User, ID: "usr_ada", Before: now - 1}, nil},
		{feed.Entry{Kind: feed.APIKey, ID: "api_1"}, nil},
		{feed.Entry{Kind: feed.Key, ID: "k0"}, nil},
	}
	for _, test := range tests {
		t.Run(string(test.entry.Kind)+" "+test.entry.ID, func(t *testing.T) {
			s, v, _ := setUp(t)
			seen := s.Token("usr_ada", "ses_1")
			if _, err := v.Verify(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
			s.Append(test.entry)
			eventually(t, "the entry is heard", func() bool { return v.set.Len() > 0 })
			eventually(t, "its key is withdrawn", func() bool { return v.keys.find("k1") == nil || test.entry.ID != "k1" })
			unseen := s.Token("usr_ada", "ses_1", func(c *jwt.Claims) { c.ID = "another" })
			for name, token := range map[string]string{"seen": seen, "unseen": unseen, "seen again": seen} {
				if _, err := v.Verify(t.Context(), token); !errors.Is(err, test.want) {
					t.Errorf("%s: error %v, want %v", name, err, test.want)
				}
			}
		})
	}
}

// A third party's token names its grant and no session; one that a client has drawn for
// itself names neither. Both are held to all that can end them, seen before or not.
func TestTokensOfClients(t *testing.T) { // AT-2, I-1, V-19
	third := func(c *jwt.Claims) { c.ClientID, c.GrantID, c.SessionID = "cli_shop", "grt_1", "" }
	pairwise := func(c *jwt.Claims) {
		third(c)
		c.Subject = "pw_somebody"
	}
	machine := func(c *jwt.Claims) {
		c.Subject, c.ClientID, c.GrantID, c.SessionID, c.ACR, c.AMR, c.AuthTime = "cli_shop", "cli_shop", "", "", "", nil, 0
	}
	now := newTestClock().Now().Unix()
	for _, test := range []struct {
		entry                    feed.Entry
		third, pairwise, machine error
	}{
		{feed.Entry{Kind: feed.Grant, ID: "grt_1"}, ErrRevoked, ErrRevoked, nil},
		{feed.Entry{Kind: feed.Client, ID: "cli_shop", Before: now + 2}, ErrRevoked, ErrRevoked, ErrRevoked},
		{feed.Entry{Kind: feed.User, ID: "usr_ada", Before: now + 2}, ErrRevoked, nil, nil},
		{feed.Entry{Kind: feed.All, Before: now + 2}, ErrRevoked, ErrRevoked, ErrRevoked},
		{feed.Entry{Kind: feed.Key, ID: "k1"}, ErrExpired, ErrExpired, ErrExpired},
		{feed.Entry{Kind: feed.Changed, ID: "cli_shop", Before: now + 2}, ErrExpired, ErrExpired, ErrExpired},
		{feed.Entry{Kind: feed.Changed, ID: "usr_ada", Before: now + 2}, ErrExpired, nil, nil},
		{feed.Entry{Kind: feed.Session, ID: ""}, nil, nil, nil},
		{feed.Entry{Kind: feed.Grant, ID: ""}, nil, nil, nil},
		{feed.Entry{Kind: feed.Grant, ID: "grt_2"}, nil, nil, nil},
		{feed.Entry{Kind: feed.Client, ID: "cli_mail", Before: now + 2}, nil, nil, nil},
	} {
		t.Run(string(test.entry.Kind)+" "+test.entry.ID, func(t *testing.T) {
			s, v, _ := setUp(t)
			for name, kind := range map[string]struct {
				shape func(*jwt.Claims)
				want  error
			}{"third party": {third, test.third}, "pairwise": {pairwise, test.pairwise}, "machine": {machine, test.machine}} {
				seen := s.Token("usr_ada", name, kind.shape)
				if c, err := v.Verify(t.Context(), seen); err != nil || c.SessionID != "" || c.ClientID != "cli_shop" {
					t.Fatalf("%s: %+v, %v", name, c, err)
				}
				defer func() {
					unseen := s.Token("usr_ada", name, kind.shape, func(c *jwt.Claims) { c.ID = "another" })
					for which, token := range map[string]string{"seen": seen, "unseen": unseen} {
						if _, err := v.Verify(t.Context(), token); !errors.Is(err, kind.want) {
							t.Errorf("%s, %s: error %v, want %v", name, which, err, kind.want)
						}
					}
				}()
			}
			s.Append(test.entry)
			eventually(t, "the entry is heard", func() bool { return v.set.Len() > 0 })
			eventually(t, "its key is withdrawn", func() bool { return v.keys.find("k1") == nil || test.entry.ID != "k1" })
		})
	}
}

func TestSeenTokenIsHeldToEverythingOnEachCall(t *testing.T) { // V-19
	s, orders, clock := setUp(t)
	shop := verifierOf(t, s, clock, func(c *Config) { c.Audience = "shop" })
	token := s.Token("usr_ada", "ses_1")
	if _, err := orders.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) {
		t.Errorf("a verifier of another audience: %v, want ErrInvalid", err)
	}
	neighbour := s.Token("usr_ada", "ses_2")
	if _, err := orders.Verify(t.Context(), neighbour); err != nil {
		t.Fatal(err)
	}
	s.End("ses_1")
	eventually(t, "ses_1 is over", func() bool {
		_, err := orders.Verify(t.Context(), token)
		return errors.Is(err, ErrRevoked)
	})
	if _, err := orders.Verify(t.Context(), neighbour); err != nil {
		t.Errorf("V-53 the neighbour: %v", err)
	}
}

func TestUnknownKeyFlood(t *testing.T) { // V-20
	s, v, clock := setUp(t)
	good := s.Token("usr_ada", "ses_1")
	clock.Add(keyCooldown)
	beat(t, s, v)
	before := s.fetches()
	_, body, sig := parts(good)
	for i := range 10_000 {
		head := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","typ":"at+jwt","kid":"key_%d"}`, i))
		if _, err := v.Verify(t.Context(), head+"."+body+"."+sig); !errors.Is(err, ErrInvalid) {
			t.Fatalf("unknown key: %v, want ErrInvalid", err)
		}
	}
	if got := s.fetches() - before; got > 1 {
		t.Errorf("the key set was read %d times, want once at most", got)
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("a good token in the flood: %v", err)
	}
}

func TestUnknownKeysTogetherCauseOneReading(t *testing.T) { // V-20
	s, v, clock := setUp(t)
	clock.Add(keyCooldown)
	beat(t, s, v)
	s.AddKey("k2")
	token := s.TokenBy("k2", "usr_ada", "ses_1")
	before := s.fetches()
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("a token of the new key: %v", err)
			}
		})
	}
	group.Wait()
	if got := s.fetches() - before; got != 1 {
		t.Errorf("the key set was read %d times, want once", got)
	}
}

func TestKeysSurviveAnOutage(t *testing.T) { // V-20, I-8
	s, v, clock := setUp(t)
	s.set(func() { s.keysOff = true })
	clock.Add(keyInterval)
	before := s.fetches()
	eventually(t, "the key set is asked for", func() bool { return s.fetches() > before })
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1")); err != nil {
		t.Errorf("with the key set not to be had: %v", err)
	}
}

func TestKeyThatIsGoneFallsWithAllItSigned(t *testing.T) {
	s, v, clock := setUp(t)
	s.AddKey("k2")
	clock.Add(keyCooldown)
	beat(t, s, v)
	long := func(c *jwt.Claims) { c.ExpiresAt += 7200 }
	old, young := s.TokenBy("k1", "usr_ada", "ses_1", long), s.TokenBy("k2", "usr_ada", "ses_2", long)
	for _, token := range []string{old, young} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	s.set(func() { delete(s.signers, "k1") })
	clock.Add(keyInterval)
	eventually(t, "the key is gone", func() bool { return v.keys.find("k1") == nil })
	clock.Add(time.Second)
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), young); err != nil {
		t.Errorf("a seen token of the key that stays: %v", err)
	}
	if _, err := v.Verify(t.Context(), old); !errors.Is(err, ErrInvalid) {
		t.Errorf("a seen token of the key that is gone: %v, want ErrInvalid", err)
	}
}

func TestKeySetThatStillNamesAWithdrawnKey(t *testing.T) {
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	s.Append(feed.Entry{Kind: feed.Key, ID: "k1"})
	eventually(t, "the key is withdrawn", func() bool { return v.keys.find("k1") == nil })
	s.AddKey("k2") // and nobody waits for the cooldown of unknown keys
	if _, err := v.Verify(t.Context(), s.TokenBy("k2", "usr_ada", "ses_1")); err != nil {
		t.Errorf("a token of the key that came after it: %v", err)
	}
	if v.keys.find("k1") != nil {
		t.Error("a key set that is behind the log brought the key back")
	}
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrExpired) {
		t.Errorf("a token of the withdrawn key: %v, want ErrExpired", err)
	}
}

// After an emergency one node has fresh keys already, and the one that is asked for the
// key set may still be behind. Tokens of the fresh keys wait for it to catch up; what a
// node that is behind says later takes nothing away.
func TestKeySetOfANodeThatIsBehind(t *testing.T) { // D-18, I-8
	s, v, clock := setUp(t)
	s.AddKey("k2")
	young := s.TokenBy("k2", "usr_ada", "ses_1")
	var k2 *jwt.Signer
	s.set(func() { k2 = s.signers["k2"]; delete(s.signers, "k2") })
	s.Append(feed.Entry{Kind: feed.Key, ID: "k1"})
	eventually(t, "the key is withdrawn", func() bool { return v.keys.find("k1") == nil })
	before := s.fetches()
	verified := make(chan error)
	go func() {
		_, err := v.Verify(t.Context(), young)
		verified <- err
	}()
	eventually(t, "the key set is read", func() bool { return s.fetches() > before })
	s.set(func() { s.signers = map[string]*jwt.Signer{"k2": k2} })
	if err := <-verified; err != nil {
		t.Errorf("a token of the fresh key: %v", err)
	}
	s.AddKey("k9")
	unknown := s.TokenBy("k9", "usr_ada", "ses_1")
	s.AddKey("k1")
	s.set(func() { s.signers = map[string]*jwt.Signer{"k1": s.signers["k1"]} })
	clock.Add(keyCooldown)
	beat(t, s, v)
	if _, err := v.Verify(t.Context(), unknown); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token by nobody's key: %v, want ErrInvalid", err)
	}
	if v.keys.find("k2") == nil {
		t.Error("a node that is behind has taken the fresh key away")
	}
}

func TestEmptyKeySetTakesNothingAway(t *testing.T) {
	s, v, clock := setUp(t)
	before := s.fetches()
	s.set(func() { s.signers = map[string]*jwt.Signer{} })
	clock.Add(keyInterval)
	eventually(t, "the key set is read", func() bool {
		return s.fetches() > before && v.keys.due.Load() < clock.Now().Add(keyInterval/2).UnixNano()
	})
	if v.keys.find("k1") == nil {
		t.Error("an answer without any key dropped the known one")
	}
}

func TestIssuerWithoutMetadata(t *testing.T) {
	clock := newTestClock()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	s.set(func() { s.noMeta = true })
	v := verifierOf(t, s, clock)
	if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1")); err != nil {
		t.Error(err)
	}
}

func TestMetadataThatPointsElsewhere(t *testing.T) { // V-05, V-64
	clock := newTestClock()
	evil := NewStandIn(clock.Now)
	defer evil.Stop()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	for name, metadata := range map[string]string{
		"keys at another origin": fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.URL, evil.URL+"/.well-known/jwks.json"),
		"another issuer":         fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, evil.URL, s.URL+"/.well-known/jwks.json"),
		"no JSON":                `<html>`,
		"over the limit":         `{"issuer":"` + strings.Repeat("x", 65<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			v := startVerifier(t, s, clock, func(c *Config) {
				c.HTTPClient = &http.Client{Transport: rewriting{metadata}}
			})
			eventually(t, "the reading has failed", func() bool { return v.progress.failedKeys() })
			if v.keys.known() {
				t.Error("keys were taken")
			}
			if _, err := v.Verify(t.Context(), s.Token("usr_ada", "ses_1")); !errors.Is(err, ErrStale) {
				t.Errorf("without any key: %v, want ErrStale, as nothing is known", err)
			}
		})
	}
	if evil.fetches() != 0 {
		t.Error("the other origin was asked for keys")
	}
}

func (p *progress) failedKeys() bool {
	_, noKeys, _ := p.look()
	return noKeys != nil
}

// rewriting is a transport on which the issuer's metadata are others.
type rewriting struct{ metadata string }

func (r rewriting) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && strings.Contains(req.URL.Path, "oauth-authorization-server") {
		_ = res.Body.Close()
		res.Body = readCloser{strings.NewReader(r.metadata)}
	}
	return res, err
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestRedirectToAnotherOrigin(t *testing.T) { // V-05
	clock := newTestClock()
	evil := NewStandIn(clock.Now)
	defer evil.Stop()
	s := NewStandIn(clock.Now)
	defer s.Stop()
	s.Config.Handler = http.RedirectHandler(evil.URL+"/.well-known/jwks.json", http.StatusTemporaryRedirect)
	v := startVerifier(t, s, clock)
	eventually(t, "the reading has failed", func() bool { return v.progress.failedKeys() })
	if evil.fetches() != 0 || len(evil.openings()) != 0 {
		t.Error("a redirect led to another origin, with the API key")
	}
}

func TestSeenTokenCostsNoAllocation(t *testing.T) {
	s, v, _ := setUp(t)
	token := s.Token("usr_ada", "ses_1")
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations for a token that was seen before, want 0", got)
	}
	dots := strings.Repeat(".", 1<<20)
	if got := testing.AllocsPerRun(100, func() { _, _ = v.Verify(t.Context(), dots) }); got > 2 {
		t.Errorf("V-12 %v allocations for a megabyte of dots, want 2 at most", got)
	}
}
