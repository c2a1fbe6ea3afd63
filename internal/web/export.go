package web

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An export is all that is kept about a person, and no secret of it.
type export struct {
	User     adminUser         `json:"user"`
	Sessions []exportedSession `json:"sessions" about:"newest first; those that are over are kept for a while"`
	Consents []exportedConsent `json:"consents" about:"what applications may ask for without asking the person again"`
	Links    []exportedLink    `json:"links" about:"that were mailed, oldest first; each is kept for some hours"`
	Mails    []exportedMail    `json:"mails" about:"that wait to be sent, or could not be, oldest first"`
	Audit    []auditEntry      `json:"audit" about:"what happened to the account, newest first"`
}

// An exportedSession is a session with what was drawn on it and what applications keep
// beside it.
type exportedSession struct {
	ID         string          `json:"id"`
	Current    bool            `json:"current"`
	CreatedAt  time.Time       `json:"created_at"`
	LastSeenAt time.Time       `json:"last_seen_at"`
	ExpiresAt  time.Time       `json:"expires_at"`
	EndedAt    time.Time       `json:"ended_at,omitzero"`
	EndReason  string          `json:"end_reason,omitzero"`
	AuthTime   time.Time       `json:"auth_time"`
	AMR        []string        `json:"amr"`
	ACR        string          `json:"acr"`
	IP         string          `json:"ip"`
	Place      string          `json:"place,omitzero"`
	UserAgent  string          `json:"user_agent"`
	Device     string          `json:"device"`
	Client     string          `json:"client,omitzero" about:"the application that it was opened for, to stay connected after signing out"`
	Remember   bool            `json:"remember"`
	Grants     []exportedGrant `json:"grants" about:"what clients may draw on it"`
	Data       jsontext.Value  `json:"data" about:"what applications keep with the session"`
}

