// Package mail is what we send: messages, their words in two languages, the outbox
// that loses none of them, and the way to a mail server.
//
// A message is written down in the store in the very step that it tells of, so a mail
// server that is away loses nothing and nobody waits for it. Its words are written
// when it is sent, and so is its link: no secret lies in the outbox.
package mail

import (
	"time"

	"github.com/google/uuid"
)

// A Kind says what a message is about. It names the templates.
type Kind string

// The kinds of messages.
const (
	FinishSignUp    Kind = "finish_sign_up"   // a link and a code that make the account
	AccountExists   Kind = "account_exists"   // somebody tried to sign up, or to move here, with an address that has an account
	VerifyEmail     Kind = "verify_email"     // a link and a code that prove the address of an account
	ResetPassword   Kind = "reset_password"   // a link to a new password
	ChangeEmail     Kind = "change_email"     // to the new address: a link and a code
	EmailChanging   Kind = "email_changing"   // to the old address: somebody asked for another
	EmailChanged    Kind = "email_changed"    // to the old address: it is done
	PasswordChanged Kind = "password_changed" // it is done
	NewDevice       Kind = "new_device"       // a sign-in from a device that we do not know
	RefreshReused   Kind = "refresh_reused"   // somebody used an old token: the session is ended
	Invitation      Kind = "invitation"       // a link to an account
)

// A Message is a mail to be sent, without its words.
type Message struct {
	ID       string // its own, and part of the Message-ID: a second copy is seen to be one
	Kind     Kind
	To       string            // one address
	Language string            // of the person, as they asked for it: an Accept-Language header, or empty
	LinkID   string            // of the link that it brings; empty: none
	Values   map[string]string // what the words mention: name, device, place, at (RFC 3339), email. Never a secret
	Expires  time.Time         // after this it is not worth sending; zero: three days after it was written down
}

// New returns a message with an id of its own.
func New(kind Kind, to, language string) Message {
	return Message{ID: uuid.Must(uuid.NewV7()).String(), Kind: kind, To: to, Language: language}
}
