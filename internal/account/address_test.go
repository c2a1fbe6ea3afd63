package account_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// Where an address need not be proven first, the account is there at once, and the
// mail proves the address afterwards.
func TestVerifyLater(t *testing.T) {
	p := newPlace(t, account.Config{})
	p.signUp("ada@example.com")
	first := p.mail(mail.VerifyEmail, "ada@example.com")
	u := p.user("ada@example.com")
	p.must(p.SendVerification(t.Context(), u, here))
	second := p.mail(mail.VerifyEmail, "ada@example.com")
	if err := p.verify(first.token); !errors.Is(err, account.ErrLinkOver) { // V-87
		t.Errorf("the link before: %v", err)
	}
	out, err := p.Verify(t.Context(), account.Verification{Email: "ADA@example.com", Code: second.code}, here)
	if err != nil || out.Kind != account.LinkVerify || !out.User.EmailVerified || out.Proof.UserID() != "" {
		t.Errorf("verified %+v, %v", out, err)
	}
	p.must(p.SendVerification(t.Context(), p.user("ada@example.com"), here))
	if got := p.mails(); got != nil {
		t.Errorf("a verified address is mailed %+v", got)
	}
	for range 4 { // one with the sign-up, one asked for
		err = p.SendVerification(t.Context(), u, here)
	}
	if !errors.Is(err, account.ErrTooMany) {
		t.Errorf("the sixth mail: %v", err)
	}
}

func TestChangeEmail(t *testing.T) {
	p := newPlace(t, account.Config{})
	u := p.add("ada@example.com")
	p.add("Bob@example.com")
	// ASVS-7.5.1: it needs the password.
	if err := p.ChangeEmail(t.Context(), u, "new@example.com", "not this one", here); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("with a wrong password: %v", err)
	}
	if got := members(p.ChangeEmail(t.Context(), u, "new", password, here)); !slices.Equal(got, []string{"/email format"}) {
		t.Errorf("with no address: %v", got)
	}
	p.must(p.ChangeEmail(t.Context(), u, "New@example.com", password, here))
	got := p.mails()
	slices.SortFunc(got, func(a, b received) int { return len(a.to) - len(b.to) })
	if len(got) != 2 || got[0].kind != mail.ChangeEmail && got[1].kind != mail.ChangeEmail {
		t.Fatalf("mailed %+v", got)
	}
	link, notice := got[0], got[1]
	if link.kind != mail.ChangeEmail {
		link, notice = notice, link
	}
	if link.to != "New@example.com" || notice.kind != mail.EmailChanging || notice.to != "ada@example.com" || notice.token != "" || notice.values["email"] != "New@example.com" {
		t.Errorf("mailed %+v and %+v", link, notice)
	}
	if now := p.user("ada@example.com"); now.ID != u.ID {
		t.Error("it changed before the mailbox answered")
	}
	out, err := p.Verify(t.Context(), account.Verification{Email: "new@example.com", Code: link.code}, here)
	if err != nil || out.User.Email != "New@example.com" || !out.User.EmailVerified || out.User.ChangedBefore == 0 || out.Proof.UserID() != "" {
		t.Errorf("changed to %+v, %v", out, err)
	}
	p.mail(mail.EmailChanged, "ada@example.com")
	if p.signsIn("ada@example.com", password) || !p.signsIn("new@example.com", password) {
		t.Error("another address signs in than should")
	}
}

// V-80: that an address has an account is told to its mailbox and not to who asks.
// What happens while a link is on its way decides.
func TestChangeToATakenEmail(t *testing.T) {
	p := newPlace(t, account.Config{})
	u, bob := p.add("ada@example.com"), p.add("Bob@example.com")
	p.must(p.ChangeEmail(t.Context(), u, "bob@example.com", password, here))
	kinds := map[mail.Kind]string{}
	for _, m := range p.mails() {
		kinds[m.kind] = m.to + m.token
	}
	if len(kinds) != 2 || kinds[mail.AccountExists] != bob.Email || kinds[mail.EmailChanging] != u.Email {
		t.Errorf("mailed %v", kinds)
	}
	p.must(p.ChangeEmail(t.Context(), u, "carol@example.com", password, here))
	token := p.token(mail.ChangeEmail)
	p.add("carol@example.com")
	if err := p.verify(token); !errors.Is(err, account.ErrEmailTaken) {
		t.Errorf("an address that was taken meanwhile: %v", err)
	}
	if p.user("ada@example.com").ID != u.ID {
		t.Error("something changed")
	}
	for range 3 {
		p.must(p.ChangeEmail(t.Context(), u, "dora@example.com", password, here))
	}
	if err := p.ChangeEmail(t.Context(), u, "eve@example.com", password, here); !errors.Is(err, account.ErrTooMany) {
		t.Errorf("the sixth address: %v", err)
	}
}

// V-91: who gets the account back by its mailbox has it alone. A change of address
// that a stranger began under the former password dies with it.
func TestAResetEndsAStrangersChange(t *testing.T) {
	p := newPlace(t, account.Config{})
	u := p.add("ada@example.com")
	p.must(p.ChangeEmail(t.Context(), u, "eve@example.com", password, here))
	token := p.token(mail.ChangeEmail)
	p.must(p.Reset(t.Context(), p.forgot("ada@example.com"), another, here))
	if err := p.verify(token); !errors.Is(err, account.ErrLinkOver) {
		t.Errorf("the stranger's link: %v", err)
	}
}

