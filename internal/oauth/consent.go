package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
)

// ErrNoConsent means that the person has allowed the client nothing.
var ErrNoConsent = errors.New("no consent is kept")

// A Consent is what a person has allowed a client, until they take it back.
type Consent struct {
	UserID    string
	ClientID  string
	Scopes    []string // sorted
	Audiences []string // sorted; this server is none
	GivenAt   time.Time
}

// A ConsentStore keeps what people have allowed. A step that fails in a way not named here
// has happened whole or not at all, and may be taken again.
type ConsentStore interface {
	// PutConsent puts c in the place of what the person has allowed the client before,
	// GivenAt by the store's clock. ErrNoClient, and nothing kept, unless both are there.
	PutConsent(ctx context.Context, c Consent, e audit.Entry) error
	// FindConsent returns what the person has allowed the client. ErrNoConsent if that is
	// nothing.
	FindConsent(ctx context.Context, userID, clientID string) (Consent, error)
	// Consents returns all that a person has allowed, by ascending client id.
	Consents(ctx context.Context, userID string) ([]Consent, error)
	// RemoveConsent forgets what the person has allowed the client. ErrNoConsent, and
	// nothing audited, if that was nothing.
	RemoveConsent(ctx context.Context, userID, clientID string, e audit.Entry) error
}

// covers reports whether all that a request asks for was allowed.
func (c *Consent) covers(r *Request) bool {
	for _, scope := range r.Asks() {
		if !slices.Contains(c.Scopes, scope) {
			return false
		}
	}
	return r.Audience == "" || slices.Contains(c.Audiences, r.Audience)
}

// Asks returns the scopes that a person has to allow: those of the request, and those by
// which the claims are asked for that it names one by one. Sorted, once each.
func (r *Request) Asks() []string {
	all := strings.Fields(r.Scope)
	for _, scope := range r.claimed {
		if slices.Contains(r.Client.Scopes, scope) {
			all = append(all, scope)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
