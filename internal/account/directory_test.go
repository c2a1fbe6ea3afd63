package account_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/hashing"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

const password = "a rather long pass phrase"

var (
	cheap = account.HashParameters{MemoryKiB: 64, Time: 1, Threads: 1}
	here  = audit.Origin{IP: "192.0.2.7", UserAgent: "test", RequestID: "request-1"}
)

// A place is a directory over a real store, with a clock to turn.
type place struct {
	*account.Directory
	t   *testing.T
	db  *sqlstore.DB
	log *revocation.Log
	now time.Time

	mu    sync.Mutex
	steps []string // what was asked of the store
}

func newPlace(t *testing.T, c account.Config) *place {
	t.Helper()
	p := &place{t: t, now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return p.now }
	quiet := slog.New(slog.DiscardHandler)
	var err error
	p.db, err = sqlstore.Open(t.Context(), sqlstore.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db"), Now: clock, Logger: quiet, Latency: p.note})
	p.must(err)
	t.Cleanup(func() { _ = p.db.Close() })
	p.log = revocation.New(revocation.Config{}, p.db, clock, quiet)
	p.db.Heard(p.log.Heard)
	p.Directory = p.directory(c, cheap)
	return p
}

func (p *place) note(step string, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, step)
}

// directory returns another directory over the same store, as after a restart.
func (p *place) directory(c account.Config, hash account.HashParameters) *account.Directory {
	c.Passwords.MinLength = 8
	stores := account.Stores{Users: p.db, Setup: p.db, APIKeys: p.db, Links: p.db, Audit: p.db}
	d, err := account.New(c, stores, account.NewHasher(hash, 2, 100, hashing.Here), p.log, []byte(strings.Repeat("s", 32)),
		func() time.Time { return p.now }, slog.New(slog.DiscardHandler))
	p.must(err)
	return d
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) signUp(email string) string {
	p.t.Helper()
	proof, err := p.SignUp(p.t.Context(), account.NewUser{Email: email, Name: "Ada", Password: password}, here)
	p.must(err)
	return proof.UserID()
}

func (p *place) disable(id string) {
	p.t.Helper()
	yes := true
	_, err := p.Change(p.t.Context(), id, account.UserChange{Disabled: &yes}, "cli", here)
	p.must(err)
}

// V-80, ASVS-6.3.8: unknown, wrong and disabled are one answer, and each costs
// exactly one hash with the current parameters.
func TestOneAnswerAndOneHash(t *testing.T) {
	p := newPlace(t, account.Config{})
	p.signUp("ada@example.com")
	p.disable(p.signUp("gone@example.com"))
	_, err := p.Add(t.Context(), account.NewUser{Email: "none@example.com"}, "cli", here)
	p.must(err)
	for name, c := range map[string]struct {
		email, password string
		want            error
	}{
		"right":              {"ada@example.com", password, nil},
		"wrong":              {"ada@example.com", "something else", account.ErrCredentials},
		"unknown":            {"bob@example.com", password, account.ErrCredentials},
		"disabled":           {"gone@example.com", password, account.ErrCredentials},
		"without a password": {"none@example.com", password, account.ErrCredentials},
		"empty":              {"ada@example.com", "", account.ErrCredentials},
		"not UTF-8":          {"ada@example.com", "\xff\xfe", account.ErrCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			for _, current := range []account.HashParameters{cheap, {MemoryKiB: 128, Time: 1, Threads: 1}} {
				d := p.directory(account.Config{}, current)
				made := map[account.HashParameters]int{}
				d.CountHashes(func(h account.HashParameters) { made[h]++ })
				_, err := d.CheckPassword(t.Context(), c.email, c.password, here)
				if !errors.Is(err, c.want) {
					t.Errorf("answered %v, want %v", err, c.want)
				}
				if made[current] != 1 {
					t.Errorf("%d hashes with the current parameters", made[current])
				}
			}
		})
	}
}

