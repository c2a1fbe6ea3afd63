package account_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
)

const another = "quite another long phrase"

var required = account.Config{VerifyRequired: true}

// A received mail, as its reader sees it.
type received struct {
	kind        mail.Kind
	to          string
	token, code string
	values      map[string]string
}

// mails empties the outbox.
func (p *place) mails() []received {
	p.t.Helper()
	letters, _, err := p.db.Claim(p.t.Context(), "test", time.Minute, 1000)
	p.must(err)
	var all []received
	for _, l := range letters {
		path, code := p.MailedLink(l.Message)
		_, token, _ := strings.Cut(path, "=")
		all = append(all, received{l.Kind, l.To, token, code, l.Values})
		p.must(p.db.Sent(p.t.Context(), l.ID, "test"))
	}
	return all
}

// mail wants exactly one mail in the outbox: of this kind, to this address.
func (p *place) mail(kind mail.Kind, to string) received {
	p.t.Helper()
	all := p.mails()
	if len(all) != 1 || all[0].kind != kind || all[0].to != to {
		p.t.Fatalf("mailed %+v, want one %s to %s", all, kind, to)
	}
	return all[0]
}

// begin begins a sign-up and returns its mail.
func (p *place) begin(email string, browser credential.Hash) received {
	p.t.Helper()
	p.must(p.BeginSignUp(p.t.Context(), account.NewUser{Email: email, Name: "Ada", Password: password}, browser, here))
	return p.mail(mail.FinishSignUp, email)
}

// forgot returns the token of a reset link.
func (p *place) forgot(email string) string {
	p.t.Helper()
	p.must(p.Forgot(p.t.Context(), email, here))
	return p.mail(mail.ResetPassword, email).token
}

func (p *place) user(email string) account.User {
	p.t.Helper()
	u, err := p.FindByEmail(p.t.Context(), email)
	p.must(err)
	return u
}

// add adds a user by hand, so that no mail is on its way.
func (p *place) add(email string) account.User {
	p.t.Helper()
	u, err := p.Add(p.t.Context(), account.NewUser{Email: email, Password: password}, "cli", here)
	p.must(err)
	return u
}

// signsIn reports whether the password is that of the address.
func (p *place) signsIn(email, password string) bool {
	p.t.Helper()
	_, err := p.CheckPassword(p.t.Context(), email, password, here)
	if err != nil && !errors.Is(err, account.ErrCredentials) {
		p.t.Fatal(err)
	}
	return err == nil
}

// members returns the members at fault.
func members(err error) []string {
	var wrong fault.Members
	errors.As(err, &wrong)
	var names []string
	for _, m := range wrong {
		names = append(names, m.Member+" "+m.Code)
	}
	return names
}

func hashOf(t *testing.T) credential.Hash {
	t.Helper()
	return credential.NewSecret().Hash()
}

