package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/revocation"
)

// ErrNoClient means that there is no such client.
var ErrNoClient = fault.New(fault.NotFound, "not_found", "There is no such thing, or it is not yours.")

// ErrClientChanged means that somebody else has changed the client meanwhile.
var ErrClientChanged = errors.New("the client was changed meanwhile")

// A ClientStore keeps the registered clients. A step that fails in a way not named here
// has happened whole or not at all, and may be taken again.
type ClientStore interface {
	// AddClient adds a client at Revision 1 and returns it; the store sets CreatedAt.
	// ErrClientChanged, and nothing added, if there is one with this id or was one.
	AddClient(ctx context.Context, c Client, e audit.Entry) (Client, error)
	// FindClient returns a registered client, a disabled one too, and the store's clock at
	// the read. ErrNoClient if there is none: one without a registration, such as that of
	// the operator's own applications, is none, nor is one that was removed.
	FindClient(ctx context.Context, id string) (c Client, read time.Time, err error)
	// Clients returns up to limit registered clients by ascending id behind after (empty:
	// from the first), disabled ones too.
	Clients(ctx context.Context, after string, limit int) ([]Client, error)
	// ChangeClient writes c in the place of the client at Revision c.Revision, which rises
	// by one, and returns it; CreatedAt stays. Disabling one ends what it drew, reason
	// "disabled"; every other change appends a changed entry and raises ChangedBefore.
	// ErrClientChanged, and nothing changed, unless it is at that revision; ErrNoClient if
	// it is not there.
	ChangeClient(ctx context.Context, c Client, e audit.Entry) (Client, error)
	// RemoveClient ends what a client drew, reason "removed", and keeps nothing of its
	// registration. ErrNoClient, and nothing changed, if it is not there.
	RemoveClient(ctx context.Context, id string, e audit.Entry) error
}

// An AssertionStore remembers the assertions by which clients have shown who they are. A
// step that fails in a way not named here has happened whole or not at all, and may be
// taken again.
type AssertionStore interface {
	// SpendAssertion remembers an assertion until it expires. Of any number who bring the
	// same id, at whichever nodes, one gets nil and every other ErrSpent.
	SpendAssertion(ctx context.Context, id string, expires time.Time) error
	// SweepAssertions removes up to limit assertions that have expired and returns how
	// many; more says that there may be others.
	SweepAssertions(ctx context.Context, limit int) (removed int, more bool, err error)
}

// ErrSpent means that an assertion was used before.
var ErrSpent = errors.New("the assertion was used before")

const (
	clientMemory = 10_000
	clientLife   = time.Minute // how long a client is remembered before the store is asked again
	secretPrefix = "ccs_"
)

// A Registry keeps the clients, and remembers those that were asked for. It is safe for
// concurrent use.
type Registry struct {
	store ClientStore
	log   *revocation.Log
	// accepts judges an address that this server is to call; nil: none is called, and
	// none is judged.
	accepts func(address string) error
	known   *feed.Memory[knownClient, *knownClient]
	heard   atomic.Uint64 // rises with every entry of the log that may concern a client
	now     func() time.Time
	logger  *slog.Logger
}

// A knownClient is remembered by its id.
type knownClient struct {
	feed.Hold
	client Client
	read   int64 // Unix seconds
}

func (k *knownClient) Is(id string) bool { return k.client.ID == id }

func (k *knownClient) Subject() feed.Subject {
	return feed.Subject{Client: k.client.ID, IssuedAt: k.read}
}

func newRegistry(store ClientStore, log *revocation.Log, now func() time.Time, logger *slog.Logger) *Registry {
	r := &Registry{
		store: store, log: log, now: now, logger: logger,
		known: feed.NewMemory[knownClient](log.Set(), clientMemory),
	}
	log.Watch(r.hear)
	return r
}

// hear forgets a client that an entry of the log is about. The set refuses what it
// remembers as well, but by time: an entry bears the time at which its step began, and
// whoever read before the commit may have read later than that.
func (r *Registry) hear(e feed.Entry) {
	switch {
	case e.Kind == feed.Client, e.Kind == feed.Changed && strings.HasPrefix(e.ID, credential.Client):
		r.heard.Add(1)
		r.known.Forget(e.ID)
	case e.Kind == feed.All:
		r.heard.Add(1)
		r.known.Clear()
	}
}

// Find returns a client, a disabled one too, or ErrNoClient. It is not to be changed. In
// the common case it costs no look-up in the store; a change holds here at once, and at
// other nodes when they hear of it.
func (r *Registry) Find(ctx context.Context, id string) (*Client, error) {
	if !credential.IsID(credential.Client, id) {
		return nil, ErrNoClient
	}
	if r.log.Current(ctx) == nil {
		if k, verdict := r.known.Get(id, r.now().Unix()); verdict == feed.Live {
			return &k.client, nil
		}
	}
	heard := r.heard.Load()
	c, read, err := r.store.FindClient(ctx, id)
	if err != nil {
		if errors.Is(err, ErrNoClient) {
			return nil, ErrNoClient
		}
		return nil, fmt.Errorf("read a client: %w: %w", fault.ErrUnavailable, err)
	}
	k := &knownClient{client: c, read: read.Unix()}
	r.known.Put(c.ID, k, r.now().Add(clientLife).Unix())
	if r.heard.Load() != heard {
		r.known.Forget(id)
	}
	return &k.client, nil
}

