package coatcheck

import (
	"context"
	"errors"

	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/jwt"
)

// Verify checks an access token and returns who it stands for. On any error,
// which is one of this package's, the caller is nil. A token that was seen before
// costs a look-up; ctx is for the rest: waiting for a
// new key, or asking the issuer under [Ask]. A session cookie is no token:
// [Verifier.Require] takes it.
func (v *Verifier) Verify(ctx context.Context, token string) (*Caller, error) {
	if len(token) > jwt.MaxLength {
		return nil, ErrInvalid
	}
	now := v.clock.read()
	seen, verdict := v.tokens.Get(token, now.seconds())
	if verdict == feed.Live && !seen.by.key.withdrawn.Load() && v.fresh(now) {
		return &seen.caller, nil
	}
	return v.examine(ctx, token, seen, verdict, now)
}

// examine decides about a token that is not known to be good.
func (v *Verifier) examine(ctx context.Context, token string, k *knownToken, verdict feed.Verdict, now instant) (*Caller, error) {
	if k == nil || k.by.key.withdrawn.Load() {
		var err error
		if k, now, err = v.parse(ctx, token, now); err != nil {
			return nil, err
		}
		if verdict = v.set.Verdict(k.Subject()); verdict == feed.Live {
			v.tokens.Put(token, k, k.Expires())
		}
		if o, found := v.recall(token, now); found && o.reason != nil { // after Put: see questionToken
			v.tokens.Forget(token)
			return nil, o.reason
		}
	}
	switch verdict {
	case feed.Over:
		return nil, ErrRevoked
	case feed.Renew, feed.Expired:
		return nil, ErrExpired
	case feed.Live:
		if v.fresh(now) || v.trustsOffline(now) {
			return &k.caller, nil
		}
		if v.config.WhenStale == Ask {
			return v.askToken(ctx, token, k, now)
		}
		return nil, ErrStale
	}
	if !v.fresh(now) && v.config.WhenStale == Deny {
		return nil, ErrStale
	}
	return v.askToken(ctx, token, k, now)
}

// parse checks a token's form, signature and claims, at the given time or, if it had
// to wait, at the one that it returns. An unknown key makes it look at the issuer's
// key set again, once.
func (v *Verifier) parse(ctx context.Context, token string, now instant) (*knownToken, instant, error) {
	k, err := v.parseOnce(token, now)
	if !errors.Is(err, jwt.ErrUnknownKey) {
		return k, now, err
	}
	unread := v.refreshKeys(ctx, keyCooldown)
	now = v.clock.read()
	k, err = v.parseOnce(token, now)
	switch {
	case !errors.Is(err, jwt.ErrUnknownKey):
		return k, now, err
	case !v.keys.usable() && unread != nil:
		return nil, now, v.failed(ctx, unread)
	case !v.keys.usable():
		return nil, now, ErrStale
	}
	return nil, now, ErrInvalid
}

func (v *Verifier) parseOnce(token string, now instant) (*knownToken, error) {
	var key *trusted
	withdrawn := false
	claims, err := v.parser.Parse(token, func(id string) (jwt.PublicKey, bool) {
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
		Now: now.time(), Leeway: jwt.Leeway,
	})
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return nil, ErrExpired
	case err != nil:
		return nil, ErrInvalid
	}
	k := v.knownOfToken(token, &claims, key)
	if k == nil {
		return nil, ErrInvalid
	}
	return k, nil
}
