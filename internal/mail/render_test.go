package mail

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"

	"github.com/coatcheck/coatcheck/internal/catalogue"
)

var asked = time.Date(2030, 1, 31, 14, 5, 0, 0, time.UTC)

func words(t *testing.T) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// linksOf stands in for who derives links: the path names the id.
func linksOf(m Message) (path, code string) {
	switch {
	case m.LinkID == "":
		return "", ""
	case m.Kind == ResetPassword:
		return "/reset?token=ckl_" + m.LinkID, ""
	case m.Kind == Invitation:
		return "/sign-up?invitation=ckl_" + m.LinkID, ""
	}
	return "/verify?token=ckl_" + m.LinkID, "042137"
}

func writerOf(t *testing.T, site Site, shadow map[string]string) (*Writer, error) {
	t.Helper()
	if site.PublicURL == nil {
		site.PublicURL = &url.URL{Scheme: "https", Host: "auth.example.com"}
	}
	files := fstest.MapFS{}
	for name, text := range shadow {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return NewWriter(site, words(t), linksOf, files)
}

func newWriter(t *testing.T, site Site) *Writer {
	t.Helper()
	w, err := writerOf(t, site, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func letter(kind Kind, language string) Letter {
	l := Letter{Message: New(kind, "ada@example.com", language), Created: asked}
	l.Expires = asked.Add(time.Hour)
	if path, _ := linksOf(Message{Kind: kind, LinkID: "x"}); slices.Contains([]Kind{FinishSignUp, VerifyEmail, ResetPassword, ChangeEmail, Invitation}, kind) && path != "" {
		l.LinkID = "lnk_7"
	}
	l.Values = map[string]string{
		"name": "Ada", "email": "new@example.com", "device": "Firefox on Linux", "place": "Bern, Switzerland", "at": "2030-01-31T14:05:00Z",
	}
	return l
}

func write(t *testing.T, w *Writer, l Letter) Written {
	t.Helper()
	out, err := w.Write(l)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// leftover is what a template, a text or a key leaves behind that was not filled in.
var leftover = regexp.MustCompile(`[{}]|mail\.[a-z_]|<no value>`)

// Every kind says in every language what it is about, brings what it is for, and has
// the same in both parts.
func TestEveryKindInEveryLanguage(t *testing.T) {
	w := newWriter(t, Site{Name: "Acme", Help: "https://acme.example/help"})
	subjects := map[string]bool{}
	for _, kind := range Kinds() {
		for _, language := range []string{"en", "de"} {
			l := letter(kind, language)
			out := write(t, w, l)
			if out.Language != language || out.ID != l.ID || out.To != l.To || !out.Date.Equal(asked) {
				t.Errorf("%s in %s is %+v", kind, language, out)
			}
			if subjects[out.Subject] || !strings.Contains(out.Subject, "Acme") || len(out.Subject) > 78 {
				t.Errorf("%s in %s has the subject %q", kind, language, out.Subject)
			}
			subjects[out.Subject] = true
			shown := textOf(t, out.HTML)
			path, code := linksOf(l.Message)
			for _, part := range []string{out.Text, shown} {
				if path != "" && !strings.Contains(part, "https://auth.example.com"+path) || !strings.Contains(part, code) {
					t.Errorf("%s in %s lacks its link or code:\n%s", kind, language, part)
				}
				if path != "" && !strings.Contains(part, "15:05 UTC") {
					t.Errorf("%s in %s does not say how long its link is good:\n%s", kind, language, part)
				}
				if bad := leftover.FindString(part); bad != "" {
					t.Errorf("%s in %s holds %q:\n%s", kind, language, bad, part)
				}
			}
			if kind == NewDevice || kind == RefreshReused || kind == PasswordChanged {
				for _, fact := range []string{map[string]string{"en": "Firefox on Linux", "de": "Firefox auf Linux"}[language], "Bern, Switzerland", "2030"} {
					if !strings.Contains(out.Text, fact) || !strings.Contains(shown, fact) {
						t.Errorf("%s in %s does not say %q", kind, language, fact)
					}
				}
			}
		}
	}
}

// A mail loads nothing from anywhere, so that nobody learns when it is read, and runs
// nothing. Everything in it leads to us, or to the operator's help.
func TestHTMLIsSelfContained(t *testing.T) {
	w := newWriter(t, Site{Name: "Acme", Help: "mailto:help@acme.example"})
	for _, kind := range Kinds() {
		out := write(t, w, letter(kind, "en"))
		if len(out.HTML) > 12<<10 {
			t.Errorf("%s has %d bytes of HTML", kind, len(out.HTML))
		}
		for _, banned := range []string{"<img", "<script", "<link", "<iframe", "<form", "url(", "@import", "http-equiv"} {
			if strings.Contains(out.HTML, banned) {
				t.Errorf("%s holds %s", kind, banned)
			}
		}
		for _, wanted := range []string{`<html lang="en" dir="ltr">`, `name="color-scheme" content="light dark"`, "prefers-color-scheme: dark", "<title>" + strings.ReplaceAll(out.Subject, "'", "&#39;")} {
			if !strings.Contains(out.HTML, wanted) {
				t.Errorf("%s lacks %s", kind, wanted)
			}
		}
		for _, address := range linksIn(t, out.HTML) {
			if !strings.HasPrefix(address, "https://auth.example.com/") && address != "mailto:help@acme.example" {
				t.Errorf("%s links to %q", kind, address)
			}
		}
	}
}

// V-111: what a stranger typed is text in a mail, whatever it looks like: no markup, no
// further line, and nothing that a mail program makes a link of.
func TestValuesArePlainText(t *testing.T) {
	w := newWriter(t, Site{Name: "Acme"})
	l := letter(NewDevice, "en")
	l.Values["device"] = "<a href=\"https://evil.example\">Firefox</a>\r\n\r\nGo to https://evil.example/now or www.evil.example, mail eve@evil.example\u202e\u0000 {{Link}} {site}"
	l.Values["place"] = `"><img src=x onerror=alert(1)>` + strings.Repeat("long ", 200)
	out := write(t, w, l)
	if links := linksIn(t, out.HTML); slices.ContainsFunc(links, func(address string) bool { return strings.Contains(address, "evil") }) {
		t.Errorf("the mail links to %q", links)
	}
	if strings.Contains(out.HTML, "<img") || !strings.Contains(out.HTML, "&lt;a href=") {
		t.Error("a value is markup")
	}
	for _, part := range []string{out.Text, out.HTML} {
		for _, bad := range []string{"evil.example", "https://evil", "eve@evil", "\u202e", "\u0000", "\nGo to", "\r"} {
			if strings.Contains(part, bad) {
				t.Errorf("a value brings %q", bad)
			}
		}
		if !strings.Contains(part, "{{Link}} {site}") {
			t.Error("a value was read as a template")
		}
		if strings.Count(part, "long ") > longestValue {
			t.Error("a value has no bound")
		}
	}
}

// A name that somebody signed up with is not repeated to an address that is not proven
// to be theirs: else anyone could send their own words from our address.
func TestNobodySendsTheirOwnWords(t *testing.T) {
	w := newWriter(t, Site{})
	for _, kind := range Kinds() {
		l := letter(kind, "en")
		l.Values["name"] = "You have won"
		if out := write(t, w, l); strings.Contains(out.Text+out.HTML+out.Subject, "You have won") {
			t.Errorf("%s repeats a name", kind)
		}
	}
}

// V-41: no value makes a second line of a subject.
func TestSubjectIsOneLine(t *testing.T) {
	w := newWriter(t, Site{Name: "Acme\r\nBcc: eve@evil.example"})
	if out := write(t, w, letter(ResetPassword, "en")); strings.ContainsAny(out.Subject, "\r\n") {
		t.Errorf("the subject is %q", out.Subject)
	}
}

func TestLinksComeFromThePublicURLAlone(t *testing.T) {
	w := newWriter(t, Site{PublicURL: &url.URL{Scheme: "http", Host: "localhost:8080"}})
	if out := write(t, w, letter(ResetPassword, "")); !strings.Contains(out.Text, "\nhttp://localhost:8080/reset?token=ckl_lnk_7\n") {
		t.Errorf("the text is\n%s", out.Text)
	}
	w.links = func(Message) (string, string) { return "", "" }
	if _, err := w.Write(letter(ResetPassword, "")); err == nil {
		t.Error("a mail that was to bring a link was written without")
	}
}

func TestOperatorShadowsTemplates(t *testing.T) {
	w, err := writerOf(t, Site{Name: "Acme"}, map[string]string{
		"reset_password.txt":  `{{define "subject"}}Hoppla{{end}}{{define "content"}}Neu: {{.Link}}{{end}}`,
		"reset_password.html": `{{define "content"}}<p>{{.Device}}</p>{{template "button" .}}{{end}}`,
		"layout.txt":          `{{define "layout"}}ACME {{template "content" .}}{{end}}{{define "facts"}}{{end}}{{define "not_you"}}{{end}}{{define "not_you_help"}}{{end}}{{define "link"}}{{end}}{{define "link_and_code"}}{{end}}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := letter(ResetPassword, "de")
	l.Values["device"] = "<b>"
	out := write(t, w, l)
	if out.Subject != "Hoppla" || out.Text != "ACME Neu: https://auth.example.com/reset?token=ckl_lnk_7\n" || !strings.Contains(out.HTML, "<p>&lt;b&gt;</p>") {
		t.Errorf("the mail is %+v", out)
	}
	if out := write(t, w, letter(NewDevice, "en")); !strings.HasPrefix(out.Text, "ACME ") || !strings.Contains(out.HTML, "A sign-in from a device") {
		t.Errorf("a mail with our words in the operator's layout is %+v", out)
	}
}

func TestMistakesOfOperatorsAreFoundAtTheStart(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"new_device.html", `{{define "content"}}{{.Nonsense}}{{end}}`, "new_device.html"},
		{"new_device.txt", `{{define "content"}}{{end}}{{define "subject"}}{{.T "mail.none"}}{{end`, "new_device.txt"},
		{"new_device.txt", `{{define "content"}}{{end}}`, "subject"},
		{"layout.html", `<p>`, "layout"},
		{"new_devise.html", `{{define "content"}}{{end}}`, "new_devise.html"},
	} {
		if _, err := writerOf(t, Site{}, map[string]string{c.file: c.text}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v", c.file, c.text, err)
		}
	}
}

func TestWordsOnTheButtonCanBeRead(t *testing.T) {
	for color, want := range map[string]string{
		"": "#ffffff", "#1f5c4d": "#ffffff", "#ffffff": "#0b1512", "#000000": "#ffffff", "#ffd800": "#0b1512", "#0000ff": "#ffffff", "#8fd3bf": "#0b1512",
	} {
		if got := readableOn(color); got != want {
			t.Errorf("on %s words are %s", color, got)
		}
		if color != "" && !strings.Contains(write(t, newWriter(t, Site{Color: color}), letter(ResetPassword, "en")).HTML, "background:"+color) {
			t.Errorf("the button is not %s", color)
		}
	}
}

// The text parts are what people read who want no HTML: one is kept as it looks.
func TestTextOfAMail(t *testing.T) {
	got := write(t, newWriter(t, Site{Name: "Acme", Help: "https://acme.example/help"}), letter(VerifyEmail, "en"))
	path := filepath.Join("testdata", "verify_email.txt")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != string(want) {
		t.Errorf("the text of a mail is not what %s says:\n%s", path, got.Text)
	}
}

// textOf returns what is read in HTML.
func textOf(t *testing.T, source string) string {
	t.Helper()
	var out strings.Builder
	visit(t, source, func(n *html.Node) {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			out.WriteString(n.Data + "\n")
		}
	})
	return out.String()
}

func linksIn(t *testing.T, source string) []string {
	t.Helper()
	var out []string
	visit(t, source, func(n *html.Node) {
		for _, a := range n.Attr {
			if a.Key == "href" || a.Key == "src" {
				out = append(out, a.Val)
			}
		}
	})
	return out
}

func visit(t *testing.T, source string, each func(*html.Node)) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(source))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		each(n)
	}
}
