package docs_test

import (
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/mail"
)

// Every template of a mail that the docs show stands in for ours and can be written.
func TestMailTemplates(t *testing.T) {
	shown := fstest.MapFS{}
	var kinds []mail.Kind
	for _, page := range ours {
		for _, b := range blocksOf(t, page) {
			if name, found := strings.CutPrefix(b.tag, "mail/"); found {
				shown[name] = &fstest.MapFile{Data: []byte(b.text)}
				kind, _, _ := strings.Cut(name, ".")
				kinds = append(kinds, mail.Kind(kind))
			}
		}
	}
	words, err := catalogue.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := mail.NewWriter(mail.Site{PublicURL: &url.URL{Scheme: "https", Host: "auth.example.com"}, Name: "Example"}, words,
		func(mail.Message) (path, code string) { return "", "" }, shown)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		l := mail.Letter{Message: mail.New(kind, "ada@example.com", "en"), Created: time.Now()}
		l.Values = map[string]string{"at": "2030-01-31T14:05:00Z", "device": "Firefox on Linux"}
		out, err := w.Write(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{out.Text, out.HTML} {
			if !strings.Contains(part, "https://auth.example.com/forgot") || !strings.Contains(part, "31 January 2030") {
				t.Errorf("the mail is\n%s", part)
			}
		}
	}
	if len(kinds) == 0 {
		t.Error("the docs show no template")
	}
}

// What docs/mail.md lists is all there is.
func TestMailPageIsComplete(t *testing.T) {
	text, err := os.ReadFile("mail.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range mail.Kinds() {
		if !strings.Contains(string(text), "\n| `"+string(kind)+"` | ") {
			t.Errorf("docs/mail.md says nothing of %s", kind)
		}
	}
}
