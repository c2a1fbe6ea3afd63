// Package audit says what happened, by whom, from where and in which order.
//
// An entry is written in the same step as the change that it tells of, so the
// log has it exactly when the change is there. It holds no secret, and control
// characters in what a stranger sent (a user agent, an email) are escaped before
// they are kept, so that no entry can forge another.
package audit

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Origin is where a request came from.
type Origin struct {
	IP        string // the client's address, decided by the configured proxies
	UserAgent string
	RequestID string
	Language  string // what the person reads, as the browser says it (Accept-Language); mails are written in it
}

// An Entry is one security event.
type Entry struct {
	Seq       int64     // 1, 2, 3 …: the order of commits; given by the store
	At        time.Time // given by the store
	Event     Event
	Outcome   string // "ok", or the code of the fault
	Actor     string // who did it: a user or API-key id, "cli", "system", or "" for a stranger
	UserID    string // whose account it concerns; "" if unknown
	SessionID string
	Subject   string // what else it concerns: an id of a key, grant or API key, a reason, or what the application calls a device
	IP        string
	UserAgent string
	RequestID string
}

// Event names what happened, in the past tense and snake case.
type Event string

// The events.
const (
	SignedUp          Event = "signed_up"
	SignedIn          Event = "signed_in"
	SignInFailed      Event = "sign_in_failed"
	Reauthenticated   Event = "reauthenticated"
	SessionEnded      Event = "session_ended"
	SessionsEnded     Event = "sessions_ended"
	RefreshReused     Event = "refresh_reused"
	PasswordChanged   Event = "password_changed"
	UserAdded         Event = "user_added"
	UserChanged       Event = "user_changed"
	UserDisabled      Event = "user_disabled"
	UserEnabled       Event = "user_enabled"
	UserDeleted       Event = "user_deleted"
	APIKeyAdded       Event = "apikey_added"
	APIKeyRemoved     Event = "apikey_removed"
	KeyRotated        Event = "key_rotated"
	KeysDistrusted    Event = "keys_distrusted"
	AdministratorMade Event = "administrator_made"
	DatabaseRestored  Event = "database_restored"
	DatabaseMoved     Event = "database_moved"

	SignUpAsked       Event = "sign_up_asked" // a mail was to be sent to the address, whether it has an account or not
	VerificationAsked Event = "verification_asked"
	EmailVerified     Event = "email_verified"
	ResetAsked        Event = "reset_asked" // likewise
	PasswordReset     Event = "password_reset"
	EmailChangeAsked  Event = "email_change_asked"
	EmailChanged      Event = "email_changed"
	UserInvited       Event = "user_invited"
	CodeFailed        Event = "code_failed"
	LinkRefused       Event = "link_refused" // a link of ours that is over

	GrantOpened Event = "grant_opened" // an application has redeemed a code
	GrantEnded  Event = "grant_ended"
	CodeReused  Event = "code_reused" // a code came a second time, so what it gave was ended

	ClientAdded         Event = "client_added"
	ClientChanged       Event = "client_changed"
	ClientSecretRotated Event = "client_secret_rotated"
	ClientRemoved       Event = "client_removed"
	ConsentGiven        Event = "consent_given"   // Subject is the client
	ConsentRemoved      Event = "consent_removed" // likewise
	ClientRefused       Event = "client_refused"  // an application did not show that it is the one it says
)

// OK is the Outcome of what succeeded.
const OK = "ok"

// New returns an entry about event with the given origin; the caller fills in
// who and what. Its texts are made safe to keep and to print.
func New(event Event, outcome string, from Origin) Entry {
	return Entry{
		Event: event, Outcome: outcome,
		IP: from.IP, UserAgent: Safe(from.UserAgent, 256), RequestID: from.RequestID,
	}
}

// A Store keeps the entries. Other stores write entries within their own steps;
// this one adds those that accompany no change, and reads. A step that fails in a way
// not named here has happened whole or not at all, and may be taken again.
type Store interface {
	// Record adds one entry, durably, with the next number and the store's time.
	Record(ctx context.Context, e Entry) error
	// Entries returns up to limit entries that match f with Seq below before,
	// newest first; before 0 means from the newest.
	Entries(ctx context.Context, f Filter, before int64, limit int) ([]Entry, error)
	// Forget removes the entries older than the given time and returns how many.
	Forget(ctx context.Context, older time.Time) (int, error)
}

// A Filter narrows a listing; empty members match everything.
type Filter struct {
	UserID string
	Event  Event
}

// Safe returns s with control, format and invalid characters written as escapes
// and cut to at most max bytes, on a character's boundary.
func Safe(s string, max int) string {
	var b strings.Builder
	for _, r := range s {
		var piece string
		switch {
		case r == utf8.RuneError:
			piece = `\ufffd`
		case unicode.IsPrint(r) || r == ' ':
			piece = string(r)
		default:
			piece = escape(r)
		}
		if b.Len()+len(piece) > max {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

func escape(r rune) string {
	const hex = "0123456789abcdef"
	out := []byte(`\u{`)
	digits := 4
	if r > 0xffff {
		digits = 6
	}
	for i := digits - 1; i >= 0; i-- {
		out = append(out, hex[(r>>(4*i))&0xf])
	}
	return string(append(out, '}'))
}
