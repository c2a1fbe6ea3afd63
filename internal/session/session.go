package session

import (
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// FirstParty is the id of the client that the operator's own applications use.
const FirstParty = "first-party"

// A Session is the record of one sign-in on one device.
type Session struct {
	ID            string
	UserID        string
	SecretHash    credential.Hash // of the cookie's secret; zero: no cookie was given out
	CreatedAt     time.Time       // stamped after everything that was over before it
	LastSeenAt    time.Time
	Idle          time.Duration // over when not seen for this long
	ExpiresAt     time.Time     // the absolute end, which nothing moves
	AuthTime      int64         // Unix seconds of the last proof
	AMR           []string      // RFC 8176
	ACR           string        // aal1 or aal2
	IP            string
	UserAgent     string
	Device        string // readable: "Firefox on Windows"
	Remember      bool
	ChangedBefore int64  // Unix seconds: tokens issued up to here are to be renewed
	ClientID      string // the client it was opened for, to go on without the person (offline_access); "": the person's own
	EndedAt       time.Time
	EndReason     string
}

// A Grant is what one client may draw on a session.
type Grant struct {
	ID          string
	SessionID   string
	ClientID    string
	Audience    string
	Scope       string
	Generation  uint32          // of the current refresh token; 0: none was ever given out
	RefreshHash credential.Hash // of the current refresh token's secret
	Salt        [16]byte        // of the last rotation
	RotatedAt   time.Time       // of the last rotation; zero before the first
	Rotations   []Rotation      // of the generations before the current, newest first, eight at most
	Claims      string          // the claims parameter that it answers (OpenID Connect Core 5.5), as JSON; "": none
	CreatedAt   time.Time
	EndedAt     time.Time
	EndReason   string
}

// A Rotation remembers how one generation was spent.
type Rotation struct {
	Key credential.Hash // of the Idempotency-Key; zero: there was none
	At  time.Time
}

// ClientTerms are what the statements about a session read of its client.
type ClientTerms struct {
	ID         string
	FirstParty bool
	Pairwise   bool     // its tokens carry a subject of their own
	Sector     string   // what a pairwise subject is made for; clients of one sector see one subject
	Audiences  []string // beyond the issuer itself
	Scopes     []string
	Access     time.Duration // the longest lifetime of an access token; token.access, if that is less
	// IDAlgorithm signs its ID tokens and logout tokens; "": it gets no ID tokens.
	IDAlgorithm   jwt.Algorithm
	Told          bool // it is told of ends by the back channel
	Disabled      bool
	OverBefore    int64 // Unix seconds
	ChangedBefore int64 // Unix seconds: its tokens issued up to here are to be renewed
}

// A Standing is everything that decides about a credential, read from the store
// in one statement.
type Standing struct {
	Session    Session
	Grant      Grant // the grant asked for, or the session's first-party grant
	User       account.User
	Client     ClientTerms
	OverBefore int64     // the issuer's: everything given out up to here is over
	Now        time.Time // the store's clock at the read
}
