package account

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/device"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Forgot mails a link to a new password to the address as its account has it. The
// caller learns nothing: whether there is an account, one look-up and one step are
// made. It ends an earlier link. ErrTooMany per network address, or what is wrong
// with the email.
func (d *Directory) Forgot(ctx context.Context, email string, from audit.Origin) error {
	if err := d.knock(ctx, from); err != nil {
		return err
	}
	address, key, err := CanonicalEmail(email)
	if err != nil {
		return err
	}
	may, err := d.mayMail(ctx, LinkReset, key)
	if err != nil {
		return err
	}
	u, known, err := d.taken(ctx, key)
	if err != nil {
		return err
	}
	e := asking(audit.ResetAsked, "", u.ID, key, from)
	l, m := newLink(LinkReset, mail.ResetPassword, address, key, from)
	mails := []mail.Message{m}
	switch {
	case !known || u.Disabled:
		l, mails, e.Outcome = l.decoy(), nil, ErrNoUser.Code
	case !may:
		l, mails, e.Outcome = l.decoy(), nil, ErrTooMany.Code
	default:
		l.UserID, l.Email, mails[0].To = u.ID, u.Email, u.Email
	}
	if _, err := d.links.AddLink(ctx, l, e, mails...); err != nil && !errors.Is(err, ErrNoUser) { // deleted at this moment
		return err
	}
	return nil
}

// Reset spends a link from Forgot: it sets the password, ends all sessions, and tells
// the person. It proves the mailbox and never a person, so nobody is signed in by
// it. ErrLinkOver, or what is wrong with the password, which spends nothing.
func (d *Directory) Reset(ctx context.Context, token, password string, from audit.Origin) error {
	l, err := d.openLink(ctx, token, from, LinkReset)
	if err != nil {
		return err
	}
	u, err := d.Find(ctx, l.UserID)
	if errors.Is(err, ErrNoUser) {
		return ErrLinkOver
	}
	if err != nil {
		return err
	}
	hash, err := d.choose(ctx, u, password)
	if err != nil {
		return err
	}
	m := d.notice(mail.PasswordChanged, u, from)
	return d.links.ResetByLink(ctx, l.ID, hash, asking(audit.PasswordReset, u.ID, u.ID, l.ID, from), m)
}

// notice tells a user of what was done from here.
func (d *Directory) notice(kind mail.Kind, u User, from audit.Origin) mail.Message {
	return Notice(kind, u, device.Name(from.UserAgent), from, d.now(), d.config.Place)
}

// SendVerification mails a link and a code that prove the address of an account, and
// ends an earlier one. For a verified address it does nothing. ErrTooMany, ErrNoMail.
func (d *Directory) SendVerification(ctx context.Context, u User, from audit.Origin) error {
	if u.EmailVerified {
		return nil
	}
	return d.sendVerification(ctx, u, asking(audit.VerificationAsked, u.ID, u.ID, "", from), from)
}

func (d *Directory) sendVerification(ctx context.Context, u User, e audit.Entry, from audit.Origin) error {
	if d.config.NoMail {
		return ErrNoMail
	}
	if err := d.take(ctx, throttle.Limit{Key: "v" + u.EmailKey, Rate: mailRate}); err != nil {
		return err
	}
	l, m := newLink(LinkVerify, mail.VerifyEmail, u.Email, u.EmailKey, from)
	l.UserID = u.ID
	_, err := d.links.AddLink(ctx, l, e, m)
	return err
}

// ChangeEmail mails a link and a code to the new address of someone who proves the
// password, and tells the old one. Nothing changes before the new mailbox has
// answered. That the new address has an account is told to that mailbox and not to
// the caller. ErrCredentials, ErrTooMany, ErrNoMail, or what is wrong with the email.
func (d *Directory) ChangeEmail(ctx context.Context, u User, email, password string, from audit.Origin) error {
	address, key, err := CanonicalEmail(email)
	if err != nil {
		return err
	}
	if d.config.NoMail {
		return ErrNoMail
	}
	if _, err := d.CheckAgain(ctx, u, password, from); err != nil {
		return err
	}
	if err := d.take(ctx, throttle.Limit{Key: "u" + u.ID, Rate: personRate}); err != nil {
		return err
	}
	may, err := d.mayMail(ctx, LinkEmail, key)
	if err != nil {
		return err
	}
	other, taken, err := d.taken(ctx, key)
	if err != nil {
		return err
	}
	e := asking(audit.EmailChangeAsked, u.ID, u.ID, key, from)
	told := d.notice(mail.EmailChanging, u, from)
	told.Values["email"] = address
	l, m := newLink(LinkEmail, mail.ChangeEmail, address, key, from)
	l.UserID = u.ID
	if taken && other.ID != u.ID {
		l, e.Outcome = l.decoy(), ErrEmailTaken.Code
		m = mail.New(mail.AccountExists, other.Email, from.Language)
	}
	mails := []mail.Message{m, told}
	if !may {
		l, mails, e.Outcome = l.decoy(), []mail.Message{told}, ErrTooMany.Code
	}
	_, err = d.links.AddLink(ctx, l, e, mails...)
	return err
}

