package web

import "net/url"

// An advice says what a person can do about an error.
type advice struct {
	Title string
	Text  string
	Link  string // where to go; empty: nowhere
	Name  string // what the link says
}

const patience = "Wait a moment and load the page again. If it stays like this, tell whoever runs this site, with the reference below."

// advices are by the code of the fault.
var advices = map[string]advice{
	"not_found":             {"Not found", "Check the address, or start again from your account.", home, "Go to your account"},
	"internal":              {"Something went wrong", patience, "", ""},
	"unavailable":           {"Not available right now", patience, "", ""},
	"busy":                  {"Busy right now", patience, "", ""},
	"too_many_attempts":     {"Too many attempts", patience, "", ""},
	"misdirected":           {"Another address", "Use this address instead.", "/", ""},
	"cross_origin":          {"Not done", "Nothing has changed. If this was you, open the page here and do it again.", home, "Go to your account"},
	"duplicate_cookie":      {"Two cookies", "Another site on this domain may have set a cookie of ours. Remove the cookies of this site in the settings of your browser, then sign in again.", "/sign-in", "Sign in"},
	"sign_up_closed":        {"No new accounts", "Ask whoever runs this site for an account.", "/sign-in", "Sign in"},
	"setup_over":            {"This link is over", "If there is an administrator already, sign in instead.", "/sign-in", "Sign in"},
	"transport_not_allowed": {"Not here", "Sign in through the application that you want to use.", "", ""},
}

// otherwise is for what a person meets only by accident.
var otherwise = advice{"That did not work", "Go back, load the page anew and try again.", home, "Go to your account"}

// signInAgain are the codes that a person mends by signing in.
var signInAgain = map[string]bool{
	"no_credential": true, "invalid_token": true, "session_ended": true, "token_expired": true, "two_credentials": true,
}

type errorView struct {
	sheet
	Status   int
	Sentence string
	Advice   advice
	Request  string // its id, for whoever is asked for help
}

// failPage shows an error to a person, and reports whether it did. Who only has to
// sign in is sent there, and comes back. Programs are told as everywhere else.
func (s *Server) failPage(x *exchange, p problem) bool {
	if x.route.who == holder && signInAgain[p.Code] {
		address := "/sign-in"
		if safe(x.Method) && s.mayReturn(x.URL.RequestURI()) {
			address += "?return_to=" + url.QueryEscape(x.URL.RequestURI())
		}
		return seeOther(x, address) == nil
	}
	if !readsPages(x.Request) {
		return false
	}
	help, known := advices[p.Code]
	if !known {
		help = otherwise
	}
	if p.Code == errHost.Code {
		help.Link, help.Name = s.issuer, s.issuer
	}
	view := errorView{sheet: s.sheet(x, help.Title), Status: p.Status, Sentence: p.Detail, Advice: help, Request: x.id[0]}
	return s.show(x, p.Status, "error", view) == nil
}
