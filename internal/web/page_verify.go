package web

import (
	"errors"
	"net/http"
	"slices"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/credential"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A verifyView is the page behind a mailed link, and the page that takes its code.
type verifyView struct {
	sheet
	Text   string // what this is about
	Submit string // what the button says
	Token  string // of the link; empty: a code is asked for
	Email  string // that the link proves
	Choose bool   // a password is to be chosen here
	Open   bool   // everybody may make an account
	Form   form
}

// A doneView says that something is done.
type doneView struct {
	sheet
	Text string
}

// getVerify shows what a mailed link is about, with a button that does it: opening the
// link spends nothing, for the programs that open links in mails. Without a token it
// asks for the code.
func (s *Server) getVerify(x *exchange) error {
	query := x.URL.Query()
	in := map[string]string{"token": query.Get("token")}
	if in["token"] == "" && s.visitor(x) && !x.holder.Person().EmailVerified {
		in["email"] = x.holder.Person().Email
	}
	return s.showVerify(x, http.StatusOK, in, formOf(in), false)
}

// showVerify shows the page that fits the link. choose asks for a password after a
// code was right, in a browser that did not begin the sign-up.
func (s *Server) showVerify(x *exchange, status int, in map[string]string, f form, choose bool) error {
	if in["token"] == "" {
		s.visitor(x)
		v := verifyView{sheet: s.sheet(x, "verify.code_title"), Form: f, Choose: choose, Email: in["email"], Open: s.config.signUpOpen()}
		v.Text, v.Submit, v.Mistaken = v.words.Text("verify.code_text"), v.words.Text("verify.submit"), f.Refused()
		if choose {
			v.Title, v.Text = v.words.Text("verify.sign_up_title"), v.words.Text("verify.elsewhere_text", "email", in["email"])
			v.Submit = v.words.Text("verify.sign_up_submit")
		}
		v.ReturnTo = s.onward(x, in["return_to"])
		return s.show(x, status, "verify", v)
	}
	here := s.signUpOnPage(x)
	link, err := s.Accounts.Peek(x.Context(), in["token"], here.browser)
	if err != nil {
		return err
	}
	about, known := map[account.LinkKind]string{account.LinkSignUp: "sign_up", account.LinkVerify: "verify", account.LinkEmail: "email"}[link.Kind]
	if !known { // a link of ours, but for another page
		return account.ErrLinkOver
	}
	holdsToken(x)
	v := verifyView{sheet: s.sheet(x, "verify."+about+"_title"), Token: in["token"], Email: link.Email, Form: f}
	v.Text, v.Submit = v.words.Text("verify."+about+"_text", "email", link.Email), v.words.Text("verify."+about+"_submit")
	back := in["return_to"]
	if back == "" && link.Bound {
		back = here.returnTo
	}
	if link.Kind == account.LinkSignUp && !link.Bound {
		v.Choose, v.Text = true, v.words.Text("verify.elsewhere_text", "email", link.Email)
	}
	v.Mistaken, v.ReturnTo = f.Refused(), s.onward(x, back)
	return s.show(x, status, "verify", v)
}

// submitVerify spends a link or a code. Who finishes a sign-up in the browser that
// began it is signed in there.
func (s *Server) submitVerify(x *exchange) error {
	in, err := readFields(x, "token", "email", "code", "password", "return_to")
	if err != nil {
		return err
	}
	here := s.signUpOnPage(x)
	var opening session.Opening
	if here.browser != (credential.Hash{}) { // nobody else is signed in
		if opening, err = s.opening(x, delivery{}); err != nil {
			return err
		}
	}
	done, err := s.verify(x, account.Verification{
		Token: in["token"], Email: in["email"], Code: in["code"], Password: in["password"], Browser: here.browser,
	})
	if err != nil {
		return s.verifyAgain(x, in, err)
	}
	if done.Kind == account.LinkSignUp {
		s.unbindSignUp(x)
	}
	if done.Proof.UserID() != "" {
		begin := s.begin
		if here.beside {
			begin = s.beginBeside
		}
		opened, err := begin(x, done.Proof, opening)
		if err != nil {
			return err
		}
		return s.entered(x, in["return_to"], opened)
	}
	return s.verified(x, done, in["return_to"])
}

// signUpOnPage is signUpHere where a page may sign somebody in.
func (s *Server) signUpOnPage(x *exchange) begunSignUp {
	if !s.pagesSignIn() {
		return begunSignUp{}
	}
	return s.signUpHere(x)
}

// pagesSignIn reports whether pages may sign people in, which they do by cookie.
func (s *Server) pagesSignIn() bool { return slices.Contains(s.config.Transports, transportCookie) }

// verifyAgain asks again. A password is asked for where there is none yet, which is no
// mistake of the person's.
func (s *Server) verifyAgain(x *exchange, in map[string]string, err error) error {
	f := formOf(in)
	status := s.refuse(x, f, err)
	if status == 0 {
		return err
	}
	var members fault.Members
	choose := errors.As(err, &members) && slices.ContainsFunc(members, func(m fault.Member) bool { return m.Member == "/password" })
	if choose && in["password"] == "" && in["token"] == "" {
		delete(f.Wrong, "password")
		status = http.StatusOK
	}
	return s.showVerify(x, status, in, f, choose)
}

// verified says what came of it: on the sign-in page, on the account page, or, where
// somebody else is signed in or nobody is, on a page of its own.
func (s *Server) verified(x *exchange, done account.Verified, back string) error {
	signedIn := s.visitor(x) && x.holder.UserID() == done.User.ID
	switch {
	case done.Kind == account.LinkSignUp && s.pagesSignIn():
		address := "/sign-in?done=made"
		if s.mayReturn(back) {
			address += "&" + onwardQuery(back)
		}
		return seeOther(x, address)
	case signedIn && done.Kind == account.LinkEmail:
		return seeOther(x, home+"?done=changed")
	case signedIn:
		return seeOther(x, home+"?done=verified")
	case done.Kind == account.LinkEmail:
		return seeOther(x, "/verified?done=changed")
	}
	return seeOther(x, "/verified")
}

// getVerified says that an address is proven.
func (s *Server) getVerified(x *exchange) error {
	title, text := "verify.done_title", "verify.done_text"
	if x.URL.Query().Get("done") == "changed" {
		title, text = "verify.changed_title", "verify.changed_text"
	}
	v := doneView{sheet: s.sheet(x, title)}
	v.Text = v.words.Text(text)
	return s.show(x, http.StatusOK, "verified", v)
}
