package session

import (
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// Via says by which credential a holder came.
type Via string

// The credentials that open our own endpoints.
const (
	ViaCookie Via = "cookie"
	ViaToken  Via = "token"
)

// A Holder is who came with a good credential, as far as it is remembered. The
// zero Holder is nobody, and has nothing to say.
type Holder struct {
	Via   Via
	Scope string    // of an access token; cookies carry none
	Seen  time.Time // when the session was last used, this time included

	record *record // nil: nobody
}

// A Person is what is remembered of a holder's user.
type Person struct {
	ID            string
	Email         string
	EmailVerified bool
	Name          string
	Roles         []string
	CreatedAt     time.Time
}

// A Summary is what a session tells its own holder.
type Summary struct {
	ID         string
	CreatedAt  time.Time
	LastSeenAt time.Time
	IdleEndsAt time.Time // when it is over unless it is seen again
	ExpiresAt  time.Time
	AuthTime   time.Time
	AMR        []string
	ACR        string
}

// Somebody reports whether there is a holder.
func (h Holder) Somebody() bool { return h.record != nil }

// UserID returns the id of the holder's user.
func (h Holder) UserID() string { return h.record.user.ID(credential.User) }

// SessionID returns the id of the holder's session.
func (h Holder) SessionID() string { return h.record.id.ID(credential.Session) }

// VerifiedEmail returns the email of the holder's user, if it is proven to be theirs.
func (h Holder) VerifiedEmail() (string, bool) {
	email, _ := h.record.both()
	return email, h.record.terms.Value().verified
}

// Person returns the holder's user.
func (h Holder) Person() Person {
	t := h.record.terms.Value()
	email, name := h.record.both()
	return Person{
		ID: h.UserID(), Email: email, EmailVerified: t.verified, Name: name, Roles: lines(t.roles),
		CreatedAt: time.UnixMilli(h.record.joined),
	}
}

// Session returns the holder's session.
func (h Holder) Session() Summary {
	r, t := h.record, h.record.terms.Value()
	expires := time.UnixMilli(r.expires)
	return Summary{
		ID: h.SessionID(), CreatedAt: time.UnixMilli(r.created), LastSeenAt: h.Seen,
		IdleEndsAt: earlier(later(h.Seen, time.Unix(0, r.stored.Load())).Add(t.idle), expires),
		ExpiresAt:  expires, AuthTime: time.Unix(int64(r.authTime), 0), AMR: lines(t.amr), ACR: t.acr,
	}
}

// Summary returns what a session tells its own holder, who has seen it then.
func (st *Standing) Summary(seen time.Time) Summary {
	s := &st.Session
	return Summary{
		ID: s.ID, CreatedAt: s.CreatedAt, LastSeenAt: seen, IdleEndsAt: st.IdleEnds(seen),
		ExpiresAt: s.ExpiresAt, AuthTime: time.Unix(s.AuthTime, 0), AMR: slices.Clone(s.AMR), ACR: s.ACR,
	}
}

// PersonOf returns of a user what is remembered of a holder's.
func PersonOf(u *account.User) Person {
	return Person{
		ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified, Name: u.Name, Roles: slices.Clone(u.Roles), CreatedAt: u.CreatedAt,
	}
}