// A Verification is what proves a mailbox: the token of a link, or an address and the
// code that was sent to it.
type Verification struct {
	Token    string
	Email    string
	Code     string
	Password string          // of the account that a sign-up makes, where this is not the browser that began it
	Browser  credential.Hash // of the secret that this browser was given when a sign-up began in it; zero: none
}

// Verified is what a link has done.
type Verified struct {
	Kind  LinkKind // LinkSignUp, LinkVerify or LinkEmail
	User  User     // as it is now
	Proof Proof    // of a sign-up that was finished in the browser that began it; else the empty one, which begins no session
}

// Verify spends a link that proves an address: it makes the account of a sign-up,
// marks the address of an account verified, or gives an account its new address.
//
// By token it answers ErrLinkOver to whatever is not good. By code it answers
// ErrWrongCode to whatever is not right: there are five guesses at each link, and
// ErrTooMany per address and per network address. ErrEmailTaken if the address was
// taken meanwhile; what is wrong with "/email" or "/password" spends nothing.
func (d *Directory) Verify(ctx context.Context, v Verification, from audit.Origin) (Verified, error) {
	var l Link
	var err error
	if v.Token != "" {
		l, err = d.openLink(ctx, v.Token, from, codeKinds...)
	} else {
		l, err = d.openCode(ctx, v, from)
	}
	if err != nil {
		return Verified{}, err
	}
	if l.Kind == LinkSignUp {
		return d.finishSignUp(ctx, l, v, from)
	}
	return d.proveAddress(ctx, l, from)
}

// openCode returns the live link that a code opens. Each guess is counted before it
// is looked at, so that guesses side by side are no more than one by one.
func (d *Directory) openCode(ctx context.Context, v Verification, from audit.Origin) (Link, error) {
	_, key, err := CanonicalEmail(v.Email)
	if err != nil {
		return Link{}, err
	}
	if v.Code == "" {
		return Link{}, fault.Bad("/code", "required", "A code is needed.")
	}
	code, ok := readCode(v.Code)
	if !ok {
		return Link{}, ErrWrongCode
	}
	guesses := throttle.Limit{Key: "c" + key, Rate: codeRate}
	if err := d.take(ctx, asks(from), guesses); err != nil {
		if errors.Is(err, ErrTooMany) {
			d.noteRefused(ctx, audit.CodeFailed, key, from)
		}
		return Link{}, err
	}
	candidates, err := d.links.GuessLinks(ctx, key)
	if err != nil {
		return Link{}, err
	}
	var found Link
	for _, l := range candidates {
		if d.derive.opens(l, code) && (found.ID == "" || l.bound(v.Browser)) {
			found = l
		}
	}
	if found.ID == "" {
		d.note(ctx, audit.CodeFailed, ErrWrongCode.Code, User{}, key, from)
		return Link{}, ErrWrongCode
	}
	d.returned(d.asked.Return(ctx, throttle.Mark{}, guesses))
	return found, nil
}

// proveAddress spends a link about the address of an account.
func (d *Directory) proveAddress(ctx context.Context, l Link, from audit.Origin) (Verified, error) {
	e := asking(audit.EmailVerified, l.UserID, l.UserID, l.ID, from)
	var mails []mail.Message
	if l.Kind == LinkEmail {
		e.Event = audit.EmailChanged
		old, err := d.Find(ctx, l.UserID)
		if errors.Is(err, ErrNoUser) {
			return Verified{}, ErrLinkOver
		}
		if err != nil {
			return Verified{}, err
		}
		m := d.notice(mail.EmailChanged, old, from)
		m.Values["email"] = l.Email
		mails = append(mails, m)
	}
	u, err := d.links.AddressByLink(ctx, l.ID, e, mails...)
	if err != nil {
		return Verified{}, err
	}
	return Verified{Kind: l.Kind, User: u}, nil
}
