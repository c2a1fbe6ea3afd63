package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
)

// ErrNotConnected means that a client has nothing with a person.
var ErrNotConnected = fault.New(fault.NotFound, "not_found", "There is no such thing, or it is not yours.")

// An Application is a client that has something with a person: live grants, sessions of
// its own, or the person's consent to ask for them.
type Application struct {
	Client    *Client
	Scopes    []string  // what it may, by its grants and by consent; sorted
	Audiences []string  // the services where it may, by consent; sorted
	Since     time.Time // of the oldest live grant or the consent
	LastUsed  time.Time // when it last drew a token on a live grant; zero: it has none
	Offline   bool      // some of it goes on when the person has signed out
}

// Connected returns the applications of a person: those with live grants first, the one
// that was used last before the others, then those that have consent alone.
func (p *Provider) Connected(ctx context.Context, userID string) ([]Application, error) {
	granted, err := p.sessions.Grants(ctx, userID)
	if err != nil {
		return nil, err
	}
	consents, err := p.ConsentsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	var all []Application
	for _, g := range granted {
		a := Application{Scopes: g.Scopes, Since: g.Since, LastUsed: g.LastUsed, Offline: g.Offline}
		if a.Client, err = p.Clients.Find(ctx, g.ClientID); err == nil {
			all = append(all, a)
		} else if !errors.Is(err, ErrNoClient) { // it was removed this moment
			return nil, err
		}
	}
	for _, c := range consents {
		at := slices.IndexFunc(all, func(a Application) bool { return a.Client.ID == c.ClientID })
		if at < 0 {
			client, err := p.Clients.Find(ctx, c.ClientID)
			if errors.Is(err, ErrNoClient) {
				continue
			}
			if err != nil {
				return nil, err
			}
			at, all = len(all), append(all, Application{Client: client, Since: c.GivenAt})
		}
		all[at].join(&c)
	}
	return all, nil
}

// join adds what a person has allowed.
func (a *Application) join(c *Consent) {
	a.Scopes = append(slices.Clone(a.Scopes), c.Scopes...)
	slices.Sort(a.Scopes)
	a.Scopes, a.Audiences = slices.Compact(a.Scopes), c.Audiences
	if c.GivenAt.Before(a.Since) {
		a.Since = c.GivenAt
	}
}

// Disconnect takes back what a person has allowed a client, and ends all that the client
// has with them: its grants on their sessions, its own sessions, and its codes. Tokens of
// these are refused everywhere within the bound of the log. ErrNotConnected if there is
// nothing of it.
//
// The consent goes first. Whatever breaks off in between leaves grants that the person
// sees and can end again, and never a consent by which a client that was cut off draws
// new ones without asking.
func (p *Provider) Disconnect(ctx context.Context, userID, clientID string, from audit.Origin) error {
	if !credential.IsID(credential.Client, clientID) { // that of the operator's own applications is not connected
		return ErrNotConnected
	}
	e := audit.New(audit.ConsentRemoved, audit.OK, from)
	e.Actor, e.UserID, e.Subject = userID, userID, clientID
	err := p.consents.RemoveConsent(ctx, userID, clientID, e)
	if err != nil && !errors.Is(err, ErrNoConsent) {
		return fmt.Errorf("remove a consent: %w: %w", fault.ErrUnavailable, err)
	}
	ended, failed := p.sessions.EndClientOf(ctx, userID, clientID, "disconnected", userID, from)
	if failed != nil {
		return failed
	}
	if ended == 0 && err != nil {
		return ErrNotConnected
	}
	return nil
}

// ConsentsOf returns all that a person has allowed clients, by client id.
func (p *Provider) ConsentsOf(ctx context.Context, userID string) ([]Consent, error) {
	consents, err := p.consents.Consents(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list consents: %w: %w", fault.ErrUnavailable, err)
	}
	return consents, nil
}
