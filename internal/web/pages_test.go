package web

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/coatcheck/coatcheck/internal/session"
)

// Every page in every shape of its data is one that people can use without a script
// and with a screen reader, and into which nothing that was typed gets but as text
// (ASVS-3.2.2).
func TestPages(t *testing.T) {
	s := &Server{config: Config{PublicURL: &url.URL{Scheme: "https", Host: "auth.example.com"}}}
	if err := s.readPages(); err != nil {
		t.Fatal(err)
	}
	const hostile = `<script>alert(1)</script>" onfocus="alert(1)' {{.}}`
	somebody, nobody := s.sheet(&exchange{}, "Your account"), s.sheet(&exchange{}, "Sign in")
	somebody.Person = &session.Person{ID: "usr_1", Email: hostile + "@example.com", Name: hostile, CreatedAt: time.Unix(1e9, 0)}
	somebody.ReturnTo, nobody.ReturnTo = "/a?b="+hostile, "/a?b="+hostile
	wrong := form{Values: map[string]string{}, Wrong: map[string]string{"": hostile}}
	for _, name := range []string{"email", "name", "password", "current_password", "new_password", "remember"} {
		wrong.Values[name], wrong.Wrong[name] = hostile, "It is wrong."
	}
	device := ownSession{ID: "ses_1", Device: hostile, IP: hostile, UserAgent: hostile}
	current := ownSession{ID: "ses_2", Device: "Firefox on Windows", Current: true}
	for _, c := range []struct {
		name, template string
		view           any
	}{
		{"sign-in", "sign_in", signInView{sheet: nobody, Form: formOf(nil)}},
		{"sign-in, wrong", "sign_in", signInView{sheet: nobody, Form: wrong, Closed: true}},
		{"sign-up", "sign_up", signInView{sheet: nobody, Form: formOf(nil)}},
		{"sign-up, wrong", "sign_up", signInView{sheet: nobody, Form: wrong}},
		{"setup", "setup", setupView{sheet: nobody, Token: hostile, Form: formOf(nil)}},
		{"setup, wrong", "setup", setupView{sheet: nobody, Token: hostile, Form: wrong}},
		{"signed out", "signed_out", nobody},
		{"error", "error", errorView{sheet: nobody, Status: 500, Sentence: "x", Advice: advice{Title: "x", Text: "y"}, Request: hostile}},
		{"error with a link", "error", errorView{sheet: somebody, Status: 404, Sentence: "x", Advice: otherwise, Request: "id"}},
		{"account", "account", accountView{sheet: somebody, Sessions: []ownSession{device, current}, Profile: formOf(nil), Password: formOf(nil)}},
		{"account, wrong", "account", accountView{sheet: somebody, Done: "Done.", Sessions: []ownSession{current}, Older: "?cursor=x", Profile: wrong, Password: wrong}},
		{"account, nothing", "account", accountView{sheet: somebody, Profile: formOf(nil), Password: formOf(nil)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := s.pages[c.template].ExecuteTemplate(&out, "layout", c.view); err != nil {
				t.Fatal(err)
			}
			root, err := html.Parse(&out)
			if err != nil {
				t.Fatal(err)
			}
			inspect(t, root)
		})
	}
}

// inspect holds a page to what every page must be.
func inspect(t *testing.T, root *html.Node) {
	t.Helper()
	ids, labels, count := map[string]bool{}, map[string]bool{}, map[string]int{}
	var inputs []map[string]string
	var referred []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		a := map[string]string{}
		for _, attribute := range n.Attr {
			a[attribute.Key] = attribute.Val
			if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style" {
				t.Errorf("<%s> has the attribute %s", n.Data, attribute.Key)
			}
		}
		if id, found := a["id"]; found && ids[id] {
			t.Errorf("the id %s is there twice", id)
		}
		ids[a["id"]] = true
		referred = append(referred, strings.Fields(a["aria-describedby"]+" "+a["aria-labelledby"])...)
		switch n.Data {
		case "script", "style", "iframe", "object", "base":
			t.Errorf("there is a <%s>", n.Data)
		case "label":
			labels[a["for"]] = true
		case "input":
			inputs = append(inputs, a)
		case "form":
			if a["method"] != "post" || !strings.HasPrefix(a["action"], "/") {
				t.Errorf("a form is %v", a)
			}
		case "button":
			if a["type"] != "submit" || n.FirstChild == nil {
				t.Errorf("a button is %v", a)
			}
		case "html":
			if a["lang"] == "" {
				t.Error("the page does not say its language")
			}
		}
	}
	for _, id := range referred {
		if !ids[id] {
			t.Errorf("%s is referred to and not there", id)
		}
	}
	for _, a := range inputs {
		if a["type"] != "hidden" && !labels[a["id"]] && a["aria-label"] == "" {
			t.Errorf("the field %s has no label", a["name"])
		}
		if (a["type"] == "text" || a["type"] == "email" || a["type"] == "password") && a["autocomplete"] == "" {
			t.Errorf("the field %s does not say how it may be filled in", a["name"])
		}
		if a["type"] == "password" && a["value"] != "" {
			t.Errorf("the field %s shows what was typed", a["name"])
		}
		if _, wrong := a["aria-invalid"]; wrong && !strings.Contains(a["aria-describedby"], a["name"]+"-wrong") {
			t.Errorf("the field %s does not say what is wrong with it", a["name"])
		}
	}
	if count["title"] != 1 || count["main"] != 1 || count["h1"] != 1 {
		t.Errorf("%d titles, %d mains, %d h1", count["title"], count["main"], count["h1"])
	}
}

// What was typed as a password is not even kept for showing it again.
func TestFormsForgetPasswords(t *testing.T) {
	f := formOf(map[string]string{"email": "ada@example.com", "password": "x", "current_password": "y", "new_password": "z"})
	if len(f.Values) != 1 || f.Values["email"] != "ada@example.com" {
		t.Errorf("a form keeps %v", f.Values)
	}
}
