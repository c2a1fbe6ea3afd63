package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A sheet is what every page has around its content. Templates read it: its names are
// for operators too.
type sheet struct {
	Title    string
	Mistaken bool            // the page says what is wrong with what was sent
	Lang     string          // BCP 47
	Dir      string          // ltr or rtl
	Style    string          // address of the stylesheet
	Icon     string          // address of the icon
	IconType string          // its media type
	Logo     string          // address of the operator's logo; empty: none
	Site     string          // what the site is called; else the host that people see in the address bar
	Terms    string          // address of the terms of use; empty: none
	Links    []footLink      // at the end of the page
	Mail     bool            // mails go out from here
	Printed  bool            // to nobody but a page for developers
	Person   *session.Person // who is signed in; nil: nobody, as far as the page knows
	ReturnTo string          // where to go after signing in; empty: home
	// Application is the name of the application that waits for the person; empty: none.
	Application string

	words *catalogue.Language
}

// Onward is the query that carries ReturnTo to another page.
func (v sheet) Onward() string {
	if v.ReturnTo == "" {
		return ""
	}
	return "?return_to=" + url.QueryEscape(v.ReturnTo)
}

// Initial is the letter that stands for who is signed in.
func (v sheet) Initial() string {
	if v.Person == nil {
		return ""
	}
	return initialOf(v.Person.Name, v.Person.Email)
}

func (v sheet) language() string { return v.Lang }

// wordsOf returns the language that the person reads, as the application says that sent
// them, or else their browser.
func (s *Server) wordsOf(x *exchange) *catalogue.Language {
	if x.locales != "" {
		return s.Words.Language(strings.Join(strings.Fields(x.locales), ","))
	}
	return s.Words.Language(languageOf(x.Request))
}

// sheet begins a page with the title that the catalogue has under the key.
func (s *Server) sheet(x *exchange, title string) sheet {
	v := s.blank(s.wordsOf(x), title)
	if x.holder.Somebody() {
		person := x.holder.Person()
		v.Person = &person
	}
	return v
}

func (s *Server) blank(words *catalogue.Language, title string) sheet {
	v := sheet{
		Title: words.Text(title), Lang: words.Tag(), Dir: words.Dir(), words: words,
		Style: addressOf("style.css", s.look.style), Icon: addressOf("icon.svg", s.look.icon), IconType: "image/svg+xml",
		Site: s.config.PublicURL.Host, Terms: s.config.Brand.Terms, Links: s.look.links, Mail: s.config.Mail, Printed: s.Printer != nil,
	}
	if s.config.Brand.Name != "" {
		v.Site = s.config.Brand.Name
	}
	if s.look.logoMedia != "" {
		v.Logo = addressOf("logo", s.look.logo)
		v.Icon, v.IconType = v.Logo, s.look.logoMedia
	}
	return v
}

// show answers with a page. It is written whole or not at all.
func (s *Server) show(x *exchange, status int, name string, view interface{ language() string }) error {
	var out bytes.Buffer
	if err := s.look.write(&out, view.language(), name, view); err != nil {
		return fmt.Errorf("write the page %s: %w", name, err)
	}
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", view.language())
	h.Set("Vary", "Accept-Language")
	x.WriteHeader(status)
	_, _ = x.Write(out.Bytes()) // the browser has gone: nobody is left to tell
	return nil
}

// holdsToken keeps the address of a page, which holds a token, from whoever the page
// links to. Not no-referrer: with it a browser sends "Origin: null" with a form (Fetch
// §3.1), and no form of ours could be told from a stranger's.
func holdsToken(x *exchange) { x.Header().Set("Referrer-Policy", "strict-origin") }

// seeOther sends the browser on to another page, with GET.
func seeOther(x *exchange, address string) error {
	x.Header().Set("Location", address)
	x.WriteHeader(http.StatusSeeOther)
	return nil
}

// visitor finds out who is signed in, on pages that are for everyone.
func (s *Server) visitor(x *exchange) bool {
	h, err := s.holderOf(x)
	if err == nil {
		x.holder = h
	}
	return err == nil
}

// A form is what was typed and what is wrong with it.
type form struct {
	Values map[string]string // by the field's name; never a password
	Wrong  map[string]string // by the field's name; "" is about all of it

	focused *bool // a wrong field was shown, so the cursor is there
}