// List returns up to limit clients by ascending id behind after (empty: from the first).
func (r *Registry) List(ctx context.Context, after string, limit int) ([]Client, error) {
	return r.store.Clients(ctx, after, limit)
}

// Add registers a client, and returns it with its secret, which is nowhere else; "" if it
// has none. What the type decides may be left out. Members of the error name what is wrong.
func (r *Registry) Add(ctx context.Context, c Client, actor string, from audit.Origin) (Client, string, error) {
	c.ID, c.SecretHash = credential.NewID(credential.Client), credential.Hash{}
	if c.Scopes == nil && c.Type != Machine {
		c.Scopes = []string{"openid", "email", "profile"}
	}
	c.complete()
	if err := r.check(&c); err != nil {
		return Client{}, "", err
	}
	text := c.newSecret()
	e := audit.New(audit.ClientAdded, audit.OK, from)
	e.Actor, e.Subject = actor, c.ID
	c, err := r.store.AddClient(ctx, c, e)
	if err != nil {
		return Client{}, "", err
	}
	return c, text, nil
}

// check returns what is wrong with a registration, or nil. Addresses that this server is
// to call are judged as far as they can be without calling: V-76.
func (r *Registry) check(c *Client) error {
	if err := c.check(); err != nil || r.accepts == nil {
		return err
	}
	for member, address := range map[string]string{"/jwks_uri": c.JWKSURI, "/backchannel_logout_uri": c.BackchannelLogoutURI} {
		var refused *outbound.Refused
		if address != "" && errors.As(r.accepts(address), &refused) {
			return fault.Bad(member, "format", "This server does not call there: "+refused.Why)
		}
	}
	return nil
}

// newSecret gives the client a fresh secret if its method takes one, and returns it.
func (c *Client) newSecret() string {
	if c.AuthMethod != AuthBasic && c.AuthMethod != AuthPost {
		c.SecretHash = credential.Hash{}
		return ""
	}
	secret := credential.NewSecret()
	c.SecretHash = secret.Hash()
	return secretPrefix + secret.Encode()
}

// changes bounds how often a change begins again because another came first.
const changes = 8

// Change changes a client as change says, which may be called more than once, and returns
// it with a fresh secret if its method now takes one and it had none. ErrNoClient, or what
// is wrong with it.
func (r *Registry) Change(ctx context.Context, id string, change func(*Client) error, actor string, from audit.Origin) (Client, string, error) {
	return r.change(ctx, id, audit.ClientChanged, change, actor, from)
}

func (r *Registry) change(ctx context.Context, id string, event audit.Event, change func(*Client) error, actor string, from audit.Origin) (Client, string, error) {
	if !credential.IsID(credential.Client, id) {
		return Client{}, "", ErrNoClient
	}
	for range changes {
		c, _, err := r.store.FindClient(ctx, id)
		if err != nil {
			return Client{}, "", err
		}
		before := c
		c = c.clone()
		if err := change(&c); err != nil {
			return Client{}, "", err
		}
		c.settle(&before)
		if err := r.check(&c); err != nil {
			return Client{}, "", err
		}
		text := ""
		switch takes := c.AuthMethod == AuthBasic || c.AuthMethod == AuthPost; {
		case !takes:
			c.SecretHash = credential.Hash{}
		case c.SecretHash == credential.Hash{}:
			text = c.newSecret()
		}
		e := audit.New(event, audit.OK, from)
		e.Actor, e.Subject = actor, c.ID
		c, err = r.store.ChangeClient(ctx, c, e)
		if !errors.Is(err, ErrClientChanged) {
			if err != nil {
				return Client{}, "", err
			}
			return c, text, nil
		}
	}
	return Client{}, "", fmt.Errorf("change a client: %w: %w", fault.ErrUnavailable, ErrClientChanged)
}

// RotateSecret gives a client a fresh secret and returns it; the one before is dead here at
// once, and at other nodes when they hear of it. ErrNoClient, or that its method takes none.
func (r *Registry) RotateSecret(ctx context.Context, id, actor string, from audit.Origin) (string, error) {
	_, text, err := r.change(ctx, id, audit.ClientSecretRotated, func(c *Client) error {
		if c.AuthMethod != AuthBasic && c.AuthMethod != AuthPost {
			return fault.Bad("/token_endpoint_auth_method", "format", "This client has no secret: it shows in another way who it is.")
		}
		c.SecretHash = credential.Hash{}
		return nil
	}, actor, from)
	return text, err
}

// Remove ends everything that a client drew, and forgets it, or returns ErrNoClient.
func (r *Registry) Remove(ctx context.Context, id, actor string, from audit.Origin) error {
	if !credential.IsID(credential.Client, id) {
		return ErrNoClient
	}
	e := audit.New(audit.ClientRemoved, audit.OK, from)
	e.Actor, e.Subject = actor, id
	return r.store.RemoveClient(ctx, id, e)
}
