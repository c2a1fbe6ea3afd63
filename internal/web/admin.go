package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An adminSession is a session as administrators see one. It never bears a
// credential.
type adminSession struct {
	ID            string    `json:"id"`
	UserID        string    `json:"user_id"`
	Email         string    `json:"email"`
	CreatedAt     time.Time `json:"created_at"`
	LastSeenAt    time.Time `json:"last_seen_at"`
	IdleExpiresAt time.Time `json:"idle_expires_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	AuthTime      time.Time `json:"auth_time"`
	AMR           []string  `json:"amr"`
	ACR           string    `json:"acr"`
	IP            string    `json:"ip"`
	UserAgent     string    `json:"user_agent"`
	Device        string    `json:"device"`
	Clients       []string  `json:"clients,omitzero" about:"in lists: ids of the clients that may draw on it"`
}

func adminSessionOf(l *session.Listed) adminSession {
	v := &l.Session
	idle := v.LastSeenAt.Add(v.Idle)
	if idle.After(v.ExpiresAt) {
		idle = v.ExpiresAt
	}
	return adminSession{
		ID: v.ID, UserID: v.UserID, Email: l.Email, CreatedAt: v.CreatedAt.UTC(), LastSeenAt: v.LastSeenAt.UTC(),
		IdleExpiresAt: idle.UTC(), ExpiresAt: v.ExpiresAt.UTC(), AuthTime: time.Unix(v.AuthTime, 0).UTC(),
		AMR: v.AMR, ACR: v.ACR, IP: v.IP, UserAgent: v.UserAgent, Device: v.Device, Clients: l.Clients,
	}
}

// getSessionByID answers with one live session.
func (s *Server) getSessionByID(x *exchange) error {
	id := x.PathValue("id")
	if !credential.IsID(credential.Session, id) {
		return session.ErrNoSession
	}
	st, err := s.Sessions.Find(x.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, adminSessionOf(&session.Listed{Session: st.Session, Email: st.User.Email}))
}

// endSessionByID ends one session and all that was drawn on it.
func (s *Server) endSessionByID(x *exchange) error {
	id := x.PathValue("id")
	if !credential.IsID(credential.Session, id) {
		return session.ErrNoSession
	}
	st, err := s.Sessions.Find(x.Context(), id)
	if err != nil {
		return err
	}
	what := session.Ending{Kind: feed.Session, ID: id, UserID: st.Session.UserID, Reason: "admin"}
	n, err := s.Sessions.End(x.Context(), what, x.key.ID, x.from())
	if err != nil {
		return err
	}
	if n == 0 {
		return session.ErrNoSession
	}
	return noContent(x)
}

// An auditEntry is one security event.
type auditEntry struct {
	Seq       int64       `json:"seq"`
	At        time.Time   `json:"at"`
	Event     audit.Event `json:"event"`
	Outcome   string      `json:"outcome" about:"ok, or the code of the fault"`
	Actor     string      `json:"actor,omitzero" about:"id of the user or API key, cli or system; absent for a stranger"`
	UserID    string      `json:"user_id,omitzero"`
	SessionID string      `json:"session_id,omitzero"`
	Subject   string      `json:"subject,omitzero"`
	IP        string      `json:"ip,omitzero"`
	UserAgent string      `json:"user_agent,omitzero"`
	RequestID string      `json:"request_id,omitzero"`
}

func auditEntryOf(e *audit.Entry) auditEntry {
	return auditEntry{
		Seq: e.Seq, At: e.At.UTC(), Event: e.Event, Outcome: e.Outcome, Actor: e.Actor, UserID: e.UserID,
		SessionID: e.SessionID, Subject: e.Subject, IP: e.IP, UserAgent: e.UserAgent, RequestID: e.RequestID,
	}
}

// listAudit lists what happened, newest first.
func (s *Server) listAudit(x *exchange) error {
	w, query, err := windowOf(x, "user", "event")
	if err != nil {
		return err
	}
	var before int64
	if w.after != "" {
		if before, err = strconv.ParseInt(w.after, 10, 64); err != nil {
			return errCursor
		}
	}
	filter := audit.Filter{UserID: query.Get("user"), Event: audit.Event(query.Get("event"))}
	rows, err := s.Audit.Entries(x.Context(), filter, before, w.limit+1)
	if err != nil {
		return err
	}
	seq := func(e *audit.Entry) string { return strconv.FormatInt(e.Seq, 10) }
	return writeJSON(x, http.StatusOK, pageOf(w, rows, seq, auditEntryOf))
}

// An apiKeyView is an API key without its secret.
type apiKeyView struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	CreatedAt time.Time `json:"created_at"`
}

func apiKeyOf(k *account.APIKey) apiKeyView {
	return apiKeyView{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CreatedAt: k.CreatedAt.UTC()}
}

// listAPIKeys lists the API keys, oldest first; there are few of them.
func (s *Server) listAPIKeys(x *exchange) error {
	keys, err := s.Accounts.APIKeys(x.Context())
	if err != nil {
		return err
	}
	out := list[apiKeyView]{Items: []apiKeyView{}}
	for i := range keys {
		out.Items = append(out.Items, apiKeyOf(&keys[i]))
	}
	return writeJSON(x, http.StatusOK, out)
}

type newAPIKeyRequest struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes" about:"introspect, revocations, admin"`
}

