// Package account knows who someone is: users, passwords, API keys, the links that
// travel by mail, and the one that makes the first administrator. A [Proof] is its
// only outcome for a person.
//
// It knows nothing of sessions; but what ends them (a disabled user, a changed
// password) ends them in the same step of the store.
//
// It exports more than forty names: thirteen are faults and two dozen the methods of
// the one Directory, and to split users from links or API keys would split what sets
// passwords and ends sessions into two packages with one store.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/device"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// ErrCredentials is the one answer to an unknown email, a wrong password and a
// disabled account.
var ErrCredentials = fault.New(fault.Unauthenticated, "invalid_credentials", "The email or the password is not right.")

// ErrTooMany answers who tries too often.
var ErrTooMany = fault.New(fault.TooMany, "too_many_attempts", "Too many attempts. Please wait a little and try again.")

// ErrSignUpClosed answers a sign-up where there is none.
var ErrSignUpClosed = fault.New(fault.Forbidden, "sign_up_closed", "New accounts are not open here.")

// Stores are where the accounts are.
type Stores struct {
	Users   Store
	Setup   SetupStore
	APIKeys APIKeyStore
	Links   LinkStore
	Audit   audit.Store
	// Throttle counts attempts for all nodes; nil: in this process's memory.
	Throttle throttle.Store
}

// Config is what an operator decides about accounts.
type Config struct {
	SignUpClosed   bool // sign_up = "closed": nobody makes an account, invited or not
	SignUpInvited  bool // sign_up = "invite": only who is invited
	VerifyRequired bool // verify_email = "required": an address is proven before it has an account
	NoMail         bool // there is no way to send a mail
	Passwords      PasswordPolicy
	Throttle       throttle.Rates
	Place          Place // names places in mails
}

// A Directory holds the rules of accounts. It is safe for concurrent use.
type Directory struct {
	config  Config
	users   Store
	setup   SetupStore
	apikeys *apiKeys
	audit   audit.Store
	hasher  *Hasher
	signIns *throttle.SignIn
	links   LinkStore
	derive  linkKey
	asked   throttle.Store    // counts what strangers make us do besides signing in
	noted   *throttle.Limiter // what is told in the audit log of one stranger
	now     func() time.Time
	logger  *slog.Logger
}

// New returns a directory that hashes with hasher and counts attempts by now. What
// opens mailed links is derived from the server's secret.
func New(c Config, stores Stores, hasher *Hasher, log *revocation.Log, secret []byte, now func() time.Time, logger *slog.Logger) (*Directory, error) {
	key, err := newLinkKey(secret)
	if err != nil {
		return nil, err
	}
	signIns, asked := stores.Throttle, stores.Throttle
	if stores.Throttle == nil {
		signIns, asked = throttle.New(now, maxCounters), throttle.New(now, maxCounters)
	}
	return &Directory{
		config: c, users: stores.Users, setup: stores.Setup, audit: stores.Audit, hasher: hasher,
		apikeys: newAPIKeys(stores.APIKeys, log, now),
		signIns: throttle.NewSignIn(signIns, c.Throttle),
		links:   stores.Links, derive: key,
		asked: asked, noted: throttle.New(now, maxCounters), now: now, logger: logger,
	}, nil
}

// maxCounters bounds the memory of each throttle.
const maxCounters = 100_000

// CheckPassword proves an account by email and password. Unknown, wrong and
// disabled are one answer, and cost one hash with the current parameters each.
func (d *Directory) CheckPassword(ctx context.Context, email, password string, from audit.Origin) (Proof, error) {
	_, key, err := CanonicalEmail(email)
	if err != nil {
		return Proof{}, err
	}
	proof, _, err := d.prove(ctx, key, password, from, func() (User, string, error) {
		return d.users.FindByEmail(ctx, key)
	})
	return proof, err
}

// CheckAgain proves the account of someone who is signed in.
func (d *Directory) CheckAgain(ctx context.Context, u User, password string, from audit.Origin) (Proof, error) {
	proof, _, err := d.proveAgain(ctx, u, password, from)
	return proof, err
}

func (d *Directory) proveAgain(ctx context.Context, u User, password string, from audit.Origin) (Proof, string, error) {
	return d.prove(ctx, u.EmailKey, password, from, func() (User, string, error) {
		return d.users.FindUser(ctx, u.ID)
	})
}

