package oauth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Credentials are how a request says which client it comes from, as it bears them.
type Credentials struct {
	ID            string // client_id, of the form or the Basic header; "" where an assertion says it
	Secret        string
	Basic, Post   bool   // a secret, be it an empty one, stood in the Authorization header, in the form
	AssertionType string // client_assertion_type
	Assertion     string // client_assertion
	From          audit.Origin
}

// Authenticate returns the client that a request comes from. It shows who it is by
// exactly the method that it was registered with, and in one way at once (RFC 6749 §2.3).
//
// ErrClient if it does not, or is disabled; ErrRequest if it does in two ways at once. Every
// failure is audited, and whoever fails too often from one address is told
// [account.ErrTooMany]; the right credential always counts, so nobody locks a client out.
func (p *Provider) Authenticate(ctx context.Context, c Credentials) (*Client, error) {
	return p.clientAuth.authenticate(ctx, c)
}

// Why a client is not taken for the one it says, for the audit and the log.
var (
	errNoID        = errors.New("no client_id")
	errUnknown     = errors.New("no such client")
	errDisabled    = errors.New("the client is disabled")
	errMethod      = errors.New("another method than the client was registered with")
	errWrongSecret = errors.New("wrong secret")
)

// refusalRates bound how often a client that fails is told why, from one network address, and
// is written into the audit log.
var refusalRates = struct{ pair, address throttle.Rate }{
	pair:    throttle.Rate{Burst: 20, Every: 10 * time.Second},
	address: throttle.Rate{Burst: 100, Every: time.Second},
}

// maxRefusals bounds the memory of that.
const maxRefusals = 100_000

// An authenticator finds out which client a request comes from.
type authenticator struct {
	issuer     string
	clients    *Registry
	keys       *remoteKeys
	assertions AssertionStore
	audit      audit.Store
	refused    throttle.Store
	now        func() time.Time
	logger     *slog.Logger
}

func (a *authenticator) authenticate(ctx context.Context, c Credentials) (*Client, error) {
	ways := 0
	for _, way := range []bool{c.Basic, c.Post, c.Assertion != "" || c.AssertionType != ""} {
		if way {
			ways++
		}
	}
	if ways > 1 {
		return nil, ErrRequest
	}
	client, err := a.examine(ctx, &c)
	if err == nil {
		return client, nil
	}
	if errors.Is(err, fault.ErrUnavailable) || ctx.Err() != nil {
		return nil, err
	}
	return nil, a.refuse(ctx, c, err)
}

func (a *authenticator) examine(ctx context.Context, c *Credentials) (*Client, error) {
	if c.Assertion != "" {
		named, ok := assertedClient(c.Assertion)
		switch {
		case c.AssertionType != assertionType:
			return nil, errAssertionWrongType
		case !ok:
			return nil, errAssertionForm
		case c.ID != "" && c.ID != named:
			return nil, errAssertionNoClient
		}
		c.ID = named
	}
	if c.ID == "" {
		return nil, errNoID
	}
	client, err := a.clients.Find(ctx, c.ID)
	switch {
	case errors.Is(err, ErrNoClient):
		return nil, errUnknown
	case err != nil:
		return nil, err
	case client.Disabled:
		return nil, errDisabled
	}
	return client, a.prove(ctx, client, c)
}

// prove returns nil if the request bears what the client's method asks for.
func (a *authenticator) prove(ctx context.Context, client *Client, c *Credentials) error {
	bears := map[AuthMethod]bool{
		AuthNone:  !c.Basic && !c.Post && c.Assertion == "" && c.AssertionType == "",
		AuthBasic: c.Basic, AuthPost: c.Post, AuthKey: c.Assertion != "",
	}
	switch {
	case !bears[client.AuthMethod]:
		return errMethod
	case client.AuthMethod == AuthKey:
		return a.checkAssertion(ctx, client, c.Assertion)
	case client.AuthMethod == AuthNone:
		return nil
	}
	text, prefixed := strings.CutPrefix(c.Secret, secretPrefix)
	secret, ok := credential.ParseSecret(text)
	if !prefixed || !ok || !secret.Opens(client.SecretHash) {
		return errWrongSecret
	}
	return nil
}

// refuse audits a failure, unless there are too many of them, and returns what the
// client is told.
func (a *authenticator) refuse(ctx context.Context, c Credentials, reason error) error {
	id := audit.Safe(c.ID, 64)
	group := throttle.AddressGroup(c.From.IP)
	waits, err := a.refused.Take(ctx,
		throttle.Limit{Key: "x" + group + "\x00" + id, Rate: refusalRates.pair},
		throttle.Limit{Key: "y" + group, Rate: refusalRates.address})
	if err != nil {
		return err
	}
	if after := waits.Longest(); after > 0 {
		return &fault.Retry{Fault: account.ErrTooMany, After: after}
	}
	a.logger.Info("a client did not show who it is", "client", id, "reason", reason.Error())
	e := audit.New(audit.ClientRefused, ErrClient.Code, c.From)
	e.Subject = audit.Safe(id+": "+reason.Error(), 256)
	if err := a.audit.Record(ctx, e); err != nil {
		a.logger.Error("an audit entry could not be written", "event", e.Event, "error", err)
	}
	return ErrClient
}
