package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A signInView is the sign-in page, the sign-up page, and the page after it.
type signInView struct {
	sheet
	Form       form
	Done       string // what was just done, in words
	Open       bool   // everybody may make an account
	Invitation string // the token of the link that brought the person here; empty: none
	Prompt     string // login: the form is for whoever it is, also where somebody is signed in
}

// Onward is the query that carries ReturnTo and Prompt to another page.
func (v signInView) Onward() string {
	query := v.sheet.Onward()
	switch {
	case v.Prompt == "":
		return query
	case query == "":
		return "?prompt=" + v.Prompt
	}
	return query + "&prompt=" + v.Prompt
}

// Chooser is the page with the accounts of this browser, on the way to the same place.
func (v signInView) Chooser() string { return chooser + v.sheet.Onward() }

// An entrance is a page by which people come in.
type entrance struct {
	name  string // of the template
	title string // key of the catalogue
}

var (
	signInEntrance = entrance{"sign_in", "sign_in.title"}
	signUpEntrance = entrance{"sign_up", "sign_up.title"}
	mailEntrance   = entrance{"check_mail", "check_mail.title"}
)

// arrivals are what the sign-in page can say was done. The address names one of them,
// so it cannot be made to say anything else.
var arrivals = map[string]string{"reset": "sign_in.reset", "verified": "sign_in.verified", "made": "sign_in.made"}

// getRoot sends people to where they want to be.
func (s *Server) getRoot(x *exchange) error {
	if s.visitor(x) {
		return seeOther(x, home)
	}
	return seeOther(x, "/sign-in")
}

// getChangePassword is where password managers send people (W3C change-password-url).
func (s *Server) getChangePassword(x *exchange) error {
	return seeOther(x, home+"?do=password#password")
}

// getSignInPage shows the form, unless there is nothing to do.
func (s *Server) getSignInPage(x *exchange) error {
	v := newSignInView(x)
	if key := arrivals[x.URL.Query().Get("done")]; key != "" {
		v.Done = s.wordsOf(x).Text(key)
	}
	return s.enter(x, signInEntrance, v)
}

// getSignUpPage shows the form, unless there is nothing to do. Who was invited gets
// theirs, with the address that was invited, also when somebody is signed in here.
func (s *Server) getSignUpPage(x *exchange) error {
	if token := x.URL.Query().Get("invitation"); token != "" {
		return s.invited(x, http.StatusOK, token, formOf(nil))
	}
	if !s.config.signUpOpen() {
		return account.ErrSignUpClosed
	}
	return s.enter(x, signUpEntrance, newSignInView(x))
}

// longestHint bounds what is taken for a login_hint: no address is longer.
const longestHint = 254

// newSignInView is the form as the address asks for it: with the address of whom an
// application expects (login_hint), and for whoever it is (prompt=login).
func newSignInView(x *exchange) signInView {
	query := x.URL.Query()
	v := signInView{Form: formOf(nil)}
	if hint := query.Get("login_hint"); len(hint) <= longestHint && strings.Contains(hint, "@") {
		v.Form.Values["email"] = hint
	}
	if query.Get("prompt") == promptLogin {
		v.Prompt = promptLogin
	}
	return v
}

func (s *Server) enter(x *exchange, e entrance, v signInView) error {
	back := x.URL.Query().Get("return_to")
	signedIn := s.visitor(x)
	switch {
	case v.Prompt != "":
	case signedIn:
		return seeOther(x, s.returnTo(back))
	case e == signInEntrance && v.Done == "" && s.othersHere(x):
		return seeOther(x, chooser+s.onwardTo(back))
	}
	if _, err := s.opening(x, delivery{}); err != nil { // pages work by cookie
		return err
	}
	return s.showEntrance(x, http.StatusOK, e, back, v)
}

// othersHere reports whether accounts are signed in in this browser although none is in
// use. Who only wants to sign in is not kept from it by what cannot be read.
func (s *Server) othersHere(x *exchange) bool {
	others, err := s.beside(x, nil)
	return err == nil && len(others) > 0
}

// invited shows the sign-up form to who opened an invitation. Looking spends nothing.
func (s *Server) invited(x *exchange, status int, token string, f form) error {
	link, err := s.Accounts.Peek(x.Context(), token, s.signUpHere(x).browser)
	if err != nil {
		return err
	}
	if link.Kind != account.LinkInvite {
		return account.ErrLinkOver
	}
	f.Values["email"] = link.Email
	if _, typed := f.Values["name"]; !typed {
		f.Values["name"] = link.Name
	}
	return s.showEntrance(x, status, signUpEntrance, "", signInView{Form: f, Invitation: token})
}

// showEntrance shows such a page. Browsers hold the address that a form leads to in
// the end against the page's policy, so that names its origin.
func (s *Server) showEntrance(x *exchange, status int, e entrance, back string, v signInView) error {
	back = s.onward(x, back)
	v.sheet = s.sheet(x, e.title)
	v.Application = x.application
	v.Open, v.Mistaken = s.config.signUpOpen(), v.Form.Refused()
	if v.Invitation != "" {
		holdsToken(x)
	}
	v.ReturnTo = back
	return s.show(x, status, e.name, v)
}