// An exportedGrant says which client may draw what.
type exportedGrant struct {
	ID        string    `json:"id"`
	Client    string    `json:"client"`
	Audience  string    `json:"audience"`
	Scope     string    `json:"scope"`
	Claims    string    `json:"claims,omitzero" about:"what it asked to be told, as it asked"`
	CreatedAt time.Time `json:"created_at"`
	RotatedAt time.Time `json:"rotated_at,omitzero" about:"when a refresh token was last used"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	EndReason string    `json:"end_reason,omitzero"`
}

// An exportedConsent is what the person has allowed an application.
type exportedConsent struct {
	Client    string    `json:"client"`
	Scopes    []string  `json:"scopes"`
	Audiences []string  `json:"audiences" about:"beside this server"`
	GivenAt   time.Time `json:"given_at"`
}

// An exportedLink is one that was mailed, and not what opens it.
type exportedLink struct {
	Kind      string    `json:"kind"`
	Email     string    `json:"email"`
	Name      string    `json:"name,omitzero"`
	Roles     []string  `json:"roles,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// An exportedMail is one in the outbox.
type exportedMail struct {
	Kind      string            `json:"kind"`
	Language  string            `json:"language"`
	Mentions  map[string]string `json:"mentions" about:"what its words mention"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// How much is read of the store at a time, and the most mails that are told of.
const (
	exportPage  = 200
	exportMails = 10_000
)

// getExport answers with all that is kept about the person. It is written as it is
// read, because nobody knows how long it is; one that breaks off is no valid JSON.
func (s *Server) getExport(x *exchange) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	rows, err := s.Sessions.Kept(x.Context(), u.ID, "", exportPage)
	if err != nil {
		return err
	}
	x.Header().Set("Content-Disposition", `attachment; filename="account.json"`)
	x.Header().Set("Content-Type", "application/json")
	x.WriteHeader(http.StatusOK)
	out := jsontext.NewEncoder(x)
	err = s.writeExport(x, out, &u, rows)
	if err != nil && x.Context().Err() == nil {
		return fmt.Errorf("write an export: %w", err)
	}
	return nil
}

func (s *Server) writeExport(x *exchange, out *jsontext.Encoder, u *account.User, rows []session.Kept) error {
	if err := write(out, jsontext.BeginObject, "user", adminUserOf(u), "sessions", jsontext.BeginArray); err != nil {
		return err
	}
	if err := s.exportSessions(x, out, rows); err != nil {
		return err
	}
	if err := write(out, jsontext.EndArray); err != nil {
		return err
	}
	if err := s.exportConsents(x, out, u); err != nil {
		return err
	}
	if err := s.exportMailed(x, out, u); err != nil {
		return err
	}
	if err := write(out, "audit", jsontext.BeginArray); err != nil {
		return err
	}
	if err := s.exportAudit(x, out); err != nil {
		return err
	}
	return write(out, jsontext.EndArray, jsontext.EndObject)
}

func (s *Server) exportSessions(x *exchange, out *jsontext.Encoder, rows []session.Kept) error {
	for len(rows) > 0 {
		for i := range rows {
			document, _, err := s.Sessions.Attachment(x.Context(), rows[i].Session.ID)
			if err != nil {
				return err
			}
			kept := exportedSessionOf(&rows[i])
			kept.Current, kept.Data, kept.Place = kept.ID == x.holder.SessionID(), document, s.placeOf(x, kept.IP)
			if err := write(out, kept); err != nil {
				return err
			}
		}
		if len(rows) < exportPage {
			return nil
		}
		var err error
		if rows, err = s.Sessions.Kept(x.Context(), x.holder.UserID(), rows[len(rows)-1].Session.ID, exportPage); err != nil {
			return err
		}
	}
	return nil
}

func exportedSessionOf(k *session.Kept) exportedSession {
	v := &k.Session
	out := exportedSession{
		ID: v.ID, CreatedAt: v.CreatedAt.UTC(), LastSeenAt: v.LastSeenAt.UTC(), ExpiresAt: v.ExpiresAt.UTC(),
		EndedAt: v.EndedAt.UTC(), EndReason: v.EndReason, AuthTime: time.Unix(v.AuthTime, 0).UTC(), AMR: v.AMR, ACR: v.ACR,
		IP: v.IP, UserAgent: v.UserAgent, Device: v.Device, Client: v.ClientID, Remember: v.Remember, Grants: []exportedGrant{},
	}
	for _, g := range k.Grants {
		out.Grants = append(out.Grants, exportedGrant{
			ID: g.ID, Client: g.ClientID, Audience: g.Audience, Scope: g.Scope, Claims: g.Claims, CreatedAt: g.CreatedAt.UTC(),
			RotatedAt: g.RotatedAt.UTC(), EndedAt: g.EndedAt.UTC(), EndReason: g.EndReason,
		})
	}
	return out
}

// exportConsents writes what the person has allowed.
func (s *Server) exportConsents(x *exchange, out *jsontext.Encoder, u *account.User) error {
	consents, err := s.Provider.ConsentsOf(x.Context(), u.ID)
	if err != nil {
		return err
	}
	parts := []any{"consents", jsontext.BeginArray}
	for _, c := range consents {
		parts = append(parts, exportedConsent{Client: c.ClientID, Scopes: append([]string{}, c.Scopes...), Audiences: append([]string{}, c.Audiences...), GivenAt: c.GivenAt.UTC()})
	}
	return write(out, append(parts, jsontext.EndArray)...)
}

// strangers are the kinds of mails that others have sent to an address.
var strangers = []mail.Kind{mail.FinishSignUp, mail.AccountExists, mail.Invitation, mail.ChangeEmail}

// mayKnow reports whether a user may know that such a mail waits for their address: who
// has not proven that it is theirs is not told of what others sent there.
func mayKnow(u *account.User, kind mail.Kind) bool {
	return u.EmailVerified || !slices.Contains(strangers, kind)
}

// exportMailed writes the links and the mails.
func (s *Server) exportMailed(x *exchange, out *jsontext.Encoder, u *account.User) error {
	links, err := s.Accounts.Links(x.Context(), *u)
	if err != nil {
		return err
	}
	letters, err := s.Letters.LettersTo(x.Context(), u.Email, exportMails)
	if err != nil {
		return fmt.Errorf("list mails: %w", err)
	}
	parts := []any{"links", jsontext.BeginArray}
	for i := range links {
		l := &links[i]
		parts = append(parts, exportedLink{Kind: string(l.Kind), Email: l.Email, Name: l.Name, Roles: l.Roles, CreatedAt: l.CreatedAt.UTC(), ExpiresAt: l.ExpiresAt.UTC()})
	}
	parts = append(parts, jsontext.EndArray, "mails", jsontext.BeginArray)
	for i := range letters {
		l := &letters[i]
		if mayKnow(u, l.Kind) {
			parts = append(parts, exportedMail{Kind: string(l.Kind), Language: l.Language, Mentions: l.Values, CreatedAt: l.Created.UTC(), ExpiresAt: l.Expires.UTC()})
		}
	}
	return write(out, append(parts, jsontext.EndArray)...)
}

func (s *Server) exportAudit(x *exchange, out *jsontext.Encoder) error {
	for before := int64(0); ; {
		entries, err := s.Audit.Entries(x.Context(), audit.Filter{UserID: x.holder.UserID()}, before, exportPage)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			if e.Actor != "" && e.Actor != e.UserID { // an administrator's whereabouts are not the person's
				e.IP, e.UserAgent = "", ""
			}
			if err := write(out, auditEntryOf(e)); err != nil {
				return err
			}
		}
		if len(entries) < exportPage {
			return nil
		}
		before = entries[len(entries)-1].Seq
	}
}

// write adds tokens and values to a document, in turn.
func write(out *jsontext.Encoder, parts ...any) error {
	for _, part := range parts {
		var err error
		if delimiter, is := part.(jsontext.Token); is {
			err = out.WriteToken(delimiter)
		} else {
			err = json.MarshalEncode(out, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