// NIST-3: a hash is upgraded at the next sign-in, and the password still fits.
func TestAHashIsUpgradedAtSignIn(t *testing.T) {
	p := newPlace(t, account.Config{})
	id := p.signUp("ada@example.com")
	stronger := account.HashParameters{MemoryKiB: 256, Time: 2, Threads: 1}
	d := p.directory(account.Config{}, stronger)
	for range 2 {
		_, err := d.CheckPassword(t.Context(), "ada@example.com", password, here)
		p.must(err)
	}
	_, stored, err := p.db.FindUser(t.Context(), id)
	p.must(err)
	if !strings.Contains(stored, "m=256,t=2,p=1") {
		t.Errorf("stored as %.40s", stored)
	}
}

// V-92: one account, whatever the spelling.
func TestOneAccountForAllSpellings(t *testing.T) {
	p := newPlace(t, account.Config{})
	id := p.signUp("Kim.Smith@Example.com")
	for _, spelling := range []string{"kim.smith@example.com", " KIM.SMITH@EXAMPLE.COM ", "\u212aim.smith@example.com", "kim.smith\uff20example.com", "k\u0131m.smith@example.com"} {
		_, err := p.SignUp(t.Context(), account.NewUser{Email: spelling, Password: password}, here)
		if !errors.Is(err, account.ErrEmailTaken) {
			t.Errorf("%q signs up: %v", spelling, err)
		}
		proof, err := p.CheckPassword(t.Context(), spelling, password, here)
		if err != nil || proof.UserID() != id {
			t.Errorf("%q signs in as %q, %v", spelling, proof.UserID(), err)
		}
	}
	u, err := p.Find(t.Context(), id)
	p.must(err)
	if u.Email != "Kim.Smith@Example.com" && u.Email != "Kim.Smith@example.com" {
		t.Errorf("mail would go to %q", u.Email)
	}
}

