package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// castCode is a code on the session of the cast, the same each time.
func (c *cast) castCode(name string) session.Code {
	return session.Code{
		ID: "cod_" + name, SecretHash: hashOf("secret"), RequestID: "request " + name, SessionID: c.in.ID, ClientID: partner.ID, Scope: "read",
	}
}

// castGrant is what it gives.
func (c *cast) castGrant(name string) session.Grant {
	return session.Grant{ID: "grt_" + name, SessionID: c.in.ID, ClientID: partner.ID, Scope: "read", CreatedAt: start}
}

// withCodes puts codes into a store.
func withCodes(names ...string) func(t *testing.T, f *fixture, c *cast) {
	return func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		for _, name := range names {
			must(t, f.Codes.AddCode(t.Context(), c.castCode(name), time.Minute, 10))
		}
	}
}

// withGrants redeems so many codes before, and leaves one that is open.
func withGrants(n int) func(t *testing.T, f *fixture, c *cast) {
	return func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		for i := range n {
			name := string(rune('a' + i))
			withCodes(name)(t, f, c)
			must(t, f.Codes.Redeem(t.Context(), "cod_"+name, nil, c.castGrant(name), noted(audit.GrantOpened)))
		}
		withCodes("open")(t, f, c)
	}
}

func redeeming(offline bool) func(ctx context.Context, f *fixture, c *cast) error {
	return func(ctx context.Context, f *fixture, c *cast) error {
		g := c.castGrant("open")
		if !offline {
			return f.Codes.Redeem(ctx, "cod_open", nil, g, noted(audit.GrantOpened))
		}
		own := c.in.Session
		own.ID, own.ClientID = own.ID[:len(own.ID)-1]+"!", partner.ID
		g.SessionID = own.ID
		return f.Codes.Redeem(ctx, "cod_open", &own, g, noted(audit.GrantOpened))
	}
}

var codeSteps = []faultyStep{
	{method: "session.CodeStore.AddCode", again: session.ErrAnswered, take: func(ctx context.Context, f *fixture, c *cast) error {
		return f.Codes.AddCode(ctx, c.castCode("new"), time.Minute, 10)
	}},
	{method: "session.CodeStore.Redeem", again: session.ErrLost, ready: withGrants(0), take: redeeming(false)},
	{method: "session.CodeStore.Redeem", name: ", offline", again: session.ErrLost, ready: withGrants(0), take: redeeming(true)},
	{method: "session.CodeStore.Redeem", name: ", the seventeenth", again: session.ErrLost, ready: withGrants(16), take: redeeming(false)},
	{method: "session.CodeStore.SweepCodes", ready: func(t *testing.T, f *fixture, c *cast) {
		t.Helper()
		withCodes("a", "b")(t, f, c)
		f.clock.Advance(time.Minute)
	}, take: func(ctx context.Context, f *fixture, _ *cast) error {
		_, _, err := f.Codes.SweepCodes(ctx, time.Second, 10)
		return err
	}},
	{method: "session.Store.End", name: ", a client with a user", ready: withGrants(2), take: func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Sessions.End(ctx, session.Ending{Kind: feed.Grant, UserID: c.user.ID, ClientID: partner.ID}, noted(audit.GrantEnded))
		return err
	}},
}

var codeReads = []faultyRead{
	{"session.CodeStore.OfCode", func(ctx context.Context, f *fixture, c *cast) error {
		if err := f.Codes.AddCode(ctx, c.castCode("read"), time.Minute, 10); err != nil && !errors.Is(err, session.ErrAnswered) {
			return err
		}
		_, _, err := f.Codes.OfCode(ctx, "cod_read")
		return err
	}},
	{"session.CodeStore.OfClient", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Codes.OfClient(ctx, partner.ID)
		return err
	}},
	{"session.CodeStore.GrantsOf", func(ctx context.Context, f *fixture, c *cast) error {
		_, err := f.Codes.GrantsOf(ctx, c.user.ID, 10)
		return err
	}},
	{"keyring.Store.Algorithms", func(ctx context.Context, f *fixture, _ *cast) error {
		_, err := f.Keys.Algorithms(ctx)
		return err
	}},
}
