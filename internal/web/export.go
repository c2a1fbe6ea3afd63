package web

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/session"
)

// An export is all that is kept about a person, and no secret of it.
type export struct {
	User     adminUser        `json:"user"`
	Sessions []exportedRecord `json:"sessions" about:"those that are live"`
	Audit    []auditEntry     `json:"audit" about:"what happened to the account, newest first"`
}

// An exportedRecord is a session with what applications keep beside it.
type exportedRecord struct {
	ownSession `json:",inline"`
	Data       jsontext.Value `json:"data" about:"what applications keep with the session"`
}

// exportPage is how much is read of the store at a time.
const exportPage = 200

// getExport answers with all that is kept about the person. It is written as it is
// read, because nobody knows how long it is; one that breaks off is no valid JSON.
func (s *Server) getExport(x *exchange) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	rows, err := s.Sessions.List(x.Context(), x.holder.UserID(), "", exportPage)
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

func (s *Server) writeExport(x *exchange, out *jsontext.Encoder, u *account.User, rows []session.Listed) error {
	if err := write(out, jsontext.BeginObject, "user", adminUserOf(u), "sessions", jsontext.BeginArray); err != nil {
		return err
	}
	if err := s.exportSessions(x, out, rows); err != nil {
		return err
	}
	if err := write(out, jsontext.EndArray, "audit", jsontext.BeginArray); err != nil {
		return err
	}
	if err := s.exportAudit(x, out); err != nil {
		return err
	}
	return write(out, jsontext.EndArray, jsontext.EndObject)
}

func (s *Server) exportSessions(x *exchange, out *jsontext.Encoder, rows []session.Listed) error {
	user := x.holder.UserID()
	for len(rows) > 0 {
		for i := range rows {
			document, _, err := s.Sessions.Attachment(x.Context(), rows[i].Session.ID)
			if err != nil {
				return err
			}
			if err := write(out, exportedRecord{ownSession: ownSessionOf(&rows[i], x.holder.SessionID()), Data: document}); err != nil {
				return err
			}
		}
		if len(rows) < exportPage {
			return nil
		}
		var err error
		if rows, err = s.Sessions.List(x.Context(), user, rows[len(rows)-1].Session.ID, exportPage); err != nil {
			return err
		}
	}
	return nil
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
