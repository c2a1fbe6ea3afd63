package session

import (
	"context"
	"errors"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// ErrLost is returned by a step whose condition no longer held: the caller
// reads again and decides anew.
var ErrLost = errors.New("lost the swap")

// ErrNone is returned where there is no such record.
var ErrNone = errors.New("no such record")

// A Swap spends one generation of a grant's refresh token. It succeeds only
// while the grant is at that generation with that hash, and session, grant, user
// and client are alive: not ended, not disabled, not past their time, and begun
// after every OverBefore. All of it is one statement.
type Swap struct {
	GrantID    string
	Generation uint32          // the one being spent
	Presented  credential.Hash // its hash
	Next       credential.Hash
	Salt       [16]byte
	Rotations  []Rotation // to be kept, newest first; the newest is this one, its At set by the store
	Seen       bool       // the refresh counts as presence: LastSeenAt rises to the store's clock
}

// A Renewal gives a live session a new secret and a new proof.
type Renewal struct {
	SessionID string
	Presented credential.Hash // the hash before; zero hashes match, too, for sessions without a cookie
	Next      credential.Hash // zero where the session has no cookie
	AMR       []string
	ACR       string
}

// An Ending says what is over. One of:
//
//   - Kind Session with ID: that session, and only if UserID is empty or its user;
//   - Kind Session without ID: every live session of UserID but Except, an entry each;
//   - Kind Grant with ID: that grant alone;
//   - Kind Grant without ID: every live grant of ClientID on sessions of UserID, an entry
//     each, every live session that was opened for that client, and its codes;
//   - Kind User or Client with ID: one entry, and OverBefore rises;
//   - Kind All: one entry, and the issuer's OverBefore rises.
//
// A session's end also appends one grant entry for each live grant whose tokens
// do not name the session; a user's end for each whose tokens do not name the user.
type Ending struct {
	Kind   feed.Kind
	ID     string
	UserID string
	Except string
	Reason string
	// ClientID is of Kind Grant without ID.
	ClientID string
}

// Store keeps sessions and grants. Every method is one atomic step, durable when
// it returns; what ends or changes something appends to the revocation log in
// the same step. A step that fails in a way not named here has happened whole or not
// at all, and may be taken again.
type Store interface {
	// Terms returns the standing of a user with a client before there is a
	// session: User, Client, OverBefore and Now. ErrNone if either is missing.
	Terms(ctx context.Context, userID, clientID string) (Standing, error)
	// Add adds a session with its first grant, and ends the oldest live sessions
	// of the user beyond max (0: no limit), reason "max". ErrLost, and nothing
	// added, unless user and client are alive and every OverBefore lies before
	// s.CreatedAt. The notices are posted in the same step.
	Add(ctx context.Context, s Session, g Grant, max int, e audit.Entry, notices ...mail.Message) error
	// OfSession reads a session with its first-party grant; ended ones too.
	// ErrNone if there is no such record.
	OfSession(ctx context.Context, id string) (Standing, error)
	// OfGrant reads a grant with its session; ended ones too. ErrNone likewise.
	OfGrant(ctx context.Context, id string) (Standing, error)
	// Rotate applies s, or returns ErrLost.
	Rotate(ctx context.Context, s Swap) error
	// Renew applies r to a live session, stamps AuthTime, raises ChangedBefore and
	// appends a changed entry, or returns ErrLost.
	Renew(ctx context.Context, r Renewal, e audit.Entry) error
	// End ends what live things e names and returns how many records that were
	// (for User, Client and All: 1). Zero changes nothing, appends nothing, audits
	// nothing and posts nothing. The notices are posted in the same step, so that of
	// many who end one thing at once one tells of it.
	End(ctx context.Context, what Ending, e audit.Entry, notices ...mail.Message) (int, error)
	// List returns up to limit live sessions, by descending id below before (empty:
	// from the newest), of one user or, with an empty userID, of all, with their users.
	// Those that were opened for a client are not among them.
	// Grants are not filled in; Clients names whose they are.
	List(ctx context.Context, userID, before string, limit int) ([]Listed, error)
}

// A Listed session is one row of a listing.
type Listed struct {
	Session Session
	Email   string   // its user's
	Clients []string // ids of the clients with a live grant, sorted
}

// A Seen says when a session was last used.
type Seen struct {
	SessionID string
	At        time.Time
}

// UpkeepStore does what no caller waits for. A step that fails in a way not named here
// has happened whole or not at all, and may be taken again.
type UpkeepStore interface {
	// Touch raises LastSeenAt of each session named; it never lowers one and never
	// revives one that is over.
	Touch(ctx context.Context, seen []Seen) error
	// Sweep removes sessions, with their grants and application data, that have been
	// over for longer than keep, at most limit of them, and returns how many. More says
	// that there may be others.
	Sweep(ctx context.Context, keep time.Duration, limit int) (removed int, more bool, err error)
	// SetTerms adds or replaces a client's terms; OverBefore and Disabled of an
	// existing row stay.
	SetTerms(ctx context.Context, t ClientTerms) error
	// Count returns the number of live sessions.
	Count(ctx context.Context) (int, error)
}

// A Kept is a session as it is kept, over or not, with all that was drawn on it.
type Kept struct {
	Session Session
	Grants  []Grant
}

// HistoryStore tells of all sessions of somebody that are kept, those that are over
// among them.
type HistoryStore interface {
	// Devices reports whether a session of the user is kept, and whether one of the
	// newest thousand is of a device of this name and has no cookie; those that are
	// over count, too. An empty name is nobody's. A session that was opened for a client
	// is of no device.
	Devices(ctx context.Context, userID, device string) (signedIn, same bool, err error)
	// Kept returns up to limit sessions of a user, by descending id below before
	// (empty: from the newest), each with its grants in the order of their ids; those
	// that are over are there until they are swept.
	Kept(ctx context.Context, userID, before string, limit int) ([]Kept, error)
}

// AttachmentStore keeps the application's own JSON beside a session. A step that fails
// in a way not named here has happened whole or not at all, and may be taken again.
type AttachmentStore interface {
	// Attachment returns the document and its version; version 0 and nil if there
	// is none yet. It goes with the session.
	Attachment(ctx context.Context, sessionID string) (document []byte, version int64, err error)
	// SwapAttachment puts document in the place of the one at version, and returns
	// the new version, or ErrLost; ErrNone if the session is over or missing.
	SwapAttachment(ctx context.Context, sessionID string, document []byte, version int64) (int64, error)
}
