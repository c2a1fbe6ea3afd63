// Package feed is what a server and its verifiers share about the revocation
// log: the entries, the set that only grows, what is remembered beside it, and
// the frames that carry entries over a stream.
//
// It knows nothing of stores or of HTTP, and never decides who may read.
package feed

// Kind says what an entry ends or changes.
type Kind string

// The kinds of entry. A reader that meets any other kind cannot know what it
// ends: see [Unsure].
const (
	Session Kind = "session" // this session and everything drawn on it is over
	Grant   Kind = "grant"   // everything drawn on this grant is over
	User    Kind = "user"    // what this user's sessions gave out up to Before is over
	Client  Kind = "client"  // what this client drew up to Before is over
	All     Kind = "all"     // everything given out up to Before is over
	Key     Kind = "key"     // this signing key is no longer trusted, nor what it signed
	APIKey  Kind = "apikey"  // this API key is removed: its streams are cut
	Changed Kind = "changed" // what was given out for this id up to Before must be renewed
)

// An Entry is one line of the revocation log, as it goes over the wire. Times
// are Unix seconds of the issuer's store.
type Entry struct {
	Seq    uint64 `json:"seq"`
	Kind   Kind   `json:"kind"`
	ID     string `json:"id,omitempty"` // of the session, grant, user, client, key or API key; empty for All
	Before int64  `json:"before,omitempty"`
	Reason string `json:"reason,omitempty"`
	At     int64  `json:"at"`
	Until  int64  `json:"until"` // after this no credential that the entry ends can still be alive by itself
}

// A Subject is what a credential names: everything an entry could end it by.
// Empty members match nothing.
type Subject struct {
	Session, Grant, User, Client, Key string
	IssuedAt                          int64 // Unix seconds: a token's iat, or when an answer about a cookie was read
}

// A Verdict is what is known about a credential.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // not remembered
	Live                   // nothing speaks against it
	Renew                  // older than a change, or signed by a key no longer trusted: not over, but to be renewed
	Over                   // ended
	Expired                // past its own time
	Unsure                 // an entry of an unknown kind may concern it: ask the issuer
)
