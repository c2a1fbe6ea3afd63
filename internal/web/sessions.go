package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An ownSession is a session as the person sees it whose it is. It bears no
// credential, and its id opens nothing.
type ownSession struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current" about:"it is the one that asks"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	IP         string    `json:"ip" about:"from where it began"`
	Place      string    `json:"place,omitzero" about:"where that address is, if a database says so"`
	UserAgent  string    `json:"user_agent"`
	Device     string    `json:"device"`
	AMR        []string  `json:"amr"`
	Clients    []string  `json:"clients" about:"ids of the clients that may draw on it"`
}

func ownSessionOf(l *session.Listed, current string) ownSession {
	v := &l.Session
	out := ownSession{
		ID: v.ID, Current: v.ID == current, CreatedAt: v.CreatedAt.UTC(), LastSeenAt: v.LastSeenAt.UTC(), ExpiresAt: v.ExpiresAt.UTC(),
		IP: v.IP, UserAgent: v.UserAgent, Device: v.Device, AMR: v.AMR, Clients: l.Clients,
	}
	if out.Clients == nil {
		out.Clients = []string{}
	}
	return out
}

// listSessions lists the person's own live sessions, newest first.
func (s *Server) listSessions(x *exchange) error {
	w, _, err := windowOf(x)
	if err != nil {
		return err
	}
	rows, err := s.Sessions.List(x.Context(), x.holder.UserID(), w.after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(l *session.Listed) string { return l.Session.ID }
	view := func(l *session.Listed) ownSession { return s.ownSessionOf(x, l) }
	return writeJSON(x, http.StatusOK, pageOf(w, rows, id, view))
}

// endSession ends one of the person's own sessions, perhaps the one at hand.
func (s *Server) endSession(x *exchange) error {
	if _, err := s.endOwn(x); err != nil {
		return err
	}
	return noContent(x)
}

// endOwn ends the session that the path names, and reports whether that was the one at
// hand, of which the browser then keeps nothing.
func (s *Server) endOwn(x *exchange) (here bool, err error) {
	id := x.PathValue("id")
	if !credential.IsID(credential.Session, id) {
		return false, session.ErrNoSession
	}
	if err := s.Sessions.EndOwn(x.Context(), x.holder, id, x.from()); err != nil {
		return false, err
	}
	here = id == x.holder.SessionID()
	if here {
		s.clear(x)
	}
	return here, nil
}

// endOtherSessions ends all of the person's sessions but the one at hand. The query
// has to say so: a client that forgets the id of a session must not end them all.
func (s *Server) endOtherSessions(x *exchange) error {
	query, err := url.ParseQuery(x.URL.RawQuery)
	if err != nil || len(query) == 0 {
		return errBadRequest
	}
	if len(query) > 1 || len(query["except"]) != 1 || query.Get("except") != "current" {
		return fault.Bad("?except", "format", `Say except=current and nothing else, or name a session in the path.`)
	}
	if _, err := s.Sessions.EndOthers(x.Context(), x.holder, x.from()); err != nil {
		return err
	}
	return noContent(x)
}
