package interop

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// A browser is one without scripts: it keeps cookies, follows redirects and sends forms.
// It stops where an address begins with one of ours to watch, as an application's does.
type browser struct {
	t      *testing.T
	client *http.Client
	watch  []string // beginnings of addresses that are not followed
	at     *url.URL
}

func newBrowser(t *testing.T, watch ...string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, watch: watch, client: &http.Client{
		Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A view is where the browser has come to: a page, or the address of an application
// (then there is no page, but for what form_post carries).
type view struct {
	browser *browser
	address *url.URL
	status  int
	header  http.Header
	text    string
	forms   []webForm
	posted  url.Values // what was posted to the application
}

// A webForm is a form as a page shows it.
type webForm struct {
	method  string
	action  *url.URL
	fields  url.Values
	buttons []button
}

type button struct{ text, name, value string }

// open goes to an address as if it were typed in.
func (b *browser) open(address string) *view {
	b.t.Helper()
	return b.send(http.MethodGet, address, nil, "")
}

// post sends a form that another site made, as applications do at the endpoint.
func (b *browser) post(address string, form url.Values) *view {
	b.t.Helper()
	return b.send(http.MethodPost, address, form, "")
}

func (b *browser) watched(address string) bool {
	return slices.ContainsFunc(b.watch, func(start string) bool { return strings.HasPrefix(address, start) })
}

func (b *browser) send(method, address string, form url.Values, origin string) *view {
	b.t.Helper()
	for range 20 {
		target, err := url.Parse(address)
		if err != nil {
			b.t.Fatal(err)
		}
		if b.watched(address) {
			return &view{browser: b, address: target, posted: form}
		}
		next, v := b.once(method, target, form, origin)
		if next == "" {
			return v
		}
		method, address, form = http.MethodGet, next, nil
	}
	b.t.Fatalf("%s redirects without end", address)
	return nil
}

// once makes one request and returns where it leads, or what it shows.
func (b *browser) once(method string, target *url.URL, form url.Values, origin string) (next string, v *view) {
	b.t.Helper()
	var body io.Reader = http.NoBody
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, target.String(), body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			r.Header.Set("Origin", origin)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if to := res.Header.Get("Location"); to != "" && res.StatusCode/100 == 3 {
		if res.StatusCode == http.StatusTemporaryRedirect || res.StatusCode == http.StatusPermanentRedirect {
			b.t.Fatalf("%s answers %d, which sends a body on (BCP-6)", target.Path, res.StatusCode)
		}
		onward, err := target.Parse(to)
		if err != nil {
			b.t.Fatal(err)
		}
		return onward.String(), nil
	}
	b.at = target
	v = &view{browser: b, address: target, status: res.StatusCode, header: res.Header, text: string(text)}
	v.read()
	return "", v
}

// read finds the forms of the page.
func (v *view) read() {
	root, err := html.Parse(strings.NewReader(v.text))
	if err != nil {
		v.browser.t.Fatal(err)
	}
	var open *webForm
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "form":
				action, err := v.address.Parse(attribute(n, "action"))
				if err != nil {
					v.browser.t.Fatal(err)
				}
				v.forms = append(v.forms, webForm{method: strings.ToUpper(attribute(n, "method")), action: action, fields: url.Values{}})
				open = &v.forms[len(v.forms)-1]
				defer func() { open = nil }()
			case "input":
				if open != nil {
					open.input(n)
				}
			case "button":
				if open != nil {
					open.buttons = append(open.buttons, button{strings.TrimSpace(textOf(n)), attribute(n, "name"), attribute(n, "value")})
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)
}

func (f *webForm) input(n *html.Node) {
	switch kind := attribute(n, "type"); kind {
	case "submit":
		f.buttons = append(f.buttons, button{attribute(n, "value"), attribute(n, "name"), attribute(n, "value")})
	case "checkbox", "radio":
		if has(n, "checked") {
			f.fields.Add(attribute(n, "name"), attribute(n, "value"))
		}
	default:
		if name := attribute(n, "name"); name != "" {
			f.fields.Add(name, attribute(n, "value"))
		}
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var text strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		text.WriteString(textOf(c))
	}
	return text.String()
}

var errNoButton = errors.New("no such button")

// find returns the first form with a button of this text.
func (v *view) find(text string) (webForm, button, error) {
	for _, f := range v.forms {
		for _, b := range f.buttons {
			if b.text == text {
				return f, b, nil
			}
		}
	}
	return webForm{}, button{}, fmt.Errorf("%w: %q at %s", errNoButton, text, v.address)
}

// shows reports whether the page has a button of this text.
func (v *view) shows(text string) bool {
	_, _, err := v.find(text)
	return err == nil
}

// press fills in fields, given as name and value in turn, and presses a button.
func (v *view) press(text string, fields ...string) *view {
	t := v.browser.t
	t.Helper()
	f, b, err := v.find(text)
	if err != nil {
		t.Fatalf("%v, but this page (%d):\n%s", err, v.status, v.words())
	}
	sent := url.Values{}
	for name, values := range f.fields {
		sent[name] = slices.Clone(values)
	}
	for i := 0; i < len(fields); i += 2 {
		sent.Set(fields[i], fields[i+1])
	}
	if b.name != "" {
		sent.Set(b.name, b.value)
	}
	origin := v.address.Scheme + "://" + v.address.Host
	if f.method == http.MethodPost {
		return v.browser.send(http.MethodPost, f.action.String(), sent, origin)
	}
	f.action.RawQuery = sent.Encode()
	return v.browser.open(f.action.String())
}

// words is the text of a page, for people who read a failing test.
func (v *view) words() string {
	root, err := html.Parse(strings.NewReader(v.text))
	if err != nil {
		return v.text
	}
	return strings.Join(strings.Fields(textOf(root)), " ")
}