// Refused reports whether anything is wrong with it.
func (f form) Refused() bool { return len(f.Wrong) > 0 }

// readFields reads the named fields of a submitted form.
func readFields(x *exchange, names ...string) (map[string]string, error) {
	submitted, err := readForm(x)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for _, name := range names {
		if fields[name], err = single(submitted, name); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// formOf keeps what was typed, for showing it again. Passwords are not shown again.
func formOf(fields map[string]string) form {
	f := form{Values: map[string]string{}, Wrong: map[string]string{}, focused: new(bool)}
	for name, value := range fields {
		if !strings.Contains(name, "password") {
			f.Values[name] = value
		}
	}
	return f
}

// refuse puts an error that the person can mend into the form, in the person's
// language, and returns the status to show it with. Zero means that it is another kind
// of error, for a page of its own.
func (s *Server) refuse(x *exchange, f form, err error) int {
	words := s.wordsOf(x)
	var members fault.Members
	if errors.As(err, &members) {
		for _, m := range members {
			f.Wrong[strings.TrimPrefix(m.Member, "/")] = words.Sentence("", m.Detail)
		}
		return http.StatusUnprocessableEntity
	}
	at := fault.Of(err)
	sentence := words.Sentence(at.Code, at.Sentence)
	switch {
	case at == account.ErrEmailTaken:
		f.Wrong["email"] = sentence
	case at == account.ErrWrongCode:
		f.Wrong["code"] = sentence
	case slices.Contains([]fault.Kind{fault.Unauthenticated, fault.Conflict, fault.TooMany, fault.Unavailable}, at.Kind) && at != account.ErrLinkOver && at != account.ErrNoMail:
		f.Wrong[""] = sentence
	default:
		return 0
	}
	if after := retryAfter(err, at); after > 0 {
		x.Header().Set("Retry-After", strconv.Itoa(after))
	}
	if at.Kind == fault.Unauthenticated {
		x.Header().Set("WWW-Authenticate", challenge(at))
	}
	return statuses[at.Kind]
}

// An input is one field of a form with its label, as the layout draws it.
type input struct {
	ID, Name, Label, Kind, Autocomplete, Hint string
	Value, Wrong                              string
	First                                     bool // of the wrong ones: the cursor goes there
	Fixed                                     bool // it cannot be changed
	Beside                                    *way // a link next to the label
}

// A way is a link with what it says.
type way struct{ Address, Text string }

// inputOf is the template function "field".
func inputOf(f form, name, label, kind, autocomplete, hint string) input {
	i := input{
		ID: name, Name: name, Label: label, Kind: kind, Autocomplete: autocomplete, Hint: hint,
		Value: f.Values[name], Wrong: f.Wrong[name],
	}
	if i.Wrong != "" && f.focused != nil && !*f.focused {
		i.First, *f.focused = true, true
	}
	return i
}

// In tells apart fields of one name in several forms of a page.
func (i input) In(form string) input {
	i.ID = form + "-" + i.Name
	return i
}

// Fix shows what cannot be changed.
func (i input) Fix() input {
	i.Fixed = true
	return i
}

// With adds a link next to the label.
func (i input) With(text, address string) input {
	i.Beside = &way{Address: address, Text: text}
	return i
}

// Described is the list of ids that explain the field to a screen reader.
func (i input) Described() string {
	var ids []string
	if i.Hint != "" {
		ids = append(ids, i.ID+"-hint")
	}
	if i.Wrong != "" {
		ids = append(ids, i.ID+"-wrong")
	}
	return strings.Join(ids, " ")
}

// A moment is a time, for machines and for people.
type moment struct{ Machine, Human, Day, Ago string }

// momentOf is the template function "moment".
func momentOf(words *catalogue.Language, t, now time.Time) moment {
	return moment{Machine: t.UTC().Format(time.RFC3339), Human: words.Moment(t), Day: words.Date(t), Ago: words.Ago(t, now)}
}

// shapeOf is the template function "shape": what kind of thing a device is, for its
// picture.
func shapeOf(device string) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(device, w) })
	}
	switch {
	case has("iPhone", "iPad", "Android", "iPod"):
		return "phone"
	case has("Windows", "Mac", "Linux", "Chrome OS", "ChromeOS", "Ubuntu", "BSD"):
		return "computer"
	}
	return "program"
}
