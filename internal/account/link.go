package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// A LinkKind says what a mailed link does when it is spent.
type LinkKind string

// The kinds of links. Those that prove an address bring a code besides, for a
// device that cannot open the mail.
const (
	LinkSignUp LinkKind = "sign_up" // makes the account that was asked for
	LinkVerify LinkKind = "verify"  // proves the address of an account
	LinkReset  LinkKind = "reset"   // sets a new password
	LinkEmail  LinkKind = "email"   // gives an account another address
	LinkInvite LinkKind = "invite"  // makes an account for who was invited
)

var linkKinds = []LinkKind{LinkSignUp, LinkVerify, LinkReset, LinkEmail, LinkInvite}

// codeKinds are the kinds that bring a code.
var codeKinds = []LinkKind{LinkSignUp, LinkVerify, LinkEmail}

// LinkLife is how long a link is good, from when its mail was written down.
const LinkLife = time.Hour

// CodeLife is how long the code of a link is good: six digits are soon guessed
// (ASVS-6.5.5), and the link remains.
const CodeLife = 10 * time.Minute

// MaxGuesses is how many codes may be tried at one link.
const MaxGuesses = 5

// The faults of links.
var (
	// ErrLinkOver is the one answer to a link that is spent, old, unknown or replaced.
	ErrLinkOver = fault.New(fault.Unauthenticated, "link_over", "This link is no longer good. Ask for a new one.")
	// ErrWrongCode is the one answer to all that can be wrong with a code, an address
	// to which none was sent included.
	ErrWrongCode = fault.New(fault.Unauthenticated, "wrong_code", "This code is not right, or no longer. Use the link in the mail, or ask for a new one.")
	// ErrNoMail answers what cannot be done without a mail.
	ErrNoMail = fault.New(fault.Unavailable, "no_mail", "This server sends no mail. Ask who runs it.")
)

// A Link is a proof that travels by mail, to be spent once. What opens it, token and
// code, is derived from its id and kept nowhere.
type Link struct {
	ID        string
	Kind      LinkKind
	UserID    string          // whose account it is about; empty where there is none yet
	Email     string          // the address that it proves
	EmailKey  string          // its canonical form
	Browser   credential.Hash // of the secret of the browser that began a sign-up; zero: no browser
	Name      string          // of a sign-up or an invitation
	Password  string          // the hash of the password that a sign-up began with
	Roles     []string        // of an invitation
	Decoy     bool            // was never mailed and opens nothing: there only so that two answers cost the same
	Guesses   int             // at its code, so far
	CreatedAt time.Time       // given by the store
	ExpiresAt time.Time       // LinkLife later
}

// LinkStore keeps the links. Every method that changes something is one atomic step,
// in which the audit entry and the mails are written too; an empty entry is not. A
// link is live until the store's time says that it is old, or it was spent or
// replaced. A decoy is never live. A user who is removed takes all links along, and a
// password that is set anew ends the reset and email links. A step that fails in a way
// not named here has happened whole or not at all, and may be taken again.
type LinkStore interface {
	// AddLink adds a link and sets its times. A message that names it is worth sending
	// for as long as the link lives. Of the live links of a kind and user only the
	// newest stays so, of invitations to an address likewise, and of sign-ups to an
	// address the newest five; a decoy replaces none. It returns [ErrNoUser] if the link
	// is about a user who is not there.
	AddLink(ctx context.Context, l Link, e audit.Entry, mails ...mail.Message) (Link, error)
	// FindLink returns a live link, or [ErrLinkOver], and changes nothing.
	FindLink(ctx context.Context, id string) (Link, error)
	// GuessLinks counts a guess at every live sign_up, verify and email link to the
	// canonical address, and returns those that had fewer than [MaxGuesses] and are
	// younger than [CodeLife].
	GuessLinks(ctx context.Context, key string) ([]Link, error)
	// AddUserByLink spends a live sign_up or invite link to the user's address and adds
	// the user, after which no other such link to it is live; else [ErrLinkOver]. It
	// returns [ErrEmailTaken], and spends nothing, if another user has the address.
	AddUserByLink(ctx context.Context, id string, u User, password string, e audit.Entry) (User, error)
	// ResetByLink spends a live reset link of a user who has the link's address and is
	// not disabled; else [ErrLinkOver]. It sets the password hash, raises
	// PasswordVersion by one, marks the address verified, and ends all sessions by one
	// user entry.
	ResetByLink(ctx context.Context, id, password string, e audit.Entry, mails ...mail.Message) error
	// AddressByLink spends a live verify link of a user who has its address, or a live
	// email link, of a user who is not disabled; else [ErrLinkOver]. The link's address
	// is then the user's and verified, and if that is a change it appends a changed
	// entry and raises ChangedBefore. With a new address no other link of the user is
	// live. It returns [ErrEmailTaken], and spends nothing, if another user has the
	// address.
	AddressByLink(ctx context.Context, id string, e audit.Entry, mails ...mail.Message) (User, error)
	// LinksOf returns all links that are kept of a user and, unless key is empty, to the
	// canonical address, the oldest first; spent ones and decoys too.
	LinksOf(ctx context.Context, userID, key string) ([]Link, error)
	// SweepLinks removes up to limit links that are old, spent or not, and returns how
	// many.
	SweepLinks(ctx context.Context, limit int) (int, error)
}

