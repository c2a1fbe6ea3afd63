package session

import (
	"slices"
	"strings"
	"time"
)

// over reports whether the session is over at the given time, given when it was
// last seen in memory. It is the one rule; the store's statements repeat it
// where a decision and a write must be one step.
func (st *Standing) over(now, seen time.Time) bool {
	s := &st.Session
	created := s.CreatedAt.Unix()
	return !s.EndedAt.IsZero() || st.User.Disabled ||
		lapsed(now, later(seen, s.LastSeenAt), s.Idle, s.ExpiresAt) ||
		created <= st.User.OverBefore || created <= st.OverBefore
}

// lapsed is the part of the rule that time alone decides.
func lapsed(now, seen time.Time, idle time.Duration, expires time.Time) bool {
	return !now.Before(expires) || !now.Before(seen.Add(idle))
}

// grantOver reports whether the grant itself is over, its session aside.
func (st *Standing) grantOver() bool {
	g := &st.Grant
	return g.ID == "" || !g.EndedAt.IsZero() || st.Client.Disabled || g.CreatedAt.Unix() <= st.Client.OverBefore
}

// IdleEnds returns when the session is over unless it is seen again after the
// later of seen and what the store knows.
func (st *Standing) IdleEnds(seen time.Time) time.Time {
	if seen.Before(st.Session.LastSeenAt) {
		seen = st.Session.LastSeenAt
	}
	return earlier(seen.Add(st.Session.Idle), st.Session.ExpiresAt)
}

// floor returns the first second that lies after everything that has ended or
// changed what was given out before: nothing may be stamped earlier.
func (st *Standing) floor() int64 {
	return max(st.User.OverBefore, st.Client.OverBefore, st.OverBefore,
		st.User.ChangedBefore, st.Session.ChangedBefore, st.Client.ChangedBefore) + 1
}

// ended returns the first second that lies after everything that has ended what was
// given out before: unlike floor, it does not count what has only changed.
func (st *Standing) ended() int64 {
	return max(st.User.OverBefore, st.Client.OverBefore, st.OverBefore) + 1
}

// stamp returns the second that a token minted from this reading bears.
func (st *Standing) stamp() int64 { return max(st.Now.Unix(), st.floor()) }

// target decides the audience of a token: what was asked, if the client may ask
// for it, else the grant's, else the issuer alone.
func (st *Standing) target(asked, issuer string) (string, error) {
	if asked == "" {
		asked = st.Grant.Audience
	}
	if asked == "" || asked == issuer {
		return issuer, nil
	}
	if !slices.Contains(st.Client.Audiences, asked) {
		return "", ErrInvalidTarget
	}
	return asked, nil
}

// reach decides the audience and the scope of a renewed token. The first-party client
// may ask for all that it may ever ask for; every other is bound to what was granted,
// and may turn to the issuer itself besides, where the person's claims are.
func (st *Standing) reach(audience, scope, issuer string) (string, string, error) {
	narrow := st.scope
	if !st.Client.FirstParty {
		if audience != "" && audience != issuer && audience != st.Grant.Audience {
			return "", "", ErrInvalidTarget
		}
		narrow = st.narrow
	}
	audience, err := st.target(audience, issuer)
	if err != nil {
		return "", "", err
	}
	scope, err = narrow(scope)
	return audience, scope, err
}

// narrow decides the scope of a token on a grant that is there: what was asked, which
// may be no more than was granted, else all of that; and of both only what the client
// may still ask for.
func (st *Standing) narrow(asked string) (string, error) {
	granted := strings.Fields(st.Grant.Scope)
	granted = slices.DeleteFunc(granted, func(word string) bool { return !slices.Contains(st.Client.Scopes, word) })
	if asked == "" {
		return strings.Join(granted, " "), nil
	}
	var words []string
	for _, word := range strings.Fields(asked) {
		if !slices.Contains(granted, word) {
			return "", ErrInvalidScope
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " "), nil
}

// scope decides the scope of a token likewise. Words are kept in the order asked,
// once each.
func (st *Standing) scope(asked string) (string, error) {
	if asked == "" {
		asked = st.Grant.Scope
	}
	var words []string
	for _, word := range strings.Fields(asked) {
		if !slices.Contains(st.Client.Scopes, word) {
			return "", ErrInvalidScope
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " "), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