// No account is made before its address is proven. V-91: who began a sign-up and who
// reads the mail may be two people, so the password typed first counts only in the
// browser that typed it.
func TestFinishSignUp(t *testing.T) {
	mine, strange := hashOf(t), hashOf(t)
	for name, c := range map[string]struct {
		began, browser  credential.Hash
		byCode          bool
		password        string
		members         []string
		proven          bool
		signsIn, former bool // by the password of the mail's reader, and by the one typed first
	}{
		"same browser":                         {mine, mine, false, "", nil, true, false, true},
		"same browser, by code":                {mine, mine, true, "", nil, true, false, true},
		"same browser, a password given again": {mine, mine, false, another, nil, true, true, false},
		"another browser, no password":         {mine, strange, false, "", []string{"/password required"}, false, false, false},
		"another browser, a bad one":           {mine, strange, false, "password123", []string{"/password format"}, false, false, false},
		"another browser":                      {mine, strange, false, another, nil, false, true, false},
		"another browser, by code":             {mine, strange, true, another, nil, false, true, false},
		"no browser at either end":             {credential.Hash{}, credential.Hash{}, false, "", []string{"/password required"}, false, false, false},
		"no browser at either end, a password": {credential.Hash{}, credential.Hash{}, true, another, nil, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, required)
			m := p.begin("Ada@example.com", c.began)
			if _, err := p.FindByEmail(t.Context(), "ada@example.com"); !errors.Is(err, account.ErrNoUser) {
				t.Errorf("before the address was proven: %v", err)
			}
			v := account.Verification{Token: m.token, Password: c.password, Browser: c.browser}
			if c.byCode {
				v.Token, v.Email, v.Code = "", "ADA@example.com", m.code[:3]+" "+m.code[3:]
			}
			out, err := p.Verify(t.Context(), v, here)
			if diff := cmp.Diff(c.members, members(err)); diff != "" {
				t.Fatalf("what is at fault (-want +got):\n%s", diff)
			}
			if c.members != nil { // nothing is spent
				_, err := p.Peek(t.Context(), m.token, c.browser)
				p.must(err)
				return
			}
			p.must(err)
			if out.Kind != account.LinkSignUp || !out.User.EmailVerified || out.User.Email != "Ada@example.com" || out.User.Name != "Ada" {
				t.Errorf("it made %+v", out)
			}
			if (out.Proof.UserID() == out.User.ID) != c.proven || (out.Proof.UserID() != "") != c.proven {
				t.Errorf("proven: %q", out.Proof.UserID())
			}
			if p.signsIn("ada@example.com", another) != c.signsIn || p.signsIn("ada@example.com", password) != c.former {
				t.Error("another password is the one than should be")
			}
			for range 2 {
				if _, err := p.Verify(t.Context(), v, here); !errors.Is(err, account.ErrLinkOver) && !errors.Is(err, account.ErrWrongCode) {
					t.Errorf("a second time: %v", err)
				}
			}
		})
	}
}

// V-80: whether an address has an account is told by neither answer, hashes, nor what
// is asked of the store, of which the one step decides how long it takes.
func TestAskingTellsNothing(t *testing.T) {
	ask := map[string]func(p *place, d *account.Directory, email string) error{
		"sign-up": func(p *place, d *account.Directory, email string) error {
			return d.BeginSignUp(p.t.Context(), account.NewUser{Email: email, Password: password}, credential.Hash{}, here)
		},
		"forgotten password": func(p *place, d *account.Directory, email string) error { return d.Forgot(p.t.Context(), email, here) },
		"a code": func(p *place, d *account.Directory, email string) error {
			_, err := d.Verify(p.t.Context(), account.Verification{Email: email, Code: "000000"}, here)
			return err
		},
	}
	for name, ask := range ask {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, required)
			p.add("ada@example.com")
			p.disable(p.add("gone@example.com").ID)
			_, err := p.Add(t.Context(), account.NewUser{Email: "none@example.com"}, "cli", here)
			p.must(err)
			for range 5 {
				p.must(p.Forgot(t.Context(), "often@example.com", here))
				p.must(p.BeginSignUp(t.Context(), account.NewUser{Email: "often@example.com", Password: password}, credential.Hash{}, here))
			}
			var first []string
			for _, email := range []string{"nobody@example.com", "ada@example.com", "gone@example.com", "none@example.com", "often@example.com"} {
				d := p.directory(required, cheap)
				if email == "often@example.com" {
					d = p.Directory // which has counted
				}
				hashes := 0
				d.CountHashes(func(account.HashParameters) { hashes++ })
				p.steps = nil
				err := ask(p, d, email)
				did := append(slices.Clone(p.steps), strings.Repeat("hash ", hashes), errorText(err))
				if first == nil {
					first = did
				} else if diff := cmp.Diff(first, did); diff != "" {
					t.Errorf("%s costs or answers other than an unknown address (-unknown +this):\n%s", email, diff)
				}
				d.CountHashes(func(account.HashParameters) {})
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return "nothing wrong"
	}
	return err.Error()
}