type newAPIKey struct {
	apiKeyView `json:",inline"`
	Key        string `json:"key" about:"shown this once"`
}

// postAPIKey makes an API key and shows it this once.
func (s *Server) postAPIKey(x *exchange) error {
	var in newAPIKeyRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	k, text, err := s.Accounts.AddAPIKey(x.Context(), in.Name, in.Scopes, x.key.ID, x.from())
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusCreated, newAPIKey{apiKeyView: apiKeyOf(&k), Key: text})
}

// deleteAPIKey removes an API key and cuts its streams.
func (s *Server) deleteAPIKey(x *exchange) error {
	if err := s.Accounts.RemoveAPIKey(x.Context(), x.PathValue("id"), x.key.ID, x.from()); err != nil {
		return err
	}
	return noContent(x)
}

// A signingKey is a signing key without its private half.
type signingKey struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	CreatedAt time.Time `json:"created_at"`
	ActiveAt  time.Time `json:"active_at" about:"signs from here on, until the next one of its algorithm does"`
	State     string    `json:"state" about:"next, active or old"`
}

// listKeys lists the signing keys, oldest first.
func (s *Server) listKeys(x *exchange) error {
	now := s.Now()
	out := list[signingKey]{Items: []signingKey{}}
	keys := s.Ring.Keys()
	for _, k := range keys {
		state := "active"
		switch {
		case k.ActiveAt.After(now):
			state = "next"
		case k.Succeeded(keys, now):
			state = "old"
		}
		out.Items = append(out.Items, signingKey{
			ID: k.ID, Algorithm: string(k.Algorithm), CreatedAt: k.CreatedAt.UTC(), ActiveAt: k.ActiveAt.UTC(), State: state,
		})
	}
	return writeJSON(x, http.StatusOK, out)
}

type rotationRequest struct {
	Now bool `json:"now,omitzero" about:"end trust in every key there is, for a leak: all access tokens must be renewed"`
}

type rotation struct {
	ActiveAt time.Time `json:"active_at" about:"from when on another key signs"`
}

// postRotation lets the next key sign as soon as everyone can have it; or, for a
// leak, ends trust in all keys at once.
func (s *Server) postRotation(x *exchange) error {
	var in rotationRequest
	if err := readJSON(x, &in); err != nil {
		return err
	}
	event, from := audit.KeyRotated, s.Now()
	if in.Now {
		event = audit.KeysDistrusted
	}
	e := audit.New(event, audit.OK, x.from())
	e.Actor = x.key.ID
	var err error
	if in.Now {
		err = s.Ring.Distrust(x.Context(), e)
	} else {
		from, err = s.Ring.Rotate(x.Context(), e)
	}
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, rotation{ActiveAt: from.UTC()})
}