// How often strangers may make us work or send. What is silent looks to the caller
// as if a mail had gone out; the mails before it are still good.
var (
	// askRate is per client address: sign-ups, forgotten passwords and guesses at codes.
	askRate = throttle.Rate{Burst: 30, Every: 20 * time.Second}
	// mailRate is per address and kind of link, silently: nobody's mailbox is flooded, and
	// who uses up one kind does not keep the others from the person.
	mailRate = throttle.Rate{Burst: 5, Every: 15 * time.Minute}
	// codeRate is per address: guesses at codes over all links to it.
	codeRate = throttle.Rate{Burst: 10, Every: 10 * time.Minute}
	// personRate is per account: how many addresses it may send something to.
	personRate = throttle.Rate{Burst: 5, Every: 15 * time.Minute}
)

// knock counts what a stranger asks for against their network address.
func (d *Directory) knock(ctx context.Context, from audit.Origin) error {
	return d.take(ctx, asks(from))
}

// asks is the limit of what a network address may ask for. The first byte tells the
// counters here apart, and from those of [throttle.SignIn].
func asks(from audit.Origin) throttle.Limit {
	return throttle.Limit{Key: "n" + throttle.AddressGroup(from.IP), Rate: askRate}
}

func (d *Directory) take(ctx context.Context, limits ...throttle.Limit) error {
	waits, err := d.asked.Take(ctx, limits...)
	if err != nil {
		return err
	}
	if after := waits.Longest(); after > 0 {
		return &fault.Retry{Fault: ErrTooMany, After: after}
	}
	return nil
}

// mayMail counts a mail to an address and reports whether it may be sent.
func (d *Directory) mayMail(ctx context.Context, kind LinkKind, key string) (bool, error) {
	waits, err := d.asked.Take(ctx, throttle.Limit{Key: "m" + string(kind) + "\x00" + key, Rate: mailRate})
	return waits.Longest() == 0 && !d.config.NoMail, err
}

// newLink drafts a link and the mail that brings it.
func newLink(kind LinkKind, about mail.Kind, address, key string, from audit.Origin) (Link, mail.Message) {
	l := Link{ID: credential.NewID(credential.Link), Kind: kind, Email: address, EmailKey: key}
	m := mail.New(about, address, from.Language)
	m.LinkID = l.ID
	return l, m
}

// decoy returns what is kept in the place of a link that nobody is to have.
func (l Link) decoy() Link {
	return Link{ID: l.ID, Kind: l.Kind, Email: l.Email, EmailKey: l.EmailKey, Decoy: true}
}

// asking is the audit entry of somebody who asked for a mail.
func asking(event audit.Event, actor, userID, subject string, from audit.Origin) audit.Entry {
	e := audit.New(event, audit.OK, from)
	e.Actor, e.UserID, e.Subject = actor, userID, audit.Safe(subject, maxEmail)
	return e
}