// prove also returns the hash that the password was proven by, as it is stored now.
func (d *Directory) prove(ctx context.Context, key, password string, from audit.Origin, find func() (User, string, error)) (Proof, string, error) {
	if len(password) > maxPassword {
		return Proof{}, "", fault.Bad("/password", "too_long", "A password has at most 512 bytes.")
	}
	if after, err := d.signIns.Take(ctx, key, from.IP); err != nil {
		return Proof{}, "", err
	} else if after > 0 {
		d.noteRefused(ctx, audit.SignInFailed, key, from)
		return Proof{}, "", &fault.Retry{Fault: ErrTooMany, After: after}
	}
	u, stored, err := find()
	if err != nil && !errors.Is(err, ErrNoUser) {
		return Proof{}, "", fmt.Errorf("read a user: %w: %w", fault.ErrUnavailable, err)
	}
	right, upgraded, err := d.hasher.Check(ctx, stored, normalisePassword(password))
	switch {
	case errors.Is(err, errUnusable): // refused as a wrong one is, or it would tell the account apart
		d.logger.Error("the stored password hash of a user cannot be used: set a new password", "user", u.ID)
	case err != nil: // no password was looked at
		d.returned(d.signIns.Return(ctx, key, from.IP))
		return Proof{}, "", fmt.Errorf("check a password: %w", err)
	}
	if !right || u.Disabled {
		d.note(ctx, audit.SignInFailed, ErrCredentials.Code, u, key, from)
		return Proof{}, "", ErrCredentials
	}
	d.returned(d.signIns.Succeeded(ctx, key, from.IP))
	if upgraded != "" {
		change := PasswordChange{UserID: u.ID, Old: stored, New: upgraded}
		if err := d.users.SetPassword(ctx, change, audit.Entry{}); err != nil && !errors.Is(err, ErrLost) {
			d.logger.Warn("a password hash could not be upgraded, the next sign-in tries again", "error", err)
		} else if err == nil {
			stored = upgraded
		}
	}
	return proven(u, d.now()), stored, nil
}

// note records what accompanies no change. That it fails must not turn a refusal
// into anything else.
func (d *Directory) note(ctx context.Context, event audit.Event, outcome string, u User, subject string, from audit.Origin) {
	e := audit.New(event, outcome, from)
	e.UserID, e.Subject = u.ID, audit.Safe(subject, 254)
	if err := d.audit.Record(ctx, e); err != nil {
		d.logger.Error("an audit entry could not be written", "event", event, "error", err)
	}
}

// A NewUser is what a sign-up or an administrator says.
type NewUser struct {
	Email    string
	Name     string
	Password string // empty only from an administrator: no password yet
	Verified bool
	Roles    []string
	// Invitation is the token of a link from an invitation; only a sign-up has one.
	Invitation string
}

// maxNameBytes bounds a person's name.
const maxNameBytes = 200

// Add adds a user for an administrator.
func (d *Directory) Add(ctx context.Context, n NewUser, actor string, from audit.Origin) (User, error) {
	u, hash, err := d.prepare(ctx, n, n.Password != "")
	if err != nil {
		return User{}, err
	}
	e := audit.New(audit.UserAdded, audit.OK, from)
	e.Actor, e.UserID = actor, u.ID
	return d.users.AddUser(ctx, u, hash, e)
}

// prepare checks all members at once and hashes the password.
func (d *Directory) prepare(ctx context.Context, n NewUser, password bool) (User, string, error) {
	var wrong fault.Members
	collect := func(err error) error {
		var m fault.Members
		if errors.As(err, &m) {
			wrong = append(wrong, m...)
			return nil
		}
		return err
	}
	address, key, err := CanonicalEmail(n.Email)
	if err := collect(err); err != nil {
		return User{}, "", err
	}
	if err := collect(checkName("/name", n.Name)); err != nil {
		return User{}, "", err
	}
	if err := collect(checkRoles(n.Roles)); err != nil {
		return User{}, "", err
	}
	chosen := ""
	if password {
		chosen, err = d.config.Passwords.Check("/password", n.Password, own(n.Email, n.Name)...)
		if err := collect(err); err != nil {
			return User{}, "", err
		}
	}
	if len(wrong) > 0 {
		return User{}, "", wrong
	}
	u := User{
		ID: credential.NewID(credential.User), Email: address, EmailKey: key,
		EmailVerified: n.Verified, Name: n.Name, Roles: n.Roles,
	}
	if !password {
		return u, "", nil
	}
	hash, err := d.hasher.Hash(ctx, chosen)
	return u, hash, err
}

// own returns the words that are bad passwords for this person.
func own(email, name string) []string {
	return append(strings.FieldsFunc(email, func(r rune) bool { return r == '@' || r == '.' || r == '+' }), append(strings.Fields(name), name, email)...)
}

func checkName(member, name string) error {
	switch {
	case len(name) > maxNameBytes:
		return fault.Bad(member, "too_long", "A name has at most 200 bytes.")
	case name != audit.Safe(name, maxNameBytes):
		return fault.Bad(member, "format", "A name has no control characters.")
	}
	return nil
}

