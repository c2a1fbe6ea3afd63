// Package oauth is the provider: it knows the applications that are registered here as
// clients, what a person has allowed them, and the rules of the endpoints that they
// call (OAuth 2.1, OpenID Connect Core).
//
// It keeps no session and signs nothing. Whoever a client acts for is a session of
// package session, every token is drawn on that record there, and ends with it. A
// request that nobody has answered yet is kept nowhere: it travels in the address.
//
// It exports more than forty names: a quarter are faults, whose codes the standards give
// and clients act on, and most others are the vocabulary of a client's registration,
// which the command line, the admin API and the store share.
package oauth

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/outbound"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Config is what an operator decides about the provider.
type Config struct {
	Issuer string // public_url: iss, the audience of our own endpoints and of clients' assertions
	// Outbound makes the calls to addresses that clients have registered; nil: none are made.
	Outbound *outbound.Client
}

// Stores are where clients and what belongs to them are kept.
type Stores struct {
	Clients    ClientStore
	Assertions AssertionStore
	Consents   ConsentStore
	Notices    NoticeStore
	Audit      audit.Store
	// Throttle counts what clients are refused, for all nodes; nil: in this process's memory.
	Throttle throttle.Store
}

// A Provider holds the rules of the endpoints that clients call. It is safe for
// concurrent use.
type Provider struct {
	Clients *Registry
	Notices *Notifier // nil: nobody is told of sign-outs

	config   Config
	sessions *session.Manager
	ring     *keyring.Ring
	log      *revocation.Log
	now      func() time.Time
	logger   *slog.Logger

	clientAuth *authenticator
	consents   ConsentStore
	seals      sealer // of requests that nobody has answered yet
}

// New returns a provider whose tokens are drawn by sessions. secret is the server's
// secret, of which the keys of what travels sealed are derived.
func New(c Config, stores Stores, sessions *session.Manager, ring *keyring.Ring, log *revocation.Log, secret []byte, now func() time.Time, logger *slog.Logger) (*Provider, error) {
	if c.Issuer == "" {
		return nil, errors.New("oauth: an issuer is needed")
	}
	p := &Provider{config: c, sessions: sessions, ring: ring, log: log, now: now, logger: logger}
	p.Clients, p.consents = newRegistry(stores.Clients, log, now, logger), stores.Consents
	var err error
	if p.seals, err = newSealer(secret); err != nil {
		return nil, err
	}
	if stores.Notices != nil && c.Outbound != nil {
		p.Notices = newNotifier(stores.Notices, p.Clients.Find, sessions.LogoutToken, c.Outbound.Do, now, logger)
	}
	refused := stores.Throttle
	if refused == nil {
		refused = throttle.New(now, maxRefusals)
	}
	keys := &remoteKeys{now: now, logger: logger}
	if c.Outbound != nil {
		keys.call, p.Clients.accepts = c.Outbound.Do, c.Outbound.Accepts
	}
	p.clientAuth = &authenticator{
		issuer: c.Issuer, clients: p.Clients, keys: keys, assertions: stores.Assertions, audit: stores.Audit, refused: refused, now: now, logger: logger,
	}
	return p, nil
}

// Run does what goes on beside requests, until ctx ends and all of it has stopped.
func (p *Provider) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, loop := range p.loops() {
		all.Go(func() { loop(ctx) })
	}
	all.Wait()
}

// loops are what goes on beside requests.
func (p *Provider) loops() []func(context.Context) {
	all := []func(context.Context){p.clientAuth.forgetAssertions}
	if p.Notices != nil {
		all = append(all, p.Notices.Run)
	}
	return all
}
