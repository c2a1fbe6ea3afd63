package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/session"
)

// accountPage is how many sessions the account page shows at a time.
const accountPage = 20

type accountView struct {
	sheet
	Done     string // what was just done, in words
	Sessions []ownSession
	Older    string // the query of the page with older sessions
	Profile  form
	Password form
}

// dones are what the page can say was done. The address names one of them, so it
// cannot be made to say anything else.
var dones = map[string]string{
	"name":     "Your name is changed.",
	"password": "Your password is changed.",
	"ended":    "The session is ended.",
	"others":   "All other sessions are ended.",
}

// getAccount shows the person their profile and where they are signed in.
func (s *Server) getAccount(x *exchange) error {
	return s.showAccount(x, http.StatusOK, accountView{Profile: formOf(nil), Password: formOf(nil)})
}

func (s *Server) showAccount(x *exchange, status int, v accountView) error {
	query := x.URL.Query()
	w := window{list: home, limit: accountPage}
	after, err := w.open(query.Get("cursor"))
	if err != nil {
		return err
	}
	rows, err := s.Sessions.List(x.Context(), x.holder.UserID(), after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(l *session.Listed) string { return l.Session.ID }
	shown := pageOf(w, rows, id, func(l *session.Listed) ownSession { return ownSessionOf(l, x.holder.SessionID()) })
	v.sheet, v.Sessions, v.Done = s.sheet(x, "Your account"), shown.Items, dones[query.Get("done")]
	if shown.Next != "" {
		v.Older = "?cursor=" + url.QueryEscape(shown.Next)
	}
	if v.Profile.Values["name"] == "" && len(v.Profile.Wrong) == 0 {
		v.Profile.Values["name"] = v.Person.Name
	}
	return s.show(x, status, "account", v)
}

// submitName changes the person's name.
func (s *Server) submitName(x *exchange) error {
	in, err := readFields(x, "name")
	if err != nil {
		return err
	}
	if _, err := s.rename(x, in["name"]); err != nil {
		f := formOf(in)
		if status := f.refuse(x, err); status != 0 {
			return s.showAccount(x, status, accountView{Profile: f, Password: formOf(nil)})
		}
		return err
	}
	return seeOther(x, home+"?done=name")
}

// submitPassword changes the person's password.
func (s *Server) submitPassword(x *exchange) error {
	in, err := readFields(x, "current_password", "new_password", "end_others")
	if err != nil {
		return err
	}
	if err := s.changePassword(x, in["current_password"], in["new_password"], in["end_others"] != ""); err != nil {
		f := formOf(in)
		status := f.refuse(x, err)
		if errors.Is(err, account.ErrCredentials) { // whose account it is was never in question
			f.Wrong = map[string]string{"current_password": "This is not your current password."}
		}
		if status != 0 {
			return s.showAccount(x, status, accountView{Profile: formOf(nil), Password: f})
		}
		return err
	}
	return seeOther(x, home+"?done=password")
}

// submitEnd ends one of the person's sessions.
func (s *Server) submitEnd(x *exchange) error {
	id := x.PathValue("id")
	if !credential.IsID(credential.Session, id) {
		return session.ErrNoSession
	}
	if err := s.Sessions.EndOwn(x.Context(), x.holder, id, x.from()); err != nil {
		return err
	}
	if id == x.holder.SessionID() {
		s.clear(x)
		return seeOther(x, "/signed-out")
	}
	return seeOther(x, home+"?done=ended")
}

// submitEndOthers ends all of the person's sessions but this one.
func (s *Server) submitEndOthers(x *exchange) error {
	if _, err := s.Sessions.EndOthers(x.Context(), x.holder, x.from()); err != nil {
		return err
	}
	return seeOther(x, home+"?done=others")
}
