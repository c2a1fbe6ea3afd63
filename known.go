package coatcheck

import (
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// A known is what is kept of a credential that was found good: one allocation,
// and one for its text. It keeps nothing of what it was read from, neither a
// request's header nor a token's decoded claims.
type known struct {
	feed.Hold
	by     *vouch
	text   string    // the credential without what by has of it, the ids that end it, and more
	cuts   [4]uint16 // where the credential, user, session and grant end in text
	issued int64     // Unix seconds
	watch  atomic.Pointer[watch]
}

// A knownToken is a token with the caller that all who bear it share.
type knownToken struct {
	known
	caller Caller
}

// A knownCookie is a session cookie. Its caller is made anew for each request: the
// answer of the issuer takes a third of the room as long as nobody looks at it.
type knownCookie struct {
	known
	used     atomic.Int64 // when a request last bore it, Unix seconds
	authTime int64        // Unix seconds
	manner   *manner
}

// remember fills in k. It returns false if the ids are too long to be any.
func (k *known) remember(by *vouch, credential string, user, session, grant string, issued, expires int64, more []byte) bool {
	pieces := [...]string{credential[len(by.header):], user, session, grant}
	size := 0
	for i, piece := range pieces {
		if size += len(piece); size > math.MaxUint16 {
			return false
		}
		k.cuts[i] = uint16(size)
	}
	var text strings.Builder
	text.Grow(size + len(more))
	for _, piece := range pieces {
		text.WriteString(piece)
	}
	text.Write(more)
	k.by, k.text, k.issued = by, text.String(), issued
	k.Until(expires)
	return true
}

// rest returns the credential without its header.
func (k *known) rest() string { return k.text[:k.cuts[0]] }

// credential returns the whole credential.
func (k *known) credential() string { return k.by.header + k.rest() }

// Is reports whether it is this very credential, the whole of it.
func (k *known) Is(credential string) bool {
	head, rest := k.by.header, k.rest()
	return len(credential) == len(head)+len(rest) && credential[len(head):] == rest && credential[:len(head)] == head
}

// Subject returns what entries of the log can end it by. It does not read it off
// a caller, which handlers have in their hands.
func (k *known) Subject() feed.Subject {
	s := feed.Subject{
		User: k.text[k.cuts[0]:k.cuts[1]], Session: k.text[k.cuts[1]:k.cuts[2]],
		Grant: k.text[k.cuts[2]:k.cuts[3]], Client: k.by.client, IssuedAt: k.issued,
	}
	if k.by.key != nil {
		s.Key = k.by.key.id
	}
	return s
}

func (k *known) isCookie() bool { return k.by.key == nil }

// done returns the channel of the one watch that this credential has had, as it
// is known here: once that is closed it stays so, whatever comes later.
func (k *known) done() <-chan struct{} {
	if w := k.watch.Load(); w != nil {
		return w.done
	}
	k.watch.CompareAndSwap(nil, k.by.verifier.watch(k))
	return k.watch.Load().done
}

func (v *Verifier) knownOfToken(text string, t *jwt.Claims, key *trusted) *knownToken {
	k := &knownToken{}
	by := key.vouches.find(v, key, text[:strings.IndexByte(text, '.')+1], t.ClientID)
	if !k.remember(by, text, t.Subject, t.SessionID, t.GrantID, t.IssuedAt, t.ExpiresAt, nil) {
		return nil
	}
	s, m := k.Subject(), v.shared.manner(t.Scope, t.ACR, t.AMR)
	k.caller = Caller{
		UserID: s.User, SessionID: s.Session, GrantID: s.Grant, ClientID: s.Client,
		Scopes: m.scopes, AMR: m.amr, ACR: m.acr, AuthTime: unixTime(t.AuthTime),
		Claims: cloneClaims(t.Extra), known: &k.known,
	}
	return k
}

// knownOfCookie returns what an answer about a session cookie tells of, or nil if
// the answer is about something else: a token that somebody put into the cookie
// has an audience and scopes, which a cookie has not.
func (v *Verifier) knownOfCookie(cookie string, a *answer, used int64) *knownCookie {
	if a.Session == "" || a.Subject == "" || a.Audience != nil || a.Scope != "" || a.Issued <= 0 || a.Expires <= 0 {
		return nil
	}
	k := &knownCookie{authTime: a.AuthTime, manner: v.shared.manner("", a.ACR, a.AMR)}
	by := v.vouches.find(v, nil, "", a.Client)
	if !k.remember(by, cookie, a.Subject, a.Session, a.Grant, a.Issued, a.Expires, packClaims(a.others)) {
		return nil
	}
	k.used.Store(used)
	return k
}

// caller returns a caller for one request.
func (k *knownCookie) caller() *Caller {
	s := k.Subject()
	return &Caller{
		UserID: s.User, SessionID: s.Session, GrantID: s.Grant, ClientID: s.Client,
		AMR: k.manner.amr, ACR: k.manner.acr, AuthTime: unixTime(k.authTime),
		Claims: unpackClaims(k.text[k.cuts[3]:]), known: &k.known,
	}
}

// use notes that a request bore the cookie.
func (k *knownCookie) use(now instant) {
	if s := now.seconds(); k.used.Load() != s {
		k.used.Store(s)
	}
}

// unixTime returns the time of so many Unix seconds, and no time for 0.
func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
