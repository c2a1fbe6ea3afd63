package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// chooser is the page with the accounts of a browser.
const chooser = "/accounts"

// promptLogin asks for a proof of who is there, also where somebody is signed in: in the
// words of OpenID Connect Core 3.1.2.1.
const promptLogin = "login"

// errAccountChanged says that a form was shown to one account and sent by another.
var errAccountChanged = fault.New(fault.Conflict, "account_changed", "Another account of yours is in use in this browser since this page was shown.")

// An accountsView is the page on which a person chooses an account.
type accountsView struct {
	sheet
	Accounts []choice // the one in use first
	Over     bool     // the one that was chosen is signed out by now
	Add      bool     // another one can sign in
}

// Several reports whether there is more than one.
func (v accountsView) Several() bool { return len(v.Accounts) > 1 }

// SignIn is where another account signs in, on the way to the same place.
func (v accountsView) SignIn() string {
	return "/sign-in" + signInView{sheet: v.sheet, Prompt: promptLogin}.Onward()
}

// A choice is one account among several.
type choice struct {
	ID      string // of the user
	Name    string
	Email   string
	Initial string
	Current bool
}

func choiceOf(p present) choice {
	u := &p.Standing.User
	return choice{ID: u.ID, Name: u.Name, Email: u.Email, Initial: initialOf(u.Name, u.Email), Current: p.Current}
}

// initialOf is the letter that stands for somebody in a list.
func initialOf(name, email string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimSpace(name))
	if strings.TrimSpace(name) == "" {
		first, _ = utf8.DecodeRuneInString(email)
	}
	return strings.ToUpper(string(first))
}

// getAccounts shows which accounts are signed in in this browser. Looking changes
// nothing, and uses none of them but the one in use.
func (s *Server) getAccounts(x *exchange) error {
	back := x.URL.Query().Get("return_to")
	here, err := s.accountsHere(x)
	if err != nil {
		return err
	}
	if len(here) == 0 {
		return seeOther(x, "/sign-in"+s.onwardTo(back))
	}
	onward := s.onward(x, back) // which may say in which language
	v := accountsView{sheet: s.sheet(x, "accounts.title"), Add: s.pagesSignIn(), Over: x.URL.Query().Get("done") == "over"}
	v.Mistaken = v.Over
	for _, p := range here {
		v.Accounts = append(v.Accounts, choiceOf(p))
	}
	v.ReturnTo, v.Application = onward, x.application
	return s.show(x, http.StatusOK, "accounts", v)
}

// onwardTo is the query that carries a way back, if it is one.
func (s *Server) onwardTo(back string) string {
	if back == "" || !s.mayReturn(back) {
		return ""
	}
	return "?" + onwardQuery(back)
}

// submitChoice lets the browser use another one of its accounts. Nothing is signed in or
// out by it: two cookies change places.
func (s *Server) submitChoice(x *exchange) error {
	in, err := readFields(x, "account", "return_to")
	if err != nil {
		return err
	}
	here, err := s.accountsHere(x)
	if err != nil {
		return err
	}
	i := indexOf(here, in["account"])
	if i < 0 {
		return seeOther(x, chooserAgain(s.onwardTo(in["return_to"])))
	}
	if chosen := here[i]; !chosen.Current {
		s.setSession(x, session.Opened{Standing: chosen.Standing, Cookie: chosen.Cookie})
		s.keep(x, slices.Delete(here, i, i+1))
		x.Header().Set("Clear-Site-Data", signingOut)
	}
	return seeOther(x, s.returnTo(in["return_to"]))
}

// chooserAgain is the chooser, which says that an account is signed out by now.
func chooserAgain(onward string) string {
	if onward == "" {
		return chooser + "?done=over"
	}
	return chooser + onward + "&done=over"
}

// submitAccountSignOut signs one account out of this browser.
func (s *Server) submitAccountSignOut(x *exchange) error {
	in, err := readFields(x, "account", "return_to")
	if err != nil {
		return err
	}
	left, err := s.signOutOf(x, in["account"])
	if err != nil {
		return err
	}
	if left == 0 {
		return seeOther(x, "/signed-out")
	}
	return seeOther(x, chooser+s.onwardTo(in["return_to"]))
}

// submitSignOutAll signs every account out of this browser.
func (s *Server) submitSignOutAll(x *exchange) error {
	if err := s.signOutAll(x); err != nil {
		return err
	}
	return seeOther(x, "/signed-out")
}

// signInBeside signs in somebody who asked to, whoever is signed in here.
func (s *Server) signInBeside(x *exchange, email, password string, o session.Opening) (session.Opened, error) {
	proof, err := s.checkPassword(x, email, password)
	if err != nil {
		return session.Opened{}, err
	}
	return s.beginBeside(x, proof, o)
}

// signUpBeside makes an account and begins its first session, whoever is signed in here.
func (s *Server) signUpBeside(x *exchange, n account.NewUser, o session.Opening) (session.Opened, error) {
	proof, err := s.Accounts.SignUp(x.Context(), n, x.from())
	if err != nil {
		return session.Opened{}, err
	}
	return s.beginBeside(x, proof, o)
}

// begin begins a session, of which the browser is to have the only cookie.
func (s *Server) begin(x *exchange, proof account.Proof, o session.Opening) (session.Opened, error) {
	return s.Sessions.Begin(x.Context(), proof, o)
}

// beginBeside begins a session beside those of others in this browser. Who is here
// already has theirs renewed: its id and all that was drawn on it stay, so that no
// application loses them by it. Who was in use before stays here.
func (s *Server) beginBeside(x *exchange, proof account.Proof, o session.Opening) (session.Opened, error) {
	here, err := s.accountsHere(x)
	if err != nil {
		return session.Opened{}, err
	}
	others, err := s.makeRoom(x, without(here, proof.UserID()))
	if err != nil {
		return session.Opened{}, err
	}
	opened, err := s.renewHere(x, here, proof)
	if errors.Is(err, session.ErrNoCredential) || errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrInvalidToken) {
		opened, err = s.begin(x, proof, o)
	}
	if err == nil {
		s.keep(x, others)
	}
	return opened, err
}

// without returns those who are here but for one user.
func without(here []present, userID string) []present {
	return slices.DeleteFunc(slices.Clone(here), func(p present) bool { return p.Standing.User.ID == userID || p.Cookie == "" })
}

// renewHere renews the session that a person has in this browser. ErrNoCredential if
// there is none with a cookie.
func (s *Server) renewHere(x *exchange, here []present, proof account.Proof) (session.Opened, error) {
	i := indexOf(here, proof.UserID())
	if i < 0 || here[i].Cookie == "" {
		return session.Opened{}, session.ErrNoCredential
	}
	h, err := s.Sessions.CheckCookie(x.Context(), here[i].Cookie)
	if err != nil {
		return session.Opened{}, err
	}
	return s.Sessions.Reauthenticate(x.Context(), h, proof, x.from())
}

// checkAccount refuses a form that was shown to one account of this browser and is sent
// when another one is in use, in another tab perhaps: it would do to the one what was
// meant for the other. A form says in the field account whom it was shown to.
func (s *Server) checkAccount(x *exchange) error {
	if x.route.class != page || x.route.who != holder || safe(x.Method) {
		return nil
	}
	shown, err := accountField(x)
	if err != nil || shown == "" || shown == x.holder.UserID() {
		return err
	}
	return errAccountChanged
}

// accountField returns whom a form was shown to, "" if it does not say or is none.
func accountField(x *exchange) (string, error) {
	form, err := readForm(x)
	if errors.Is(err, errMediaType) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return single(form, "account")
}
