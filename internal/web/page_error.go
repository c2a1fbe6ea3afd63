package web

import "net/url"

// An advice says what a person can do about an error: the texts are those under
// advice.CODE in the catalogue, and this is where the button leads.
type advice struct {
	address string // empty: there is no button
	text    string // key of what the button says
}

// advices are by the code of the fault.
var advices = map[string]advice{
	"not_found":             {home, "error.home"},
	"internal":              {},
	"unavailable":           {},
	"busy":                  {},
	"too_many_attempts":     {},
	"misdirected":           {}, // leads to where we really are
	"cross_origin":          {home, "error.home"},
	"invalid_request":       {},
	"unknown_client":        {},
	"redirect_uri_mismatch": {},
	"request_over":          {},
	"request_answered":      {},
	"invalid_id_token_hint": {home, "error.home"},
	"logout_request":        {home, "error.home"},
	"logout_uri_mismatch":   {home, "error.home"},
	"account_changed":       {chooser, "error.accounts"},
	"duplicate_cookie":      {"/sign-in", "error.sign_in"},
	"sign_up_closed":        {"/sign-in", "error.sign_in"},
	"setup_over":            {"/sign-in", "error.sign_in"},
	"transport_not_allowed": {},
	"link_over":             {"/sign-in", "error.sign_in"},
	"no_mail":               {"/sign-in", "error.sign_in"},
	"email_taken":           {"/sign-in", "error.sign_in"},
}

// otherwise is for what a person meets only by accident.
var otherwise = advice{home, "error.home"}

// signInAgain are the codes that a person mends by signing in.
var signInAgain = map[string]bool{
	"no_credential": true, "invalid_token": true, "session_ended": true, "token_expired": true, "two_credentials": true,
}

type errorView struct {
	sheet
	Status   int
	Sentence string // what happened
	Advice   string // what to do
	Way      *way   // where to go; nil: nowhere
	Request  string // its id, for whoever is asked for help
	Refused  string // what was refused of it, for whoever wrote the application; empty: nothing to show
}

// failPage shows an error to a person, and reports whether it did. Who only has to
// sign in is sent there, and comes back. Programs are told as everywhere else.
func (s *Server) failPage(x *exchange, p problem) bool {
	if x.route.who == holder && signInAgain[p.Code] {
		address := "/sign-in"
		if safe(x.Method) && s.mayReturn(x.URL.RequestURI()) {
			address += "?" + onwardQuery(x.URL.RequestURI())
		}
		return seeOther(x, address) == nil
	}
	if !readsPages(x.Request) {
		return false
	}
	return s.show(x, p.Status, "error", s.errorView(x, p)) == nil
}

func (s *Server) errorView(x *exchange, p problem) errorView {
	help, known := advices[p.Code]
	about := "advice." + p.Code
	if !known {
		help, about = otherwise, "advice.otherwise"
	}
	v := errorView{sheet: s.sheet(x, about+".title"), Status: p.Status, Request: x.id[0], Refused: x.refused}
	v.Sentence = v.words.Sentence(p.Code, p.Detail)
	v.Advice = v.words.Text("error.patience")
	if v.words.Has(about + ".text") {
		v.Advice = v.words.Text(about + ".text")
	}
	switch {
	case p.Code == errHost.Code:
		v.Way = &way{Address: s.issuer, Text: v.words.Text("error.issuer", "address", s.issuer)}
	case p.Code == "link_over" && x.route.path == "/reset" && s.config.Mail:
		v.Way = &way{Address: "/forgot", Text: v.words.Text("error.forgot")}
	case help.address != "":
		v.Way = &way{Address: help.address, Text: v.words.Text(help.text)}
	}
	return v
}

// onwardQuery is the member of a query that carries where to go.
func onwardQuery(address string) string { return "return_to=" + url.QueryEscape(address) }