// onward returns where a form may lead in the end, and lets the page's policy know.
func (s *Server) onward(x *exchange, back string) string {
	if !s.mayReturn(back) {
		return ""
	}
	if text, ours := sealedIn(back); ours {
		r, _, err := s.Provider.Resume(x.Context(), text, s.browserOf(x))
		if err == nil { // else the person is told when they come back
			leadsTo(x, r.Origins())
			x.locales, x.application = r.Locales, r.Client.Name
		}
		return back
	}
	if u, err := url.Parse(back); err == nil && u.Host != "" {
		leadsTo(x, []string{u.Scheme + "://" + u.Host})
	}
	return back
}

// submitSignIn checks the password and begins a session in the browser.
func (s *Server) submitSignIn(x *exchange) error {
	in, err := readFields(x, "email", "password", "remember", "return_to", "prompt")
	if err != nil {
		return err
	}
	opening, err := s.opening(x, delivery{Remember: in["remember"] != ""})
	if err != nil {
		return err
	}
	enter := s.signIn
	if in["prompt"] == promptLogin {
		enter = s.signInBeside
	}
	opened, err := enter(x, in["email"], in["password"], opening)
	if err != nil {
		return s.entranceAgain(x, signInEntrance, in, err)
	}
	return s.entered(x, in["return_to"], opened)
}

// submitSignUp makes an account and begins a session in the browser; where an address
// is to be proven first, it asks for the code of the mail, whoever has the address.
func (s *Server) submitSignUp(x *exchange) error {
	in, err := readFields(x, "email", "password", "name", "return_to", "invitation", "prompt")
	if err != nil {
		return err
	}
	opening, err := s.opening(x, delivery{})
	if err != nil {
		return err
	}
	n := account.NewUser{Email: in["email"], Password: in["password"], Name: in["name"], Invitation: in["invitation"]}
	if s.provenFirst(&n) {
		if err := s.beginSignUp(x, n, in["return_to"], in["prompt"]); err != nil {
			return s.entranceAgain(x, signUpEntrance, in, err)
		}
		f := formOf(map[string]string{"email": in["email"]})
		return s.showEntrance(x, http.StatusAccepted, mailEntrance, in["return_to"], signInView{Form: f})
	}
	enter := s.signUp
	if in["prompt"] == promptLogin {
		enter = s.signUpBeside
	}
	opened, err := enter(x, n, opening)
	if err != nil {
		return s.entranceAgain(x, signUpEntrance, in, err)
	}
	return s.entered(x, in["return_to"], opened)
}

// entranceAgain shows the form again to who has not entered.
func (s *Server) entranceAgain(x *exchange, e entrance, in map[string]string, err error) error {
	f := formOf(in)
	status := s.refuse(x, f, err)
	switch {
	case status == 0:
		return err
	case in["invitation"] == "":
		v := signInView{Form: f}
		if in["prompt"] == promptLogin {
			v.Prompt = promptLogin
		}
		return s.showEntrance(x, status, e, in["return_to"], v)
	case fault.Of(err) == account.ErrEmailTaken: // the address is fixed, so there is nothing to mend in the form
		return err
	case status >= http.StatusInternalServerError: // the invitation may be spent by now, and that is not what went wrong
		return err
	}
	return s.invited(x, status, in["invitation"], f)
}

// entered sends on who has entered.
func (s *Server) entered(x *exchange, back string, opened session.Opened) error {
	s.setSession(x, opened)
	return seeOther(x, s.returnTo(back))
}

// submitSignOut ends the session of the browser. Who has none is signed out already. A
// form that was shown to one account signs that one out, whichever is in use by now.
func (s *Server) submitSignOut(x *exchange) error {
	shown, err := accountField(x)
	if err != nil {
		return err
	}
	if shown != "" && s.visitor(x) && x.holder.UserID() != shown {
		if _, err := s.signOutOf(x, shown); err != nil {
			return err
		}
		return seeOther(x, chooser)
	}
	err = s.signOut(x)
	if errors.Is(err, session.ErrNoCredential) || errors.Is(err, session.ErrInvalidToken) {
		err = nil
	}
	if err != nil {
		return err
	}
	return seeOther(x, "/signed-out")
}

// A signedOutView is the page after signing out.
type signedOutView struct {
	sheet
	Deleted bool     // the account is no more
	Others  []choice // who is still signed in in this browser
}

// getSignedOut says that it is done.
func (s *Server) getSignedOut(x *exchange) error {
	v := signedOutView{sheet: s.sheet(x, "signed_out.title")}
	if x.URL.Query().Get("done") == "deleted" {
		v.Title, v.Deleted = v.words.Text("signed_out.deleted_title"), true
	}
	if others, err := s.beside(x, nil); err == nil { // else the page says what it knows
		for _, p := range others {
			v.Others = append(v.Others, choiceOf(p))
		}
	}
	return s.show(x, http.StatusOK, "signed_out", v)
}
