package web

import (
	"bytes"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"
)

// pagesOf returns a server that has no more than its pages.
func pagesOf(t *testing.T, c Config) (*Server, error) {
	t.Helper()
	c.PublicURL = &url.URL{Scheme: "https", Host: "auth.example.com"}
	s := &Server{config: c, Parts: Parts{Now: func() time.Time { return time.Unix(1e9, 0) }}}
	return s, s.readLook()
}

// Every page, with everything on it and with nothing, in both languages, is one that
// people can use without a script and with a screen reader. Whatever was typed or comes
// from elsewhere gets into it as text and as nothing else (ASVS-1.2.1, ASVS-3.2.2, V-74).
func TestPages(t *testing.T) {
	s, err := pagesOf(t, Config{Brand: Brand{Name: "Ada & Söhne", Privacy: "https://example.com/privacy", Help: "mailto:help@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	const hostile = `<script>alert(1)</script>" onfocus="alert(1)' {{.}}`
	for _, words := range s.Words.Languages() {
		shown := map[string]bool{}
		for _, sample := range s.samples(words) {
			shown[sample.name] = true
			for _, view := range []any{sample.view, poisoned(sample.view, hostile)} {
				t.Run(words.Tag()+"/"+sample.name, func(t *testing.T) {
					var out bytes.Buffer
					if err := s.look.write(&out, words.Tag(), sample.name, view); err != nil {
						t.Fatal(err)
					}
					root, err := html.Parse(&out)
					if err != nil {
						t.Fatal(err)
					}
					inspect(t, root, words.Tag())
				})
			}
		}
		for _, name := range pageNames {
			if !shown[name] {
				t.Errorf("there is no sample of the page %s", name)
			}
		}
	}
}

// poisoned returns a copy of a view in which every text is text.
func poisoned(view any, text string) any {
	original := reflect.ValueOf(view)
	replaced := reflect.New(original.Type()).Elem()
	replaced.Set(original)
	poison(replaced, text)
	return replaced.Interface()
}

func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		for i := range v.NumField() {
			switch name := v.Type().Field(i).Name; {
			case !v.Type().Field(i).IsExported() && name != "sheet", name == "Lang", name == "Dir", name == "ID", name == "Links":
			default:
				poison(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), text)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.ValueOf(text))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem(), text)
		}
	}
}

// A reading is what is collected of a page.
type reading struct {
	ids, labels map[string]bool
	count       map[string]int
	inputs      []map[string]string
	referred    []string
}

// inspect holds a page to what every page must be.
func inspect(t *testing.T, root *html.Node, language string) {
	t.Helper()
	r := reading{ids: map[string]bool{}, labels: map[string]bool{}, count: map[string]int{}}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			r.see(t, n, language)
		}
	}
	for _, id := range r.referred {
		if !r.ids[id] {
			t.Errorf("%s is referred to and not there", id)
		}
	}
	for _, a := range r.inputs {
		if a["type"] != "hidden" && !r.labels[a["id"]] && a["aria-label"] == "" {
			t.Errorf("the field %s has no label", a["name"])
		}
		if (a["type"] == "text" || a["type"] == "email" || a["type"] == "password") && a["autocomplete"] == "" {
			t.Errorf("the field %s does not say how it may be filled in", a["name"])
		}
		if a["type"] == "password" && a["value"] != "" {
			t.Errorf("the field %s shows what was typed", a["name"])
		}
		if _, wrong := a["aria-invalid"]; wrong && !strings.Contains(a["aria-describedby"], a["id"]+"-wrong") {
			t.Errorf("the field %s does not say what is wrong with it", a["name"])
		}
	}
	if r.count["title"] != 1 || r.count["main"] != 1 || r.count["h1"] != 1 || r.count["autofocus"] > 4 {
		t.Errorf("the page has %v", r.count)
	}
}

// see holds one element to it.
func (r *reading) see(t *testing.T, n *html.Node, language string) {
	t.Helper()
	r.count[n.Data]++
	a := map[string]string{}
	for _, attribute := range n.Attr {
		a[attribute.Key] = attribute.Val
		if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style" {
			t.Errorf("<%s> has the attribute %s", n.Data, attribute.Key)
		}
	}
	if id, found := a["id"]; found {
		if r.ids[id] {
			t.Errorf("the id %s is there twice", id)
		}
		r.ids[id] = true
	}
	r.referred = append(r.referred, strings.Fields(a["aria-describedby"]+" "+a["aria-labelledby"])...)
	if strings.HasPrefix(a["href"], "#") {
		r.referred = append(r.referred, a["href"][1:])
	}
	switch n.Data {
	case "script": // the one that sends an answer on to an application
		if a["nonce"] == "" || len(a) != 1 || n.FirstChild == nil || n.FirstChild.Data != `document.getElementById("answer").submit()` {
			t.Errorf("there is a script, %v", a)
		}
	case "style", "iframe", "object", "base":
		t.Errorf("there is a <%s>", n.Data)
	case "label":
		r.labels[a["for"]] = true
	case "input":
		r.inputs = append(r.inputs, a)
	case "form":
		if a["method"] != "post" || !strings.HasPrefix(a["action"], "/") && a["id"] != "answer" {
			t.Errorf("a form is %v", a)
		}
	case "button":
		if a["type"] != "submit" || n.FirstChild == nil {
			t.Errorf("a button is %v", a)
		}
	case "svg":
		if a["aria-hidden"] != "true" {
			t.Error("a picture is read out")
		}
	case "img":
		if _, found := a["alt"]; !found {
			t.Error("an image has no text")
		}
	case "html":
		if a["lang"] != language || a["dir"] != "ltr" {
			t.Errorf("the page says of its language: %v", a)
		}
	}
}

