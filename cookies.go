package coatcheck

import (
	"context"
	"slices"
	"strings"

	"github.com/coatcheck/coatcheck/internal/cookie"
	"github.com/coatcheck/coatcheck/internal/feed"
)

// cookieNames are the names under which credentials come, as raw bytes.
type cookieNames struct {
	session []string
	token   []string
}

// namesOf returns the names that count. On plain http, which only a loopback
// issuer may use, browsers do not take the prefixed names everywhere.
func namesOf(plain, shared bool) cookieNames {
	n := cookieNames{session: []string{"__Host-coatcheck"}, token: []string{"__Host-coatcheck_at"}}
	if shared {
		n.session = []string{"__Secure-coatcheck"}
	}
	if plain {
		n.session = append(n.session, "coatcheck_dev")
		n.token = append(n.token, "coatcheck_dev_at")
	}
	return n
}

// A found is the first of the cookies with some of our names, and how many there are.
type found struct {
	value string
	times int
}

func (f *found) add(value string) {
	if f.times++; f.times == 1 {
		f.value = value
	}
}

// find looks for our cookies in the lines of a Cookie header.
func (n *cookieNames) find(lines []string) (token, session found) {
	for _, line := range lines {
		for line != "" {
			var name, value string
			name, value, line = cookie.Cut(line)
			if slices.Contains(n.session, name) {
				session.add(value)
			} else if slices.Contains(n.token, name) {
				token.add(value)
			}
		}
	}
	return token, session
}

// The lengths that a session cookie can have.
const (
	minCookie = 20
	maxCookie = 512
)

// isCookie reports whether a value can be a session cookie at all, so that
// garbage is refused without a question. A refresh token, an API key or an
// access token, which has three parts, is none.
func isCookie(value string) bool {
	if len(value) < minCookie || len(value) > maxCookie {
		return false
	}
	dots := 0
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default:
			return false
		}
	}
	return dots < 2 && !strings.HasPrefix(value, "ckr_") && !strings.HasPrefix(value, "cka_")
}

// checkCookie returns who a session cookie stands for. The issuer is asked once,
// and its answer is then held to the log and to its time as if it were a token.
//
// A cookie that the issuer does not know comes to ErrRevoked if this verifier
// has lately known it as good, and to ErrInvalid otherwise: the issuer does not
// say whether there ever was such a session. See inactive.
func (v *Verifier) checkCookie(ctx context.Context, value string) (*Caller, error) {
	now := v.clock.read()
	fresh := v.fresh(now)
	k, verdict := v.sessions.Get(value, now.seconds())
	switch {
	case verdict == feed.Live && fresh:
		k.use(now)
		return k.caller(), nil
	case verdict == feed.Over:
		return nil, ErrRevoked
	case !isCookie(value):
		return nil, ErrInvalid
	}
	if o, found := v.recall(value, now); found && (o.reason != nil || !fresh && v.config.WhenStale == Ask) {
		return o.caller(), o.reason
	}
	if !fresh && v.config.WhenStale != Ask {
		return nil, ErrStale
	}
	o, err := v.questionCookie(ctx, value, k, now.seconds())
	if err != nil {
		return nil, v.failed(ctx, err)
	}
	return o.caller(), o.reason
}

// questionCookie asks the issuer about a session cookie that was last used at
// the given time (Unix seconds), together with all who ask just now, and
// remembers the answer. old is what is remembered already and does not suffice.
func (v *Verifier) questionCookie(ctx context.Context, value string, old *knownCookie, used int64) (outcome, error) {
	value = strings.Clone(value) // not to keep the whole Cookie header
	return v.asks.do(ctx, value, v.start, func() (outcome, error) {
		k, verdict := v.sessions.Get(value, v.clock.read().seconds())
		if verdict == feed.Live && k != old { // somebody was answered a moment ago
			return outcome{known: &k.known, cookie: k}, nil
		}
		o, err := v.learnCookie(value, used)
		if err == nil && (o.reason != nil || v.config.WhenStale == Ask) {
			v.keep(value, o, 0)
		}
		return o, err
	})
}

// maxAsks is how often a cookie is asked about when entries of the log overtake
// the answers.
const maxAsks = 3

// learnCookie asks until the answer is not older than what the log says.
func (v *Verifier) learnCookie(value string, used int64) (outcome, error) {
	for range maxAsks {
		version := v.set.Version()
		a, err := v.introspect(value, "session_cookie", used)
		if err != nil {
			return outcome{}, err
		}
		if !a.Active {
			return outcome{reason: v.inactive(value)}, nil
		}
		k := v.knownOfCookie(value, &a, used)
		if k == nil {
			v.log.Warn("coatcheck: the issuer's answer about a session cookie is not one about a session")
			return outcome{reason: ErrInvalid}, nil
		}
		switch v.set.Verdict(k.Subject()) {
		case feed.Live:
			v.sessions.Put(value, k, k.Expires())
			return outcome{known: &k.known, cookie: k}, nil
		case feed.Over:
			return outcome{reason: ErrRevoked}, nil
		}
		if v.set.Version() == version { // asked after the entry was heard, so the answer knows of it
			return outcome{known: &k.known, cookie: k}, nil
		}
	}
	return outcome{}, ErrStale
}

// inactive returns the reason for a cookie that the issuer does not know, and
// sees to it that it is asked about again rather than remembered as good. One
// whose session has changed may have been replaced by a newer cookie of the same
// session, so it does not say that the session has ended.
func (v *Verifier) inactive(value string) error {
	k := v.sessions.Peek(value)
	if k == nil {
		return ErrInvalid
	}
	v.sessions.Expire(value)
	if v.set.Verdict(k.Subject()) == feed.Renew {
		return ErrInvalid
	}
	return ErrRevoked
}