// V-81, ASVS-6.3.1: one counter for all spellings, and nobody else is kept out.
func TestThrottle(t *testing.T) {
	p := newPlace(t, account.Config{Throttle: throttle.Rates{Pair: throttle.Rate{Burst: 3, Every: time.Minute}}})
	p.signUp("ada@example.com")
	spellings := []string{"ada@example.com", "ADA@example.com", " ada@EXAMPLE.com"}
	for _, email := range spellings {
		if _, err := p.CheckPassword(t.Context(), email, "wrong password", here); !errors.Is(err, account.ErrCredentials) {
			t.Fatalf("answered %v", err)
		}
	}
	_, err := p.CheckPassword(t.Context(), "ada@example.com", password, here)
	var retry *fault.Retry
	if !errors.Is(err, account.ErrTooMany) || !errors.As(err, &retry) || retry.After <= 0 || retry.After > time.Minute {
		t.Fatalf("answered %v", err)
	}
	elsewhere := here
	elsewhere.IP = "198.51.100.1"
	if _, err := p.CheckPassword(t.Context(), "ada@example.com", password, elsewhere); err != nil {
		t.Errorf("a stranger has locked the person out: %v", err)
	}
	p.now = p.now.Add(time.Minute)
	if _, err := p.CheckPassword(t.Context(), "ada@example.com", password, here); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

func TestFailuresAreAudited(t *testing.T) {
	p := newPlace(t, account.Config{})
	id := p.signUp("ada@example.com")
	_, _ = p.CheckPassword(t.Context(), "ada@example.com", "wrong password", here)
	_, _ = p.CheckPassword(t.Context(), "nobody@example.com", "wrong password", here)
	got, err := p.db.Entries(t.Context(), audit.Filter{Event: audit.SignInFailed}, 0, 10)
	p.must(err)
	if len(got) != 2 || got[1].UserID != id || got[0].UserID != "" || got[0].Outcome != "invalid_credentials" || got[0].IP != here.IP {
		t.Errorf("audited %+v", got)
	}
	for _, e := range got {
		if strings.Contains(e.Subject, "wrong") {
			t.Error("a password is in the audit")
		}
	}
}

// Who is refused by the thousand is told of, and does not fill the audit log.
func TestRefusalsAreAuditedSeldom(t *testing.T) {
	p := newPlace(t, account.Config{})
	for range 500 {
		_, _ = p.CheckPassword(t.Context(), "ada@example.com", "wrong password", here)
	}
	got, err := p.db.Entries(t.Context(), audit.Filter{Event: audit.SignInFailed}, 0, 1000)
	p.must(err)
	if len(got) != 10+10 || got[0].Outcome != "too_many_attempts" || got[0].IP != here.IP {
		t.Errorf("%d entries, the newest is %+v; want ten tries and ten refusals", len(got), got[0])
	}
}

// V-90: closed means closed.
func TestSignUpClosed(t *testing.T) {
	p := newPlace(t, account.Config{SignUpClosed: true})
	if _, err := p.SignUp(t.Context(), account.NewUser{Email: "ada@example.com", Password: password}, here); !errors.Is(err, account.ErrSignUpClosed) {
		t.Errorf("answered %v", err)
	}
}

func TestSignUpNamesEveryWrongMember(t *testing.T) {
	p := newPlace(t, account.Config{})
	for name, c := range map[string]struct {
		n    account.NewUser
		want []string
	}{
		"nothing":                        {account.NewUser{}, []string{"/email", "/password"}},
		"all wrong":                      {account.NewUser{Email: "ada", Name: "a\x00b", Password: "short"}, []string{"/email", "/name", "/password"}},
		"a common password":              {account.NewUser{Email: "ada@example.com", Password: "password123"}, []string{"/password"}},
		"their own name":                 {account.NewUser{Email: "lovelace@example.com", Password: "lovelace1"}, []string{"/password"}},
		"a name of newlines":             {account.NewUser{Email: "ada@example.com", Name: "a\r\nb", Password: password}, []string{"/name"}},
		"roles are not theirs to choose": {account.NewUser{Email: "eve@example.com", Password: password, Roles: []string{"admin"}, Verified: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := p.SignUp(t.Context(), c.n, here)
			var wrong fault.Members
			errors.As(err, &wrong)
			var members []string
			for _, m := range wrong {
				members = append(members, m.Member)
			}
			if !slices.Equal(members, c.want) {
				t.Fatalf("%v is at fault (%v), want %v", members, err, c.want)
			}
			if c.want != nil {
				return
			}
			u, err := p.Find(t.Context(), proof.UserID()) // V-89
			if err != nil || u.Is(account.Admin) || u.EmailVerified {
				t.Errorf("a stranger made himself %v, verified %v (%v)", u.Roles, u.EmailVerified, err)
			}
		})
	}
}

// ASVS-6.3.2: no default account; the link makes one administrator and dies.
func TestTheFirstAdministrator(t *testing.T) {
	p := newPlace(t, account.Config{})
	root := account.NewUser{Email: "root@example.com", Password: password}
	old, offered, err := p.OfferSetup(t.Context())
	if err != nil || !offered {
		t.Fatalf("offered %v, %v", offered, err)
	}
	link, _, err := p.OfferSetup(t.Context())
	p.must(err)
	for _, dead := range []string{old, "", "nonsense", link + "A", strings.Repeat("A", 43)} {
		if _, err := p.ClaimSetup(t.Context(), dead, root, here); !errors.Is(err, account.ErrSetupOver) {
			t.Errorf("a dead link answers %v", err)
		}
	}
	p.must(p.SetupOpen(t.Context(), link)) // looking spends nothing
	if _, err := p.ClaimSetup(t.Context(), link, account.NewUser{Email: "root@example.com", Password: "short"}, here); err == nil {
		t.Error("a bad password was taken")
	}
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		n := root
		n.Email = string(rune('a'+i)) + n.Email
		all.Go(func() { _, errs[i] = p.ClaimSetup(t.Context(), link, n, here) })
	}
	all.Wait()
	won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
	for i, err := range errs {
		if i != won && !errors.Is(err, account.ErrSetupOver) {
			t.Errorf("racer %d: %v, winner %d", i, err, won)
		}
	}
	if _, offered, _ := p.OfferSetup(t.Context()); offered {
		t.Error("another link after the first was used")
	}
	users, err := p.List(t.Context(), "", 10)
	p.must(err)
	if len(users) != 1 || !users[0].Is(account.Admin) {
		t.Errorf("there are %d users", len(users))
	}
}

