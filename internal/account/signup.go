package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// VerifyRequired reports whether an address is proven before there is an account: a
// sign-up without an invitation then goes by BeginSignUp.
func (d *Directory) VerifyRequired() bool { return d.config.VerifyRequired }

// Mails reports whether there is a way to send a mail.
func (d *Directory) Mails() bool { return !d.config.NoMail }

// SignUp adds a user who asked for it, and proves the account by the password just
// chosen: where addresses need not be proven first, or with an invitation, whose
// mail proved the address. ErrEmailTaken, ErrSignUpClosed, ErrLinkOver, ErrTooMany,
// or what is wrong with the members.
func (d *Directory) SignUp(ctx context.Context, n NewUser, from audit.Origin) (Proof, error) {
	if d.config.SignUpClosed || d.config.SignUpInvited && n.Invitation == "" {
		return Proof{}, ErrSignUpClosed
	}
	if err := d.knock(ctx, from); err != nil {
		return Proof{}, err
	}
	if n.Invitation != "" {
		return d.acceptInvitation(ctx, n, from)
	}
	if d.config.VerifyRequired {
		return Proof{}, errors.New("no account is made here before its address is proven")
	}
	n.Verified, n.Roles = false, nil
	u, hash, err := d.prepare(ctx, n, true)
	if err != nil {
		return Proof{}, err
	}
	if u, err = d.users.AddUser(ctx, u, hash, signedUp(u, "", from)); err != nil {
		if fault.Of(err) == fault.ErrInternal {
			err = fmt.Errorf("add a user: %w: %w", fault.ErrUnavailable, err)
		}
		return Proof{}, err
	}
	// The account is there whether or not the mail can be written down: it can be asked for again.
	if err := d.sendVerification(ctx, u, audit.Entry{}, from); err != nil && !errors.Is(err, ErrNoMail) && !errors.Is(err, ErrTooMany) {
		d.logger.Warn("a new account was sent no mail to verify its address", "user", u.ID, "error", err)
	}
	return proven(u, d.now()), nil
}

func signedUp(u User, linkID string, from audit.Origin) audit.Entry {
	return asking(audit.SignedUp, u.ID, u.ID, linkID, from)
}

// acceptInvitation makes the account that an invitation is for. The address is the
// one that was invited, in its spelling, and so are the roles.
func (d *Directory) acceptInvitation(ctx context.Context, n NewUser, from audit.Origin) (Proof, error) {
	l, err := d.openLink(ctx, n.Invitation, from, LinkInvite)
	if err != nil {
		return Proof{}, err
	}
	if n.Email != "" {
		_, key, err := CanonicalEmail(n.Email)
		if err != nil {
			return Proof{}, err
		}
		if key != l.EmailKey {
			return Proof{}, fault.Bad("/email", "format", "This invitation is for another address.")
		}
	}
	n.Email, n.Name, n.Roles, n.Verified = l.Email, cmp.Or(n.Name, l.Name), l.Roles, true
	u, hash, err := d.prepare(ctx, n, true)
	if err != nil {
		return Proof{}, err
	}
	if u, err = d.links.AddUserByLink(ctx, l.ID, u, hash, signedUp(u, l.ID, from)); err != nil {
		return Proof{}, err
	}
	return proven(u, d.now()), nil
}

// BeginSignUp keeps a sign-up until its address is proven, by the link or the code
// that it mails there. There is no account before. An address that has an account is
// told so by mail, and the caller learns nothing: both ways make one hash, one
// look-up and one step. browser is the hash of a secret that this browser was given,
// which lets it finish with the password chosen now; zero: none. ErrSignUpClosed,
// ErrTooMany, or what is wrong with the members.
func (d *Directory) BeginSignUp(ctx context.Context, n NewUser, browser credential.Hash, from audit.Origin) error {
	if d.config.SignUpClosed || d.config.SignUpInvited {
		return ErrSignUpClosed
	}
	if err := d.knock(ctx, from); err != nil {
		return err
	}
	n.Verified, n.Roles = false, nil
	u, hash, err := d.prepare(ctx, n, true)
	if err != nil {
		return err
	}
	may, err := d.mayMail(ctx, LinkSignUp, u.EmailKey)
	if err != nil {
		return err
	}
	other, taken, err := d.taken(ctx, u.EmailKey)
	if err != nil {
		return err
	}
	l, m := newLink(LinkSignUp, mail.FinishSignUp, u.Email, u.EmailKey, from)
	l.Name, l.Password, l.Browser = u.Name, hash, browser
	e := asking(audit.SignUpAsked, "", other.ID, u.EmailKey, from)
	mails := []mail.Message{m}
	if taken {
		l, e.Outcome = l.decoy(), ErrEmailTaken.Code
		mails[0] = mail.New(mail.AccountExists, other.Email, from.Language)
	}
	if !may {
		l, mails, e.Outcome = l.decoy(), nil, ErrTooMany.Code
	}
	_, err = d.links.AddLink(ctx, l, e, mails...)
	return err
}