// What was typed as a password is not even kept for showing it again.
func TestFormsForgetPasswords(t *testing.T) {
	f := formOf(map[string]string{"email": "ada@example.com", "password": "x", "current_password": "y", "new_password": "z"})
	if len(f.Values) != 1 || f.Values["email"] != "ada@example.com" {
		t.Errorf("a form keeps %v", f.Values)
	}
}

// A mistake in an operator's folder is found at the start, with its file and line.
func TestMistakesInAFolder(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"syntax":           {"sign_in.html", "{{define \"main\"}}\n<h1>{{.Title}</h1>{{end}}", "sign_in.html:2"},
		"unknown function": {"sign_in.html", "{{define \"main\"}}\n\n{{shout .Title}}{{end}}", "sign_in.html:3"},
		"unknown member":   {"sign_in.html", "{{define \"main\"}}\n<h1>{{.Titel}}</h1>{{end}}", "sign_in.html:2"},
		"rare branch":      {"account.html", "{{define \"main\"}}\n{{if .Pending}}\n{{.Nothing}}{{end}}{{end}}", "account.html:3"},
		"unknown text":     {"reset.html", "{{define \"main\"}}<h1>{{t \"no.such\"}}</h1>{{end}}", "reset.html:1"},
		"open attribute":   {"forgot.html", "{{define \"main\"}}\n<a href=\"{{.Title}}>{{if .Mail}}\"{{end}}{{end}}", "forgot.html:2"},
		"unknown page":     {"sgin_in.html", "", "sgin_in.html: there is no page of this name"},
		"layout":           {"layout.html", "{{define \"layout\"}}\n{{.Nope}}{{end}}", "layout.html:2"},
	} {
		_, err := pagesOf(t, Config{Pages: fstest.MapFS{c.file: {Data: []byte(c.text)}}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// What is in the folder stands in for ours, and the rest is ours.
func TestAFolderStandsIn(t *testing.T) {
	s, err := pagesOf(t, Config{Pages: fstest.MapFS{
		"signed_out.html": {Data: []byte(`{{define "main"}}<h1>Bye from {{.Site}}</h1>{{end}}`)},
		"theme.css":       {Data: []byte(":root { --radius: 0 }")},
	}, Brand: Brand{Name: "Shop", Color: "#ffdd00"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.look.write(&out, "de", "signed_out", signedOutView{sheet: s.blank(s.Words.Language("de"), "signed_out.title")}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "<h1>Bye from Shop</h1>") || !strings.Contains(out.String(), "Zum Inhalt springen") {
		t.Errorf("the page is %s", &out)
	}
	style := string(s.look.style.body)
	ours, brand, theirs := strings.Index(style, "--narrow"), strings.Index(style, "--on-accent: #000000"), strings.Index(style, "--radius: 0")
	if ours < 0 || brand < ours || theirs < brand {
		t.Errorf("the stylesheet has ours at %d, the brand's at %d, the operator's at %d", ours, brand, theirs)
	}
	s, err = pagesOf(t, Config{Pages: fstest.MapFS{"style.css": {Data: []byte("body{}")}}})
	if err != nil || strings.Contains(string(s.look.style.body), "--narrow") {
		t.Errorf("a stylesheet does not stand in for ours: %v", err)
	}
}

// docs/pages.md lists what each template is given, and every function.
func TestPagesDocIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/pages.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := pagesOf(t, Config{})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{} // the rest of its row, by the page
	for line := range strings.Lines(string(text)) {
		first, rest, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for name := range strings.FieldsSeq(first) {
			listed[strings.Trim(name, "`")] = rest
		}
	}
	for _, sample := range s.samples(s.Words.Language("")) {
		view := reflect.TypeOf(sample.view)
		for i := range view.NumField() {
			if name := view.Field(i).Name; name != "sheet" && !strings.Contains(listed[sample.name], "`."+name+"`") {
				t.Errorf("docs/pages.md does not list .%s of %s", name, sample.name)
			}
		}
	}
	for field := range reflect.TypeFor[sheet]().Fields() {
		if _, found := listed["."+field.Name]; field.IsExported() && !found {
			t.Errorf("docs/pages.md does not list .%s", field.Name)
		}
	}
	for name := range s.functions(s.Words.Language("")) {
		if _, found := listed[name]; !found {
			t.Errorf("docs/pages.md does not list the function %s", name)
		}
	}
}