func TestASetupLinkExpires(t *testing.T) {
	p := newPlace(t, account.Config{})
	link, _, err := p.OfferSetup(t.Context())
	p.must(err)
	p.now = p.now.Add(account.SetupLife)
	if err := p.SetupOpen(t.Context(), link); !errors.Is(err, account.ErrSetupOver) {
		t.Errorf("after its hour it answers %v", err)
	}
}

// ASVS-6.2.2/3: a new password needs the old one.
func TestChangePassword(t *testing.T) {
	p := newPlace(t, account.Config{})
	u, err := p.Find(t.Context(), p.signUp("ada@example.com"))
	p.must(err)
	const next = "an even longer pass phrase"
	if err := p.ChangePassword(t.Context(), u, "not this one", next, "", true, here); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("with a wrong one: %v", err)
	}
	var wrong fault.Members
	if err := p.ChangePassword(t.Context(), u, password, "short", "", true, here); !errors.As(err, &wrong) || wrong[0].Member != "/new_password" {
		t.Errorf("with a short one: %v", err)
	}
	p.must(p.ChangePassword(t.Context(), u, password, next, "", true, here))
	if _, err := p.CheckPassword(t.Context(), u.Email, password, here); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("the old one still fits: %v", err)
	}
	if _, err := p.CheckPassword(t.Context(), u.Email, next, here); err != nil {
		t.Errorf("the new one does not: %v", err)
	}
}

func TestAPIKeys(t *testing.T) {
	p := newPlace(t, account.Config{})
	k, text, err := p.AddAPIKey(t.Context(), "orders", []string{account.ScopeRevocations, account.ScopeIntrospect}, "cli", here)
	p.must(err)
	if _, err := p.CheckAPIKey(t.Context(), text, account.ScopeIntrospect); err != nil {
		t.Errorf("its own scope: %v", err)
	}
	if _, err := p.CheckAPIKey(t.Context(), text, account.ScopeAdmin); !errors.Is(err, account.ErrScope) {
		t.Errorf("another scope: %v", err)
	}
	for _, bad := range []string{"", text[:len(text)-1], text + "A", "cka_" + k.ID, strings.ToUpper(text), text[:30] + strings.Repeat("A", len(text)-30)} {
		if _, err := p.CheckAPIKey(t.Context(), bad, account.ScopeIntrospect); !errors.Is(err, account.ErrNoAPIKey) {
			t.Errorf("a bad key: %v", err)
		}
	}
	p.must(p.RemoveAPIKey(t.Context(), k.ID, "cli", here))
	if _, err := p.CheckAPIKey(t.Context(), text, account.ScopeIntrospect); !errors.Is(err, account.ErrNoAPIKey) {
		t.Errorf("a removed key that was remembered: %v", err)
	}
	if !p.log.Set().Holds(feed.APIKey, k.ID) {
		t.Error("the removal is not in the log")
	}
	for _, scopes := range [][]string{nil, {"root"}} {
		if _, _, err := p.AddAPIKey(t.Context(), "x", scopes, "cli", here); !errors.Is(err, fault.ErrInvalid) {
			t.Errorf("scopes %v: %v", scopes, err)
		}
	}
}

// V-34: what was deleted stays deleted, and its address can begin anew.
func TestDeletedUsers(t *testing.T) {
	p := newPlace(t, account.Config{})
	id := p.signUp("ada@example.com")
	p.must(p.Delete(t.Context(), id, "cli", here))
	if _, err := p.Find(t.Context(), id); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("still found: %v", err)
	}
	if again := p.signUp("ada@example.com"); again == id {
		t.Error("an id was used again")
	}
}