// What a mailbox is told: whose address it is, and V-92 nobody else.
func TestWhoIsMailed(t *testing.T) {
	p := newPlace(t, required)
	p.add("Kim@example.com")
	for _, spelling := range []string{"kim@example.com", "\u212aim@example.com"} {
		p.must(p.BeginSignUp(t.Context(), account.NewUser{Email: spelling, Name: "Buy now", Password: password}, credential.Hash{}, here))
		if m := p.mail(mail.AccountExists, "Kim@example.com"); m.token+m.code != "" || len(m.values) != 0 {
			t.Errorf("the mail to an account that exists brings %+v", m)
		}
		p.must(p.Forgot(t.Context(), spelling, here))
		p.mail(mail.ResetPassword, "Kim@example.com")
	}
	if guessable, err := p.db.GuessLinks(t.Context(), "kim@example.com"); err != nil || len(guessable) != 0 {
		t.Errorf("a code that nobody was sent opens %+v, %v", guessable, err)
	}
	if m := p.begin("bob@example.com", credential.Hash{}); len(m.values) != 0 { // V-111: a stranger typed the name
		t.Errorf("the mail of a sign-up says %v", m.values)
	}
	p.disable(p.add("gone@example.com").ID)
	for _, email := range []string{"nobody@example.com", "gone@example.com"} {
		p.must(p.Forgot(t.Context(), email, here))
		if got := p.mails(); got != nil {
			t.Errorf("mailed %+v", got)
		}
	}
}

// V-87: a link is good once, not after a newer one, not after a change of the
// password, not after an hour; and looking at it spends nothing.
func TestResetLinksDie(t *testing.T) {
	for name, kill := range map[string]func(p *place, token string){
		"spent":        func(p *place, token string) { p.must(p.Reset(p.t.Context(), token, another, here)) },
		"a newer link": func(p *place, _ string) { p.forgot("ada@example.com") },
		"an hour":      func(p *place, _ string) { p.now = p.now.Add(account.LinkLife) },
		"a change of the password": func(p *place, _ string) {
			p.must(p.ChangePassword(p.t.Context(), p.user("ada@example.com"), password, another, "", false, here))
		},
		"a new password by an administrator": func(p *place, _ string) {
			p.must(p.SetPassword(p.t.Context(), p.user("ada@example.com").ID, another, "cli", here))
		},
		"another address": func(p *place, _ string) {
			p.must(p.ChangeEmail(p.t.Context(), p.user("ada@example.com"), "new@example.com", password, here))
			p.must(p.verify(p.token(mail.ChangeEmail)))
		},
		"disabled": func(p *place, _ string) { p.disable(p.user("ada@example.com").ID) },
		"deleted":  func(p *place, _ string) { p.must(p.Delete(p.t.Context(), p.user("ada@example.com").ID, "cli", here)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, account.Config{})
			p.add("ada@example.com")
			token := p.forgot("ada@example.com")
			for range 10 {
				view, err := p.Peek(t.Context(), token, credential.Hash{})
				if err != nil || view.Kind != account.LinkReset || view.Email != "ada@example.com" || view.Bound || view.ExpiresAt != p.now.Add(account.LinkLife) {
					t.Fatalf("looking shows %+v, %v", view, err)
				}
			}
			kill(p, token)
			if err := p.Reset(t.Context(), token, "one more long phrase", here); !errors.Is(err, account.ErrLinkOver) {
				t.Errorf("afterwards it answers %v", err)
			}
		})
	}
}

// token returns that of the one mail of this kind in the outbox.
func (p *place) token(kind mail.Kind) string {
	p.t.Helper()
	token := ""
	for _, m := range p.mails() {
		if m.kind == kind {
			token = m.token
		}
	}
	return token
}

func (p *place) verify(token string) error {
	_, err := p.Verify(p.t.Context(), account.Verification{Token: token}, here)
	return err
}

// ASVS-6.4.3, V-87: a reset proves the mailbox. It sets the password, ends what there
// is and tells the person; it hands out no Proof.
func TestReset(t *testing.T) {
	p := newPlace(t, account.Config{})
	u := p.add("ada@example.com")
	token := p.forgot("ada@example.com")
	if got := members(p.Reset(t.Context(), token, "short", here)); !slices.Equal(got, []string{"/password format"}) {
		t.Errorf("with a bad password: %v", got)
	}
	p.must(p.Reset(t.Context(), token, another, here))
	m := p.mail(mail.PasswordChanged, "ada@example.com")
	if m.values["at"] != "2026-11-21T09:00:00Z" {
		t.Errorf("the notice says %v", m.values)
	}
	after := p.user("ada@example.com")
	if after.OverBefore == 0 || !after.EmailVerified || after.PasswordVersion != u.PasswordVersion+1 {
		t.Errorf("afterwards there is %+v", after)
	}
	if p.signsIn("ada@example.com", password) || !p.signsIn("ada@example.com", another) {
		t.Error("another password is the one than should be")
	}
}