// openLink returns the live link of a token, if it is of one of the kinds. A token
// that we did not make costs no look-up.
func (d *Directory) openLink(ctx context.Context, token string, from audit.Origin, kinds ...LinkKind) (Link, error) {
	kind, id, ok := d.derive.parse(token)
	if !ok || !slices.Contains(kinds, kind) {
		return Link{}, ErrLinkOver
	}
	l, err := d.links.FindLink(ctx, id)
	if errors.Is(err, ErrLinkOver) {
		if waits, unknown := d.noted.Take(ctx, throttle.Limit{Key: "l" + id, Rate: mailRate}); unknown == nil && waits == nil { // not over and over
			d.note(ctx, audit.LinkRefused, ErrLinkOver.Code, User{}, id, from)
		}
	}
	return l, err
}

// A LinkView is what a page shows of a link before it is spent.
type LinkView struct {
	Kind      LinkKind
	Email     string
	Name      string
	Bound     bool // this browser began it: no password is needed
	ExpiresAt time.Time
}

// Peek says what a link would do, for whoever has its token, and spends nothing: a
// mail scanner may look as often as it likes. browser is the hash of the secret that
// the browser was given when a sign-up began in it; zero: none. ErrLinkOver.
func (d *Directory) Peek(ctx context.Context, token string, browser credential.Hash) (LinkView, error) {
	kind, id, ok := d.derive.parse(token)
	if !ok {
		return LinkView{}, ErrLinkOver
	}
	l, err := d.links.FindLink(ctx, id)
	if err != nil {
		return LinkView{}, err
	}
	return LinkView{Kind: kind, Email: l.Email, Name: l.Name, Bound: l.bound(browser), ExpiresAt: l.ExpiresAt}, nil
}

// LinkText returns what opens a link: its token, and its code of six digits, which is
// empty for the kinds that bring none. It is for the mailer alone.
func (d *Directory) LinkText(id string, kind LinkKind) (token, code string) {
	if slices.Contains(codeKinds, kind) {
		code = d.derive.code(kind, id)
	}
	return d.derive.token(kind, id), code
}

// mailed are the kinds of links that mails bring.
var mailed = map[mail.Kind]LinkKind{
	mail.FinishSignUp: LinkSignUp, mail.VerifyEmail: LinkVerify, mail.ResetPassword: LinkReset,
	mail.ChangeEmail: LinkEmail, mail.Invitation: LinkInvite,
}

// MailedLink returns the link that a message brings, as a path to be put behind the
// public URL, and its code; both are empty if it brings none.
func (d *Directory) MailedLink(m mail.Message) (path, code string) {
	kind, known := mailed[m.Kind]
	if !known || m.LinkID == "" {
		return "", ""
	}
	token, code := d.LinkText(m.LinkID, kind)
	return LinkPath(kind, token), code
}

// LinkPath returns where a link of this kind leads, below the public URL.
func LinkPath(kind LinkKind, token string) string {
	switch kind {
	case LinkReset:
		return "/reset?token=" + token
	case LinkInvite:
		return "/sign-up?invitation=" + token
	default:
		return "/verify?token=" + token
	}
}

// How often what is old is removed, and how much at a time. It is dead before.
const (
	sweepEvery = time.Minute
	sweepBatch = 1000
)

// Run removes old links and counters until ctx ends.
func (d *Directory) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.Sweep(ctx); err != nil && ctx.Err() == nil {
				d.logger.Warn("old links and counters could not be removed, it will be tried again", "error", err)
			}
		}
	}
}

// Sweep removes all links that are old, and the counters that count nothing any more,
// in bounded steps.
func (d *Directory) Sweep(ctx context.Context) error {
	for what, sweep := range map[string]func(context.Context, int) (int, error){"links": d.links.SweepLinks, "counters": d.asked.Sweep} {
		for n := sweepBatch; n == sweepBatch; {
			var err error
			if n, err = sweep(ctx, sweepBatch); err != nil {
				return fmt.Errorf("sweep %s: %w", what, err)
			}
		}
	}
	return nil
}
