package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/fault"
	"github.com/coatcheck/coatcheck/internal/session"
)

//go:embed templates static/style.css static/icon.svg
var assets embed.FS

// readPages reads the templates, each with the layout around it, and what they load.
func (s *Server) readPages() error {
	for name, into := range map[string]*document{"style.css": &s.style, "icon.svg": &s.icon} {
		body, err := assets.ReadFile("static/" + name)
		if err != nil {
			return fmt.Errorf("read what pages load: %w", err)
		}
		*into = newDocument(body)
	}
	s.pages = map[string]*template.Template{}
	for _, name := range []string{"account", "error", "setup", "sign_in", "sign_up", "signed_out"} {
		var err error
		t := template.New(name).Funcs(template.FuncMap{"field": inputOf, "moment": momentOf})
		if s.pages[name], err = t.ParseFS(assets, "templates/layout.html", "templates/"+name+".html"); err != nil {
			return fmt.Errorf("read the page %s: %w", name, err)
		}
	}
	return nil
}

// getStyle answers with the stylesheet.
func (s *Server) getStyle(x *exchange) error { return publish(x, "text/css; charset=utf-8", s.style) }

// getIcon answers with the icon.
func (s *Server) getIcon(x *exchange) error { return publish(x, "image/svg+xml", s.icon) }

// addressOf is where a page finds what it loads: another address for other content, so
// that no browser shows a new page in an old dress.
func addressOf(name string, d document) string {
	return "/static/" + name + "?v=" + strings.Trim(d.tag, `"`)
}

// A sheet is what every page has around its content.
type sheet struct {
	Title    string
	Style    string          // address of the stylesheet
	Icon     string          // address of the icon
	Site     string          // the host that people see in the address bar
	Person   *session.Person // who is signed in; nil: nobody, as far as the page knows
	ReturnTo string          // where to go after signing in; empty: home
}

// Onward is the query that carries ReturnTo to another page.
func (v sheet) Onward() string {
	if v.ReturnTo == "" {
		return ""
	}
	return "?return_to=" + url.QueryEscape(v.ReturnTo)
}

func (s *Server) sheet(x *exchange, title string) sheet {
	v := sheet{Title: title, Style: addressOf("style.css", s.style), Icon: addressOf("icon.svg", s.icon), Site: s.config.PublicURL.Host}
	if x.holder.Somebody() {
		person := x.holder.Person()
		v.Person = &person
	}
	return v
}

// show answers with a page. It is written whole or not at all.
func (s *Server) show(x *exchange, status int, name string, view any) error {
	var out bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&out, "layout", view); err != nil {
		return fmt.Errorf("write the page %s: %w", name, err)
	}
	x.Header().Set("Content-Type", "text/html; charset=utf-8")
	x.WriteHeader(status)
	_, _ = x.Write(out.Bytes()) // the browser has gone: nobody is left to tell
	return nil
}

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
}

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
	f := form{Values: map[string]string{}, Wrong: map[string]string{}}
	for name, value := range fields {
		if !strings.Contains(name, "password") {
			f.Values[name] = value
		}
	}
	return f
}

// refuse puts an error that the person can mend into the form and returns the status
// to show it with. Zero means that it is another kind of error, for a page of its own.
func (f form) refuse(x *exchange, err error) int {
	var members fault.Members
	if errors.As(err, &members) {
		for _, m := range members {
			f.Wrong[strings.TrimPrefix(m.Member, "/")] = m.Detail
		}
		return http.StatusUnprocessableEntity
	}
	at := fault.Of(err)
	switch {
	case at == account.ErrEmailTaken:
		f.Wrong["email"] = at.Sentence
	case slices.Contains([]fault.Kind{fault.Unauthenticated, fault.Conflict, fault.TooMany, fault.Unavailable}, at.Kind):
		f.Wrong[""] = at.Sentence
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
	Name, Label, Kind, Autocomplete, Hint string
	Value, Wrong                          string
}

// inputOf is the template function "field".
func inputOf(f form, name, label, kind, autocomplete, hint string) input {
	return input{
		Name: name, Label: label, Kind: kind, Autocomplete: autocomplete, Hint: hint,
		Value: f.Values[name], Wrong: f.Wrong[name],
	}
}

// Described is the list of ids that explain the field to a screen reader.
func (i input) Described() string {
	var ids []string
	if i.Hint != "" {
		ids = append(ids, i.Name+"-hint")
	}
	if i.Wrong != "" {
		ids = append(ids, i.Name+"-wrong")
	}
	return strings.Join(ids, " ")
}

// A moment is a time, for machines and for people. Pages do not know where people
// are, so they say which clock they mean.
type moment struct{ Machine, Human string }

// momentOf is the template function "moment".
func momentOf(t time.Time) moment {
	t = t.UTC()
	return moment{Machine: t.Format(time.RFC3339), Human: t.Format("2 January 2006, 15:04") + " UTC"}
}