func checkRoles(roles []string) error {
	for _, role := range roles {
		if role != Admin {
			return fault.Bad("/roles", "format", `The only role is "admin".`)
		}
	}
	return nil
}

// Find returns a user by id, or ErrNoUser.
func (d *Directory) Find(ctx context.Context, id string) (User, error) {
	if !credential.IsID(credential.User, id) {
		return User{}, ErrNoUser
	}
	u, _, err := d.users.FindUser(ctx, id)
	return u, err
}

// FindByEmail returns a user by email in any spelling, or ErrNoUser.
func (d *Directory) FindByEmail(ctx context.Context, email string) (User, error) {
	_, key, err := CanonicalEmail(email)
	if err != nil {
		return User{}, err
	}
	u, _, err := d.users.FindByEmail(ctx, key)
	return u, err
}

// List returns up to limit users with ids above after, by id.
func (d *Directory) List(ctx context.Context, after string, limit int) ([]User, error) {
	return d.users.Users(ctx, after, limit)
}

// Change changes a user. Disabling ends all sessions; a change of name, roles or
// the verified mark makes all tokens due for renewal.
func (d *Directory) Change(ctx context.Context, id string, c UserChange, actor string, from audit.Origin) (User, error) {
	if !credential.IsID(credential.User, id) {
		return User{}, ErrNoUser
	}
	if c.Name != nil {
		if err := checkName("/name", *c.Name); err != nil {
			return User{}, err
		}
	}
	if c.Roles != nil {
		if err := checkRoles(*c.Roles); err != nil {
			return User{}, err
		}
		roles := slices.Compact(slices.Sorted(slices.Values(*c.Roles)))
		c.Roles = &roles
	}
	event := audit.UserChanged
	if c.Disabled != nil {
		event = audit.UserEnabled
		if *c.Disabled {
			event = audit.UserDisabled
		}
	}
	e := audit.New(event, audit.OK, from)
	e.Actor, e.UserID = actor, id
	return d.users.ChangeUser(ctx, id, c, e)
}

// ChangePassword sets a new password for someone who proves the current one. The
// session keep stays; with others, all others end. ErrLost if the password that was
// proven is no longer the one: whoever changed it in the meantime has won.
func (d *Directory) ChangePassword(ctx context.Context, u User, current, next, keep string, others bool, from audit.Origin) error {
	_, stored, err := d.proveAgain(ctx, u, current, from)
	if err != nil {
		return renameMember(err, "/password", "/current_password")
	}
	next, err = d.config.Passwords.Check("/new_password", next, own(u.Email, u.Name)...)
	if err != nil {
		return err
	}
	hash, err := d.hasher.Hash(ctx, next)
	if err != nil {
		return err
	}
	e := audit.New(audit.PasswordChanged, audit.OK, from)
	e.Actor, e.UserID, e.SessionID = u.ID, u.ID, keep
	told := Notice(mail.PasswordChanged, u, device.Name(from.UserAgent), from, d.now(), d.config.Place)
	return d.users.SetPassword(ctx, PasswordChange{UserID: u.ID, Old: stored, New: hash, Keep: keep, EndOthers: others}, e, told)
}

func renameMember(err error, from, to string) error {
	var wrong fault.Members
	if !errors.As(err, &wrong) {
		return err
	}
	wrong = slices.Clone(wrong)
	for i := range wrong {
		if wrong[i].Member == from {
			wrong[i].Member = to
		}
	}
	return wrong
}

// SetPassword sets a password for an administrator, and ends all sessions.
func (d *Directory) SetPassword(ctx context.Context, id, password, actor string, from audit.Origin) error {
	u, err := d.Find(ctx, id)
	if err != nil {
		return err
	}
	password, err = d.config.Passwords.Check("/password", password, own(u.Email, u.Name)...)
	if err != nil {
		return err
	}
	hash, err := d.hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	e := audit.New(audit.PasswordChanged, audit.OK, from)
	e.Actor, e.UserID = actor, id
	told := Notice(mail.PasswordChanged, u, "", audit.Origin{}, d.now(), nil)
	return d.users.SetPassword(ctx, PasswordChange{UserID: id, New: hash, EndAll: true}, e, told)
}

// Delete removes a user and ends all that was theirs.
func (d *Directory) Delete(ctx context.Context, id, actor string, from audit.Origin) error {
	if !credential.IsID(credential.User, id) {
		return ErrNoUser
	}
	e := audit.New(audit.UserDeleted, audit.OK, from)
	e.Actor, e.UserID = actor, id
	return d.users.DeleteUser(ctx, id, e)
}

// Hashing returns how many hashes run, how many wait, and how many may run.
func (d *Directory) Hashing() (busy, waiting, slots int) { return d.hasher.Slots() }
