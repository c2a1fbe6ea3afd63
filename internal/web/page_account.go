package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/session"
)

// How many sessions the account page shows at a time, and how much activity before
// somebody asks for more.
const (
	accountPage    = 20
	activityAtOnce = 6
)

// An accountView is the account page.
type accountView struct {
	sheet
	Done          string // what was just done, in words
	Pending       bool   // a mail with a code is on its way
	AskPassword   bool   // the form for a new password is open
	Sessions      []ownSession
	Others        bool // there are sessions beside this one
	Applications  []connectedApplication
	Older         string // the query of the page with older sessions; empty: there are none
	Recent        []activity
	Earlier       []activity // shown on demand
	OlderActivity string     // as Older
	Trouble       form       // with what has no form of its own
	Profile       form
	Email         form
	Password      form
	Delete        form
}

// newAccountView returns a view whose forms are empty.
func newAccountView() accountView {
	return accountView{Trouble: formOf(nil), Profile: formOf(nil), Email: formOf(nil), Password: formOf(nil), Delete: formOf(nil)}
}

// A result is what the page can say was done. The address names one of them, so it
// cannot be made to say anything else.
type result struct {
	text    string // key of the catalogue
	pending bool   // it goes on with a code from a mail
}

var results = map[string]result{
	"name":         {text: "done.name"},
	"password":     {text: "done.password"},
	"ended":        {text: "done.ended"},
	"others":       {text: "done.others"},
	"disconnected": {text: "done.disconnected"},
	"email":        {text: "done.email", pending: true},
	"verification": {text: "done.verification", pending: true},
	"verified":     {text: "done.verified"},
	"changed":      {text: "done.changed"},
}

// getAccount shows the person their profile, where they are signed in, and what
// happened.
func (s *Server) getAccount(x *exchange) error {
	return s.showAccount(x, http.StatusOK, newAccountView())
}

func (s *Server) showAccount(x *exchange, status int, v accountView) error {
	query := x.URL.Query()
	v.sheet = s.sheet(x, "account.title")
	if done, known := results[query.Get("done")]; known {
		v.Done, v.Pending = v.words.Text(done.text), done.pending
	}
	v.Mistaken = v.Trouble.Refused() || v.Profile.Refused() || v.Email.Refused() || v.Password.Refused() || v.Delete.Refused()
	if v.Profile.Values["name"] == "" && !v.Profile.Refused() {
		v.Profile.Values["name"] = v.Person.Name
	}
	v.AskPassword = v.Password.Refused() || query.Get("do") == "password"
	if err := s.addSessions(x, &v, query.Get("cursor")); err != nil {
		return err
	}
	if err := s.addApplications(x, &v); err != nil {
		return err
	}
	if err := s.addActivity(x, &v, query.Get("activity")); err != nil {
		return err
	}
	return s.show(x, status, "account", v)
}

// addSessions reads where the person is signed in, this device first.
func (s *Server) addSessions(x *exchange, v *accountView, cursor string) error {
	w := window{list: home, limit: accountPage}
	after, err := w.open(cursor)
	if err != nil {
		return err
	}
	rows, err := s.Sessions.List(x.Context(), x.holder.UserID(), after, w.limit+1)
	if err != nil {
		return err
	}
	id := func(l *session.Listed) string { return l.Session.ID }
	shown := pageOf(w, rows, id, func(l *session.Listed) ownSession { return s.ownSessionOf(x, l) })
	for i := range shown.Items {
		if shown.Items[i].Current {
			v.Sessions = append(v.Sessions, shown.Items[i])
		}
	}
	for i := range shown.Items {
		if !shown.Items[i].Current {
			v.Sessions, v.Others = append(v.Sessions, shown.Items[i]), true
		}
	}
	if shown.Next != "" {
		v.Older, v.Others = "cursor="+url.QueryEscape(shown.Next), true
	}
	return nil
}

func (s *Server) addActivity(x *exchange, v *accountView, cursor string) error {
	shown, err := s.activities(x, cursor)
	if err != nil {
		return err
	}
	v.Recent = shown.Items
	if cursor == "" && len(v.Recent) > activityAtOnce {
		v.Recent, v.Earlier = v.Recent[:activityAtOnce], v.Recent[activityAtOnce:]
	}
	if shown.Next != "" {
		v.OlderActivity = "activity=" + url.QueryEscape(shown.Next)
	}
	return nil
}

// accountAgain shows the page with what is wrong with one of its forms.
func (s *Server) accountAgain(x *exchange, in map[string]string, err error, pick func(*accountView) *form) error {
	f := formOf(in)
	status := s.refuse(x, f, err)
	if errors.Is(err, account.ErrCredentials) { // whose account it is was never in question
		field := "password"
		if _, asked := in["current_password"]; asked {
			field = "current_password"
		}
		delete(f.Wrong, "")
		f.Wrong[field] = s.wordsOf(x).Text("account.wrong_password")
	}
	if status == 0 {
		return err
	}
	v := newAccountView()
	*pick(&v) = f
	return s.showAccount(x, status, v)
}
