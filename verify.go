package coatcheck

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// Verify checks an access token and returns who it stands for. On any error,
// which is one of this package's, the caller is nil. A token that was seen before
// costs a look-up, and is kept as it was given; ctx is for the rest: waiting for a
// new key, or asking the issuer under [Ask]. A session cookie is no token:
// [Verifier.Require] takes it.
func (v *Verifier) Verify(ctx context.Context, token string) (*Caller, error) {
	if len(token) > jwt.MaxLength {
		return nil, ErrInvalid
	}
	now := v.clock.read()
	seen, verdict := v.tokens.Get(token, now.seconds())
	if verdict == feed.Live && !seen.key.withdrawn.Load() && v.fresh(now) {
		return seen.caller, nil
	}
	return v.examine(ctx, token, seen, verdict, now)
}

// A signed caller is one that a token stands for, with the key that vouches for
// it at hand: the key falls with all it signed.
type signed struct {
	caller *Caller
	key    *trusted
}

// examine decides about a token that is not known to be good.
func (v *Verifier) examine(ctx context.Context, token string, seen signed, verdict feed.Verdict, now instant) (*Caller, error) {
	c := seen.caller
	if c == nil || seen.key.withdrawn.Load() {
		var err error
		if c, err = v.parse(ctx, token); err != nil {
			return nil, err
		}
		if verdict = v.set.Verdict(c.subject()); verdict == feed.Live {
			v.tokens.Put(token, c.subject(), c.origin.expires, signed{c, c.origin.key})
		}
		if o, found := v.recall(token, now); found && o.reason != nil { // after Put: see questionToken
			v.tokens.Forget(token)
			return nil, o.reason
		}
		now = v.clock.read()
	}
	switch verdict {
	case feed.Over:
		return nil, ErrRevoked
	case feed.Renew, feed.Expired:
		return nil, ErrExpired
	case feed.Live:
		if v.fresh(now) || v.trustsOffline(now) {
			return c, nil
		}
		if v.config.WhenStale == Ask {
			return v.askToken(ctx, token, c, now)
		}
		return nil, ErrStale
	}
	if !v.fresh(now) && v.config.WhenStale == Deny {
		return nil, ErrStale
	}
	return v.askToken(ctx, token, c, now)
}

// parse checks a token's form, signature and claims. An unknown key makes it
// look at the issuer's key set again, once.
func (v *Verifier) parse(ctx context.Context, token string) (*Caller, error) {
	c, err := v.parseOnce(token)
	if !errors.Is(err, jwt.ErrUnknownKey) {
		return c, err
	}
	unread := v.refreshKeys(ctx, keyCooldown)
	c, err = v.parseOnce(token)
	switch {
	case !errors.Is(err, jwt.ErrUnknownKey):
		return c, err
	case !v.keys.known() && unread != nil:
		return nil, v.failed(ctx, unread)
	case !v.keys.known():
		return nil, ErrStale
	}
	return nil, ErrInvalid
}

func (v *Verifier) parseOnce(token string) (*Caller, error) {
	var key *trusted
	withdrawn := false
	claims, err := jwt.Parse(token, func(id string) (jwt.PublicKey, bool) {
		if key = v.keys.find(id); key != nil {
			return key.public, true
		}
		withdrawn = v.set.Holds(feed.Key, id) // its sessions go on: to be renewed, whoever signed it
		return jwt.PublicKey{}, false
	})
	switch {
	case withdrawn:
		return nil, ErrExpired
	case errors.Is(err, jwt.ErrUnknownKey):
		return nil, jwt.ErrUnknownKey
	case err != nil:
		return nil, ErrInvalid
	}
	err = claims.Check(jwt.Expect{
		Issuer: v.config.Issuer, Audience: v.config.Audience,
		Now: v.clock.read().time(), Leeway: jwt.Leeway,
	})
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return nil, ErrExpired
	case err != nil:
		return nil, ErrInvalid
	}
	return v.callerOfToken(token, &claims, key), nil
}
