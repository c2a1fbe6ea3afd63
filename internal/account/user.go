package account

import (
	"context"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// A User is a person with an account.
type User struct {
	ID            string
	Email         string // as it was entered; mail goes here
	EmailKey      string // the canonical form, unique
	EmailVerified bool
	Name          string
	Roles         []string
	Disabled      bool
	CreatedAt     time.Time
	OverBefore    int64 // Unix seconds: sessions begun and tokens issued up to here are over; never falls
	ChangedBefore int64 // Unix seconds: tokens issued up to here are to be renewed; never falls
	// PasswordVersion counts how often the password was set; the upgrade of a hash
	// does not count.
	PasswordVersion int64
}

// Admin is the role that may use the administration.
const Admin = "admin"

// Is reports whether the user has the role.
func (u User) Is(role string) bool { return slices.Contains(u.Roles, role) }

// A UserChange names what is to change; nil members stay.
type UserChange struct {
	Name          *string
	Roles         *[]string
	EmailVerified *bool
	Disabled      *bool
}

// A PasswordChange sets a password.
type PasswordChange struct {
	UserID string
	Old    string // what the stored hash must still be; empty: whatever it is
	New    string
	// Keep is the session that stays when others end. With EndOthers each other
	// live session of the user is ended with an entry of its own; with EndAll
	// one user entry ends all, and OverBefore rises.
	Keep      string
	EndOthers bool
	EndAll    bool
}

// The faults of a directory.
var (
	ErrNoUser     = fault.New(fault.NotFound, "not_found", "There is no such thing, or it is not yours.")
	ErrEmailTaken = fault.New(fault.Conflict, "email_taken", "There is an account with this email already. Sign in instead.")
	// ErrLost is returned by a step whose condition no longer held.
	ErrLost = fault.New(fault.Conflict, "conflict", "This was changed in the meantime. Please try again.")
	// ErrSetupOver answers a first-administrator link that is spent, replaced or expired.
	ErrSetupOver = fault.New(fault.NotFound, "setup_over", "This link is no longer good. Start the server again for a new one, or use coatcheck user add --admin.")
)

// Store keeps the users. Every method is one atomic step, durable when it
// returns, in which the audit entry is written too. A step that ends sessions
// appends to the revocation log in the same step. A step that fails in a way not
// named here has happened whole or not at all, and may be taken again.
type Store interface {
	// AddUser adds a user with a password hash, which may be empty. The store
	// sets CreatedAt. It returns [ErrEmailTaken] if another user has the EmailKey.
	AddUser(ctx context.Context, u User, password string, e audit.Entry) (User, error)
	// ClaimSetup adds the first administrator if the setup link with this hash is
	// open by the store's clock, and spends it for ever; else [ErrSetupOver].
	ClaimSetup(ctx context.Context, link credential.Hash, u User, password string, e audit.Entry) (User, error)
	// FindUser returns a user and the password hash, or [ErrNoUser].
	FindUser(ctx context.Context, id string) (User, string, error)
	// FindByEmail is FindUser by canonical email.
	FindByEmail(ctx context.Context, key string) (User, string, error)
	// Users returns up to limit users with ids above after, by id.
	Users(ctx context.Context, after string, limit int) ([]User, error)
	// ChangeUser applies c. Disabling appends a user entry and raises OverBefore;
	// enabling lowers nothing; a new role, name or verified mark appends a changed
	// entry and raises ChangedBefore. [ErrNoUser] if there is none.
	ChangeUser(ctx context.Context, id string, c UserChange, e audit.Entry) (User, error)
	// SetPassword applies c, or returns [ErrLost] if the stored hash is not c.Old.
	// With an empty Keep, EndOthers and EndAll it ends nothing and, when e.Event is
	// empty, audits nothing: that is the upgrade of a hash. Otherwise it raises
	// PasswordVersion by one. The notices are posted in the same step.
	SetPassword(ctx context.Context, c PasswordChange, e audit.Entry, notices ...mail.Message) error
	// DeleteUser removes the user with all sessions, and appends a user entry.
	DeleteUser(ctx context.Context, id string, e audit.Entry) error
}

// SetupStore keeps the first-administrator link: one row. A step that fails in a way
// not named here has happened whole or not at all, and may be taken again.
type SetupStore interface {
	// OfferSetup puts this link in the place of the one before, good until the
	// given time from the store's clock, unless one was ever spent: then false.
	OfferSetup(ctx context.Context, link credential.Hash, good time.Duration) (bool, error)
	// SetupOpen reports whether the link is open, and spends nothing.
	SetupOpen(ctx context.Context, link credential.Hash) (bool, error)
}

// An APIKey lets a service call what its scopes allow.
type APIKey struct {
	ID        string
	Name      string
	Scopes    []string
	Hash      credential.Hash
	CreatedAt time.Time
}

// APIKeyStore keeps the API keys. A step that fails in a way not named here has
// happened whole or not at all, and may be taken again.
type APIKeyStore interface {
	// AddAPIKey adds a key; the store sets CreatedAt.
	AddAPIKey(ctx context.Context, k APIKey, e audit.Entry) (APIKey, error)
	// FindAPIKey returns a key, or [ErrNoUser].
	FindAPIKey(ctx context.Context, id string) (APIKey, error)
	// APIKeys returns all keys, oldest first.
	APIKeys(ctx context.Context) ([]APIKey, error)
	// RemoveAPIKey removes a key and appends an apikey entry, or returns [ErrNoUser].
	RemoveAPIKey(ctx context.Context, id string, e audit.Entry) error
}
