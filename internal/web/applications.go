package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// A connectedApplication is one that the person has connected with their account.
type connectedApplication struct {
	ID         string    `json:"client_id"`
	Name       string    `json:"name"`
	HomeURI    string    `json:"client_uri,omitzero"`
	Scopes     []string  `json:"scopes" about:"what it may"`
	Audiences  []string  `json:"audiences" about:"the services where it may, beside this one"`
	Since      time.Time `json:"connected_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero" about:"absent where it holds nothing now, and may come back without asking"`
	Offline    bool      `json:"offline" about:"it stays connected when the person has signed out"`

	May []permission `json:"-"` // Scopes in words
}

func connectedOf(a *oauth.Application) connectedApplication {
	out := connectedApplication{
		ID: a.Client.ID, Name: a.Client.Name, HomeURI: a.Client.HomeURI, Scopes: a.Scopes, Audiences: a.Audiences,
		Since: a.Since.UTC(), LastUsedAt: a.LastUsed.UTC(), Offline: a.Offline,
	}
	if out.Scopes == nil {
		out.Scopes = []string{}
	}
	if out.Audiences == nil {
		out.Audiences = []string{}
	}
	return out
}

// listApplications lists the person's connected applications, the one that was used last
// first. There are never so many that they need pages.
func (s *Server) listApplications(x *exchange) error {
	all, err := s.applications(x)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, list[connectedApplication]{Items: all})
}

func (s *Server) applications(x *exchange) ([]connectedApplication, error) {
	connected, err := s.Provider.Connected(x.Context(), x.holder.UserID())
	if err != nil {
		return nil, err
	}
	all := make([]connectedApplication, len(connected))
	for i := range connected {
		all[i] = connectedOf(&connected[i])
	}
	return all, nil
}

// disconnectApplication ends all that an application has with the person.
func (s *Server) disconnectApplication(x *exchange) error {
	if err := s.disconnect(x); err != nil {
		return err
	}
	return noContent(x)
}

func (s *Server) disconnect(x *exchange) error {
	return s.Provider.Disconnect(x.Context(), x.holder.UserID(), x.PathValue("id"), x.from())
}

// submitDisconnect is the same from the account page. An application that is gone by now
// is as good as disconnected.
func (s *Server) submitDisconnect(x *exchange) error {
	if err := s.disconnect(x); err != nil && !errors.Is(err, oauth.ErrNotConnected) {
		return err
	}
	return seeOther(x, home+"?done=disconnected#applications")
}

// addApplications reads what the person has connected.
func (s *Server) addApplications(x *exchange, v *accountView) error {
	var err error
	if v.Applications, err = s.applications(x); err != nil {
		return err
	}
	for i := range v.Applications {
		a := &v.Applications[i]
		a.May = permissions(v.words, a.Scopes)
	}
	return nil
}

// applicationOf names the application that an entry of the audit is about; "" if it is
// about none, or about one that is not registered any more.
func (s *Server) applicationOf(x *exchange, e *audit.Entry) string {
	if !aboutApplication[e.Event] {
		return ""
	}
	c, err := s.Provider.Clients.Find(x.Context(), e.Subject)
	if err != nil { // its name is a help, and not what happened
		return ""
	}
	return c.Name
}

// aboutApplication are the events whose subject is a client.
var aboutApplication = map[audit.Event]bool{
	audit.GrantOpened: true, audit.GrantEnded: true, audit.CodeReused: true, audit.ConsentGiven: true, audit.ConsentRemoved: true,
}
