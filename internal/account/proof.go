package account

import (
	"slices"
	"time"
)

// A Proof says that someone has just shown that they hold an account, and by
// what means. Only this package can fill one in, and the empty Proof begins no
// session: there is no way past a login method.
type Proof struct {
	userID          string
	methods         []string
	at              time.Time
	passwordVersion int64 // of the user when the proof began
}

func proven(u User, at time.Time) Proof {
	return Proof{userID: u.ID, methods: []string{"pwd"}, at: at, passwordVersion: u.PasswordVersion}
}

// Holds reports whether the proof is still one for this reading of its user: the
// user may be in, and the password has not been set since. A proof takes as long as
// a hash, and the world does not wait for it.
func (p Proof) Holds(u User) bool {
	return p.userID != "" && p.userID == u.ID && !u.Disabled && p.passwordVersion == u.PasswordVersion
}

// UserID returns whose account was proven, or "" for the empty Proof.
func (p Proof) UserID() string { return p.userID }

// At returns when.
func (p Proof) At() time.Time { return p.at }

// AMR returns the methods by which, as RFC 8176 names them.
func (p Proof) AMR() []string { return slices.Clone(p.methods) }

// ACR returns the authentication assurance level that the methods reach,
// aal1 or aal2 (SP 800-63B-4).
func (p Proof) ACR() string {
	if len(p.methods) > 1 {
		return "aal2"
	}
	return "aal1"
}
