package session

import (
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// A record is what is remembered of a session whose standing was read, as if it
// were a token issued at that moment: held to the revocation set on every use, and
// for no longer than an access token lives. There may be a million of them, so it
// holds no more than what a check asks for and what most handlers tell: whoever
// needs more reads the store.
//
// But for the sighting it does not change. What a check looks at stands first, to
// lie together.
type record struct {
	feed.Hold
	id credential.Number // of the session
	sighting
	hash    credential.Hash // of the cookie's secret
	expires int64           // the absolute end, in ms
	terms   unique.Handle[terms]
	over    second // access tokens issued up to here are over
	changed second // access tokens issued up to here are to be renewed

	issued   second // the store's clock at the read
	authTime second
	user     credential.Number
	created  int64 // of the session, in ms
	joined   int64 // when the user's account was made, in ms
	names
}

// names are a user's email and name, one line each. Most fit into the record: so it
// is one thing to keep for the garbage collector, not two.
type names struct {
	length uint8
	short  [47]byte
	long   *string // what does not fit; else nil
}

func namesOf(email, name string) (n names) {
	text := email + "\n" + name
	if len(text) > len(n.short) {
		n.long = &text
		return n
	}
	n.length = uint8(copy(n.short[:], text))
	return n
}

// both returns the email and the name.
func (n *names) both() (email, name string) {
	text := ""
	if n.long != nil {
		text = *n.long
	} else {
		text = string(n.short[:n.length])
	}
	email, name, _ = strings.Cut(text, "\n")
	return email, name
}

// A sighting says when a session was seen, in ns: by this node, and as far as the
// store knows.
type sighting struct {
	seen    atomic.Int64
	stored  atomic.Int64
	pending atomic.Bool // presence holds this one
	due     second      // for presence alone
}

// terms are what many records have in common. Lists are one word each line.
type terms struct {
	idle     time.Duration
	amr, acr string
	roles    string
	verified bool
}

// A second is a time in Unix seconds, from 1970 to 2106. What lies outside counts
// as the nearest that lies inside.
type second uint32

func secondOf(unix int64) second { return second(min(max(0, unix), math.MaxUint32)) }

// errForm means that the store holds a record that no version of ours has written.
var errForm = errors.New("an id has another form than ours")

// newRecord returns what is to be remembered of a standing.
func newRecord(st *Standing) (*record, error) {
	s, u := &st.Session, &st.User
	id, ok := credential.ParseID(credential.Session, s.ID)
	user, okay := credential.ParseID(credential.User, u.ID)
	if !ok || !okay {
		return nil, errForm
	}
	r := &record{
		id: id, user: user, hash: s.SecretHash,
		expires: s.ExpiresAt.UnixMilli(), created: s.CreatedAt.UnixMilli(), joined: u.CreatedAt.UnixMilli(),
		over:    secondOf(max(u.OverBefore, st.OverBefore, st.Client.OverBefore)),
		changed: secondOf(max(u.ChangedBefore, s.ChangedBefore, st.Client.ChangedBefore)),
		issued:  secondOf(st.Now.Unix()), authTime: secondOf(s.AuthTime),
		terms: unique.Make(terms{
			idle: s.Idle, amr: strings.Join(s.AMR, "\n"), acr: s.ACR,
			roles: strings.Join(u.Roles, "\n"), verified: u.EmailVerified,
		}),
		names: namesOf(u.Email, u.Name),
	}
	r.seen.Store(s.LastSeenAt.UnixNano())
	r.stored.Store(s.LastSeenAt.UnixNano())
	return r, nil
}

// Is compares the characters of a session's id behind the prefix.
func (r *record) Is(ordinal string) bool {
	id, ok := credential.ParseOrdinal(ordinal)
	return ok && id == r.id
}

// Subject names what entries of the log can end or change a session by.
func (r *record) Subject() feed.Subject {
	return feed.Subject{Session: r.id.ID(credential.Session), User: r.user.ID(credential.User), IssuedAt: int64(r.issued)}
}

// lapsed reports whether a limit of the session is reached at the given time. That
// it was ended by somebody is for the log to tell.
func (r *record) lapsed(now time.Time) bool {
	return lapsed(now, time.Unix(0, r.seen.Load()), r.terms.Value().idle, time.UnixMilli(r.expires))
}

// lines cuts a list as terms hold it.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