// invite invites and returns the token.
func (p *place) invite(i account.Invited) string {
	p.t.Helper()
	until, err := p.Invite(p.t.Context(), i, "cli", here)
	p.must(err)
	if until != p.now.Add(account.LinkLife) {
		p.t.Errorf("it is good until %v", until)
	}
	return p.mail(mail.Invitation, i.Email).token
}

func TestInvitations(t *testing.T) {
	p := newPlace(t, account.Config{SignUpInvited: true, VerifyRequired: true})
	if got := members(second(p.Invite(t.Context(), account.Invited{Email: "bob", Roles: []string{"owner"}}, "cli", here))); !slices.Equal(got, []string{"/email format", "/roles format"}) {
		t.Errorf("a bad invitation: %v", got)
	}
	p.invite(account.Invited{Email: "Ada@example.com"})
	token := p.invite(account.Invited{Email: "Ada@example.com", Name: "Ada", Roles: []string{account.Admin}})
	signUp := func(token, email, password string) (account.Proof, error) {
		return p.SignUp(t.Context(), account.NewUser{Email: email, Password: password, Invitation: token, Roles: []string{"owner"}}, here)
	}
	if got := members(second(signUp(token, "eve@example.com", password))); !slices.Equal(got, []string{"/email format"}) {
		t.Errorf("another address: %v", got)
	}
	if got := members(second(signUp(token, "", "short"))); !slices.Equal(got, []string{"/password format"}) {
		t.Errorf("a bad password: %v", got)
	}
	if err := p.verify(token); !errors.Is(err, account.ErrLinkOver) {
		t.Errorf("an invitation verifies: %v", err)
	}
	proof, err := signUp(token, "ADA@example.com", password)
	p.must(err)
	u := p.user("ada@example.com")
	if proof.UserID() != u.ID || !u.EmailVerified || u.Email != "Ada@example.com" || u.Name != "Ada" || !slices.Equal(u.Roles, []string{account.Admin}) {
		t.Errorf("it made %+v", u)
	}
	for _, dead := range []string{token, "x", ""} {
		want := error(account.ErrLinkOver)
		if dead == "" {
			want = account.ErrSignUpClosed
		}
		if _, err := signUp(dead, "ada@example.com", password); !errors.Is(err, want) {
			t.Errorf("a dead invitation: %v", err)
		}
	}
	if _, err := p.Invite(t.Context(), account.Invited{Email: "ada@example.com"}, "cli", here); !errors.Is(err, account.ErrEmailTaken) {
		t.Errorf("inviting who is there: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// V-90: what is closed is closed by every way in, and stays so for links on their way.
func TestClosed(t *testing.T) {
	for name, c := range map[string]struct {
		config account.Config
		closed []string
	}{
		"closed": {account.Config{SignUpClosed: true, VerifyRequired: true}, []string{"sign-up", "begin", "finish", "invited", "invite"}},
		"invite": {account.Config{SignUpInvited: true, VerifyRequired: true}, []string{"sign-up", "begin", "finish"}},
	} {
		p := newPlace(t, required)
		began := p.begin("ada@example.com", credential.Hash{})
		n := account.NewUser{Email: "ada@example.com", Password: password}
		invited := account.NewUser{Email: "bob@example.com", Password: password, Invitation: p.invite(account.Invited{Email: "bob@example.com"})}
		d := p.directory(c.config, cheap)
		for way, err := range map[string]error{
			"sign-up": second(d.SignUp(t.Context(), n, here)),
			"begin":   d.BeginSignUp(t.Context(), n, credential.Hash{}, here),
			"finish":  second(d.Verify(t.Context(), account.Verification{Token: began.token, Password: another}, here)),
			"invited": second(d.SignUp(t.Context(), invited, here)),
			"invite":  second(d.Invite(t.Context(), account.Invited{Email: "carol@example.com"}, "cli", here)),
		} {
			if errors.Is(err, account.ErrSignUpClosed) != slices.Contains(c.closed, way) {
				t.Errorf("%s, %s: %v", name, way, err)
			}
		}
	}
}

// Without a way to send mails nothing is promised that needs one.
func TestWithoutMail(t *testing.T) {
	p := newPlace(t, account.Config{NoMail: true})
	p.signUp("ada@example.com")
	u := p.user("ada@example.com")
	for name, err := range map[string]error{
		"verification": p.SendVerification(t.Context(), u, here),
		"email":        p.ChangeEmail(t.Context(), u, "new@example.com", password, here),
		"invitation":   second(p.Invite(t.Context(), account.Invited{Email: "bob@example.com"}, "cli", here)),
	} {
		if !errors.Is(err, account.ErrNoMail) || fault.Of(err).Kind != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.must(p.Forgot(t.Context(), "ada@example.com", here))
	if got := p.mails(); got != nil {
		t.Errorf("mailed %+v", got)
	}
}