// V-45, I-3: of eight that spend one link, one does.
func TestALinkIsSpentOnce(t *testing.T) {
	p := newPlace(t, required)
	token := p.begin("ada@example.com", credential.Hash{}).token
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() {
			_, errs[i] = p.Verify(t.Context(), account.Verification{Token: token, Password: another}, here)
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, account.ErrLinkOver) {
			t.Errorf("a racer got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

// A guesser has five tries at a code, and the person still has the link. All sign-ups
// of an address live, because the newest may be a stranger's.
func TestGuessingCodes(t *testing.T) {
	p := newPlace(t, required)
	m := p.begin("ada@example.com", credential.Hash{})
	wrong := func() error {
		_, err := p.Verify(t.Context(), account.Verification{Email: "ada@example.com", Code: other(m.code), Password: another}, here)
		return err
	}
	for range account.MaxGuesses {
		if err := wrong(); !errors.Is(err, account.ErrWrongCode) {
			t.Fatalf("a wrong code: %v", err)
		}
	}
	right := account.Verification{Email: "ada@example.com", Code: m.code, Password: another}
	if _, err := p.Verify(t.Context(), right, here); !errors.Is(err, account.ErrWrongCode) {
		t.Errorf("the right code after five wrong ones: %v", err)
	}
	second := p.begin("ada@example.com", credential.Hash{})
	for range 4 {
		_ = wrong()
	}
	if err := wrong(); !errors.Is(err, account.ErrTooMany) {
		t.Errorf("the eleventh guess at an address: %v", err)
	}
	if _, err := p.Verify(t.Context(), account.Verification{Email: "bob@example.com", Code: "123456"}, here); !errors.Is(err, account.ErrWrongCode) {
		t.Errorf("another address is kept out: %v", err)
	}
	for _, token := range []string{second.token, m.token} {
		if _, err := p.Peek(t.Context(), token, credential.Hash{}); err != nil {
			t.Errorf("the link: %v", err)
		}
	}
	_, err := p.Verify(t.Context(), account.Verification{Token: m.token, Password: another}, here)
	p.must(err)
	if err := p.verify(second.token); !errors.Is(err, account.ErrLinkOver) {
		t.Errorf("the other sign-up of the address: %v", err)
	}
}

// other returns another code.
func other(code string) string {
	if code == "123456" {
		return "654321"
	}
	return "123456"
}

// Whatever is wrong with what should prove a mailbox has one answer, and what we did
// not make asks nothing of the store.
func TestWrongProofs(t *testing.T) {
	p := newPlace(t, required)
	p.add("ada@example.com")
	reset := p.forgot("ada@example.com")
	m := p.begin("bob@example.com", credential.Hash{})
	for name, c := range map[string]struct {
		v    account.Verification
		want error
		asks bool
	}{
		"nothing":               {account.Verification{}, fault.ErrInvalid, false},
		"no code":               {account.Verification{Email: "bob@example.com"}, fault.ErrInvalid, false},
		"an address that is no": {account.Verification{Email: "bob", Code: m.code}, fault.ErrInvalid, false},
		"not a token":           {account.Verification{Token: "x"}, account.ErrLinkOver, false},
		"not one of ours":       {account.Verification{Token: m.token[:len(m.token)-4] + "AAAA"}, account.ErrLinkOver, false},
		"of another kind":       {account.Verification{Token: reset}, account.ErrLinkOver, false},
		"not a code":            {account.Verification{Email: "bob@example.com", Code: "12345x"}, account.ErrWrongCode, false},
		"another's code":        {account.Verification{Email: "ada@example.com", Code: m.code}, account.ErrWrongCode, true},
	} {
		p.steps = nil
		if _, err := p.Verify(t.Context(), c.v, here); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if (len(p.steps) > 0) != c.asks {
			t.Errorf("%s: the store was asked for %v", name, p.steps)
		}
	}
	if err := p.Reset(t.Context(), m.token, another, here); !errors.Is(err, account.ErrLinkOver) {
		t.Errorf("a sign-up resets: %v", err)
	}
}

// Nobody's mailbox is flooded, silently; the mails that went out stay good, and who
// uses up one kind keeps no other from the person.
func TestNobodyIsFlooded(t *testing.T) {
	p := newPlace(t, required)
	p.add("ada@example.com")
	for range 20 {
		p.must(p.Forgot(t.Context(), "ADA@example.com", here))
	}
	got := p.mails()
	if len(got) != 5 {
		t.Fatalf("%d mails for 20 calls", len(got))
	}
	p.must(p.BeginSignUp(t.Context(), account.NewUser{Email: "ada@example.com", Password: password}, credential.Hash{}, here))
	p.mail(mail.AccountExists, "ada@example.com")
	if _, err := p.Peek(t.Context(), got[4].token, credential.Hash{}); err != nil {
		t.Errorf("the last link that was mailed: %v", err)
	}
	p.now = p.now.Add(15 * time.Minute)
	newest := p.forgot("ada@example.com")
	p.must(p.Reset(t.Context(), newest, another, here))
	for range 9 {
		p.must(p.Forgot(t.Context(), "x@example.com", here))
	}
	var retry *fault.Retry
	for range 30 {
		if err := p.Forgot(t.Context(), "y@example.com", here); err != nil {
			if !errors.As(err, &retry) || !errors.Is(err, account.ErrTooMany) {
				t.Fatalf("answered %v", err)
			}
			return
		}
	}
	t.Error("one network address may ask for ever")
}

func TestEverythingAskedIsAudited(t *testing.T) {
	p := newPlace(t, required)
	browser := hashOf(t)
	m := p.begin("ada@example.com", browser)
	_, _ = p.Verify(t.Context(), account.Verification{Email: "ada@example.com", Code: other(m.code)}, here)
	out, err := p.Verify(t.Context(), account.Verification{Token: m.token, Browser: browser}, here)
	p.must(err)
	_ = p.verify(m.token)
	p.must(p.Reset(t.Context(), p.forgot("ada@example.com"), another, here))
	p.must(p.Forgot(t.Context(), "nobody@example.com", here))
	_, err = p.Invite(t.Context(), account.Invited{Email: "bob@example.com"}, "cli", here)
	p.must(err)
	p.must(p.ChangeEmail(t.Context(), p.user("ada@example.com"), "new@example.com", another, here))
	p.must(p.verify(p.token(mail.ChangeEmail)))
	entries, err := p.db.Entries(t.Context(), audit.Filter{}, 0, 100)
	p.must(err)
	var got []string
	for _, e := range slices.Backward(entries) {
		who := "nobody"
		if e.UserID == out.User.ID {
			who = "ada"
		}
		got = append(got, string(e.Event)+" "+e.Outcome+" "+who)
		if strings.Contains(e.Subject, "ckl_") || strings.Contains(e.Subject, m.code) {
			t.Error("what opens a link is in the audit")
		}
	}
	want := []string{
		"sign_up_asked ok nobody", "code_failed wrong_code nobody", "signed_up ok ada", "link_refused link_over nobody",
		"reset_asked ok ada", "password_reset ok ada", "reset_asked not_found nobody", "user_invited ok nobody",
		"email_change_asked ok ada", "email_changed ok ada",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audited (-want +got):\n%s", diff)
	}
}

func TestSweep(t *testing.T) {
	p := newPlace(t, required)
	m := p.begin("ada@example.com", credential.Hash{})
	p.now = p.now.Add(account.LinkLife)
	young := p.begin("bob@example.com", credential.Hash{})
	p.must(p.Sweep(t.Context()))
	n, err := p.db.SweepLinks(t.Context(), 10)
	if err != nil || n != 0 {
		t.Errorf("%d links were left, %v", n, err)
	}
	for token, want := range map[string]error{m.token: account.ErrLinkOver, young.token: nil} {
		if _, err := p.Peek(t.Context(), token, credential.Hash{}); !errors.Is(err, want) {
			t.Errorf("looking: %v, want %v", err, want)
		}
	}
}