// taken returns who has an address.
func (d *Directory) taken(ctx context.Context, key string) (User, bool, error) {
	u, _, err := d.users.FindByEmail(ctx, key)
	if errors.Is(err, ErrNoUser) {
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, fmt.Errorf("read a user: %w: %w", fault.ErrUnavailable, err)
	}
	return u, true, nil
}

// finishSignUp makes the account that a link is for. In the browser that began it,
// the password is the one chosen there, and the person is proven. In any other only
// the mailbox is: whoever began it may be a stranger to its owner, so that password
// is dropped, and v.Password is needed.
func (d *Directory) finishSignUp(ctx context.Context, l Link, v Verification, from audit.Origin) (Verified, error) {
	if d.config.SignUpClosed || d.config.SignUpInvited {
		return Verified{}, ErrSignUpClosed
	}
	bound, hash := l.bound(v.Browser), l.Password
	u := User{ID: credential.NewID(credential.User), Email: l.Email, EmailKey: l.EmailKey, EmailVerified: true, Name: l.Name}
	switch {
	case v.Password != "":
		var err error
		if hash, err = d.choose(ctx, u, v.Password); err != nil {
			return Verified{}, err
		}
	case !bound:
		return Verified{}, fault.Bad("/password", "required", "Choose a password.")
	}
	u, err := d.links.AddUserByLink(ctx, l.ID, u, hash, signedUp(u, l.ID, from))
	if err != nil {
		return Verified{}, err
	}
	out := Verified{Kind: l.Kind, User: u}
	if bound {
		out.Proof = proven(u, d.now())
	}
	return out, nil
}

// choose checks and hashes a new password of a person.
func (d *Directory) choose(ctx context.Context, u User, password string) (string, error) {
	password, err := d.config.Passwords.Check("/password", password, own(u.Email, u.Name)...)
	if err != nil {
		return "", err
	}
	return d.hasher.Hash(ctx, password)
}

// Invited is who an administrator invites.
type Invited struct {
	Email string
	Name  string
	Roles []string // that the account will have
}

// Invite mails a link that makes an account, and returns until when it is good. It
// ends an earlier one to the address. An administrator may know who has an account,
// so ErrEmailTaken says so; ErrSignUpClosed, ErrNoMail, or what is wrong with the
// members.
func (d *Directory) Invite(ctx context.Context, i Invited, actor string, from audit.Origin) (expires time.Time, err error) {
	if d.config.SignUpClosed {
		return time.Time{}, ErrSignUpClosed
	}
	if d.config.NoMail {
		return time.Time{}, ErrNoMail
	}
	u, _, err := d.prepare(ctx, NewUser{Email: i.Email, Name: i.Name, Roles: i.Roles}, false)
	if err != nil {
		return time.Time{}, err
	}
	if _, taken, err := d.taken(ctx, u.EmailKey); err != nil {
		return time.Time{}, err
	} else if taken {
		return time.Time{}, ErrEmailTaken
	}
	l, m := newLink(LinkInvite, mail.Invitation, u.Email, u.EmailKey, from)
	l.Name, l.Roles = u.Name, u.Roles
	m.Values = map[string]string{"name": u.Name}
	l, err = d.links.AddLink(ctx, l, asking(audit.UserInvited, actor, "", u.EmailKey, from), m)
	return l.ExpiresAt, err
}
